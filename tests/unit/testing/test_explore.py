"""``explore`` and ``replay``: planted bugs are found, shrunk and told; nonsense is refused in words."""

from __future__ import annotations

import asyncio
import random
import sys
import unittest
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durable import Context, Signal, idempotency_key, step, workflow
from durable.errors import InvalidInput, MissingExtra, UnknownWorkflow
from durable_testing import FaultKind, Schedule, ScheduleFailed, Sim, SimulationError, explore, replay
from durable_testing.crew import Code
from durable_testing.exploring import force_schedule
from durable_testing.faults import ERRORS, MEANINGS, Fault
from durable_testing.plans import schedules
from durable_testing.trial import Setting, carry_out

taken: list[int] = []
keys: set[str] = set()
paid = Signal("paid", int)
early = Signal("early", int)


@step
async def charge_carelessly(amount: int) -> str:
    taken.append(amount)
    return "paid"


@step
async def charge(amount: int) -> str:
    if idempotency_key() not in keys:
        keys.add(idempotency_key())
        taken.append(amount)
    return "paid"


@step
async def release(seat: str) -> str:
    return seat


@workflow
async def careless(ctx: Context, amount: int) -> str:
    return await ctx.step(charge_carelessly, amount)


@workflow
async def careful(ctx: Context, amount: int) -> str:
    return await ctx.step(charge, amount)


@workflow
async def two_steps(ctx: Context, amount: int) -> str:
    await ctx.step(release, "before")
    await ctx.step(charge_carelessly, amount)
    return await ctx.step(release, "after")


@workflow
async def booking(ctx: Context, seat: str) -> str:
    try:
        return f"sold for {await ctx.wait_for_signal(paid, timeout='15s')}"
    except TimeoutError:
        await ctx.step(release, seat)
        return "released"


@workflow
async def by_chance(ctx: Context) -> str:
    if random.random() < 0.8:
        await ctx.step(release, "7A")
    else:
        await ctx.step(charge, 1)
    await ctx.sleep("1d")
    return "done"


@workflow
async def sleepy(ctx: Context) -> str:
    await ctx.step(release, "7A")
    await ctx.sleep("1d")
    return "done"


async def pays_carelessly(sim: Sim) -> None:
    taken.clear()
    await (await sim.start(careless, 30, id="order")).result()
    assert taken == [30], f"paid {taken}"


async def pays_in_the_middle(sim: Sim) -> None:
    taken.clear()
    await (await sim.start(two_steps, 30, id="order")).result()
    assert taken == [30], f"paid {taken}"


async def pays(sim: Sim) -> None:
    taken.clear()
    keys.clear()
    await (await sim.start(careful, 30, id="order")).result()
    assert taken == [30], f"paid {taken}"


async def is_sure_of_its_seat(sim: Sim) -> None:
    handle = await sim.start(booking, "7A", id="seat")
    await handle.signal(paid, 30)
    assert await handle.result() == "sold for 30"


async def depends_on_chance(sim: Sim) -> None:
    assert await (await sim.start(by_chance, id="chance")).result() == "done"


async def sleeps(sim: Sim) -> None:
    assert await (await sim.start(sleepy, id="sleepy")).result() == "done"


async def failure(work: Awaitable[Any]) -> ScheduleFailed:
    with pytest.raises(ScheduleFailed) as failed:
        await work
    return failed.value


# ── planted bugs ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
async def test_a_step_that_charges_twice_is_found_at_once_and_shrunk_to_one_crash() -> None:
    failed = await failure(explore(pays_carelessly, workflows=[careless], examples=50))
    (fault,) = failed.trial.schedule.faults
    assert fault.kind is FaultKind.CRASH_BEFORE
    assert (failed.trial.schedule.workers, failed.trial.schedule.seed) == (1, 0)
    said = str(failed)
    assert "paid [30, 30]" in said
    assert "test_explore.py" in said and "assert taken == [30]" in said
    assert f"{fault}: at store operation {fault.at} (commit by worker-1.1: order" in said
    assert said.count("step charge_carelessly of order begins") == 2
    assert f'await replay(pays_carelessly, workflows=[careless], schedule="{failed.schedule}")' in said


@pytest.mark.needs("polling", reason="hints are lost on purpose: somebody has to look")
@pytest.mark.slow
async def test_a_bug_that_needs_chance_is_found_by_the_draw_and_shrunk() -> None:
    kinds = [FaultKind.KILL, FaultKind.DRAIN, FaultKind.EVICT, FaultKind.DEAFEN]
    failed = await failure(explore(pays_in_the_middle, workflows=[two_steps], examples=3000, faults=kinds))
    (fault,) = failed.trial.schedule.faults
    assert fault.kind in (FaultKind.KILL, FaultKind.DRAIN)
    assert failed.trial.schedule.workers == 1


