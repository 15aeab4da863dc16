"""The catalogue: workflows that use every asyncio primitive and every call of the Context, alone and together.

Each stands for a way in which people write; ``good`` says what must come out whatever the order of events. They are
replayed from every prefix, in other processes and on other Pythons, and their journals are kept for ever: change none,
add new ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

from replay_driver import Program, attempt_number

from durable import Context, Retry, RunFailed, Signal, step, workflow

PROGRAMS: list[Program] = []


def program(**options: Any) -> Any:
    """Put a function into the catalogue."""

    def decorate(fn: Any) -> Any:
        made = workflow(fn)
        PROGRAMS.append(Program(fn.__name__, made, **options))
        return made

    return decorate


# ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@step
def say(word: str) -> str:
    return f"<{word}>"


@step
async def add(a: int, b: int) -> int:
    return a + b


@step
def fails(word: str) -> str:
    raise ValueError(word)


@step
def odd_fails(number: int) -> int:
    if number % 2:
        raise ValueError(f"odd: {number}")
    return number


@step(retry=Retry(3, initial="5s", jitter=0))
def flaky(word: str) -> str:
    if attempt_number() < 3:
        raise ConnectionError(f"attempt {attempt_number()}")
    return word


@step
def unbook(room: str) -> str:
    return f"free {room}"


@step(undo=unbook)
def book(room: str) -> str:
    return room


@step(queue="elsewhere")
def remote(number: int) -> int:
    return number + 1


# ── gather ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@program(good=lambda r: r == ["<a>", "<b>", "<c>"])
async def three_steps(ctx: Context) -> list[str]:
    return [await ctx.step(say, word) for word in "abc"]


@program(good=lambda r: r == ["<a>", "<b>", "<c>", "<d>"])
async def gather_of_calls(ctx: Context) -> list[str]:
    return list(await asyncio.gather(*(ctx.step(say, word) for word in "abcd")))


@program(good=lambda r: r == [f"<{branch}2>" for branch in "abcd"])
async def gather_of_branches(ctx: Context) -> list[str]:
    async def branch(name: str) -> str:
        first = await ctx.step(say, f"{name}1")
        assert first == f"<{name}1>"
        return await ctx.step(say, f"{name}2")

    return list(await asyncio.gather(*(branch(name) for name in "abcd")))


@program(good=lambda r: r == [[0, 1], [1, 2], [2, 3]])
async def gather_in_gather(ctx: Context) -> list[list[int]]:
    async def pair(n: int) -> list[int]:
        async def late(a: int, b: int) -> int:
            await asyncio.sleep(b)
            return await ctx.step(add, a, b)

        return list(await asyncio.gather(ctx.step(add, n, 0), late(n, 1)))

    return list(await asyncio.gather(*(pair(n) for n in range(3))))


@program(good=lambda r: r == ["<a>", "ValueError", "<b>"])
async def gather_that_returns_exceptions(ctx: Context) -> list[str]:
    got = await asyncio.gather(ctx.step(say, "a"), ctx.step(fails, "x"), ctx.step(say, "b"), return_exceptions=True)
    return [type(one).__name__ if isinstance(one, BaseException) else one for one in got]


@program(good=lambda r: isinstance(r, ValueError))
async def gather_that_fails(ctx: Context) -> Any:
    return await asyncio.gather(ctx.step(say, "a"), ctx.step(fails, "x"), asyncio.sleep(3, "slept"))


# ── wait ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@program(good=lambda r: r[0] in ("<a>", "<b>", "slept"))
async def race(ctx: Context) -> list[str]:
    tasks = [
        asyncio.create_task(ctx.step(say, "a")),
        asyncio.create_task(ctx.step(say, "b")),
        asyncio.create_task(asyncio.sleep(1, "slept")),
    ]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return [await ctx.step(say, task.result()) if i else task.result() for i, task in enumerate(done)]


@program(good=lambda r: r[-1] == "after")
async def race_of_gathers(ctx: Context) -> list[Any]:
    pairs = [asyncio.gather(ctx.step(say, f"{n}a"), ctx.step(say, f"{n}b")) for n in range(5)]
    done, pending = await asyncio.wait(pairs, return_when=asyncio.FIRST_COMPLETED)
    won = [pair.result() for pair in done]
    order = []
    for pair in pending:  # a set: its order decides which call comes first
        order.append(await ctx.step(say, f"left {pairs.index(pair)}"))
        pair.cancel()
    return [won, order, "after"]


@program(good=lambda r: set(r) <= {"ValueError", "<a>", "pending", "<later>"} and "ValueError" in r)
async def wait_for_the_first_exception(ctx: Context) -> list[str]:
    tasks = [asyncio.create_task(c) for c in (ctx.step(say, "a"), ctx.step(fails, "x"), _later(ctx))]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    said = []
    for task in tasks:
        if not task.done():
            task.cancel()
            said.append("pending")
        else:
            said.append(type(task.exception()).__name__ if task.exception() else task.result())
    return said


async def _later(ctx: Context) -> str:
    await asyncio.sleep(3600)
    return await ctx.step(say, "later")


@program(good=lambda r: sum(r) == 3)
async def wait_with_a_timeout_in_a_loop(ctx: Context) -> list[int]:
    pending = {asyncio.create_task(ctx.step(add, n, 0)) for n in range(3)}
    counts = []
    while pending:
        done, pending = await asyncio.wait(pending, timeout=0.1)
        counts.append(len(done))
        for task in done:
            await ctx.step(say, f"done {task.result()}")
    return counts


# ── wait_for, timeout ────────────────────────────────────────────────────────────────────────────────────────────────


@program(good=lambda r: r in ("<a>", "timed out"))
async def wait_for_a_step(ctx: Context) -> str:
    try:
        return await asyncio.wait_for(ctx.step(say, "a"), 0.5)
    except TimeoutError:
        return "timed out"


@program(good=lambda r: r == ["timed out", "<after>"])
async def wait_for_that_times_out(ctx: Context) -> list[str]:
    try:
        await asyncio.wait_for(_forever(), timeout=10)
    except TimeoutError:
        return ["timed out", await ctx.step(say, "after")]
    return []


async def _forever() -> None:
    await asyncio.get_running_loop().create_future()


@program(good=lambda r: r in (["<x>", "TimeoutError", "<y>"], ["<x>", "TimeoutError", "too late"]))
async def wait_for_nothing(ctx: Context) -> list[str]:
    got = [await asyncio.wait_for(ctx.step(say, "x"), None)]
    try:
        await asyncio.wait_for(_forever(), 0)
    except TimeoutError as error:
        got.append(type(error).__name__)
    try:
        got.append(await asyncio.wait_for(asyncio.create_task(ctx.step(say, "y")), timedelta(days=1).total_seconds()))
    except TimeoutError:
        got.append("too late")
    return got


@program(good=lambda r: r[-1] == "<end>")
async def nested_timeouts(ctx: Context) -> list[str]:
    said = []
    try:
        async with asyncio.timeout(3):
            try:
                async with asyncio.timeout(0.3):
                    said.append(await ctx.step(say, "inner"))
                    said.append(await ctx.step(say, "inner 2"))
            except TimeoutError:
                said.append("inner timed out")
            await asyncio.sleep(2)
            said.append(await ctx.step(say, "outer"))
    except TimeoutError:
        said.append("outer timed out")
    said.append(await ctx.step(say, "end"))
    return said


@program(good=lambda r: r[0] == "<a>" and r[-1] in ("<z>", "too late"))
async def timeout_that_is_moved(ctx: Context) -> list[str]:
    loop = asyncio.get_running_loop()
    said = []
    try:
        async with asyncio.timeout(None) as limit:
            said.append(await ctx.step(say, "a"))
            limit.reschedule(loop.time() + 1)
            said.append(await ctx.step(say, "b"))
            said.append(await ctx.step(say, "c"))
    except TimeoutError:
        said.append(f"expired {limit.expired()}")
    try:
        async with asyncio.timeout_at(loop.time() + 1000):
            said.append(await ctx.step(say, "z"))
    except TimeoutError:
        said.append("too late")
    return said


# ── as_completed ─────────────────────────────────────────────────────────────────────────────────────────────────────


@program(good=lambda r: sorted(r) == [f"<<{w}>>" for w in "abcd"])
async def as_completed_over_calls(ctx: Context) -> list[str]:
    got = []
    for earliest in asyncio.as_completed([ctx.step(say, word) for word in "abcd"]):
        got.append(await ctx.step(say, await earliest))
    return got


@program(good=lambda r: sorted(r) == ["a", "b", "c"])
async def as_completed_over_coroutines(ctx: Context) -> list[str]:
    async def branch(word: str) -> str:
        await ctx.step(say, word)
        await asyncio.sleep(1)
        return word

    return [await earliest for earliest in asyncio.as_completed([branch(word) for word in "cab"])]


@program(good=lambda r: len(r) == 3)
async def as_completed_over_tasks_with_a_timeout(ctx: Context) -> list[str]:
    tasks = [asyncio.create_task(ctx.step(say, word)) for word in "abc"]
    got = []
    for earliest in asyncio.as_completed(tasks, timeout=0.6):
        try:
            got.append(await earliest)
        except TimeoutError:
            got.append("too late")
    return got


@program(good=lambda r: sorted(r) == ["0 <a>", "1 <b>", "2 <c>"])
async def as_completed_asynchronously(ctx: Context) -> list[str]:
    tasks = [asyncio.create_task(ctx.step(say, word)) for word in "abc"]
    got = []
    async for task in asyncio.as_completed(tasks):  # on every Python, though the standard one has it since 3.13
        got.append(f"{tasks.index(task)} {task.result()}")
        await ctx.step(say, got[-1])
    return got


@program(good=lambda r: sorted(r) == ["<a>", "<b>", "<c>"])
async def as_completed_over_a_set_of_calls(ctx: Context) -> list[str]:
    calls = {ctx.step(say, word) for word in "abc"}
    return [await earliest for earliest in asyncio.as_completed(calls)]


# ── TaskGroup, shield ────────────────────────────────────────────────────────────────────────────────────────────────


@program(good=lambda r: r == ["<a>", "<b>", "<child of a>"])
async def task_group(ctx: Context) -> list[str]:
    async def parent() -> str:
        word = await ctx.step(say, "a")
        late.append(group.create_task(ctx.step(say, "child of a")))
        return word

    late: list[asyncio.Task[str]] = []
    async with asyncio.TaskGroup() as group:
        a = group.create_task(parent())
        b = group.create_task(ctx.step(say, "b"))
    return [a.result(), b.result(), late[0].result()]


@program(good=lambda r: r in (["ValueError x", "cleaned", "<after>"], ["ValueError x", "<after>"]))
async def task_group_with_a_failing_child(ctx: Context) -> list[str]:
    said = []

    async def sibling() -> None:
        try:
            await asyncio.sleep(1_000_000)
        finally:
            await ctx.step(say, "cleaning")
            said.append("cleaned")

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(sibling())
            group.create_task(ctx.step(fails, "x"))
    except* ValueError as errors:
        said.insert(0, f"ValueError {errors.exceptions[0]}")
    said.append(await ctx.step(say, "after"))
    return said


@program(good=lambda r: isinstance(r, ExceptionGroup))
async def task_group_whose_failures_leave(ctx: Context) -> None:
    async with asyncio.TaskGroup() as group:
        for word in "abc":
            group.create_task(ctx.step(fails, word))


@program(good=lambda r: r[0] in ("<slow>", "gave up") and r[-1] == "<slow>")
async def shielded_step(ctx: Context) -> list[str]:
    slow = asyncio.create_task(ctx.step(say, "slow"))
    said = []
    try:
        said.append(await asyncio.wait_for(asyncio.shield(slow), 0.1))
    except TimeoutError:
        said.append("gave up")
    said.append(await slow)
    return said


@program(good=lambda r: r == ["cancelled", "<a>", "<b>"])
async def tasks_that_are_cancelled(ctx: Context) -> list[str]:
    async def stubborn() -> str:
        try:
            await asyncio.sleep(10_000)
        except asyncio.CancelledError:
            await ctx.step(say, "a")
            return await ctx.step(say, "b")
        return "slept"

    quick, slow = asyncio.create_task(_forever()), asyncio.create_task(stubborn())
    await asyncio.sleep(1)
    quick.cancel()
    slow.cancel()
    last = await slow
    with contextlib.suppress(asyncio.CancelledError):
        await quick
    return ["cancelled" if quick.cancelled() else "?", "<a>", last]


@program(good=lambda r: r == ["0", "1", "2", "3"])
async def all_tasks_are_told(ctx: Context) -> list[str]:
    async def waits(n: int) -> None:
        try:
            await _forever()
        finally:
            await ctx.step(say, f"over {n}")

    for n in range(7):
        asyncio.create_task(waits(n), name=str(n))
    await asyncio.sleep(1)
    told = []
    for task in asyncio.all_tasks() - {asyncio.current_task()}:  # type: ignore[arg-type]
        task.cancel()
        told.append(task.get_name())
        await ctx.step(say, f"told {task.get_name()}")
    return sorted(told)[:4]


# ── queues and locks ─────────────────────────────────────────────────────────────────────────────────────────────────


@program(good=lambda r: sorted(r) == [f"<<{n}>>" for n in range(5)])
async def queue_with_workers(ctx: Context) -> list[str]:
    queue: asyncio.Queue[str] = asyncio.Queue(maxsize=2)
    got: list[str] = []

    async def produce() -> None:
        for n in range(5):
            await queue.put(await ctx.step(say, str(n)))

    async def consume() -> None:
        while True:
            got.append(await ctx.step(say, await queue.get()))
            queue.task_done()

    workers = [asyncio.create_task(consume()) for _ in range(3)]
    await produce()
    await queue.join()
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    return got


@program(good=lambda r: r == [1, 2, 3, "z", "y"])
async def other_queues(ctx: Context) -> list[Any]:
    ranked: asyncio.PriorityQueue[int] = asyncio.PriorityQueue()
    stack: asyncio.LifoQueue[str] = asyncio.LifoQueue()
    async with asyncio.TaskGroup() as group:
        for n in (3, 1, 2):
            group.create_task(_put(ctx, ranked, n))
    for word in "xyz":
        stack.put_nowait(word)
    return [await ranked.get() for _ in range(3)] + [stack.get_nowait(), stack.get_nowait()]


async def _put(ctx: Context, queue: asyncio.PriorityQueue[int], n: int) -> None:
    await queue.put(await ctx.step(add, n, 0))


@program(good=lambda r: r == ["<go 0>", "<go 1>", "<go 2>", False])
async def event(ctx: Context) -> list[Any]:
    ready = asyncio.Event()

    async def waits(n: int) -> str:
        await ready.wait()
        return await ctx.step(say, f"go {n}")

    waiters = [asyncio.create_task(waits(n)) for n in range(3)]
    await ctx.step(say, "set")
    ready.set()
    got: list[Any] = [await waiter for waiter in waiters]
    ready.clear()
    return [*got, ready.is_set()]


@program(good=lambda r: len(r) == 6 and all(a[-1] == b[-1] for a, b in zip(r[::2], r[1::2], strict=True)))
async def lock(ctx: Context) -> list[str]:
    gate = asyncio.Lock()
    seen = []

    async def inside(n: int) -> None:
        await ctx.step(say, f"before {n}")
        async with gate:
            seen.append(f"in {n}")
            await ctx.step(say, f"in {n}")
            seen.append(f"out {n}")

    await asyncio.gather(*(inside(n) for n in range(3)))
    return seen


@program(good=lambda r: r <= 2)
async def semaphore(ctx: Context) -> int:
    gate = asyncio.Semaphore(2)
    inside = most = 0

    async def worker(n: int) -> None:
        nonlocal inside, most
        await asyncio.sleep(n % 2)
        async with gate:
            inside += 1
            most = max(most, inside)
            await ctx.step(add, n, n)
            inside -= 1

    async with asyncio.TaskGroup() as group:
        for n in range(5):
            group.create_task(worker(n))
    return most


@program(good=lambda r: r == ["timed out", 1])
async def bounded_semaphore(ctx: Context) -> list[Any]:
    gate = asyncio.BoundedSemaphore(1)
    said: list[Any] = []
    async with gate:
        try:
            await asyncio.wait_for(gate.acquire(), 5)
        except TimeoutError:
            said.append("timed out")
    async with gate:
        said.append(await ctx.step(add, 1, 0))
    return said


@program(good=lambda r: sorted(r) == [0, 1, 2])
async def condition(ctx: Context) -> list[int]:
    changed = asyncio.Condition()
    stock = 0
    served: list[int] = []

    async def customer(n: int) -> None:
        nonlocal stock
        async with changed:
            await changed.wait_for(lambda: stock > 0)
            stock -= 1
            served.append(n)

    async def supplier() -> None:
        nonlocal stock
        for n in range(3):
            await ctx.step(add, n, 1)
            async with changed:
                stock += 1
                if n % 2:
                    changed.notify()
                else:
                    changed.notify_all()

    async with asyncio.TaskGroup() as group:
        for n in range(3):
            group.create_task(customer(n))
        group.create_task(supplier())
    return served


@program(good=lambda r: sorted(r) == [0, 1, 2])
async def barrier(ctx: Context) -> list[int]:
    meeting = asyncio.Barrier(3)

    async def walker(n: int) -> int:
        await ctx.step(say, f"walks {n}")
        return await meeting.wait()

    return list(await asyncio.gather(*(walker(n) for n in range(3))))


# ── callbacks, generators, context variables ─────────────────────────────────────────────────────────────────────────


@program(good=lambda r: r == ["soon", "twice", "twice", "kept"])
async def timers_by_hand(ctx: Context) -> list[str]:
    loop = asyncio.get_running_loop()
    said: list[str] = []
    at = loop.time() + 2
    twins = [loop.call_at(at, said.append, "twice") for _ in range(2)]  # equal handles, two timers
    dropped = loop.call_at(at, said.append, "kept")
    kept = loop.call_at(at, said.append, "kept")
    assert kept == dropped
    dropped.cancel()
    loop.call_soon(said.append, "soon")
    await asyncio.sleep(5)
    assert not any(twin.cancelled() for twin in twins)
    return said


@program(good=lambda r: r == ["<0>", "<1>", "<2>", "closed"])
async def async_generators(ctx: Context) -> list[str]:
    said: list[str] = []

    async def pages() -> AsyncIterator[str]:
        try:
            for n in range(100):
                yield await ctx.step(say, str(n))
        finally:
            await ctx.step(say, "close")
            said.append("closed")

    async with contextlib.aclosing(pages()) as source:
        async for page in source:
            said.append(page)
            if len(said) == 3:
                break
    return said


@program(good=lambda r: r == "<0>")
async def async_generator_that_is_left(ctx: Context) -> str:
    async def pages() -> AsyncIterator[str]:
        try:
            for n in range(100):
                yield await ctx.step(say, str(n))
        finally:
            await ctx.step(say, "closed at the end of the run")
            ctx.emit("said", "closed")

    async for page in pages():
        return page
    return ""


_tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")


@program(good=lambda r: r == ["<a>", "<b>", "<main>", "nobody"])
async def context_variables(ctx: Context) -> list[str]:
    before = _tenant.get()
    _tenant.set("main")

    async def branch(name: str) -> str:
        _tenant.set(name)
        await asyncio.sleep(1)
        return await ctx.step(say, _tenant.get())

    a, b = await asyncio.gather(branch("a"), branch("b"))
    return [a, b, await ctx.step(say, _tenant.get()), before]


# ── the Context's own ────────────────────────────────────────────────────────────────────────────────────────────────


@program(good=lambda r: r == ["fast", [0, 2], ["<a>", "<b>"], "ValueError"])
async def parallel_and_map(ctx: Context) -> list[Any]:
    got: list[Any] = ["fast"]
    got.append(await ctx.map(odd_fails, range(4), limit=2, tolerate=2))
    got.append(await ctx.parallel([ctx.step(say, "a"), ctx.step(say, "b")], limit=1))
    try:
        await ctx.parallel(ctx.step(say, "c"), ctx.step(fails, "d"), asyncio.sleep(9))
    except ValueError as error:
        got.append(type(error).__name__)
    return got


@program(good=lambda r: r == [2, 0])
async def map_with_keys(ctx: Context) -> list[int]:
    return await ctx.map(odd_fails.options(name="even"), [2, 1, 0], key=str, tolerate=0.5, limit=2)


@program(good=lambda r: isinstance(r, ValueError))
async def saga(ctx: Context) -> None:
    async with ctx.saga() as trip:
        await ctx.step(book, "one")
        trip.on_failure(unbook, "by hand")
        both = [asyncio.create_task(ctx.step(book, "two")), asyncio.create_task(ctx.step(book, "three"))]
        await asyncio.sleep(0)
        await ctx.step(fails, "x")
        await asyncio.gather(*both)


@program(good=lambda r: r == "<kept>")
async def saga_in_saga(ctx: Context) -> str:
    try:
        async with ctx.saga():
            await ctx.step(book, "outer")
            async with ctx.saga():
                await ctx.step(book, "inner")
            await ctx.step(fails, "y")
    except ValueError:
        return await ctx.step(say, "kept")
    return ""


@program(good=lambda r: r == "main")
async def saga_in_a_task_that_is_left_behind(ctx: Context) -> str:
    async def trip() -> None:
        async with ctx.saga():
            await ctx.step(book, "a")
            await ctx.step(book, "b")
            await ctx.step(fails, "x")

    asyncio.create_task(trip())
    await ctx.sleep(0.2)
    return "main"


@program(good=lambda r: isinstance(r, ValueError))
async def saga_that_inherits_what_is_in_flight(ctx: Context) -> None:
    async with ctx.saga():
        async with ctx.saga():
            late = asyncio.create_task(ctx.step(book, "late"))
            await ctx.step(book, "inner")
        await asyncio.wait([late], timeout=0.1)
        await ctx.step(fails, "z")


_answers = Signal("answer", int)


@program(signals=(("answer", 1), ("noise", 0), ("answer", 2)), good=lambda r: r[0] + r[1] <= 3 and r[2] == "<end>")
async def signals_with_timeouts(ctx: Context) -> list[Any]:
    got: list[Any] = []
    for _ in range(2):
        try:
            got.append(await ctx.wait_for_signal(_answers, timeout=1))
        except TimeoutError:
            got.append(0)
    return [*got, await ctx.step(say, "end")]


@program(signals=tuple(("answer", n) for n in range(4)), good=lambda r: r == [0, 1, 2, 3])
async def a_stream_of_signals(ctx: Context) -> list[int]:
    got: list[int] = []
    async for answer in ctx.signals(_answers):
        got.append(answer)
        ctx.emit("answers", answer)
        if len(got) == 4:
            break
        await ctx.step(say, f"answer {answer}")
    return got


@program(
    signals=(("a", 1), ("b", 2), ("a", 3), ("b", "not a number"), ("b", 4)),
    good=lambda r: r == {"0": ["a", 1], "1": ["b", 2], "2": ["a", 3], "3": ["b", 4]},
)
async def waiters_in_call_order(ctx: Context) -> dict[str, list[Any]]:
    async def wait(name: str) -> list[Any]:
        return [name, await ctx.wait_for_signal(name, int)]

    got = await asyncio.gather(wait("a"), wait("b"), wait("a"), wait("b"))
    return {str(n): value for n, value in enumerate(got)}


@program(good=lambda r: r[0] is True and r[1] == r[2])
async def patches(ctx: Context) -> list[Any]:
    early = ctx.patched("early")
    await ctx.step(say, "one")
    first = ctx.patched("late")
    await asyncio.gather(ctx.step(say, "two"), ctx.step(say, "three"))
    return [early, first, ctx.patched("late"), ctx.patched("last")]


@program(good=lambda r: len(set(r[0])) == 4 and r[2] == "2023")
async def chance_and_time(ctx: Context) -> list[Any]:
    ids = [str(ctx.uuid()), str(ctx.uuid())]
    numbers = [ctx.random.randrange(1000)]

    async def branch(n: int) -> str:
        await ctx.step(say, f"{n} {ctx.random.random()} {ctx.now().isoformat()}")
        return str(ctx.uuid())

    ids += await asyncio.gather(branch(0), branch(1))
    numbers.append(ctx.random.randrange(1000))
    await ctx.step(say, f"{ids} {numbers} {ctx.now().timestamp()}")
    return [ids, numbers, str(ctx.now().year)]


@program(good=lambda r: r >= 3600)
async def sleeps(ctx: Context) -> float:
    begin = ctx.now()
    await ctx.sleep(0)
    await ctx.sleep("nap", "30m")
    await asyncio.gather(ctx.sleep(60), ctx.sleep("nap", 90))
    await ctx.sleep_until(begin + timedelta(hours=1))
    await ctx.sleep_until(datetime.fromisoformat("2001-01-01T00:00:00+00:00"))
    return (ctx.now() - begin).total_seconds()


@program(good=lambda r: r == "z")
async def retries(ctx: Context) -> str:
    got = await asyncio.gather(ctx.step(flaky, "x"), ctx.step(flaky, "y"), ctx.step(say, "z"))
    return await ctx.step("inline", lambda: got[2][1])


@workflow
async def child(ctx: Context, number: int) -> int:
    return number


def _child(number: int) -> int:
    if number < 0:
        raise ValueError("negative")
    return number * 10


@program(
    children={"child": _child, "step:remote": lambda number: number + 1},
    good=lambda r: r == [10, 20, "ValueError", 8],
)
async def children(ctx: Context) -> list[Any]:
    got: list[Any] = list(await asyncio.gather(ctx.child(child, 1), ctx.child(child.options(id="chosen"), 2)))
    try:
        await ctx.child(child, -1)
    except RunFailed as error:
        got.append(type(error.__cause__).__name__)
    return [*got, await ctx.step(remote, 7)]


@program(children={"child": _child}, good=lambda r: r == ["<end>", True])
async def children_given_up(ctx: Context) -> list[Any]:
    calls = [
        asyncio.create_task(ctx.child(child, 1)),
        asyncio.create_task(ctx.child(child.options(on_parent_close="terminate"), 2)),
        asyncio.create_task(ctx.child(child.options(on_parent_close="abandon"), 3)),
    ]
    await asyncio.sleep(0.1)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    return [await ctx.step(say, "end"), all(call.done() for call in calls)]


@program(good=lambda r: r == "<end>")
async def fire_and_forget(ctx: Context) -> str:
    async def branch(n: int) -> None:
        ctx.emit("progress", {"branch": n})
        await ctx.step(add, n, n)
        ctx.emit("progress", [n, "done"])
        ctx.set(f"branch-{n}", n)
        ctx.signal("another-run", "hello", n)

    await asyncio.gather(*(branch(n) for n in range(3)))
    for n in range(130):
        ctx.emit("many", n)
    return await ctx.step(say, "end")


@program(cancelled=True)
async def cancelled_with_clean_up(ctx: Context) -> list[str]:
    said = []
    try:
        async with asyncio.TaskGroup() as group:
            for n in range(2):
                group.create_task(ctx.step(say, f"work {n}"))
            await asyncio.sleep(2)
            said.append(await ctx.step(say, "half"))
    finally:
        ctx.set("state", "cleaning")
        said.append(await ctx.step(say, "clean"))
    return said


@program(cancelled=True)
async def cancelled_saga(ctx: Context) -> None:
    async with ctx.saga():
        await asyncio.gather(ctx.step(book, "a"), ctx.step(book, "b"))
        await ctx.sleep("1h")


@program(deadline=1.0)
async def limited(ctx: Context) -> str:
    try:
        for n in range(100):
            await ctx.step(say, str(n))
    except asyncio.CancelledError:
        await ctx.step(say, "late")
        raise
    return "all"


@program()
async def left_behind(ctx: Context) -> str:
    async def background() -> None:
        try:
            while True:
                await asyncio.sleep(1)
                ctx.emit("ticks", await ctx.step(say, "tick"))
        finally:
            await ctx.step(say, "last")

    asyncio.create_task(background())
    asyncio.create_task(_forever())
    await asyncio.sleep(2.5)
    return await ctx.step(say, "main")


@program()
async def goes_on_as_another(ctx: Context, total: int = 3) -> int:
    total += await ctx.step(add, total, 1)
    ctx.emit("totals", total)
    raise ctx.continue_as(goes_on_as_another, total)


@program(good=lambda r: isinstance(r, LookupError))
async def errors_with_causes(ctx: Context) -> None:
    try:
        await ctx.step(fails, "first")
    except ValueError as error:
        error.add_note("noted")
        raise LookupError("second", 2) from error


@program(signals=(("go", "x"),), good=lambda r: r is True)
async def mixture(ctx: Context) -> bool:
    """Signals, timers, queues and groups at once; its value is that nothing in it is orderly."""
    queue: asyncio.Queue[str] = asyncio.Queue()
    stop = asyncio.Event()

    async def pump() -> None:
        while not stop.is_set():
            try:
                await queue.put(await asyncio.wait_for(ctx.step(say, "pump"), 0.2))
            except TimeoutError:
                await asyncio.sleep(0.5)

    async def drain() -> int:
        for _ in range(3):
            async with asyncio.timeout(None):
                await queue.get()
        return await ctx.step(add, 1, 2)

    async with asyncio.TaskGroup() as group:
        group.create_task(pump())
        drained = group.create_task(drain())
        word = group.create_task(ctx.wait_for_signal("go", str))
        await asyncio.wait([drained, word])
        stop.set()
    return word.result() == "x" and drained.result() == 3


BY_NAME = {one.name: one for one in PROGRAMS}
