"""Several things at once."""

from __future__ import annotations

import asyncio
from itertools import count

from durable import Context, NonRetryable, step, workflow
from durable_testing.catalogue.checks import coherent, outcome
from durable_testing.catalogue.entry import Entry
from durable_testing.sim import Sim

__all__ = ["ENTRIES"]


@step
async def draw(branch: int) -> int:
    """Stubbed: each time another number, which tells its branch."""
    raise NotImplementedError


@step
async def stamp(branch: int, ticket: int) -> int:
    """Give the ticket back."""
    return ticket


@workflow
async def branches(ctx: Context, number: int) -> list[int]:
    """Each branch hands on what it has drawn."""

    async def branch(n: int) -> int:
        return await ctx.step(stamp, n, await ctx.step(draw, n))

    return await asyncio.gather(*(branch(n) for n in range(number)))


async def nothing_crosses_over(sim: Sim) -> None:
    """No branch gets the outcome of another."""
    numbers = count(1)
    sim.stub(draw, lambda branch: 1000 * branch + next(numbers))
    result = await (await sim.start(branches, 4, id="branches")).result()
    assert [ticket // 1000 for ticket in result] == [0, 1, 2, 3], result
    assert all(ran.args[1] // 1000 == ran.args[0] for ran in sim.calls(stamp))
    assert {ran.args[1] for ran in sim.calls(stamp)} == set(result)
    coherent(sim)


@step
async def take(name: str, seconds: float) -> str:
    """As long as it is told."""
    await asyncio.sleep(seconds)  # noqa: TID251 -- a step, in simulated time
    return name


@step
async def crown(name: str) -> str:
    """For the winner."""
    return name


@workflow
async def race(ctx: Context) -> list[str]:
    """First come, first served, and then the others."""
    runners = [asyncio.ensure_future(ctx.step(take, name, s)) for name, s in (("hare", 2.0), ("tortoise", 3.0))]
    done, left = await asyncio.wait(runners, return_when=asyncio.FIRST_COMPLETED)
    winner = await ctx.step(crown, next(task for task in runners if task in done).result())
    for task in left:
        task.cancel()
    order = [await each for each in asyncio.as_completed([ctx.step(take, "dog", 2.0), ctx.step(take, "cat", 1.0)])]
    return [winner, *order]


async def one_winner(sim: Sim) -> None:
    """Who has won stays the winner, through every replay."""
    result = await (await sim.start(race, id="race")).result()
    assert result[0] in ("hare", "tortoise")
    assert sorted(result[1:]) == ["cat", "dog"]
    assert {ran.args for ran in sim.calls(crown)} == {(result[0],)}
    coherent(sim)


@step
async def stumble(name: str) -> None:
    """Fails after a second."""
    await asyncio.sleep(1.0)  # noqa: TID251 -- a step, in simulated time
    raise NonRetryable(name)


@workflow
async def group(ctx: Context) -> list[str]:
    """One of three fails; the others are cancelled, one of them cleans up."""
    told: list[str] = []

    async def tidy() -> None:
        try:
            await ctx.sleep("1h")
        finally:
            told.append(await ctx.step(crown, "tidied"))

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(tidy())
            tasks.create_task(ctx.step(take, "long", 1e6))
            tasks.create_task(ctx.step(stumble, "fell"))
    except* NonRetryable as errors:
        told += [str(error) for error in errors.exceptions]
    return told


async def one_of_the_group_fails(sim: Sim) -> None:
    """The failure comes out when the others have ended, clean-up included."""
    assert await outcome(await sim.start(group, id="group")) == "completed: ['tidied', 'fell']"
    coherent(sim)


@workflow
async def scope(ctx: Context) -> list[str]:
    """What takes too long is given up; life goes on."""
    told = []
    try:
        async with asyncio.timeout(5.0):
            told.append(await ctx.step(take, "too long", 1e6))
    except TimeoutError:
        told.append(await ctx.step(crown, "on time"))
    try:
        await asyncio.wait_for(ctx.sleep("1d"), 5.0)
    except TimeoutError:
        told.append("awake")
    return told


async def given_up_in_time(sim: Sim) -> None:
    """The time limits of asyncio are durable ones, and run from when the run began."""
    began = sim.now().timestamp()
    assert await outcome(await sim.start(scope, id="scope")) == "completed: ['on time', 'awake']"
    assert sim.calls(crown)[0].at - began >= 5.0 - 1e-3
    coherent(sim)


@step
async def size(item: str) -> int:
    """Fails for one of them."""
    await asyncio.sleep(1.0)  # noqa: TID251 -- a step, in simulated time
    if item == "":
        raise NonRetryable("nothing there")
    return len(item)


@workflow
async def mapped(ctx: Context, items: list[str]) -> tuple[list[int], int, str]:
    """``ctx.map`` and ``ctx.parallel``."""
    sizes = await ctx.map(size, items, limit=2, tolerate=1)
    one, other = await ctx.parallel(ctx.step(size, "four"), ctx.step(take, "five", 0.5))
    return sizes, one, other


async def sized(sim: Sim) -> None:
    """Results in the order of the items, the tolerated failure left out."""
    handle = await sim.start(mapped, ["a", "", "ccc", "dddd"], id="mapped")
    assert await outcome(handle) == "completed: ([1, 3, 4], 4, 'five')"
    coherent(sim)


ENTRIES = (
    Entry("branches of two steps", nothing_crosses_over, (branches,), confluent=False),
    Entry("race", one_winner, (race,), confluent=False),
    Entry("task group with a failure", one_of_the_group_fails, (group,)),
    Entry("time limits of asyncio", given_up_in_time, (scope,)),
    Entry("map and parallel", sized, (mapped,)),
)