@pytest.mark.slow
async def test_the_race_of_a_signal_and_a_timeout_is_found() -> None:
    failed = await failure(explore(is_sure_of_its_seat, workflows=[booking], examples=100))
    (fault,) = failed.trial.schedule.faults
    assert fault.kind in (FaultKind.DELAY, FaultKind.LATE)
    assert "Run seat has ended" in str(failed) or "released" in str(failed)
    assert "signal paid to seat" in str(failed)


@pytest.mark.slow
async def test_a_branch_on_chance_is_told_as_a_blocked_run_with_the_way_to_the_cause() -> None:
    failed = await failure(explore(depends_on_chance, workflows=[by_chance], examples=100))
    said = str(failed)
    assert isinstance(failed.trial.error, SimulationError)
    assert "Run chance is blocked at entry 0" in said and "Run chance: Run chance" not in said
    assert "check_determinism(by_chance, ...)" in said
    assert "The scenario waits at test_explore.py" in said


@pytest.mark.needs("polling", reason="hints are lost on purpose: somebody has to look")
@pytest.mark.slow
async def test_the_mended_scenario_passes() -> None:
    await explore(pays, workflows=[careful], examples=100)


@pytest.mark.slow
async def test_the_same_search_finds_the_same_schedule_after_the_same_number_of_worlds() -> None:
    one, two = [
        await failure(explore(pays_in_the_middle, workflows=[two_steps], faults=[FaultKind.KILL])) for _ in range(2)
    ]
    assert str(one) == str(two)


@pytest.mark.slow
async def test_a_scenario_that_remembers_what_was_is_told_that_the_failure_was_not_repeated() -> None:
    worlds: list[int] = []

    async def forgetful(sim: Sim) -> None:
        worlds.append(1)
        await pays(sim)
        assert len(worlds) != 20

    failed = await failure(explore(forgetful, workflows=[careful], examples=100))
    assert "did not fail when the same schedule was tried again" in str(failed)


@pytest.mark.needs("polling", reason="hints are lost on purpose: somebody has to look")
@pytest.mark.slow
async def test_no_more_faults_and_workers_strike_than_were_allowed() -> None:
    seen: list[Schedule] = []

    async def watching(sim: Sim) -> None:
        seen.append(sim.world.schedule)
        await pays(sim)

    await explore(watching, workflows=[careful], examples=60, crashes=0, workers=2)
    assert len(seen) == 60
    assert {schedule.faults for schedule in seen} == {()}
    assert {schedule.workers for schedule in seen} == {1, 2}
    seen.clear()
    await explore(watching, workflows=[careful], examples=60, crashes=2, faults=[FaultKind.EVICT, FaultKind.ECHO])
    assert max(len(schedule.faults) for schedule in seen) == 2
    assert {fault.kind for schedule in seen for fault in schedule.faults} == {FaultKind.EVICT, FaultKind.ECHO}


async def test_a_clock_that_jumps_by_a_year_costs_no_more_than_one_that_does_not() -> None:
    trial = await replay(sleeps, workflows=[sleepy], schedule="1w/0/0:jump=3.2e+07@1")
    assert trial.ops < 500


# ── replay ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
async def test_replay_of_a_schedule_fails_in_the_same_way_and_passes_when_the_bug_is_mended() -> None:
    found = await failure(explore(pays_carelessly, workflows=[careless], examples=50))
    again = await failure(replay(pays_carelessly, workflows=[careless], schedule=found.schedule))
    assert again.schedule == found.schedule
    assert str(again.trial.error) == str(found.trial.error)
    assert again.trial.trace.hash() == found.trial.trace.hash()
    trial = await replay(pays, workflows=[careful], schedule=found.schedule)
    assert not trial.failed
    assert [str(event.data["what"]) for event in trial.trace.of("fault")] == [str(found.trial.schedule.faults[0])]


async def test_global_random_numbers_are_the_same_under_the_same_schedule_and_left_as_they_were() -> None:
    drawn: list[float] = []

    async def draws(sim: Sim) -> None:
        drawn.append(random.random())

    random.seed(3)
    before = random.getstate()
    for schedule in ("1w/7", "1w/7", "1w/8"):
        await replay(draws, workflows=[], schedule=schedule)
    assert drawn[0] == drawn[1] != drawn[2]
    assert random.getstate() == before


