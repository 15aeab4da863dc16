"""The limits of docs/limits.md: what is exactly at one is accepted, what is over it is refused by name, at once."""

import asyncio
import gc
import logging
import math
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from durable import (
    Client,
    Completion,
    Context,
    InvalidInput,
    PayloadTooLarge,
    Retry,
    RunFailed,
    StoreFull,
    WorkflowCodeError,
    connect,
    heartbeat,
    step,
    workflow,
)
from durable._model import defaults
from durable.store import Message, MessageId, MessageKind, RunId

LIMIT = defaults.PAYLOAD_BYTES_MAX
NAMED = f"{LIMIT:,}"
FAR_OVER = 50_000_000


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.getLogger("durable").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("durable").setLevel(logging.NOTSET)


def text_of(size: int) -> str:
    """A text of so many bytes encoded, quotes included."""
    return "x" * (size - 2)


@step
async def take(text: str) -> int:
    return len(text)


@step(record_input=True)
async def take_on_record(text: str) -> int:
    return len(text)


@step
async def make(size: int) -> str:
    return text_of(size)


@step
async def beat(size: int) -> int:
    heartbeat(text_of(size))
    return len(heartbeat())


@workflow
async def takes(ctx: Context, text: str) -> int:
    return len(text)


@workflow
async def accepts(ctx: Context, text: str) -> str:
    return "accepted"


@workflow
async def makes(ctx: Context, size: int) -> str:
    return text_of(size)


@workflow
async def idle(ctx: Context) -> Any:
    return await ctx.wait_for_signal("go")


@workflow
async def after(ctx: Context, completion: Completion) -> None: ...


@workflow
async def inside(ctx: Context, door: str, size: int) -> str:
    """Hands a value over whose encoded bytes are so many as count there."""
    text = text_of(size)
    try:
        match door:
            case "argument":
                await ctx.step(take, text)
            case "recorded argument":
                await ctx.step(take_on_record, text)
            case "result":
                await ctx.step(make, size)
            case "inline":
                await ctx.step("inline", lambda: text)
            case "child input":
                await ctx.child(takes, text_of(size - len("[]")))
            case "child result":
                await ctx.child(makes, size)
            case "signal":
                ctx.signal("nobody", "s", text)
            case "value":
                ctx.set("k", text)
            case "item":
                ctx.emit("s", text)
            case "progress":
                await ctx.step(beat, size)
            case "continued":
                raise ctx.continue_as(accepts, text_of(size - len("[]")))
    except PayloadTooLarge as error:
        return f"PayloadTooLarge {error}"
    except RunFailed as error:
        return f"{type(error.__cause__).__name__} {error.__cause__}"
    return "accepted"


INSIDE = [
    "argument",
    "recorded argument",
    "result",
    "inline",
    "child input",
    "child result",
    "signal",
    "value",
    "item",
    "progress",
    "continued",
]


async def test_a_payload_in_a_workflow_at_the_limit_one_over_and_far_over(rig: Any) -> None:
    async with rig.serving(inside, takes, accepts, makes) as client:
        for door in INSIDE:
            assert await rig.run(client, inside.bind(door, LIMIT)) == "accepted", door
            for size in (LIMIT + 1, FAR_OVER if door in ("argument", "result") else LIMIT * 2):
                said = await rig.run(client, inside.bind(door, size))
                assert said.startswith("PayloadTooLarge") and NAMED in said, (door, said[:200])
                assert f"{size:,} bytes" in said, (door, said[:200])


async def test_arguments_over_the_limit_are_refused_before_any_attempt_and_not_retried(rig: Any) -> None:
    ran: list[int] = []

    @step(retry=Retry(5, initial=0), record_input=True)
    async def never(text: str) -> None:
        ran.append(len(text))

    @workflow
    async def wf(ctx: Context) -> str:
        try:
            await ctx.step(never, text_of(LIMIT + 1))
        except PayloadTooLarge as error:
            return str(error)
        return "accepted"

    async with rig.serving(wf) as client:
        assert "arguments of step 'never'" in await rig.run(client, wf)
    assert ran == []


async def test_a_journal_whose_arguments_were_accepted_under_another_limit_is_replayed(rig: Any) -> None:
    """An older release had none for what is not stored: such a run goes on, its steps' outcomes as they are."""
    ran: list[int] = []

    @step
    async def measure(text: str) -> int:
        ran.append(len(text))
        return len(text)

    @workflow
    async def wf(ctx: Context) -> int:
        length = await ctx.step(measure, text_of(2 * LIMIT))
        await ctx.wait_for_signal("go")
        return length

    async with connect(rig.url) as client:
        client.link.codec.payload_bytes_max = 4 * LIMIT
        handle = await client.start(wf)
        async with rig.worker(client, wf):
            await rig.waits(handle, "go")
        client.link.codec.payload_bytes_max = LIMIT
        await handle.signal("go")
        async with rig.worker(client, wf):
            assert await rig.end(handle) == 2 * LIMIT - 2
    assert ran == [2 * LIMIT - 2]


