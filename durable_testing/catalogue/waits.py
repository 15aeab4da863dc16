"""Timers and signals."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from durable import Context, RunEnded, Signal, step, workflow
from durable_testing.catalogue.checks import coherent, outcome
from durable_testing.catalogue.entry import Entry
from durable_testing.sim import START, Sim

__all__ = ["ENTRIES"]

_EARLY = 1e-3  # float rounding of an instant as a datetime


@step
async def note(what: str) -> str:
    """Something that can be seen from outside."""
    return what


@workflow
async def nap(ctx: Context) -> None:
    """Two hours' sleep, in two halves."""
    await ctx.step(note, "down")
    await ctx.sleep("1h")
    await ctx.sleep("second half", "1h")
    await ctx.step(note, "up")


async def slept(sim: Sim) -> None:
    """Never less than was asked for."""
    assert await outcome(await sim.start(nap, id="nap")) == "completed: None"
    down = next(ran.at for ran in sim.calls(note) if ran.args == ("down",))
    up = next(ran.at for ran in sim.calls(note) if ran.args == ("up",))
    assert up - down >= 7200 - _EARLY, f"it slept {up - down} s"
    coherent(sim)


@workflow
async def alarm(ctx: Context) -> None:
    """Until an instant; a past one is over at once."""
    await ctx.sleep_until(START - timedelta(days=1))
    await ctx.sleep_until(START + timedelta(minutes=10))
    await ctx.step(note, "ring")


async def rang(sim: Sim) -> None:
    """Not before the instant."""
    assert await outcome(await sim.start(alarm, id="alarm")) == "completed: None"
    ring = sim.calls(note)[0].at
    assert ring >= START.timestamp() + 600 - _EARLY, f"it rang {START.timestamp() + 600 - ring} s early"


answers = Signal("answers", int)


@workflow
async def door(ctx: Context) -> list[int]:
    """Two signals, one by one."""
    first = await ctx.wait_for_signal(answers)
    await ctx.step(note, f"{first}")
    return [first, await ctx.wait_for_signal(answers)]


async def signalled_before_it_began(sim: Sim) -> None:
    """Signals are kept from the start of the run on, not from the wait on."""
    handle = await sim.start(door, id="door", delay="5s")
    await handle.signal(answers, 1, id="one")
    await handle.signal(answers, 2, id="two")
    await handle.signal(answers, 1, id="one")
    assert await outcome(handle) == "completed: [1, 2]"
    coherent(sim)


@workflow
async def deadline(ctx: Context) -> list[int]:
    """A signal in time, or the next wait gets it."""
    try:
        first = await ctx.wait_for_signal(answers, timeout="10s")
    except TimeoutError:
        first = 0
    await ctx.step(note, f"{first}")
    return [first, await ctx.wait_for_signal(answers)]


async def answered_about_in_time(sim: Sim) -> None:
    """A wait ends in its signal or in its timeout; the signal is not lost in between."""
    handle = await sim.start(deadline, id="deadline")
    await sim.advance(seconds=9.9)
    await handle.signal(answers, 1, id="one")
    await handle.signal(answers, 2, id="two")
    result = await handle.result()
    assert result in ([1, 2], [0, 1]), result
    coherent(sim)


@workflow
async def inbox(ctx: Context) -> list[int]:
    """Everything until a negative number, with a step in between."""
    read = []
    async for answer in ctx.signals(answers):
        if answer < 0:
            break
        read.append(answer)
        if answer % 3 == 0:
            await ctx.step(note, f"{answer}")
    return read


async def storm_of_signals(sim: Sim) -> None:
    """Each acknowledged signal once, in order, however often it was sent."""
    handle = await sim.start(inbox, id="inbox")
    for number in range(9):
        await handle.signal(answers, number, id=f"n{number}")
        if number % 4 == 0:
            await handle.signal(answers, number, id=f"n{number}")
    await handle.signal(answers, -1, id="end")
    assert await outcome(handle) == f"completed: {list(range(9))}"
    try:
        await handle.signal(answers, 99)
    except RunEnded:
        pass
    else:
        raise AssertionError("a signal to an ended run was accepted")
    coherent(sim)


@workflow
async def pen_friend(ctx: Context, other: str) -> list[int]:
    """Three letters to another run, and its three answers."""
    await ctx.wait_for_signal("go")
    read = []
    for number in range(3):
        ctx.signal(other, answers, number)
        read.append(await ctx.wait_for_signal(answers))
    return read


async def letters_between_runs(sim: Sim) -> None:
    """What a run sends arrives once, in order, whatever happens to either."""
    names = ("ann", "bob")
    one, other = [await sim.start(pen_friend, names[1 - n], id=names[n]) for n in range(2)]
    await one.signal("go")
    await other.signal("go")  # now there is somebody to write to
    assert [await outcome(one), await outcome(other)] == ["completed: [0, 1, 2]"] * 2


@workflow
async def clockwork(ctx: Context) -> list[str]:
    """Timers of asyncio itself, and one of the engine, together."""
    rung: list[str] = []

    async def ring(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)  # noqa: TID251 -- durable in a workflow
        rung.append(name)
        await ctx.step(note, name)

    async with asyncio.TaskGroup() as group:
        group.create_task(ring("late", 30.0))
        group.create_task(ring("early", 10.0))
        await ctx.sleep(20.0)
        rung.append("between")
    return rung


async def ringing_in_order(sim: Sim) -> None:
    """Timers that are due fire in order of their instants, also when nobody was there for a while."""
    assert await outcome(await sim.start(clockwork, id="clockwork")) == "completed: ['early', 'between', 'late']"
    coherent(sim)


ENTRIES = (
    Entry("durable sleep", slept, (nap,)),
    Entry("sleep until an instant", rang, (alarm,), small=True),
    Entry("signals before the first activation", signalled_before_it_began, (door,)),
    Entry("signal with a timeout", answered_about_in_time, (deadline,), confluent=False),
    Entry("storm of signals", storm_of_signals, (inbox,)),
    Entry("runs that signal each other", letters_between_runs, (pen_friend,)),
    Entry("several timers", ringing_in_order, (clockwork,)),
)