async def test_the_line_that_repeats_it_names_everything_that_makes_the_world() -> None:
    @step(queue="far")
    async def far() -> None: ...

    async def fails(sim: Sim) -> None:
        raise AssertionError("no")

    at = datetime.fromisoformat("2030-01-01T00:00:00+00:00")
    failed = await failure(
        explore(
            fails,
            workflows=[careful],
            steps=[far],
            redeployed=[careless],
            at=at,
            store="sqlite:///:memory:",
            worker_options={"cache": 0},
        )
    )
    assert (
        "await replay(fails, workflows=[careful], steps=[far], redeployed=[careless], "
        "at=datetime.fromisoformat('2030-01-01T00:00:00+00:00'), store='sqlite:///:memory:', "
        "worker_options={'cache': 0}, schedule=\"1w/0\")"
    ) in str(failed)


def a_fault() -> st.SearchStrategy[Fault]:
    def made(at: int, kind: FaultKind, seconds: float, worker: int, error: str) -> Fault:
        seconds = seconds if kind is FaultKind.JUMP else abs(seconds)
        return Fault(at, kind, seconds, worker, error if kind is FaultKind.ERROR else "Transient")

    finite = st.floats(-1e9, 1e9).map(lambda seconds: seconds + 0.0)  # no -0.0
    numbers = st.integers(0, 10**9 - 1)
    return st.builds(made, numbers, st.sampled_from(FaultKind), finite, numbers, st.sampled_from(sorted(ERRORS)))


@given(
    st.builds(Schedule, st.integers(1, 999), st.integers(0, 10**18 - 1), st.lists(a_fault(), max_size=4).map(tuple))
    | schedules(30, 3, 4)
)
@settings(deadline=None)
def test_a_schedule_is_read_as_it_is_printed(schedule: Schedule) -> None:
    assert Schedule.parse(str(schedule)) == schedule
    assert Schedule.parse(f" {schedule}\n") == schedule


PIECES = [
    "1w/0",
    "w",
    "/",
    ":",
    ",",
    "=",
    "@",
    "4:crash-before",
    "kill",
    "9" * 30,
    "1e",
    "--",
    "+",
    "error",
    " ",
    "é",
    "٣",
]


@given(st.text() | st.lists(st.sampled_from(PIECES)).map("".join))
@settings(deadline=None)
def test_garbage_for_a_schedule_is_refused_with_an_example_of_one(text: str) -> None:
    try:
        Schedule.parse(text)
    except InvalidInput as error:
        assert "written like" in str(error)


@pytest.mark.parametrize(
    "text", ["", "1w", "0w/1", "1w/x", "1w/0/4", "1w/0/4:explode", "1w/0/4:error/Nonsense", "1w/0/4:stop=1.2.3"]
)
async def test_a_schedule_that_is_none_is_refused_by_replay(text: str) -> None:
    with pytest.raises(InvalidInput, match="written like"):
        await replay(pays, workflows=[careful], schedule=text)


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "argument, value",
    [
        ("examples", 0),
        ("examples", True),
        ("examples", 1.5),
        ("crashes", -1),
        ("crashes", None),
        ("workers", 0),
        ("faults", []),
        ("faults", ["explosion"]),
        ("workflows", careful),
        ("workers", "2"),
        ("at", datetime(2026, 1, 1)),
    ],
)
async def test_arguments_that_make_no_sense_are_refused_by_name(argument: str, value: Any) -> None:
    arguments: dict[str, Any] = {"workflows": [careful], argument: value}
    with pytest.raises(InvalidInput, match=argument):
        await explore(pays, **arguments)


async def test_a_missing_hypothesis_is_told_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(MissingExtra, match=r"pip install 'durable-engine\[testing\]'"):
        await explore(pays, workflows=[careful], examples=2)


async def test_a_scenario_that_was_called_too_early_or_is_no_coroutine_function_is_refused() -> None:
    early: Any = None
    with pytest.raises(InvalidInput, match="without calling it"):
        await explore(early, workflows=[careful])

    def plain(sim: Sim) -> None:
        return None

    scenario: Any = plain
    failed = await failure(explore(scenario, workflows=[careful]))
    assert isinstance(failed.trial.error, InvalidInput)
    assert "async def scenario(sim)" in str(failed)


