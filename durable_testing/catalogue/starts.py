"""How runs begin, how many at once, and how long they may take."""

from __future__ import annotations

import asyncio
from typing import Literal

from durable import Context, Retry, RunConflict, step, workflow
from durable_testing.catalogue.checks import coherent, keys, outcome
from durable_testing.catalogue.entry import Entry
from durable_testing.sim import Sim

__all__ = ["ENTRIES"]


@step
async def work(name: str) -> str:
    """Something to do."""
    return name


@workflow
async def job(ctx: Context, name: str) -> str:
    """One step."""
    return await ctx.step(work, name)


async def started_many_times(sim: Sim) -> None:
    """One id is one run; who comes with something else is told."""
    handles = await asyncio.gather(*(sim.start(job, "a", id="job") for _ in range(3)))
    assert {await outcome(handle) for handle in handles} == {"completed: 'a'"}
    conflicts: tuple[tuple[str, Literal["attach", "reject"]], ...] = (("b", "attach"), ("a", "reject"))
    for other, if_exists in conflicts:
        try:
            await sim.start(job, other, id="job", if_exists=if_exists)
        except RunConflict:
            continue
        raise AssertionError(f"a conflicting start ({if_exists}) was accepted")
    fresh = await sim.start(job, "c", id="fresh", if_exists="reject")
    assert await outcome(fresh) == "completed: 'c'"
    assert len(keys(sim.calls(work))) == await sim.count() == 2
    coherent(sim)


async def replaced(sim: Sim) -> None:
    """A replacement takes place once, however often it is asked for."""
    first = await sim.start(job, "old", id="job")
    second = await sim.start(job, "new", id="job", if_exists="replace", request_id="r1")
    assert (await sim.start(job, "new", id="job", if_exists="replace", request_id="r1")).id == second.id
    assert await outcome(second) == "completed: 'new'"
    assert await outcome(first) == "completed: 'new'"
    assert (await second.status()).generation == 2
    coherent(sim)


async def later(sim: Sim) -> None:
    """Not before its time, whatever its priority."""
    began = sim.now().timestamp()
    low = await sim.start(job, "low", id="low", delay="10s")
    high = await sim.start(job, "high", id="high", delay="10s", priority=5)
    now = await sim.start(job, "now", id="now")
    assert [await outcome(each) for each in (low, high, now)] == [f"completed: {n!r}" for n in ("low", "high", "now")]
    for ran in sim.calls(work):
        assert ran.args == ("now",) or ran.at >= began + 10 - 1e-3, f"{ran.args} at {ran.at - began} s"
    coherent(sim)


@step
async def attempt(generation: int) -> int:
    """Fails in the first generations."""
    if generation < 3:
        raise ConnectionError(generation)
    return generation


@workflow(retry=Retry(4, initial="5s", jitter=0))
async def stubborn(ctx: Context) -> int:
    """The whole run anew."""
    await ctx.step(work, "begin")
    return await ctx.step(attempt, ctx.generation)


async def the_whole_run_again(sim: Sim) -> None:
    """A run that has failed begins anew as often as its policy says, and not at once."""
    handle = await sim.start(stubborn, id="stubborn")
    assert await outcome(handle) == "completed: 3"
    assert {ran.generation for ran in sim.calls(work)} == {1, 2, 3}
    begins = {ran.generation: ran.at for ran in reversed(sim.calls(work))}
    failed = {ran.generation: ran.at for ran in reversed(sim.calls(attempt))}
    assert begins[2] - failed[1] >= 5 - 1e-3
    assert begins[3] - failed[2] >= 10 - 1e-3
    coherent(sim)


@workflow(timeout="20s")
async def limited(ctx: Context) -> str:
    """Would take an hour."""
    try:
        await ctx.sleep("1h")
    finally:
        await ctx.step(work, "tidied")
    return "not reached"


async def out_of_time(sim: Sim) -> None:
    """The run is cancelled by its own limit, and may clean up."""
    began = sim.now().timestamp()
    result = await outcome(await sim.start(limited, id="limited"))
    assert result.startswith("failed: TimeoutError"), result
    assert sim.calls(work)[0].at - began >= 20 - 1e-3
    coherent(sim)


@step
async def stay(name: str) -> str:
    """Two seconds in a room for one."""
    await asyncio.sleep(2.0)  # noqa: TID251 -- a step, in simulated time
    return name


@workflow(concurrency=1)
async def single(ctx: Context, name: str) -> str:
    """One at a time in each worker."""
    return await ctx.step(stay, name)


async def one_at_a_time(sim: Sim) -> None:
    """Each gets its turn."""
    handles = [await sim.start(single, name, id=name) for name in ("a", "b", "c")]
    assert [await outcome(handle) for handle in handles] == ["completed: 'a'", "completed: 'b'", "completed: 'c'"]
    coherent(sim)


ENTRIES = (
    Entry("one id, many starts", started_many_times, (job,)),
    Entry("replace", replaced, (job,), small=True),
    Entry("delay and priority", later, (job,), worker_options={"concurrency": 1}),
    Entry("retry of the whole run", the_whole_run_again, (stubborn,)),
    Entry("time limit of the whole run", out_of_time, (limited,), small=True),
    Entry("one run at a time", one_at_a_time, (single,)),
)
