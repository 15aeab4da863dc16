"""One step after the other: outcomes, retries, time limits, at most once."""

from __future__ import annotations

import asyncio
from itertools import count, pairwise

from durable import (
    Context,
    Done,
    NonRetryable,
    NotDone,
    Retry,
    StepInterrupted,
    Unknown,
    idempotency_key,
    step,
    workflow,
)
from durable_testing.catalogue.checks import coherent, never_twice, outcome, until
from durable_testing.catalogue.entry import Entry
from durable_testing.sim import Sim

__all__ = ["ENTRIES"]


@step
async def add(number: int, more: int) -> int:
    """Arithmetic, to hand something on."""
    return number + more


@step
def double(number: int) -> int:
    """The same in a thread."""
    return 2 * number


@workflow
async def three_steps(ctx: Context, number: int) -> int:
    """Async, sync, inline."""
    number = await ctx.step(add, number, 1)
    number = await ctx.step(double, number)
    return await ctx.step("less", lambda: number - 1, type=int)


async def three_in_a_row(sim: Sim) -> None:
    """The result is right, and what a step is given is what the one before has returned."""
    handle = await sim.start(three_steps, 20, id="three")
    assert await handle.result() == 41
    assert {ran.args for ran in sim.calls(double)} == {(21,)}
    coherent(sim)


@step
async def draw() -> int:
    """Stubbed: each time another number."""
    raise NotImplementedError


@step
async def check_in(ticket: int, nonce: int, name: str) -> int:
    """Give the ticket back."""
    return ticket


@workflow
async def tickets(ctx: Context, name: str) -> list[int]:
    """What is drawn is checked in, beside numbers of the run's own dice."""
    drawn = []
    for _ in range(3):
        ticket = await ctx.step(draw)
        assert await ctx.step(check_in, ticket, ctx.random.randrange(10**9), str(ctx.uuid())) == ticket
        drawn.append(ticket)
    return drawn


async def drawn_once(sim: Sim) -> None:
    """Whoever looks at a step's outcome, and whenever, sees the one that was committed."""
    numbers = count(1)
    sim.stub(draw, lambda: next(numbers))
    handle = await sim.start(tickets, "t", id="tickets")
    drawn = await handle.result()
    given = {ran.args[0] for ran in sim.calls(check_in)}
    assert set(drawn) == given, f"the run says {drawn}, the check-in saw {given}"
    assert {await handle.result() == drawn for _ in range(2)} == {True}
    coherent(sim)


class Busy(Exception):
    """Try again."""


@step(retry=Retry(5, initial="2s", factor=2, jitter=0))
async def flaky(what: str) -> str:
    """Stubbed: fails the first times."""
    return what


@workflow
async def patient(ctx: Context, what: str) -> str:
    """One step that is tried again."""
    return await ctx.step(flaky, what)


async def tried_again(sim: Sim) -> None:
    """No attempt begins before its back-off is over, whatever died meanwhile."""
    tries = count(1)

    async def fails_twice(what: str) -> str:
        if next(tries) < 3:
            raise Busy
        return what

    sim.stub(flaky, fails_twice)
    assert await outcome(await sim.start(patient, "x", id="patient")) == "completed: 'x'"
    for one, next_one in pairwise(sim.calls(flaky)):
        if next_one.attempt > one.attempt:
            waited = next_one.at - one.at
            wanted = 2.0 * 2.0 ** (one.attempt - 1)
            assert waited >= wanted - 1e-3, f"attempt {next_one.attempt} came after {waited} s, not {wanted} s"
    assert max(ran.attempt for ran in sim.calls(flaky)) <= 3
    coherent(sim)


@step(retry=Retry(3, initial="1s"))
async def hopeless() -> None:
    """Fails."""
    raise Busy("never")


@step(retry=Retry(3, initial="1s"))
async def refused() -> None:
    """Fails, and is not worth another try."""
    raise NonRetryable("no")


@workflow
async def doomed(ctx: Context) -> str:
    """Two failures: one caught, one not."""
    try:
        await ctx.step(refused)
    except NonRetryable as error:
        assert str(error) == "no"
    await ctx.step(hopeless)
    return "not reached"


async def given_up(sim: Sim) -> None:
    """The policy's attempts are made, and no more."""
    assert await outcome(await sim.start(doomed, id="doomed")) == "failed: Busy('never')"
    assert {ran.attempt for ran in sim.calls(hopeless)} == {1, 2, 3}
    assert {ran.attempt for ran in sim.calls(refused)} == {1}
    coherent(sim)