async def test_a_scenario_that_fails_without_any_fault_says_so() -> None:
    async def wrong(sim: Sim) -> None:
        assert await (await sim.start(careful, 30)).result() == "free"

    failed = await failure(explore(wrong, workflows=[careful]))
    assert str(failed).startswith("The scenario fails without any fault.")
    assert failed.schedule == "1w/0"
    assert "1 worker, seed 0, no fault." in str(failed)


async def test_a_scenario_that_never_ends_is_told_with_the_line_that_waits() -> None:
    async def waits(sim: Sim) -> None:
        await sim.start(careful, 30)
        await asyncio.Event().wait()

    failed = await failure(explore(waits, workflows=[careful]))
    assert isinstance(failed.trial.error, SimulationError)
    assert "The scenario never ends" in str(failed)
    assert "await asyncio.Event().wait()" in failed.trial.waits_at
    assert failed.trial.ops < 100


async def test_a_scenario_that_goes_round_for_ever_is_given_up() -> None:
    async def goes_round(sim: Sim) -> None:
        while True:
            await sim.advance(hours=1)

    trial = carry_out(Setting(goes_round, Code(()), turns_max=5_000), Schedule())
    assert "after 5,000 turns of the simulated loop" in str(trial.error)
    assert "await sim.advance(hours=1)" in trial.waits_at


async def test_a_workflow_that_was_not_given_is_refused() -> None:
    failed = await failure(explore(pays, workflows=[booking]))
    assert isinstance(failed.trial.error, UnknownWorkflow)
    assert "workflows=[..., careful]" in str(failed)


@pytest.mark.slow
async def test_a_world_that_would_begin_with_the_runs_of_another_is_refused(tmp_path: Any) -> None:
    with pytest.raises(InvalidInput, match=r"empty store.*:memory:.*\{\}"):
        await explore(pays, workflows=[careful], store=f"sqlite:///{tmp_path}/one.db", examples=2)
    await explore(pays, workflows=[careful], store=f"sqlite:///{tmp_path}/{{}}.db", examples=5)
    await explore(pays, workflows=[careful], store="sqlite:///:memory:", examples=5)


async def test_what_is_raised_in_the_background_of_a_scenario_is_told_with_its_class() -> None:
    async def loses_a_task(sim: Sim) -> None:
        async def breaks() -> None:
            raise ZeroDivisionError("nobody awaits me")

        lost = asyncio.create_task(breaks())
        await sim.run_until_idle()
        assert lost.done()

    failed = await failure(explore(loses_a_task, workflows=[]))
    assert "ZeroDivisionError: nobody awaits me" in str(failed)


async def test_a_long_story_keeps_its_faults() -> None:
    async def many(sim: Sim) -> None:
        handles = [await sim.start(booking, f"{number}A") for number in range(40)]
        for handle in handles:
            await handle.result()
        raise AssertionError("enough")

    with pytest.raises(ScheduleFailed) as failed:
        await replay(many, workflows=[booking], schedule="1w/0/50:late=0.01")
    story = str(failed.value).split("What happened:\n")[1].split("\n\n")[0].splitlines()
    assert len(story) <= 80
    assert sum("lines left out" in line for line in story) == 2
    assert sum("*** fault 50:late=0.01 ***" in line for line in story) == 1


def test_every_kind_of_fault_has_a_meaning() -> None:
    assert set(MEANINGS) == set(FaultKind)


# ── ways in ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_explore_runs_under_plain_asyncio() -> None:
    asyncio.run(explore(pays, workflows=[careful], examples=10))


class UnitTest(unittest.IsolatedAsyncioTestCase):
    async def test_explore_runs_under_unittest(self) -> None:
        with self.assertRaises(AssertionError):
            await explore(pays_carelessly, workflows=[careless], examples=50)


async def test_a_forced_schedule_is_the_only_one_that_is_tried() -> None:
    seen: list[str] = []

    async def watching(sim: Sim) -> None:
        seen.append(str(sim.world.schedule))
        await pays(sim)

    force_schedule("2w/5/4:crash-after")
    try:
        await explore(watching, workflows=[careful])
    finally:
        force_schedule(None)
    assert seen == ["2w/5/4:crash-after"]


async def test_explore_leaves_the_loop_of_the_test_as_it_was() -> None:
    loop = asyncio.get_running_loop()
    ticks: list[int] = []
    ticking: Callable[[], None] = lambda: ticks.append(1)  # noqa: E731
    loop.call_soon(ticking)
    await explore(pays, workflows=[careful], examples=3)
    await asyncio.sleep(0)
    assert asyncio.get_running_loop() is loop
    assert ticks == [1]
