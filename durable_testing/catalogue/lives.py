"""What can become of a run: next generations, cancels, pauses, retries, forks, sagas."""

from __future__ import annotations

import asyncio
from itertools import count

from durable import Context, NonRetryable, RunEnded, Signal, step, workflow
from durable_testing.catalogue.checks import coherent, first_begins, outcome, until
from durable_testing.catalogue.entry import Entry
from durable_testing.sim import Sim

__all__ = ["ENTRIES"]

numbers = Signal("numbers", int)


@step
async def work(name: str) -> str:
    """Something to do."""
    return name


@workflow
async def ledger(ctx: Context, read: list[int]) -> list[int]:
    """Two signals a generation."""
    for _ in range(2):
        read.append(await ctx.wait_for_signal(numbers))
    await ctx.step(work, f"{read}")
    if len(read) < 6:
        raise ctx.continue_as(ledger, read)
    return read


async def next_generations(sim: Sim) -> None:
    """Signals that one generation has not read are the next one's, in order."""
    handle = await sim.start(ledger, [], id="ledger")
    for number in range(6):
        await handle.signal(numbers, number, id=f"n{number}")
    assert await outcome(handle) == "completed: [0, 1, 2, 3, 4, 5]"
    assert (await handle.status()).generation == 3
    coherent(sim)


@workflow
async def rental(ctx: Context) -> str:
    """What was fetched is brought back."""
    await ctx.step(work, "fetch")
    try:
        await ctx.sleep("1h")
        return "kept"
    finally:
        await ctx.step(work, "bring back")


async def cancelled_in_the_middle(sim: Sim) -> None:
    """A cancel that was acknowledged ends the run, after its clean-up."""
    handle = await sim.start(rental, id="rental")
    await sim.advance(seconds=2)
    await handle.cancel("no need")
    await handle.cancel("no need")
    assert await outcome(handle) == "cancelled"
    events = [(entry.event, entry.call) for entry in await handle.history()]
    fetched = bool(events) and events[0] == ("step_completed", "0/step/work#0")
    brought_back = ("step_completed", "0/step/work#1") in events
    assert fetched == brought_back, events  # fetched after the cancel is given up, and nobody's to bring back
    coherent(sim)


async def terminated_in_the_middle(sim: Sim) -> None:
    """Terminated means now: nothing of the run happens any more."""
    handle = await sim.start(rental, id="rental")
    await sim.advance(seconds=2)
    await handle.terminate("at once")
    assert await outcome(handle) == "cancelled"
    await sim.advance(seconds=60)
    assert "bring back" not in {ran.args[0] for ran in sim.calls(work)}


@workflow
async def walk(ctx: Context, steps: int) -> int:
    """Step, rest, step, rest."""
    for number in range(steps):
        await ctx.step(work, f"{number}")
        await ctx.sleep(1.0)
    return steps


async def paused_for_a_while(sim: Sim) -> None:
    """While the run is paused no step of it begins; then it goes on where it was."""
    handle = await sim.start(walk, 4, id="walk")
    await sim.advance(seconds=1.5)
    try:
        await handle.pause()
    except RunEnded:
        pass

    async def rests() -> bool:
        return (await handle.status()).state in ("paused", "completed")

    await until(sim, rests, "the run is paused or has ended")
    begun = len(sim.calls(work))
    await sim.advance(seconds=30)
    if (await handle.status()).state == "paused":
        assert len(sim.calls(work)) == begun, "a step of a paused run has begun"
        await handle.resume()
    assert await outcome(handle) == "completed: 4"
    coherent(sim)


@workflow
async def repaired(ctx: Context) -> list[str]:
    """Its second step fails until somebody has mended the world."""
    return [await ctx.step(work, "first"), await ctx.step(second), await ctx.step(work, "third")]


@step
async def second() -> str:
    """Stubbed: fails until it is mended."""
    raise NotImplementedError