@step(timeout="3s", retry=Retry(3, initial="1s"))
async def slow(what: str) -> str:
    """Stubbed: hangs the first time."""
    return what


@workflow
async def hurried(ctx: Context, what: str) -> str:
    """One step with a time limit."""
    return await ctx.step(slow, what)


async def cut_short(sim: Sim) -> None:
    """An attempt that takes too long is a failed one."""
    tries = count(1)

    async def hangs_once(what: str) -> str:
        if next(tries) == 1:
            await asyncio.Event().wait()
        return what

    sim.stub(slow, hangs_once)
    assert await outcome(await sim.start(hurried, "y", id="hurried")) == "completed: 'y'"
    assert len(sim.calls(slow)) >= 2
    coherent(sim)


class Bank:
    """The outside world: it remembers what was done under which key."""

    def __init__(self) -> None:
        self.done: dict[str, int] = {}

    def clear(self) -> None:
        """A new world."""
        self.done.clear()

    def asked(self, key: str) -> object:
        """What became of it."""
        return Done(self.done[key]) if key in self.done else NotDone()


_bank = Bank()


@step(effect="at_most_once", check=_bank.asked)
async def debit(amount: int) -> int:
    """Take the money; doing it twice would be noticed."""
    key = idempotency_key()
    assert key not in _bank.done, f"debited twice under {key}"
    _bank.done[key] = amount
    return amount


@workflow
async def payment(ctx: Context, amount: int) -> int:
    """Two debits, each at most once."""
    return await ctx.step(debit, amount) + await ctx.step(debit, 2 * amount)


async def paid_once(sim: Sim) -> None:
    """An at-most-once step whose outcome can be asked for is carried out exactly once."""
    _bank.clear()
    assert await outcome(await sim.start(payment, 7, id="payment")) == "completed: 21"
    await sim.advance(seconds=60)  # whoever stood still, or waited for an answer, goes on by then
    assert sorted(_bank.done.values()) == [7, 14]
    never_twice(sim, debit)
    coherent(sim)


@step(effect="at_most_once")
async def launch(rocket: str) -> str:
    """Nobody can say afterwards whether it flew."""
    return f"{rocket} is up"


@workflow
async def mission(ctx: Context, rocket: str) -> str:
    """At most once, and a person decides."""
    return await ctx.step(launch, rocket)


async def settled_by_a_person(sim: Sim) -> None:
    """A crash in the middle blocks the run; what the person says is its outcome."""
    handle = await sim.start(mission, "r1", id="mission")

    async def stands_still() -> bool:
        return (await handle.status()).state in ("blocked", "completed")

    await until(sim, stands_still, "the mission has ended or is blocked")
    if (await handle.status()).state == "blocked":
        await handle.settle("launch", result="r1 is up")
    assert await outcome(handle) == "completed: 'r1 is up'"
    await sim.advance(seconds=60)
    never_twice(sim, launch)


@step(effect="at_most_once", on_unknown="raise", check=lambda key: Unknown())
async def post(letter: str) -> str:
    """The workflow itself is told."""
    return letter


@workflow
async def mailing(ctx: Context, letter: str) -> str:
    """At most once, and the workflow decides."""
    try:
        return await ctx.step(post, letter)
    except StepInterrupted:
        return "perhaps"


async def told_that_nobody_knows(sim: Sim) -> None:
    """The step has run at most once, and its own outcome, or doubt, is the result."""
    result = await (await sim.start(mailing, "l", id="mailing")).result()
    await sim.advance(seconds=60)
    assert result in ("l", "perhaps")
    never_twice(sim, post)
    assert result == "perhaps" or len(sim.calls(post)) == 1


ENTRIES = (
    Entry("three steps", three_in_a_row, (three_steps,), small=True),
    Entry("tickets", drawn_once, (tickets,), confluent=False),
    Entry("retries with back-off", tried_again, (patient,), small=True),
    Entry("retries used up", given_up, (doomed,)),
    Entry("step timeout", cut_short, (hurried,), small=True),
    Entry("at most once, with a check", paid_once, (payment,), small=True),
    Entry("at most once, settled by a person", settled_by_a_person, (mission,)),
    Entry("at most once, told to the workflow", told_that_nobody_knows, (mailing,), small=True, confluent=False),
)
