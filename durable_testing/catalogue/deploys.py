"""New code for old runs."""

from __future__ import annotations

from durable import Context, step, workflow
from durable_testing.catalogue.checks import coherent, outcome
from durable_testing.catalogue.entry import Entry
from durable_testing.sim import Sim

__all__ = ["ENTRIES"]


@step
async def work(name: str) -> str:
    """Something to do."""
    return name


@step
async def work_anew(name: str) -> str:
    """Another step for another effect: an attempt of the old one, of which nobody heard, shares no key with it."""
    return name


@step
async def finish(name: str) -> str:
    """Another one still: behind the change, a second `work` would have the key of the old way's."""
    return name


@workflow("changing")
async def before(ctx: Context) -> list[str]:
    """As it was."""
    done = [await ctx.step(work, "first")]
    await ctx.sleep("10s")
    done.append(await ctx.step(work, "old way"))
    done.append(await ctx.step(finish, "last"))
    return done


@workflow("changing")
async def after(ctx: Context) -> list[str]:
    """As it is now."""
    done = [await ctx.step(work, "first")]
    await ctx.sleep("10s")
    if ctx.patched("new way"):
        done.append(await ctx.step(work_anew, "new"))
        done.append(await ctx.step(work_anew, "way"))
    else:
        done.append(await ctx.step(work, "old way"))
    done.append(await ctx.step(finish, "last"))
    return done


async def patched_on_the_way(sim: Sim) -> None:
    """A run takes one way, wholly, whenever the new code comes; one that begins after it takes the new one."""
    early = await sim.start(before, id="early")
    await sim.advance(seconds=5)
    result = await early.result()
    assert result in (["first", "old way", "last"], ["first", "new", "way", "last"]), result
    sim.redeploy()
    late = await sim.start(before, id="late")
    assert await late.result() == ["first", "new", "way", "last"]
    for run in ("early", "late"):
        committed = {entry.value for entry in await sim.handle(run).history()} & {"old way", "way"}
        assert len(committed) == 1, f"{run} went {committed}"
    coherent(sim)


@workflow
async def old_hand(ctx: Context) -> str:
    """Always there."""
    return await ctx.step(work, "old")


@workflow
async def newcomer(ctx: Context) -> str:
    """Comes with the next deploy."""
    return await ctx.step(work, "new")


async def served_after_a_deploy(sim: Sim) -> None:
    """A run whose code is not there yet waits for it, and costs nothing."""
    new = await sim.start(newcomer, id="new")
    assert await outcome(await sim.start(old_hand, id="old")) == "completed: 'old'"
    await sim.advance(seconds=30)
    sim.redeploy()
    assert await outcome(new) == "completed: 'new'"
    coherent(sim)


ENTRIES = (
    Entry("patched", patched_on_the_way, (before,), redeployed=(after,), confluent=False),
    Entry("code that comes later", served_after_a_deploy, (old_hand,), redeployed=(old_hand, newcomer), small=True),
)