async def retried_after_a_repair(sim: Sim) -> None:
    """What had succeeded is kept; what had failed runs again."""
    mended = False

    async def perhaps() -> str:
        if not mended:
            raise NonRetryable("broken")
        return "second"

    sim.stub(second, perhaps)
    handle = await sim.start(repaired, id="repaired")
    assert await outcome(handle) == "failed: NonRetryable('broken')"
    mended = True
    await handle.retry()
    assert await outcome(handle) == "completed: ['first', 'second', 'third']"
    assert (await handle.status()).generation == 2
    assert not [ran for ran in sim.calls(work) if ran.args == ("first",) and ran.generation == 2]
    coherent(sim)


async def forked_in_the_middle(sim: Sim) -> None:
    """The fork has the run's past, and a future of its own."""
    tickets = count(1)
    sim.stub(second, lambda: f"ticket {next(tickets)}")
    handle = await sim.start(repaired, id="origin")
    first = await handle.result()
    fork = await handle.fork(at="second", id="fork")
    result = await fork.result()
    assert [result[0], result[2]] == ["first", "third"]
    assert result[1] != first[1], "the fork has the outcome of its origin"
    assert await handle.result() == first
    assert {ran.args for ran in sim.calls(work) if ran.run == "fork"} == {("third",)}
    coherent(sim)


@step
async def cancel_booking(booking: str) -> None:
    """The undo."""


@step(undo=cancel_booking)
async def book(what: str) -> str:
    """Stubbed: each booking has another number."""
    raise NotImplementedError


@step
async def pay() -> None:
    """Fails."""
    raise NonRetryable("no money")


@workflow
async def trip(ctx: Context) -> str:
    """Three bookings, and then no money."""
    try:
        async with ctx.saga():
            await ctx.step(book, "hotel")
            await ctx.step(book, "flight")
            await ctx.step(book, "car")
            await ctx.step(pay)
    except NonRetryable as error:
        return f"stayed at home: {error}"
    return "bon voyage"


async def undone_in_reverse(sim: Sim) -> None:
    """Each booking that was made is undone, newest first, as it was committed."""
    bookings = count(1)
    sim.stub(book, lambda what: f"{what} {next(bookings)}")
    handle = await sim.start(trip, id="trip")
    assert await outcome(handle) == "completed: 'stayed at home: no money'"
    made = [entry.value for entry in await handle.history() if entry.name.startswith("book")]
    undone = [args[0] for args in first_begins(sim.calls(cancel_booking))]
    assert [text.split()[0] for text in made] == ["hotel", "flight", "car"], made
    assert undone == made[::-1], f"made {made}, undone {undone}"
    coherent(sim)


@workflow
async def publisher(ctx: Context) -> str:
    """Values and a stream, between steps."""
    for number in range(4):
        ctx.set("progress", number)
        ctx.emit("log", f"begin {number}")
        await ctx.step(work, f"{number}")
        ctx.emit("log", f"end {number}")
    await asyncio.gather(ctx.sleep(1.0), ctx.step(work, "last"))
    ctx.set("done", True)
    return "out"


async def published(sim: Sim) -> None:
    """Everything is published once, in order, and can be read by somebody who came early."""
    handle = await sim.start(publisher, id="publisher")
    items = [item async for item in handle.stream("log")]
    assert items == [f"{word} {number}" for number in range(4) for word in ("begin", "end")], items
    assert await outcome(handle) == "completed: 'out'"
    assert await handle.values() == {"progress": 3, "done": True}
    coherent(sim)


ENTRIES = (
    Entry("continue_as with signals to come", next_generations, (ledger,)),
    Entry("cancel with clean-up", cancelled_in_the_middle, (rental,)),
    Entry("terminate", terminated_in_the_middle, (rental,), small=True),
    Entry("pause and resume", paused_for_a_while, (walk,)),
    Entry("retry of a failed run", retried_after_a_repair, (repaired,)),
    Entry("fork", forked_in_the_middle, (repaired,), confluent=False),
    Entry("saga", undone_in_reverse, (trip,)),
    Entry("values and streams", published, (publisher,)),
)
