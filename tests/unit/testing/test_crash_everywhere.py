"""``crash_everywhere``: exhaustive, told, and honest about what it tried."""

from __future__ import annotations

import pytest

from durable import Context, step, workflow
from durable.errors import InvalidInput
from durable_testing import FaultKind, ScheduleFailed, Sim, crash_everywhere, replay
from durable_testing.crash import single_faults
from durable_testing.exploring import force_schedule
from durable_testing.trial import Trial

done: list[str] = []


@step
async def first(order: str) -> str:
    done.append(f"first {order}")
    return order


@step
async def second(order: str) -> str:
    done.append(f"second {order}")
    return order


@workflow
async def both(ctx: Context, order: str) -> str:
    await ctx.step(first, order)
    return await ctx.step(second, order)


@workflow
async def nothing(ctx: Context) -> None: ...


async def ends(sim: Sim) -> None:
    done.clear()
    assert await (await sim.start(both, "42", id="order")).result() == "42"
    assert done[-1] == "second 42"


async def runs_each_step_once(sim: Sim) -> None:
    await ends(sim)
    assert done == ["first 42", "second 42"], f"{len(done)} steps"


@pytest.mark.needs("polling", reason="who was killed says nothing: another one has to look")
@pytest.mark.slow
async def test_every_operation_meets_every_mishap_once() -> None:
    tried = await crash_everywhere(ends, workflows=[both])
    assert tried.operations >= 6
    assert tried.trials == len(list(single_faults(tried.operations)))
    assert tried.failed == []


@pytest.mark.needs("polling", reason="who was killed says nothing: another one has to look")
@pytest.mark.slow
async def test_pairs_are_tried_too() -> None:
    async def starts(sim: Sim) -> None:
        await (await sim.start(nothing, id="small")).result()

    one = await crash_everywhere(starts, workflows=[nothing])
    ops = one.operations
    assert ops > 1
    pairs = sum(9 for at in range(ops) for _ in range(at + 1, 2 * ops))
    tried = await crash_everywhere(starts, workflows=[nothing], pairs=True)
    assert tried.trials == one.trials + pairs


@pytest.mark.needs("polling", reason="who was killed says nothing: another one has to look")
@pytest.mark.slow
async def test_each_mishap_that_does_harm_is_listed_and_the_first_is_told() -> None:
    with pytest.raises(ScheduleFailed) as failed:
        await crash_everywhere(runs_each_step_once, workflows=[both])
    said = str(failed.value)
    schedules = [
        line.split()[0] for line in said.splitlines() if line.startswith("  ") and "AssertionError: 3 steps" in line
    ]
    kinds = {text.split(":")[1] for text in schedules if ":" in text}
    assert {FaultKind.CRASH_BEFORE.value, FaultKind.REDEPLOY.value} <= kinds
    assert "crash_everywhere() tried" in said and "The first of them:" in said
    with pytest.raises(ScheduleFailed, match="3 steps"):
        await replay(runs_each_step_once, workflows=[both], schedule=failed.value.schedule)


@pytest.mark.needs("polling", reason="who was killed says nothing: another one has to look")
@pytest.mark.slow
async def test_a_comparison_that_does_not_hold_is_a_harm() -> None:
    def same_number_of_claims(calm: Trial, other: Trial) -> None:
        assert _claims(calm) == _claims(other), "claimed more often"

    with pytest.raises(ScheduleFailed, match="claimed more often"):
        await crash_everywhere(ends, workflows=[both], confirm=same_number_of_claims)


def _claims(trial: Trial) -> int:
    return sum(len(event.data["answer"].claims) for event in trial.trace.of("effect") if event.data["method"] == "poll")


async def test_a_scenario_that_fails_without_any_fault_says_so() -> None:
    async def wrong(sim: Sim) -> None:
        raise AssertionError("always")

    with pytest.raises(ScheduleFailed, match=r"(?s)fails without any fault.*always"):
        await crash_everywhere(wrong, workflows=[both])


async def test_workers_that_are_no_number_of_processes_are_refused() -> None:
    with pytest.raises(InvalidInput, match="workers"):
        await crash_everywhere(ends, workflows=[both], workers=0)


async def test_a_forced_schedule_is_the_only_one_that_is_tried() -> None:
    force_schedule("1w/0/4:crash-after")
    try:
        tried = await crash_everywhere(ends, workflows=[both])
    finally:
        force_schedule(None)
    assert tried.trials == 1
