"""What the simulator has found in the engine; each bug with the shortest story that shows it."""

import sys
import time

import pytest

from durable import Context, NonRetryable, Signal, step, workflow
from durable.clock import SystemClock
from durable_testing import Sim, crash_everywhere, replay
from durable_testing.catalogue import entry
from durable_testing.catalogue.checks import outcome, until
from durable_testing.faults import Fault, FaultKind
from durable_testing.schedules import Schedule

# ── an at-most-once step ran twice ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.parametrize("kind", [FaultKind.STOP, FaultKind.SUSPEND])
@pytest.mark.parametrize("late", [5.0, 20.0, 40.0])
async def test_a_zombie_whose_note_was_answered_late_begins_nothing(kind: FaultKind, late: float) -> None:
    """Three bugs, each of which let it begin a step that another worker had carried out meanwhile.

    The poll that said so was not believed while a commit, the note's, had not been answered. The poll's effect had
    taken the bad news away before its answer had come, and a renewal came in between. The lease was measured by a
    clock that stands still while the machine is suspended.
    """
    of = entry("at most once, with a check")
    for noted in range(4, 10):
        for stopped in range(noted + 1, noted + 7):
            for worker in (1, 2):
                faults = (Fault(noted, FaultKind.LATE, late), Fault(stopped, kind, 20.0, worker))
                await replay(of.scenario, schedule=str(Schedule(2, 0, faults)), **of.options())


@pytest.mark.skipif(sys.platform != "linux", reason="the clock's name is Linux's")
def test_the_clock_of_leases_counts_while_the_machine_is_suspended() -> None:
    assert SystemClock().since_boot() == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=1.0)


# ── a loop without a pause ───────────────────────────────────────────────────────────────────────────────────────────


@workflow
async def nap(ctx: Context) -> None:
    """Ten seconds."""
    await ctx.sleep("10s")


@pytest.mark.needs("polling", reason="hints are lost on purpose: somebody has to look")
async def test_a_due_timer_behind_a_slow_commit_is_waited_for_without_going_round() -> None:
    """While the store was slow, every due timer woke its run 2,000 times a second."""

    async def slept(sim: Sim) -> None:
        await (await sim.start(nap, id="nap")).result()
        assert sim.world.loop.turns < 5_000

    await crash_everywhere(slept, workflows=[nap])


# ── a pause in the middle of a retry ─────────────────────────────────────────────────────────────────────────────────

mended = Signal("mended")


@step
async def work(name: str) -> str:
    """Something to do."""
    return name


@step
async def perhaps() -> None:
    """Stubbed."""
    raise NotImplementedError


@workflow
async def repaired(ctx: Context) -> str:
    """Fails once, then waits."""
    await ctx.step(work, "first")
    await ctx.step(perhaps)
    await ctx.sleep("1h")
    return "whole"


async def paused_after_a_retry(sim: Sim) -> None:
    """The pause is asked for a second after the retry, which may be carried out just then."""
    broken = True

    def fails_at_first() -> None:
        if broken:
            raise NonRetryable

    sim.stub(perhaps, fails_at_first)
    handle = await sim.start(repaired, id="r")
    assert (await outcome(handle)).startswith("failed")
    broken = False
    await handle.retry()
    await sim.advance(seconds=1)
    await handle.pause()

    async def rests() -> bool:
        return (await handle.status()).state == "paused"

    await until(sim, rests, "the run is paused")
    await handle.resume()
    assert await outcome(handle) == "completed: 'whole'"


async def test_a_pause_asked_for_in_the_middle_of_a_retry_is_kept() -> None:
    """It was taken for one of the generation that had ended."""
    calm = await replay(paused_after_a_retry, workflows=[repaired], schedule="1w/0")
    for at in range(calm.ops):
        for kind in (FaultKind.LATE, FaultKind.DELAY):
            for worker_dies in ((), (Fault(at + 3, FaultKind.KILL, 1.0, 1),)):
                schedule = str(Schedule(1, 0, (Fault(at, kind, 5.0), *worker_dies)))
                await replay(paused_after_a_retry, workflows=[repaired], schedule=schedule)


# ── a crash in the middle of a retry ─────────────────────────────────────────────────────────────────────────────────


@workflow(timeout="10m")
async def limited(ctx: Context) -> str:
    """Waits for the world to be mended, ten minutes at most."""
    await ctx.step(work, "first")
    await ctx.wait_for_signal(mended)
    return "whole"


async def retried_when_its_time_was_over(sim: Sim) -> None:
    """A retry has all of the time limit again."""
    handle = await sim.start(limited, id="r")
    assert (await outcome(handle)).startswith("failed: TimeoutError")
    await handle.retry()
    await sim.advance(minutes=5)
    await handle.signal(mended)
    assert await outcome(handle) == "completed: 'whole'"


@pytest.mark.needs("polling", reason="hints are lost on purpose: somebody has to look")
async def test_a_crash_in_the_middle_of_a_retry_does_not_take_its_time_limit() -> None:
    """Between the commit with the kept entries and the one with the note from which the limit counts."""
    crashes = (FaultKind.CRASH_BEFORE, FaultKind.CRASH_AFTER)
    await crash_everywhere(retried_when_its_time_was_over, workflows=[limited], faults=crashes)


# ── a start that conflicted with itself ──────────────────────────────────────────────────────────────────────────────


@workflow
async def relay(ctx: Context, left: int) -> str:
    """Hands over to its next generation at once."""
    if left:
        raise ctx.continue_as(relay, left - 1)
    return "there"


async def started_or_refused(sim: Sim) -> None:
    """Nobody else has started this run."""
    assert await (await sim.start(relay, 3, id="r", if_exists="reject")).result() == "there"


@pytest.mark.needs("polling", reason="hints are lost on purpose: somebody has to look")
async def test_a_start_whose_answer_is_lost_finds_its_own_run_after_continue_as() -> None:
    """It knew its run by a seed that the next generation does not have."""
    await crash_everywhere(started_or_refused, workflows=[relay])


async def test_two_outages_in_a_row_do_not_outlast_the_clients_patience() -> None:
    """Of the simulator itself: the scenario's client gave up, as it says it does, and that was called a failure."""
    pausing = entry("pause and resume")
    await replay(pausing.scenario, schedule="1w/923038/0:outage=10,20:outage=10", **pausing.options())
