"""Two parts of the engine at once: cancels that meet families, retries that meet children, and the like."""

from __future__ import annotations

import asyncio

from durable import Context, NonRetryable, Retry, Signal, step, workflow
from durable_testing.catalogue.checks import coherent, keys, outcome, until
from durable_testing.catalogue.entry import Entry
from durable_testing.sim import Sim

__all__ = ["ENTRIES"]

numbers = Signal("numbers", int)


@step
async def work(name: str) -> str:
    """Something to do."""
    return name


@workflow
async def tenant(ctx: Context, name: str) -> str:
    """Stays for two days; if it is told to go, it cleans up."""
    await ctx.step(work, f"{name} moves in")
    try:
        await ctx.sleep("2d")
    except asyncio.CancelledError:
        await ctx.step(work, f"{name} cleans up")
        raise
    return name


@workflow
async def house(ctx: Context) -> list[str]:
    """Waits for two tenants."""
    try:
        return await asyncio.gather(*(ctx.child(tenant.options(id=name), name) for name in ("ann", "bob")))
    finally:
        await ctx.step(work, "house is locked")


async def cancelled_with_its_children(sim: Sim) -> None:
    """A cancel reaches the children that are waited for; each cleans up what it has begun."""
    handle = await sim.start(house, id="house")
    await sim.advance(seconds=3)
    await handle.cancel("sold")
    assert await outcome(handle) == "cancelled"
    for name in ("ann", "bob"):
        tenants = await sim.list(id_prefix=name)
        if not tenants.runs:
            continue  # the cancel came before the house had opened
        assert await outcome(sim.handle(name, tenant)) == "cancelled"
        done = [entry.call for entry in await sim.handle(name).history() if entry.event == "step_completed"]
        assert len(done) in (0, 2) or done == ["0/step/work#0"], done
    coherent(sim)


@step
async def brittle() -> None:
    """Stubbed: fails until it is mended."""
    raise NotImplementedError


@workflow
async def helper(ctx: Context, name: str) -> str:
    """A child."""
    return await ctx.step(work, name)


@workflow
async def builder(ctx: Context) -> list[str]:
    """One child before the step that fails, one after it, one beside it."""
    beside = asyncio.ensure_future(ctx.child(helper.options(id="beside"), "beside"))
    told = [await ctx.child(helper.options(id="before"), "before")]
    await ctx.step(brittle)
    told.append(await ctx.child(helper, "after"))
    return [*told, await beside]


async def retried_with_children(sim: Sim) -> None:
    """A child whose outcome the journal keeps is not asked again; the others belong to the retry."""
    mended = False

    def perhaps() -> None:
        if not mended:
            raise NonRetryable("broken")

    sim.stub(brittle, perhaps)
    handle = await sim.start(builder, id="builder")
    assert await outcome(handle) == "failed: NonRetryable('broken')"
    mended = True
    await handle.retry()
    assert await outcome(handle) == "completed: ['before', 'after', 'beside']"
    assert len(keys(ran for ran in sim.calls(work) if ran.args == ("before",))) == 1
    coherent(sim)


@workflow
async def stroll(ctx: Context, name: str) -> str:
    """Steps and rests."""
    for number in range(3):
        await ctx.step(work, f"{name} {number}")
        await ctx.sleep(2.0)
    return name


async def replaced_in_the_middle(sim: Sim) -> None:
    """The old generation is fenced out; what it has published, and its signals, are gone."""
    first = await sim.start(stroll, "old", id="stroll")
    await sim.advance(seconds=3)
    second = await sim.start(stroll, "new", id="stroll", if_exists="replace", request_id="r1")
    assert await outcome(second) == await outcome(first) == "completed: 'new'"
    assert (await second.status()).generation == 2
    assert {ran.args[0].split()[0] for ran in sim.calls(work) if ran.generation == 2} == {"new"}
    coherent(sim)


@step(retry=Retry(3, initial="2d", max_interval="2d"))
async def stubborn() -> None:
    """Fails, and is patient."""
    raise ConnectionError


@workflow
async def backing_off(ctx: Context) -> None:
    """Waits two days for its second attempt."""
    await ctx.step(stubborn)


async def cancelled_between_attempts(sim: Sim) -> None:
    """Nobody waits for the end of a back-off to carry out a cancel."""
    handle = await sim.start(backing_off, id="backing off")
    await until(sim, lambda: bool(sim.calls(stubborn)), "the first attempt begins")
    await handle.cancel()
    asked = sim.now().timestamp()
    assert await outcome(handle) == "cancelled"
    assert len(keys(sim.calls(stubborn))) == 1
    assert max(ran.at for ran in sim.calls(stubborn)) <= asked + 86_400
    coherent(sim)


@workflow
async def dynasty(ctx: Context, told: list[str]) -> list[str]:
    """A child and a signal in each generation."""
    told.append(await ctx.child(helper, f"child {len(told)}"))
    number = await ctx.wait_for_signal(numbers)
    told.append(f"{number}")
    if len(told) < 6:
        raise ctx.continue_as(dynasty, told)
    return told


async def children_of_each_generation(sim: Sim) -> None:
    """A next generation has children of its own; their results go to nobody else."""
    handle = await sim.start(dynasty, [], id="dynasty")
    for number in range(3):
        await handle.signal(numbers, number, id=f"n{number}")
    assert await outcome(handle) == "completed: ['child 0', '0', 'child 2', '1', 'child 4', '2']"
    assert await sim.count() == 4
    coherent(sim)


@workflow
async def reader(ctx: Context) -> list[int]:
    """Two numbers."""
    return [await ctx.wait_for_signal(numbers), await ctx.wait_for_signal(numbers)]


async def unreadable_signals(sim: Sim) -> None:
    """What a wait cannot read is set aside, and the wait goes on."""
    handle = await sim.start(reader, id="reader")
    for payload in ("one", 1, None, 2):
        await handle.signal("numbers", payload, id=f"{payload}")
    assert await outcome(handle) == "completed: [1, 2]"
    coherent(sim)


ENTRIES = (
    Entry("cancel of a family", cancelled_with_its_children, (house, tenant), confluent=False),
    Entry("retry with children", retried_with_children, (builder, helper)),
    Entry("replace in the middle", replaced_in_the_middle, (stroll,)),
    Entry("cancel between attempts", cancelled_between_attempts, (backing_off,)),
    Entry("children of each generation", children_of_each_generation, (dynasty, helper)),
    Entry("signals that cannot be read", unreadable_signals, (reader,), small=True),
)
