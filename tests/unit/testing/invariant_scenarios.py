"""Scenarios whose traces the checker is tried on: between them they do nearly everything that a run can do.

They tell nothing wrong under any schedule of faults; what they return does not matter, only what the trace shows.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from durable import (
    Context,
    DurableError,
    InvalidInput,
    NonRetryable,
    Retry,
    RunConflict,
    RunEnded,
    StoreError,
    step,
    workflow,
)
from durable_testing.sim import Sim, code_of
from durable_testing.trial import Setting

tries: dict[str, int] = {}


@step
async def one(n: int) -> int:
    return n


@step
async def slow(n: int) -> int:
    await asyncio.sleep(3)
    return n


@step(retry=Retry(4, initial="2s", jitter=0.5))
async def shaky(key: str) -> str:
    tries[key] = tries.get(key, 0) + 1
    if tries[key] < 3:
        raise OSError(f"try {tries[key]}")
    return key


@step(effect="at_most_once")
async def once(n: int) -> int:
    await asyncio.sleep(0.3)
    return n


@step(effect="at_most_once", on_unknown="raise", retry=Retry(2, initial="1s"))
async def once_or_raise(n: int) -> int:
    await asyncio.sleep(0.3)
    return n


@step
async def undo(n: int) -> None:
    await asyncio.sleep(0.1)


@step(undo=undo)
async def book(n: int) -> int:
    return n


@step(retry=Retry(2, initial="1s"))
async def refuse() -> None:
    raise NonRetryable("no")


@step(queue="far", retry=Retry(3, initial="1s"))
async def far(n: int) -> int:
    return n + 1


@workflow
async def steps(ctx: Context, n: int) -> int:
    total = sum([await ctx.step(one, k) for k in range(n)])
    await ctx.step(shaky, f"{ctx.run_id}/a")
    ctx.set("total", total)
    return total + await ctx.step(slow, 1)


@workflow
async def signals(ctx: Context) -> list[Any]:
    got: list[Any] = [await ctx.wait_for_signal("go")]
    for _ in range(3):
        try:
            got.append(await ctx.wait_for_signal("go", timeout="4s"))
        except TimeoutError:
            got.append(await ctx.step(one, len(got)))
    both = await asyncio.gather(ctx.wait_for_signal("a", timeout="20s"), ctx.wait_for_signal("a"))
    return [*got, *both]


@workflow
async def child(ctx: Context, n: int) -> int:
    await ctx.sleep(n)
    if n == 3:
        raise ValueError("three")
    return await ctx.step(one, n)


@workflow
async def lasting(ctx: Context) -> int:
    try:
        await ctx.sleep("1h")
    finally:
        await ctx.step(undo, 1)
    return 1


@workflow
async def children(ctx: Context) -> list[Any]:
    asyncio.ensure_future(ctx.child(lasting.options(id=f"{ctx.run_id}.kill", on_parent_close="terminate")))
    asyncio.ensure_future(ctx.child(lasting.options(on_parent_close="cancel")))
    asyncio.ensure_future(ctx.child(child.options(on_parent_close="abandon"), 7))
    found = await asyncio.gather(*(ctx.child(child, n) for n in range(4)), return_exceptions=True)
    return [str(one) for one in found]


@workflow
async def branches(ctx: Context) -> int:
    async def branch(n: int) -> int:
        await ctx.sleep(n % 3)
        await ctx.step(one, n)
        return await ctx.step(slow, n)

    total = sum(await asyncio.gather(*(branch(n) for n in range(4))))
    try:
        async with asyncio.timeout(1):
            await ctx.step(slow, 9)
    except TimeoutError:
        await ctx.step(one, 1)
    return total + sum(await ctx.map(one, range(5), limit=2))


@workflow
async def onward(ctx: Context, n: int) -> int:
    await ctx.step(one, n)
    ctx.emit("n", n)
    got = await ctx.wait_for_signal("next")
    if n < 3:
        raise ctx.continue_as(onward, n + 1)
    return int(got)


@workflow(retry=Retry(3, initial="2s"))
async def again(ctx: Context) -> int:
    await ctx.step(one, 1)
    await ctx.sleep(1)
    key = f"{ctx.run_id}/again"
    if (await ctx.step("count", lambda: tries.setdefault(key, 0) + 1)) < 3:
        tries[key] += 1
        raise RuntimeError("once more")
    return 1


@workflow
async def careful(ctx: Context) -> str:
    await ctx.step(one, 1)
    await ctx.step(once, 1)
    try:
        await ctx.step(once_or_raise, 2)
    except DurableError:
        await ctx.step(one, 2)
    return "done"


@workflow(timeout="30s")
async def trip(ctx: Context) -> str:
    async with ctx.saga():
        await asyncio.gather(ctx.step(book, 1), ctx.step(book, 2))
        await ctx.step(far, 3)
        await ctx.step(refuse)
    return "booked"


@workflow(timeout="5s")
async def limited_short(ctx: Context) -> None:
    await ctx.step(one, 1)
    await ctx.sleep("1h")


@workflow(concurrency=2)
async def crowd(ctx: Context, n: int) -> int:
    return await ctx.step(slow, n)


@workflow
async def after(ctx: Context, completion: Any) -> str:
    return str(await ctx.step(one, 1))


WORKFLOWS = [
    steps,
    signals,
    child,
    lasting,
    children,
    branches,
    onward,
    again,
    careful,
    trip,
    limited_short,
    crowd,
    after,
]
STEPS = [far]

Told = Callable[[Sim], Awaitable[None]]


async def weathered(sim: Sim, ask: Callable[[], Awaitable[Any]]) -> Any:
    """As a patient client: says it again until the store can be reached."""
    for _ in range(20):
        try:
            return await ask()
        except StoreError:
            await sim.advance(seconds=7)
    return await ask()


async def end_of(sim: Sim, handle: Any) -> None:
    for _ in range(30):
        state = (await weathered(sim, handle.status)).state
        if state in ("completed", "failed", "cancelled"):
            return
        if state == "blocked":
            await unblocked(sim, handle)
        await sim.advance(seconds=20)


async def unblocked(sim: Sim, handle: Any) -> None:
    """As a person who looks at what has happened: it did not."""
    status = await weathered(sim, handle.status)
    if status.state != "blocked":
        return
    try:
        await handle.settle("once", not_done=True)
    except DurableError:
        await weathered(sim, handle.resume)


async def tell_steps(sim: Sim) -> None:
    handle = await weathered(sim, lambda: sim.start(steps, 5, id="s"))
    await weathered(sim, lambda: sim.start(steps, 5, id="s"))
    await end_of(sim, handle)


async def tell_signals(sim: Sim) -> None:
    handle = await weathered(sim, lambda: sim.start(signals, id="w"))
    for n in range(6):
        name = "go" if n < 4 else "a"
        with contextlib.suppress(RunEnded):  # an acknowledgement was lost, and the run did not wait for the repeat
            await weathered(sim, lambda name=name, n=n: handle.signal(name, n, id=f"{name}-{n}"))  # type: ignore[misc]
        await sim.advance(seconds=(0, 6, 0.1, 3, 1, 0)[n])
    with contextlib.suppress(RunEnded):
        await weathered(sim, lambda: handle.signal("go", 1, id="go-1"))


async def tell_children(sim: Sim) -> None:
    handle = await weathered(sim, lambda: sim.start(children, id="p", on_complete=after))
    await end_of(sim, handle)
    await sim.advance(seconds=30)


async def tell_branches(sim: Sim) -> None:
    await end_of(sim, await weathered(sim, lambda: sim.start(branches, id="b")))


async def tell_onward(sim: Sim) -> None:
    handle = await weathered(sim, lambda: sim.start(onward, 0, id="o"))
    for n in range(4):
        with contextlib.suppress(RunEnded):
            await weathered(sim, lambda n=n: handle.signal("next", n, id=f"n{n}"))  # type: ignore[misc]
    await end_of(sim, handle)
    await end_of(sim, await weathered(sim, lambda: sim.start(again, id="again")))


async def tell_cancels(sim: Sim) -> None:
    handle = await weathered(sim, lambda: sim.start(lasting, id="c"))
    await sim.advance(seconds=2)
    await weathered(sim, lambda: handle.cancel(reason="enough"))
    await weathered(sim, handle.cancel)
    parent = await weathered(sim, lambda: sim.start(children, id="p"))
    await sim.advance(seconds=1)
    with contextlib.suppress(RunEnded):
        await weathered(sim, parent.cancel)
    await end_of(sim, handle)
    await end_of(sim, parent)
    other = await weathered(sim, lambda: sim.start(steps, 9, id="t"))
    await sim.advance(seconds=1)
    with contextlib.suppress(RunEnded):
        await weathered(sim, lambda: other.terminate())
    doomed = await weathered(sim, lambda: sim.start(children, id="q", on_complete=after))
    await sim.advance(seconds=1)
    with contextlib.suppress(RunEnded):
        await weathered(sim, lambda: doomed.terminate())
    await sim.advance(seconds=20)


async def tell_pauses(sim: Sim) -> None:
    handle = await weathered(sim, lambda: sim.start(branches, id="b"))
    for seconds in (0.5, 3, 1):
        await sim.advance(seconds=seconds)
        try:
            await handle.pause()
        except DurableError:
            pass
        await sim.advance(seconds=seconds)
        try:
            await handle.resume()
        except DurableError:
            pass
    await sim.advance(seconds=1)
    try:
        await weathered(sim, handle.resume)
    except DurableError:
        pass
    await end_of(sim, handle)


async def tell_careful(sim: Sim) -> None:
    await end_of(sim, await weathered(sim, lambda: sim.start(careful, id="a")))


async def tell_trips(sim: Sim) -> None:
    handle = await weathered(sim, lambda: sim.start(trip, id="trip"))
    short = await weathered(sim, lambda: sim.start(limited_short, id="l"))
    await end_of(sim, handle)
    await end_of(sim, short)
    with contextlib.suppress(RunConflict):  # the acknowledgement of the first try was lost
        await weathered(sim, handle.retry)
    await end_of(sim, handle)
    with contextlib.suppress(RunConflict, InvalidInput):  # likewise; or it was too late for the step to run
        await weathered(sim, lambda: handle.fork(at="book", id="fork"))
        await end_of(sim, sim.handle("fork"))


async def tell_crowds(sim: Sim) -> None:
    handles = [
        await weathered(sim, lambda n=n: sim.start(crowd, n, id=f"c{n}", priority=n % 3))  # type: ignore[misc]
        for n in range(6)
    ]
    for handle in handles:
        await end_of(sim, handle)
    first = await weathered(sim, lambda: sim.start(steps, 2, id="s"))
    await sim.advance(seconds=1)
    await weathered(sim, lambda: sim.start(steps, 3, id="s", if_exists="replace", request_id="r1"))
    await weathered(sim, lambda: sim.start(steps, 3, id="s", if_exists="replace", request_id="r1"))
    await end_of(sim, first)


async def tell_purges(sim: Sim) -> None:
    for _ in range(2):
        handle = await weathered(sim, lambda: sim.start(steps, 2, id="s"))
        await end_of(sim, handle)
        await weathered(sim, lambda: sim.purge(ids=["s"]))  # type: ignore[attr-defined]
        with contextlib.suppress(DurableError):
            await handle.signal("late")


async def tell_poison(sim: Sim) -> None:
    other = await weathered(sim, lambda: sim.start(branches, id="b"))
    handle = await weathered(sim, lambda: sim.start(crowd, 1, id="p"))
    for _ in range(6):
        sim.crash(at="slow")
        await sim.advance(seconds=25)
    await end_of(sim, handle)
    await end_of(sim, other)


async def tell_killer(sim: Sim) -> None:
    """Every attempt takes its worker along, until the crash budget is spent and a person helps."""
    handle = await weathered(sim, lambda: sim.start(steps, 0, id="k"))
    for n in range(500):
        if n % 20 == 0 and (await weathered(sim, handle.status)).state == "blocked":
            break
        sim.crash(at="before shaky")
        await sim.advance(seconds=2)
    sim.world.crash_points.clear()
    with contextlib.suppress(DurableError):
        await weathered(sim, handle.resume)
    await end_of(sim, handle)


SCENARIOS: dict[str, Told] = {
    "steps": tell_steps,
    "signals": tell_signals,
    "children": tell_children,
    "branches": tell_branches,
    "onward": tell_onward,
    "cancels": tell_cancels,
    "pauses": tell_pauses,
    "careful": tell_careful,
    "trips": tell_trips,
    "crowds": tell_crowds,
    "purges": tell_purges,
    "poison": tell_poison,
    "killer": tell_killer,
}


def setting(name: str, *, url: str = "memory://", options: dict[str, Any] | None = None) -> Setting:
    """One of the scenarios, ready to be carried out."""

    async def told(sim: Sim) -> None:
        tries.clear()
        await SCENARIOS[name](sim)

    return Setting(told, code_of(WORKFLOWS, STEPS, None, options), url=url)