async def test_the_result_of_a_run_at_the_limit_one_over_and_far_over(rig: Any) -> None:
    async with rig.serving(makes) as client:
        assert await rig.run(client, makes, LIMIT) == text_of(LIMIT)
        for size in (LIMIT + 1, FAR_OVER):
            with pytest.raises(RunFailed) as failed:
                await rig.run(client, makes, size)
            assert type(failed.value.__cause__) is PayloadTooLarge
            assert NAMED in str(failed.value.__cause__)


async def test_what_a_step_has_returned_can_be_undone_however_large_it_is(rig: Any) -> None:
    undone: list[int] = []

    @step
    async def undo(text: str) -> None:
        undone.append(len(text))

    @step(undo=undo)
    async def do() -> str:
        return text_of(LIMIT)

    @workflow
    async def wf(ctx: Context) -> None:
        async with ctx.saga():
            await ctx.step(do)
            raise ValueError("no")

    async with rig.serving(wf) as client:
        with pytest.raises(RunFailed):
            await rig.run(client, wf)
    assert undone == [LIMIT - 2]


CLIENT: dict[str, tuple[int, Callable[[Client, int], Awaitable[Any]]]] = {
    "input": (LIMIT, lambda client, size: client.start(takes, text_of(size - 2))),
    "bound input": (LIMIT, lambda client, size: client.start(takes.bind(text=text_of(size - 2)))),
    "input by name": (LIMIT, lambda client, size: client.start("takes", text_of(size - 2))),
    "signal": (LIMIT, lambda client, size: client.signal("standing", "s", text_of(size))),
    "cancel reason": (LIMIT - 10, lambda client, size: client.cancel("standing", text_of(size))),
    "on_complete_context": (
        LIMIT // 2,
        lambda client, size: client.start(idle, on_complete=after, on_complete_context=text_of(size)),
    ),
}


@pytest.mark.parametrize("door", CLIENT)
async def test_a_payload_of_a_client_at_the_limit_one_over_and_far_over(rig: Any, door: str) -> None:
    limit, hand_over = CLIENT[door]
    async with rig.serving(takes, idle, after) as client:
        standing = await client.start(idle, id="standing", delay="1h")
        for size in (limit + 1, FAR_OVER):
            began = time.perf_counter()
            with pytest.raises(PayloadTooLarge, match=f"the limit is (1,048,576|{limit:,})"):
                await hand_over(client, size)
            assert time.perf_counter() - began < rig.soon(5)
        assert await client.count() == 1
        assert await client.store.messages(RunId("standing")) == []
        await hand_over(client, limit)
        assert (await standing.status()).state == ("cancelled" if door == "cancel reason" else "pending")


@pytest.mark.nightly
@pytest.mark.parametrize("door", ["input", "signal"])
async def test_a_payload_of_a_gibibyte_costs_a_few_copies_of_itself_and_no_run_notices(rig: Any, door: str) -> None:
    _, hand_over = CLIENT[door]
    async with rig.serving(takes, idle) as client:
        await client.start(idle, id="standing", delay="1h")
        tracemalloc.start()
        try:
            try:  # not ``pytest.raises``, which keeps the traceback, and with it the text
                await hand_over(client, 1_000 * LIMIT)
                refused = False
            except PayloadTooLarge:
                refused = True
            assert refused
            assert tracemalloc.get_traced_memory()[1] < 5_000 * LIMIT
            assert await rig.run(client, takes, "after") == 5
            await asyncio.sleep(0.1)  # not at once: whoever watches for stalls may have looked at the frames
            gc.collect()
            assert tracemalloc.get_traced_memory()[0] < 50 * LIMIT
        finally:
            tracemalloc.stop()


async def test_unread_signals_at_the_limit_one_over_and_far_over(rig: Any) -> None:
    limit = defaults.UNREAD_SIGNALS_MAX
    async with rig.serving(idle, takes) as client:
        handle = await client.start(idle, delay="1h")
        run = RunId(handle.id)
        flood = [Message(run, MessageId(f"m{n}"), MessageKind.SIGNAL, "s", b"1") for n in range(limit - 1)]
        for start in range(0, len(flood), 1_000):
            await client.store.send(flood[start : start + 1_000])
        await handle.signal("s", "the last")
        for n in range(50):
            with pytest.raises(StoreFull, match="10,000"):
                await handle.signal("s", n)
        assert len(await client.store.messages(run, after=limit - 1)) == 1
        assert await client.store.messages(run, after=limit) == []
        await handle.cancel("no signal, so it is not refused")
        assert await rig.run(client, takes, "another run") == len("another run")


