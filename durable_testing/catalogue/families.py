"""Children, steps on other queues, and what follows an end."""

from __future__ import annotations

import asyncio

from durable import Context, NonRetryable, RunFailed, step, workflow
from durable._engine.closer import Completion
from durable_testing.catalogue.checks import coherent, keys, outcome
from durable_testing.catalogue.entry import Entry
from durable_testing.sim import Sim

__all__ = ["ENTRIES"]


@step
async def work(name: str) -> str:
    """Something to do."""
    return name


@workflow
async def child(ctx: Context, name: str) -> str:
    """A step, and perhaps a failure."""
    done = await ctx.step(work, name)
    if name == "bad":
        raise NonRetryable(done)
    return done


@workflow
async def parent(ctx: Context) -> list[str]:
    """Two children at once, and one that fails."""
    good = await asyncio.gather(ctx.child(child, "one"), ctx.child(child.options(id="named"), "two"))
    try:
        await ctx.child(child, "bad")
    except RunFailed as failed:
        return [*good, str(failed.__cause__)]
    return [*good]


async def children_awaited(sim: Sim) -> None:
    """Each child is one run, and its outcome reaches its parent once."""
    assert await outcome(await sim.start(parent, id="parent")) == "completed: ['one', 'two', 'bad']"
    assert await sim.count() == 4
    assert len(keys(sim.calls(work))) == 3
    coherent(sim)


@workflow
async def tree(ctx: Context, depth: int) -> int:
    """As many leaves as there are."""
    if depth == 0:
        await ctx.step(work, "leaf")
        return 1
    return sum(await asyncio.gather(*(ctx.child(tree, depth - 1) for _ in range(2))))


async def grandchildren(sim: Sim) -> None:
    """Three generations."""
    assert await outcome(await sim.start(tree, 2, id="tree")) == "completed: 4"
    assert await sim.count() == 7
    assert len(keys(sim.calls(work))) == 4
    coherent(sim)


@workflow
async def lodger(ctx: Context, name: str) -> str:
    """Stays for two days; if it is told to go, it cleans up."""
    await ctx.step(work, f"{name} moves in")
    try:
        await ctx.sleep("2d")
    except asyncio.CancelledError:
        await ctx.step(work, f"{name} cleans up")
        raise
    return await ctx.step(work, f"{name} has stayed")


@workflow
async def landlord(ctx: Context) -> str:
    """Ends long before its lodgers."""
    for policy in ("cancel", "terminate", "abandon"):
        asyncio.ensure_future(ctx.child(lodger.options(id=policy, on_parent_close=policy), policy))
    await ctx.sleep("10s")
    return "gone"


async def children_left_behind(sim: Sim) -> None:
    """Each child fares as its policy says."""
    assert await outcome(await sim.start(landlord, id="landlord")) == "completed: 'gone'"
    assert await outcome(sim.handle("abandon", lodger)) == "completed: 'abandon has stayed'"
    assert await outcome(sim.handle("cancel", lodger)) == "cancelled"
    assert await outcome(sim.handle("terminate", lodger)) == "cancelled"
    assert await sim.count() == 4
    done = {ran.args[0] for ran in sim.calls(work)}
    assert "terminate cleans up" not in done
    assert "abandon cleans up" not in done
    moved_in = [entry for entry in await sim.handle("cancel").history() if entry.event == "step_completed"]
    assert ("cancel cleans up" in done) == (len(moved_in) == 2), "the clean-up of the cancelled child"
    coherent(sim)


@step(queue="side")
async def afar(name: str) -> str:
    """On a worker of another queue."""
    if name == "bad":
        raise NonRetryable(name)
    return name


@workflow
async def caller(ctx: Context) -> list[str]:
    """Steps that others carry out."""
    told = [await ctx.step(afar, "one")]
    try:
        await ctx.step(afar, "bad")
    except NonRetryable as error:
        told.append(f"not {error}")
    return told


async def carried_out_elsewhere(sim: Sim) -> None:
    """A step on another queue behaves as one at home."""
    assert await outcome(await sim.start(caller, id="caller")) == "completed: ['one', 'not bad']"
    assert len(keys(sim.calls(afar))) == 2
    coherent(sim)


@step
async def told(kind: str, result: str | None, context: int) -> None:
    """Somebody hears of it."""


@workflow
async def follow_up(ctx: Context, completion: Completion) -> None:
    """Started when another run has ended."""
    await ctx.step(told, completion.kind, completion.result, completion.context)


async def followed_up(sim: Sim) -> None:
    """Every end is followed up exactly once, with its outcome."""
    good = await sim.start(child, "fine", id="good", on_complete=follow_up, on_complete_context=1)
    bad = await sim.start(child, "bad", id="bad", on_complete=follow_up, on_complete_context=2)
    assert [await outcome(good), await outcome(bad)] == ["completed: 'fine'", "failed: NonRetryable('bad')"]
    for run in (await sim.list(workflow=follow_up)).runs:
        assert run.parent in ("good", "bad")
    while await sim.count(workflow=follow_up, status="completed") < 2:
        await sim.advance(seconds=1)
        assert await sim.count(workflow=follow_up) <= 2
    assert {ran.args for ran in sim.calls(told)} == {("success", "fine", 1), ("error", None, 2)}
    coherent(sim)


ENTRIES = (
    Entry("children awaited", children_awaited, (parent, child)),
    Entry("grandchildren", grandchildren, (tree,)),
    Entry("children left behind", children_left_behind, (landlord, lodger)),
    Entry("steps on another queue", carried_out_elsewhere, (caller,), (afar,)),
    Entry("on_complete", followed_up, (child, follow_up)),
)
