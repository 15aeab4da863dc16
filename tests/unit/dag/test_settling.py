"""Steps that people settle: whatever a step is at, what was said holds, and its worker cannot say otherwise."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from durable import Context, Worker, connect, workflow
from durable.errors import InvalidInput
from durable_dag import Engine, ExecutionConflict, ExecutionNotFound
from durable_dag.scheduling.settling import SETTLE, word
from durable_testing import Sim, crash_everywhere, explore
from durable_testing.faults import FaultKind
from tests.unit.dag.graphs import Literals
from tests.unit.dag.support import World, statuses, step, world

PATIENT = {"maxAttempts": 9, "initialDelay": 60_000}


@pytest.fixture
async def w() -> AsyncIterator[World]:
    async with world() as made:
        yield made


async def begun(w: World, *steps: dict[str, Any], seconds: float = 1, **more: Any) -> str:
    """A run of these steps, some time after its start."""
    await w.register(*steps, **more)
    execution = await w.start()
    await w.sim.advance(seconds=seconds)
    return execution


async def settle(w: World, execution: str, id: str, verb: Any, value: Any = None) -> dict[str, Any]:
    """Settle a step; the execution at its end."""
    await w.sim.inside(w.engine.settle(execution, id, verb, value))
    return await w.end(execution)


async def test_a_step_between_two_attempts_is_skipped(w: World) -> None:
    shaky = {**step("shaky", failures=8), "retryPolicy": PATIENT}
    execution = await begun(w, shaky, step("then", "shaky"), step("after", {"step": "shaky", "on": "skipped"}))
    assert (await w.now(execution))["stepResults"]["shaky"]["phase"] == "backoff"
    end = await settle(w, execution, "shaky", "skip", "not today")
    assert statuses(end) == {"shaky": "skipped:manual", "then": "skipped:condition", "after": "success"}
    assert (end["status"], end["stepResults"]["shaky"]["reason"]) == ("completed", "not today")
    assert end["endTime"] - end["startTime"] < 2_000


async def test_the_attempt_that_runs_cannot_overwrite_what_was_said(w: World) -> None:
    ended: list[str] = []

    @w.engine.executor("slow")
    async def slow(params: Any, context: Any, one: Any) -> str:
        try:
            await asyncio.sleep(50)
            return "by the worker"
        finally:
            ended.append(one.id)

    last = step("last", "hold", takes=58)
    steps = [{"id": "slow", "action": "slow"}, step("then", "slow", result="${{ context.slow }}"), step("hold"), last]
    execution = await begun(w, *steps)
    await w.sim.inside(w.engine.settle(execution, "slow", "complete", "by hand"))
    await w.sim.advance(seconds=55)
    now = await w.now(execution)
    assert ended == ["slow"]
    assert now["stepResults"]["slow"]["result"] == now["stepResults"]["then"]["result"] == "by hand"
    assert (now["stepResults"]["slow"]["byHand"], now["status"]) == (True, "running")
    assert (await w.end(execution))["completedSteps"] == ["slow", "then", "hold", "last"]


async def test_a_blocking_executor_goes_on_and_is_not_heard() -> None:
    """A thread cannot be stopped; its result comes too late."""
    begun, release, ended = (threading.Event() for _ in range(3))
    real = Engine(js=Literals())

    @real.executor("stuck")
    def stuck(params: Any) -> str:
        begun.set()
        release.wait(20)
        ended.set()
        return "by the worker"

    steps = [{"id": "stuck", "action": "stuck"}, {"id": "go", "action": "signal.wait", "dependencies": ["stuck"]}]
    async with connect("memory://stuck") as client, Worker(client, **real.worker_parts(), drain=5):
        real.bind(client)
        id = (await real.start(definition={"id": "flow", "steps": steps})).execution_id
        assert await asyncio.to_thread(begun.wait, 10)
        await real.settle(id, "stuck", "complete", "by hand")
        while "go" not in (await real.get(id))["currentSteps"]:
            await client.link.clock.sleep(0.01)
        release.set()
        assert await asyncio.to_thread(ended.wait, 10)
        await real.settle(id, "go", "complete")
        end = await real.result(id, timeout=10)
        assert (end["stepResults"]["stuck"]["result"], end["status"]) == ("by hand", "completed")


async def test_a_step_that_is_failed_takes_the_way_of_failures(w: World) -> None:
    ask = {"id": "ask", "action": "signal.wait", "params": {"name": "never"}}
    execution = await begun(w, ask, step("plan-b", {"step": "ask", "on": "failure"}, result="b"))
    end = await settle(w, execution, "ask", "fail", {"name": "Declined", "message": "by phone"})
    assert (end["status"], end["output"]) == ("completed", {"plan-b": "b"})
    assert end["stepResults"]["ask"]["error"] == "Declined: by phone"
    assert end["stepResults"]["ask"]["errorDetail"]["name"] == "Declined"


async def test_a_failed_one_is_not_tried_again_and_fails_the_run(w: World) -> None:
    execution = await begun(w, {**step("slow", takes=50), "retryPolicy": PATIENT})
    end = await settle(w, execution, "slow", "fail", "it hangs")
    assert (end["status"], end["failedSteps"]) == ("failed", ["slow"])
    assert end["stepResults"]["slow"]["error"] == "StepFailure: it hangs"
    assert end["endTime"] - end["startTime"] < 2_000


async def test_work_that_no_worker_takes_is_done_by_hand_and_taken_back(w: World) -> None:
    execution = await begun(w, {**step("far"), "queue": "gpu"}, step("then", "far", result="${{ context.far.n }}"))
    end = await settle(w, execution, "far", "complete", {"n": 7})
    assert end["output"] == {"then": 7}
    await w.sim.run_until_idle()
    [child] = await w.sim.list(workflow="dag.work")
    assert child.state == "cancelled"


async def test_a_delay_a_map_and_a_sub_workflow_are_settled(w: World) -> None:
    await w.register(step("inner", takes=100), id="sub")
    delay = {"id": "delay", "action": "delay", "params": {"duration": 3_600_000}}
    each = {
        "id": "each",
        "action": "map",
        "params": {"items": [1, 2, 3], "step": {"action": "act", "params": {"takes": 90}}},
    }
    sub = {"id": "sub", "action": "workflow.run", "params": {"workflowId": "sub"}}
    execution = await begun(w, delay, each, sub)
    for id in ("delay", "each", "sub"):
        await w.sim.inside(w.engine.settle(execution, id, "complete", id))
    end = await w.end(execution)
    assert end["output"] == {"delay": "delay", "each": "each", "sub": "sub"}
    await w.sim.run_until_idle()
    assert [run.state for run in await w.sim.list(labels={"dag.workflow": "sub"})] == ["cancelled"]
    assert end["endTime"] - end["startTime"] < 3_000


async def test_a_step_that_waits_for_a_slot_is_settled_and_gives_way(w: World) -> None:
    steps = [step("first", takes=30), step("second", takes=30), step("third", result=3)]
    execution = await begun(w, *steps, maxConcurrency=1)
    waits = (await w.now(execution))["waitingOn"]
    assert [(one["stepId"], one["kind"], one["limit"]) for one in waits] == [
        ("second", "slot", 1),
        ("third", "slot", 1),
    ]
    end = await settle(w, execution, "second", "skip")
    assert statuses(end) == {"first": "success", "second": "skipped:manual", "third": "success"}
    assert 30_000 <= end["endTime"] - end["startTime"] < 32_000


async def test_a_condition_is_settled_with_its_branch(w: World) -> None:
    check = {"id": "check", "action": "condition", "params": {"expression": "true"}, "queue": "nobody"}
    execution = await begun(w, check, step("yes", "check"), step("no", {"step": "check", "on": "false"}))
    with pytest.raises(InvalidInput, match="an object with a text 'branch'"):
        await w.sim.inside(w.engine.settle(execution, "check", "complete", True))
    end = await settle(w, execution, "check", "complete", {"result": False, "branch": "false"})
    assert statuses(end) == {"check": "success", "yes": "skipped:condition", "no": "success"}


async def test_what_does_not_fit_a_schema_is_refused(w: World) -> None:
    number = {"type": "number"}
    ask = {"id": "ask", "action": "signal.wait", "params": {"name": "n", "schema": number}}
    execution = await begun(w, {**step("slow", takes=50), "outputSchema": number}, ask)
    for id, place in (("slow", "outputSchema"), ("ask", "the signal's schema")):
        with pytest.raises(InvalidInput, match=f"does not fit {place}"):
            await w.sim.inside(w.engine.settle(execution, id, "complete", "seven"))
    await w.sim.inside(w.engine.settle(execution, "ask", "complete", 7))
    assert (await settle(w, execution, "slow", "complete", 8))["output"] == {"slow": 8, "ask": 7}


async def test_only_what_is_under_way_is_settled(w: World) -> None:
    execution = await begun(w, step("done"), step("slow", "done", takes=50), step("later", "slow"))
    for id, why in (("later", "pending: it waits for other steps"), ("done", "is success")):
        with pytest.raises(ExecutionConflict, match=why):
            await w.sim.inside(w.engine.settle(execution, id, "skip"))
    with pytest.raises(ExecutionNotFound):
        await w.sim.inside(w.engine.settle(execution, "nobody", "skip"))
    await w.end(execution)
    with pytest.raises(ExecutionConflict):
        await w.sim.inside(w.engine.settle(execution, "slow", "skip"))


async def test_said_twice_it_is_said_once(w: World) -> None:
    execution = await begun(w, step("slow", takes=50), step("hold", takes=20))
    for _ in range(2):
        await w.sim.inside(w.engine.settle(execution, "slow", "complete", 1))
        await w.sim.advance(seconds=1)
    with pytest.raises(ExecutionConflict):
        await w.sim.inside(w.engine.settle(execution, "slow", "complete", 2))
    await w.end(execution)
    assert len([row for row in await w.sim.handle(execution).history() if row.name.startswith(SETTLE)]) == 1


async def test_signals_that_say_nothing_change_nothing(w: World) -> None:
    execution = await begun(w, step("slow", takes=20, result=1))
    odd = [None, 5, [], {}, {"step": 7}, {"step": "slow"}, {"step": "slow", "verb": "burn", "attempt": 1}]
    for payload in [*odd, word("slow", "skip", "", 2), word("nobody", "skip", "", 1)]:
        await w.sim.signal(execution, SETTLE, payload)
    end = await w.end(execution)
    assert (end["output"], end["status"]) == ({"slow": 1}, "completed")


async def test_a_word_about_an_earlier_attempt_of_the_run_says_nothing(w: World) -> None:
    execution = await begun(w, step("bad", takes=2, failures=1), seconds=10)
    assert (await w.end(execution))["status"] == "failed"
    await w.sim.inside(w.engine.retry(execution))
    await w.sim.signal(execution, SETTLE, word("bad", "skip", "", 1))
    again = await w.end(execution)
    assert again["failedSteps"] == ["bad"]


async def test_a_step_of_a_retried_run_is_settled(w: World) -> None:
    execution = await begun(w, step("bad", takes=2, failures=1), step("then", "bad"), seconds=10)
    await w.sim.inside(w.engine.retry(execution))
    await w.sim.advance(seconds=1)
    end = await settle(w, execution, "bad", "complete", 5)
    assert (end["status"], end["stepResults"]["bad"]["result"]) == ("completed", 5)


async def test_what_was_skipped_by_hand_is_left_so_by_a_retry(w: World) -> None:
    execution = await begun(w, step("slow", takes=50), step("bad", "hold", failures=1), step("hold", takes=5))
    end = await settle(w, execution, "slow", "skip", "no need")
    assert statuses(end) == {"slow": "skipped:manual", "bad": "failed", "hold": "success"}
    await w.sim.inside(w.engine.retry(execution))
    assert (await w.end(execution))["skippedSteps"] == ["slow"]


async def test_a_run_is_not_shown_as_waiting_for_such_words(w: World) -> None:
    execution = await begun(w, {"id": "delay", "action": "delay", "params": {"duration": 60_000}})
    status = await w.sim.handle(execution).status()
    assert [wait.name for wait in status.waits] == ["delay"]
    assert SETTLE not in await w.sim.handle(execution).explain()


async def test_the_webhook_of_steps_tells_of_it() -> None:
    async with world() as w:
        w.web.serve("http://n/step", 200)
        execution = await begun(w, step("slow", takes=50), webhooks={"onStep": "http://n/step"})
        await settle(w, execution, "slow", "skip", "no need")
        await w.sim.run_until_idle()
        [told] = w.web.bodies("http://n/step")
        assert (told["status"], told["skipReason"]) == ("skipped", "manual")


# ── whatever strikes ─────────────────────────────────────────────────────────────────────────────────────────────────

engine = Engine(js=Literals())
seen: list[Any] = []


@engine.executor("hang")
async def hang(params: Any) -> str:
    await asyncio.sleep(40)
    return "by the worker"


@engine.executor("note")
async def note(params: dict[str, Any]) -> Any:
    seen.append(params["of"])
    return params["of"]


FLOW = {
    "id": "flow",
    "steps": [
        {"id": "hang", "action": "hang"},
        {"id": "ask", "action": "signal.wait", "params": {"name": "go"}},
        {"id": "flaky", "action": "fail", "retryPolicy": PATIENT, "critical": False, "dependencies": ["ask"]},
        {"id": "note", "action": "note", "params": {"of": "${{ context.hang }}"}, "dependencies": ["hang"]},
    ],
}


async def settled(sim: Sim) -> None:
    """Two steps are settled by hand; whatever dies, and whenever, both hold, and nothing else is seen behind them."""
    seen.clear()
    engine.bind(sim)
    await engine.register_workflow(FLOW)
    id = (await engine.start("flow", execution_id="x")).execution_id
    while "hang" not in (await engine.get(id))["currentSteps"]:
        await asyncio.sleep(0.2)
    await engine.settle(id, "hang", "complete", "by hand", request_id="h")
    await engine.settle(id, "ask", "skip", "no need", request_id="a")
    end = await engine.result(id)
    assert end["status"] == "completed", end
    assert end["stepResults"]["hang"]["result"] == "by hand", end
    assert set(seen) == {"by hand"}
    assert statuses(end)["ask"] == "skipped:manual"
    assert statuses(end)["flaky"] == "skipped:condition"


@pytest.mark.needs("polling", reason="who was killed says nothing: another one has to look")
@pytest.mark.slow
async def test_a_step_settled_by_hand_stays_so_under_a_crash_at_every_operation_of_the_store() -> None:
    faults = (FaultKind.CRASH_BEFORE, FaultKind.CRASH_AFTER, FaultKind.UNKNOWN)
    tried = await crash_everywhere(settled, workflows=engine.workflows, faults=faults)
    assert tried.operations > 10


@pytest.mark.slow
async def test_a_step_settled_by_hand_stays_so_whatever_strikes() -> None:
    await explore(settled, workflows=engine.workflows, examples=40)


async def test_a_run_of_code_can_use_such_a_signal_itself() -> None:
    """The dot keeps a wait out of sight, nothing else."""

    @workflow
    async def listens(ctx: Context) -> Any:
        return await ctx.wait_for_signal(".mine")

    async with connect("memory://own-signal") as client, Worker(client, workflows=[listens]):
        handle = await client.start(listens)
        await handle.signal(".mine", 5)
        assert await handle.result() == 5