async def test_a_journal_at_the_limit_and_one_over(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "JOURNAL_ENTRIES_MAX", 30)

    @workflow
    async def long(ctx: Context, entries: int) -> int:
        for n in range(entries):
            await ctx.step("s", lambda n=n: n)
        await ctx.wait_for_signal("go")
        return entries

    async with rig.serving(long, takes) as client:
        fits = await client.start(long, 29)
        await fits.signal("go")
        assert await rig.end(fits) == 29
        for entries in (31, 1_000):
            blocked = await rig.state(await client.start(long, entries), "blocked")
            assert "more than 30 entries" in blocked.error
        assert await rig.run(client, takes, "another") == 7


async def test_children_at_the_limit_and_one_over(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "CHILDREN_MAX", 5)

    @workflow
    async def parent(ctx: Context, children: int) -> str:
        try:
            for n in range(children):
                await ctx.child(takes.options(id=f"{ctx.run_id}-{n}"), "x")
        except WorkflowCodeError as error:
            return str(error)
        return "all"

    async with rig.serving(parent, takes) as client:
        assert await rig.run(client, parent, 5) == "all"
        for children in (6, 100):
            handle = await client.start(parent, children)
            said = await asyncio.wait_for(handle.result(), rig.soon(10))
            assert "5 children, which is the limit" in said
            assert await client.count(parent=handle.id) == 5


async def test_a_page_at_the_limit_one_over_and_far_over(rig: Any) -> None:
    async with rig.serving() as client:
        for _ in range(3):
            await client.start(idle)
        assert len(await client.list(limit=1)) == 1
        assert len(await client.list(limit=defaults.PAGE_SIZE_MAX)) == 3
        for limit in (0, -1, 1_001, 1_000_000, 2**63, 2**70, True, 1.0):
            with pytest.raises(InvalidInput, match="1 to 1000"):
                await client.list(limit=limit)
            if type(limit) is int and limit < 2**63:
                with pytest.raises(InvalidInput):
                    await client.store.list(query_of_everything(), limit)


def query_of_everything() -> Any:
    from durable.store import RunQuery

    return RunQuery()


async def test_a_duration_at_the_limit_one_over_and_far_over(rig: Any) -> None:
    limit = defaults.TIMER_SECONDS_MAX

    @workflow
    async def sleeps(ctx: Context, seconds: float) -> str:
        try:
            await ctx.sleep("long", seconds)
        except InvalidInput as error:
            return str(error)
        return "over"

    async with rig.serving(sleeps) as client:
        handle = await client.start(sleeps, limit)
        await rig.waits(handle, "long")
        await client.start(sleeps, 0.0, delay=limit)
        for over in (math.nextafter(limit, math.inf), limit * 1_000, 1e308):
            assert "100 years" in await rig.run(client, sleeps, over)
            with pytest.raises(InvalidInput, match="100 years"):
                await client.start(sleeps, 0.0, delay=over)


async def test_what_is_too_much_for_one_commit_takes_several(rig: Any) -> None:
    items, size = defaults.COMMIT_ITEMS_MAX * 3 + 1, defaults.COMMIT_BYTES_MAX // 10

    @workflow
    async def busy(ctx: Context) -> str:
        for n in range(items):
            ctx.emit("many", n)
        for n in range(25):
            ctx.set(f"large {n}", "x" * size)
        return "done"

    async with rig.serving(busy) as client:
        handle = await client.start(busy)
        assert await rig.end(handle) == "done"
        assert [item async for item in handle.stream("many")] == list(range(items))
        assert {len(value) for value in (await handle.values()).values()} == {size}


async def test_a_refused_result_is_the_end_of_its_step_and_not_tried_again(rig: Any) -> None:
    """Its effect has happened; another try would only have it happen again."""
    from durable import NotSerializable, Retry

    tried: list[str] = []

    @step(retry=Retry(5, initial=0, jitter=0))
    async def odd(kind: str) -> Any:
        tried.append(kind)
        return {"object": object(), "large": "x" * 2_000_000, "surrogate": "\ud800"}[kind]

    @workflow
    async def wf(ctx: Context, kind: str) -> None:
        await ctx.step(odd, kind)

    async with rig.serving(wf, takes) as client:
        for kind, error in (("object", NotSerializable), ("large", PayloadTooLarge), ("surrogate", NotSerializable)):
            handle = await client.start(wf, kind)
            with pytest.raises(RunFailed) as failed:
                await rig.end(handle)
            assert type(failed.value.__cause__) is error
            assert "step 'odd'" in str(failed.value.__cause__)
            assert [row.event for row in await handle.history()] == ["step_failed"]
        assert tried == ["object", "large", "surrogate"]
        assert await rig.run(client, takes, "next") == 4
