"""The engine keeps its invariants: real traces, with all kinds of faults, in which the checker finds nothing."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from random import Random

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the helpers beside this file

from invariant_scenarios import SCENARIOS, setting

from durable import Context, Signal, step, workflow
from durable.store import RunStatus
from durable_testing.faults import FaultKind
from durable_testing.invariants import check, take_snapshot
from durable_testing.plans import random_schedule
from durable_testing.schedules import Schedule
from durable_testing.sim import Sim, code_of
from durable_testing.trial import Setting, carry_out

OPTIONS = {
    "as usual": {},
    "without a cache": {"cache": 0},
    "with a short lease, two at a time": {"lease": 3, "concurrency": 2},
}


def found(trial_of: Setting, schedule: Schedule) -> list[str]:
    """What is wrong in one world, with the line that repeats it."""
    trial = carry_out(trial_of, schedule)
    problems = [str(violation) for violation in trial.violations]
    if trial.error is not None:
        problems.append(repr(trial.error))
    return [f"{schedule}: {problem}" for problem in problems]


def soak(name: str, seeds: range, faults: int, options: dict[str, int]) -> list[str]:
    """Many worlds of one scenario, each with other faults."""
    here = setting(name, options=options)
    ops = carry_out(here, Schedule()).ops
    schedules = (random_schedule(Random(f"{name}/{seed}"), ops, faults, 4) for seed in seeds)
    return [problem for schedule in schedules for problem in found(here, schedule)]


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_violated_where_nothing_goes_wrong(name: str) -> None:
    for workers in (1, 3):
        assert found(setting(name), Schedule(workers, 7)) == []


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_violated_whatever_goes_wrong(name: str, options: dict[str, int]) -> None:
    worlds = 1 if name == "killer" else 8  # a world of it is as long as ten of the others
    assert soak(name, range(worlds), 5, options) == []


@pytest.mark.nightly
@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_violated_in_a_long_soak(name: str) -> None:
    assert soak(name, range(100, 400), 6, {}) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", FaultKind)
def test_nothing_is_violated_when_this_goes_wrong_at_each_operation(kind: FaultKind) -> None:
    here = setting("signals")
    ops = carry_out(here, Schedule()).ops
    seconds = {FaultKind.DELAY: "=20", FaultKind.LATE: "=20", FaultKind.STOP: "=20", FaultKind.SET_BACK: "=60"}
    at = range(1, ops, 3)
    worlds = [Schedule.parse(f"2w/3/{op}:{kind}{seconds.get(kind, '=5')}") for op in at]
    assert [problem for world in worlds for problem in found(here, world)] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["children", "onward", "trips"])
def test_nothing_is_violated_on_sqlite(name: str, tmp_path: Path) -> None:
    for seed in range(3):
        url = f"sqlite:///{tmp_path}/{seed}.db"
        schedule = random_schedule(Random(f"{name}/{seed}"), 60, 4, 3)
        assert found(setting(name, url=url), schedule) == []


@step
async def one(n: int) -> int:
    return n


@workflow
async def fourteen(ctx: Context) -> int:
    return sum([await ctx.step(one, n) for n in range(14)])


def test_a_check_is_fast_enough_to_follow_thousands_of_simulations() -> None:
    async def told(sim: Sim) -> None:
        await (await sim.start(fourteen, id="x")).result()

    trial = carry_out(
        Setting(told, code_of([fourteen], (), None, None)), Schedule.parse("2w/5/12:crash-before,25:stop=9@2")
    )
    assert trial.snapshot is not None
    assert len(trial.trace) > 100
    best = min(_seconds_of_a_check(trial.trace, trial.snapshot) for _ in range(20))
    assert best < 0.0015 * 4  # four times the target, so that a busy machine passes


def _seconds_of_a_check(trace: object, snapshot: object) -> float:
    began = time.process_time()
    assert check(trace, snapshot) == []  # type: ignore[arg-type]
    return time.process_time() - began


go = Signal("go", int)


@workflow
async def onward(ctx: Context, n: int) -> int:
    ctx.set("n", n)
    got = await ctx.wait_for_signal(go)
    if n < 3:
        raise ctx.continue_as(onward, n + 1)
    return got


async def test_a_snapshot_holds_every_generation_and_every_message() -> None:
    async with Sim(workflows=[onward]) as sim:
        handle = await sim.start(onward, 0, id="o")
        for n in range(5):
            await handle.signal(go, n)
        await handle.result()
        snapshot = await sim.inside(take_snapshot(sim.world.store))
    row = snapshot.runs[next(iter(snapshot.runs))]
    assert (row.status, row.generation) == (RunStatus.COMPLETED, 4)
    assert [len(snapshot.journals[row.id, generation]) for generation in (1, 2, 3, 4)] == [1, 1, 1, 1]
    assert [letter.consumed for letter in snapshot.messages[row.id]] == [True] * 4 + [False]
    assert snapshot.outcomes[row.id] == b"completed\n3"
    assert snapshot.values[row.id] == {"n": b"3"}
    assert [session.alive for session in snapshot.sessions] == [True]


async def test_a_snapshot_reads_journals_inboxes_and_lists_that_are_longer_than_a_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("durable_testing.snapshot.PAGE_SIZE_MAX", 2)
    async with Sim(workflows=[onward, fourteen]) as sim:
        handle = await sim.start(onward, 0, id="o")
        for n in range(5):
            await handle.signal(go, n)
        for n in range(5):
            await (await sim.start(fourteen, id=f"f{n}")).result()
        await handle.result()
        snapshot = await sim.inside(take_snapshot(sim.world.store))
    assert len(snapshot.runs) == 6
    assert [letter.seq for letter in snapshot.messages[handle.id]] == [1, 2, 3, 4, 5]  # type: ignore[index]
    assert len(snapshot.journals["f0", 1]) == 14  # type: ignore[index]
