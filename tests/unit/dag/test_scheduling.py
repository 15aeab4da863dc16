"""What a run of a definition does: rows of the seed's table, one test each."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from durable_dag import ExecutionConflict, ExecutionNotFound, InvalidContext, Response, WorkflowNotFound
from tests.unit.dag.support import World, statuses, step, world


@pytest.fixture
async def w():
    async with world() as made:
        yield made


async def test_a_false_condition_skips_what_depends_on_it(w: World) -> None:
    condition = {"id": "check", "action": "condition", "params": {"expression": "false"}}
    execution = await w.run(condition, step("then", "check"), step("after", "then"))
    assert execution["status"] == "completed"
    assert statuses(execution) == {"check": "success", "then": "skipped:condition", "after": "skipped:condition"}
    assert execution["stepResults"]["check"]["result"] == {"result": False, "branch": "false"}


async def test_an_edge_on_success_is_not_gated_by_a_condition(w: World) -> None:
    condition = {"id": "check", "action": "condition", "params": {"expression": "false"}}
    execution = await w.run(condition, step("then", {"step": "check", "on": "success"}))
    assert statuses(execution)["then"] == "success"


async def test_the_join_after_a_branch_runs(w: World) -> None:
    execution = await w.run(
        {"id": "check", "action": "condition", "params": {"expression": "true"}},
        step("yes", "check"),
        step("no", {"step": "check", "on": "false"}),
        step("join", "yes", "no"),
    )
    assert statuses(execution) == {"check": "success", "yes": "success", "no": "skipped:condition", "join": "success"}


async def test_a_switch_takes_one_branch(w: World) -> None:
    execution = await w.run(
        {"id": "tier", "action": "switch", "params": {"expression": '"gold"', "cases": ["gold", "silver"]}},
        step("a", {"step": "tier", "on": "gold"}),
        step("b", {"step": "tier", "on": "silver"}),
    )
    assert statuses(execution) == {"tier": "success", "a": "success", "b": "skipped:condition"}
    assert execution["stepResults"]["tier"]["branch"] == "gold"


async def test_a_failure_skips_what_depends_on_it_and_leaves_others_alone(w: World) -> None:
    execution = await w.run(
        step("bad", failures=9), step("child", "bad"), step("other", result=1), step("next", "other")
    )
    assert execution["status"] == "failed"
    assert statuses(execution) == {
        "bad": "failed",
        "child": "skipped:dependency_failed",
        "other": "success",
        "next": "success",
    }
    assert execution["failedSteps"] == ["bad"]
    assert "bad: ValueError: no luck" in execution["error"]


async def test_try_catch_and_go_on(w: World) -> None:
    execution = await w.run(
        step("try", failures=1), step("catch", {"step": "try", "on": "failure"}), step("on", "try", "catch")
    )
    assert execution["status"] == "completed"
    assert statuses(execution) == {"try": "failed", "catch": "success", "on": "success"}


async def test_sugar_for_success_and_failure_adds_edges(w: World) -> None:
    first = {**step("try", failures=1), "onFailure": ["catch"], "onSuccess": ["then"]}
    execution = await w.run(first, step("catch"), step("then"))
    assert statuses(execution) == {"try": "failed", "catch": "success", "then": "skipped:condition"}


async def test_a_failure_that_is_not_critical_gives_null(w: World) -> None:
    execution = await w.run(
        {**step("maybe", failures=1), "critical": False}, step("then", "maybe", result="${{ context.maybe }}")
    )
    assert execution["status"] == "completed"
    assert execution["stepResults"]["then"]["result"] is None
    assert execution["context"]["maybe"] is None


async def test_a_fast_steps_child_does_not_wait_for_a_slow_sibling(w: World) -> None:
    execution = await w.run(step("slow", takes=10), step("fast"), step("child", "fast"))
    results = execution["stepResults"]
    assert results["child"]["endTime"] < results["slow"]["endTime"] - 9_000


async def test_retries_wait_as_the_readme_says(w: World) -> None:
    policy = {"maxAttempts": 5, "backoffMultiplier": 2, "initialDelay": 1000, "maxDelay": 30000}
    execution = await w.run({**step("x", failures=4, result="ok"), "retryPolicy": policy})
    assert execution["stepResults"]["x"]["attempts"] == 5
    assert 15_000 <= execution["stepResults"]["x"]["duration"] < 15_500
    assert execution["stepResults"]["x"]["result"] == "ok"


async def test_only_named_errors_are_retried(w: World) -> None:
    policy = {"maxAttempts": 5, "initialDelay": 10}
    execution = await w.run(
        {**step("never", failures=9), "retryPolicy": {**policy, "doNotRetryOn": ["ValueError"]}},
        {**step("always", failures=2), "retryPolicy": {**policy, "retryOn": ["ValueError"]}},
        {**step("other", failures=9), "retryPolicy": {**policy, "retryOn": ["KeyError", 503]}},
        {**step("fatal", fatal=True), "retryPolicy": policy},
    )
    assert {id: one["attempts"] for id, one in execution["stepResults"].items()} == {
        "never": 1,
        "always": 3,
        "other": 1,
        "fatal": 1,
    }


async def test_an_attempt_that_takes_too_long_is_cancelled_and_tried_again(w: World) -> None:
    slow = {**step("slow", takes=100), "timeout": 1000, "retryPolicy": {"maxAttempts": 2, "initialDelay": 0}}
    execution = await w.run(slow)
    assert execution["stepResults"]["slow"]["attempts"] == 2
    assert execution["stepResults"]["slow"]["errorDetail"]["name"] == "TimeoutError"
    assert execution["endTime"] - execution["startTime"] < 3000


async def test_a_delay_of_a_month_is_a_row(w: World) -> None:
    execution = await w.run(
        {"id": "wait", "action": "delay", "params": {"duration": 30 * 86_400_000}}, step("then", "wait")
    )
    assert execution["status"] == "completed"
    assert execution["stepResults"]["wait"]["result"] == {"delayed": 30 * 86_400_000}
    assert execution["stepResults"]["wait"]["duration"] >= 30 * 86_400_000


async def test_a_delay_may_name_its_end(w: World) -> None:
    until = (w.sim.now() + timedelta(hours=2)).isoformat()
    execution = await w.run({"id": "wait", "action": "delay", "params": {"until": until}})
    assert 7_199_000 <= execution["stepResults"]["wait"]["duration"] <= 7_201_000


async def test_a_delay_of_nothing_is_nothing(w: World) -> None:
    execution = await w.run({"id": "wait", "action": "delay", "params": {"duration": 0}})
    assert execution["stepResults"]["wait"]["result"] == {"delayed": 0}


async def test_steps_without_an_action_succeed_at_once(w: World) -> None:
    ids = ["checkout", "test", "build", "deploy-staging", "integration-tests", "deploy-production"]
    steps = [{"id": id, "dependencies": ids[n - 1 : n] if n else []} for n, id in enumerate(ids)]
    execution = await w.run(*steps)
    assert execution["completedSteps"] == ids
    assert execution["currentSteps"] == []


async def test_a_step_sees_its_ancestors_and_nobody_else(w: World) -> None:
    seen: list[dict[str, Any]] = []

    async def look(params: Any, context: dict[str, Any]) -> None:
        seen.append(context)

    w.engine.register_executor("look", look)
    execution = await w.run(
        step("a", result=1),
        step("b", result=2),
        {"id": "look", "action": "look", "dependencies": ["b"]},
        step("c", "a"),
        context={"order": 7},
    )
    assert seen == [{"order": 7, "b": 2}]
    assert execution["context"] == {"order": 7, "a": 1, "b": 2, "c": None, "look": None}


async def test_an_output_that_is_not_saved_is_not_in_the_context(w: World) -> None:
    execution = await w.run({**step("big", result="x" * 100), "saveOutput": False}, step("then", "big"))
    assert "big" not in execution["context"]
    assert execution["stepResults"]["big"]["result"] is None


async def test_a_guard_that_is_false_skips_its_step(w: World) -> None:
    execution = await w.run({**step("a"), "when": "false"}, {**step("b"), "when": "0"}, {**step("c"), "when": "[]"})
    assert statuses(execution) == {"a": "skipped:condition", "b": "skipped:condition", "c": "success"}


async def test_no_more_steps_are_under_way_than_allowed(w: World) -> None:
    steps = [step(f"s{n}", takes=10) for n in range(6)]
    await w.register(*steps, maxConcurrency=2)
    execution = await w.start()
    await w.sim.advance(seconds=5)
    now = await w.now(execution)
    assert now["currentSteps"] == ["s0", "s1"]
    assert [one["kind"] for one in now["waitingOn"]] == ["slot"] * 4
    end = await w.end(execution)
    assert 30_000 <= end["endTime"] - end["startTime"] < 31_000


async def test_who_is_more_important_goes_first(w: World) -> None:
    order: list[str] = []

    async def note(params: Any, context: Any, one: Any) -> None:
        order.append(one.id)

    w.engine.register_executor("note", note)
    steps = [{"id": f"s{n}", "action": "note", "priority": n} for n in range(4)]
    await w.run(*steps, maxConcurrency=1)
    assert order == ["s3", "s2", "s1", "s0"]


async def test_fail_fast_cuts_a_run_short_but_for_its_clean_up(w: World) -> None:
    execution = await w.run(
        step("bad", takes=1, failures=1),
        step("slow", takes=100),
        step("later", "slow"),
        {**step("clean", "bad", "slow"), "join": "done"},
        failFast=True,
    )
    assert execution["status"] == "failed"
    assert statuses(execution) == {
        "bad": "failed",
        "slow": "skipped:cancelled",
        "later": "skipped:cancelled",
        "clean": "success",
    }
    assert execution["endTime"] - execution["startTime"] < 5_000


async def test_a_runs_time_limit_ends_it(w: World) -> None:
    execution = await w.run(step("a"), step("slow", "a", takes=100), step("next", "slow"), timeout=5000)
    assert execution["status"] == "failed"
    assert "5000 ms" in execution["error"]
    assert statuses(execution) == {"a": "success", "slow": "skipped:cancelled", "next": "skipped:cancelled"}


async def test_a_run_in_time_knows_no_limit(w: World) -> None:
    execution = await w.run(step("a", result=1), timeout=5000)
    assert (execution["status"], execution["output"]) == ("completed", {"a": 1})


async def test_the_output_template_is_the_result(w: World) -> None:
    execution = await w.run(
        step("a", result={"n": 3}), output={"n": "${{ context.a.n }}", "text": "got ${{ context.a.n }}"}
    )
    assert execution["output"] == {"n": 3, "text": "got 3"}
    assert await w.sim.handle(execution["executionId"]).result() == {"n": 3, "text": "got 3"}


async def test_an_unresolved_template_fails_its_step_without_a_retry(w: World) -> None:
    execution = await w.run(
        {**step("a", result="${{ context.nothing.there }}"), "retryPolicy": {"maxAttempts": 5}},
        {**step("b", result="${{ context.nothing.there ?? 'else' }}")},
    )
    assert execution["stepResults"]["a"]["errorDetail"]["name"] == "TemplateUnresolved"
    assert execution["stepResults"]["b"]["result"] == "else"


async def test_a_result_that_does_not_fit_its_schema_fails(w: World) -> None:
    execution = await w.run({**step("a", result="text"), "outputSchema": {"type": "number"}})
    assert execution["stepResults"]["a"]["errorDetail"]["name"] == "InvalidOutput"


async def test_a_step_that_fails_on_purpose(w: World) -> None:
    execution = await w.run(
        {"id": "no", "action": "fail", "params": {"message": "not ${{ context.x }}"}}, context={"x": 1}
    )
    assert execution["stepResults"]["no"]["error"] == "StepFailure: not 1"


async def test_plain_functions_run_in_threads(w: World) -> None:
    w.engine.register_executor("plain", lambda params: params["n"] + 1)
    execution = await w.run({"id": "a", "action": "plain", "params": {"n": 1}})
    assert execution["stepResults"]["a"]["result"] == 2


# ── starting ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_context_may_not_be_called_like_a_step(w: World) -> None:
    await w.register(step("a"))
    with pytest.raises(InvalidContext) as caught:
        await w.start({"a": 1})
    assert caught.value.code == "context_conflict"
    assert caught.value.problems[0].path == "/context/a"


async def test_a_context_must_be_an_object_and_fit_the_schema(w: World) -> None:
    await w.register(step("a"), inputSchema={"type": "object", "required": ["orderId"]})
    for context in ([1], {}):
        with pytest.raises(InvalidContext) as caught:
            await w.start(context)
        assert caught.value.code == "invalid_context"
    await w.end(await w.start({"orderId": 1}))


async def test_an_unknown_workflow_is_not_started(w: World) -> None:
    with pytest.raises(WorkflowNotFound, match="Workflow not found: nowhere"):
        await w.start(id="nowhere")


async def test_starting_twice_is_starting_once_even_when_a_version_has_come_in_between(w: World) -> None:
    await w.register(step("a"))
    first = await w.sim.inside(w.engine.start("flow", {"n": 1}, execution_id="x"))
    await w.register(step("a"), step("b"))
    again = await w.sim.inside(w.engine.start("flow", {"n": 1}, execution_id="x"))
    assert (first.created, again.created, again.version) == (True, False, 1)
    with pytest.raises(ExecutionConflict):
        await w.start({"n": 2}, execution_id="x")
    with pytest.raises(ExecutionConflict):
        await w.start({"n": 1}, execution_id="x", on_conflict="fail")


async def test_an_execution_that_has_ended_can_be_restarted_under_its_id(w: World) -> None:
    await w.register(step("a", result="${{ context.n }}"))
    await w.end(await w.start({"n": 1}, execution_id="x"))
    await w.start({"n": 2}, execution_id="x", on_conflict="restart")
    assert (await w.end("x"))["output"] == {"a": 2}


async def test_a_live_execution_is_not_restarted(w: World) -> None:
    await w.register(step("a", takes=100))
    await w.start(execution_id="x")
    with pytest.raises(ExecutionConflict):
        await w.start(execution_id="x", on_conflict="restart")


async def test_a_run_stays_on_the_version_that_it_was_started_on(w: World) -> None:
    await w.register(step("a", takes=10), step("b", "a", result="old"))
    execution = await w.start()
    await w.register(step("a"), step("b", "a", result="new"))
    await w.sim.inside(w.engine.delete_workflow("flow", force=True))
    end = await w.end(execution)
    assert (end["version"], end["output"]) == (1, {"b": "old"})


async def test_a_definition_can_come_with_the_start(w: World) -> None:
    started = await w.sim.inside(w.engine.start(definition={"id": "inline", "steps": [step("a", result=1)]}))
    assert (await w.end(started.execution_id))["output"] == {"a": 1}


# ── waits, maps, children ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_limit_of_a_wait_that_comes_to_no_number_fails_the_step(w: World) -> None:
    params = {"name": "decision", "timeout": "${{ context.limit }}"}
    execution = await w.run({"id": "ask", "action": "signal.wait", "params": params}, context={"limit": "soon"})
    assert execution["status"] == "failed"
    assert execution["stepResults"]["ask"]["error"] == "BadTimeout: timeout is milliseconds, not 'soon'"


async def test_an_approval_waits_for_its_signal(w: World) -> None:
    schema = {"type": "object", "required": ["approved"]}
    params = {"name": "decision", "schema": schema, "prompt": "Ship ${{ context.n }}?"}
    await w.register({"id": "ask", "action": "signal.wait", "params": params})
    execution = await w.start({"n": 5})
    await w.sim.run_until_idle()
    now = await w.now(execution)
    form = {"schema": schema, "prompt": "Ship 5?", "since": now["startTime"]}
    assert now["waitingOn"] == [{"stepId": "ask", "kind": "signal", "name": "decision", **form}]
    assert now["stepResults"]["ask"]["phase"] == "waiting"
    await w.sim.signal(execution, "decision", {"wrong": True})
    await w.sim.signal(execution, "decision", {"approved": True})
    assert (await w.end(execution))["output"] == {"ask": {"approved": True}}


@pytest.mark.parametrize(("otherwise", "status"), [("fail", "failed"), ("continue", "completed")])
async def test_an_approval_that_never_comes(w: World, otherwise: str, status: str) -> None:
    params = {"name": "decision", "timeout": 60_000, "onTimeout": otherwise}
    execution = await w.run({"id": "ask", "action": "signal.wait", "params": params}, step("then", "ask"))
    assert execution["status"] == status
    assert 60_000 <= execution["stepResults"]["ask"]["duration"] < 61_000


async def test_the_time_limit_of_attempts_is_none_of_an_approvals_affair(w: World) -> None:
    ask = {"id": "ask", "action": "signal.wait", "params": {"name": "decision"}}
    await w.register(ask, step("slow", takes=10), defaults={"timeout": 1000})
    execution = await w.start()
    await w.sim.advance(hours=1)
    now = await w.now(execution)
    assert (now["currentSteps"], now["failedSteps"]) == (["ask"], ["slow"])


async def test_a_map_does_a_step_for_each_item_in_order(w: World) -> None:
    inner = {"action": "act", "params": {"result": "${{ item.n }}-${{ index }}", "takes": "${{ item.takes }}"}}
    items = [{"n": 1, "takes": 5}, {"n": 2, "takes": 1}, {"n": 3, "takes": 0}]
    execution = await w.run(
        step("list", result=items),
        {
            "id": "each",
            "action": "map",
            "dependencies": ["list"],
            "params": {"items": "${{ context.list }}", "step": inner, "concurrency": 2},
        },
    )
    assert execution["output"] == {"each": ["1-0", "2-1", "3-2"]}


@pytest.mark.parametrize(
    ("tolerate", "status"), [(0, "failed"), (1, "completed"), (0.5, "completed"), (True, "completed")]
)
async def test_a_map_tolerates_so_many_failures(w: World, tolerate: Any, status: str) -> None:
    inner = {"action": "act", "params": {"failures": "${{ item }}", "result": "ok"}}
    params = {"items": [0, 1, 0], "step": inner, "tolerateFailures": tolerate}
    execution = await w.run({"id": "each", "action": "map", "params": params})
    assert execution["status"] == status
    if status == "completed":
        assert execution["output"] == {"each": ["ok", None, "ok"]}


async def test_a_map_in_batches_makes_fewer_entries(w: World) -> None:
    inner = {"action": "act", "params": {"result": "${{ item }}"}}
    params = {"items": list(range(10)), "step": inner, "batch": 4}
    execution = await w.run({"id": "each", "action": "map", "params": params})
    assert execution["output"] == {"each": list(range(10))}
    assert len(await w.sim.handle(execution["executionId"]).history()) == 3


async def test_a_map_of_nothing_is_nothing(w: World) -> None:
    execution = await w.run(
        {"id": "each", "action": "map", "params": {"items": [], "step": {"action": "act", "params": {}}}}
    )
    assert execution["output"] == {"each": []}


async def test_a_workflow_runs_another(w: World) -> None:
    await w.register(step("inner", result="${{ context.n }}"), id="child")
    call = {
        "id": "call",
        "action": "workflow.run",
        "params": {"workflowId": "child", "context": {"n": "${{ context.n }}"}},
    }
    execution = await w.run(call, step("then", "call", result="${{ context.call.inner }}"), context={"n": 5})
    assert execution["output"] == {"then": 5}
    children = await w.sim.inside(w.engine.reading.list(workflow_id="child"))
    assert [child["parent"] for child in children[0]] == [execution["executionId"]]
    child = await w.now(children[0][0]["executionId"])
    assert (child["status"], child["output"], child["parent"]) == ("completed", {"inner": 5}, execution["executionId"])


async def test_a_failed_child_fails_its_step(w: World) -> None:
    await w.register(step("inner", failures=1), id="child")
    execution = await w.run({"id": "call", "action": "workflow.run", "params": {"workflowId": "child"}})
    assert execution["stepResults"]["call"]["errorDetail"]["name"] == "ExecutionFailed"


async def test_a_child_that_fails_is_run_again_by_the_steps_policy(w: World) -> None:
    tried: list[int] = []

    async def third(params: Any) -> int:
        tried.append(len(tried) + 1)
        if len(tried) < 3:
            raise ValueError("not yet")
        return len(tried)

    w.engine.register_executor("third", third)
    await w.register({"id": "inner", "action": "third"}, id="child")
    call = {"id": "call", "action": "workflow.run", "params": {"workflowId": "child"}}
    policy = {"maxAttempts": 3, "initialDelay": 1000, "backoffMultiplier": 2}
    execution = await w.run({**call, "retryPolicy": policy})
    assert execution["output"] == {"call": {"inner": 3}}
    assert (execution["stepResults"]["call"]["attempts"], tried) == (3, [1, 2, 3])
    assert 3000 <= execution["stepResults"]["call"]["duration"] < 3500
    failed = await w.run({**call, "retryPolicy": {**policy, "doNotRetryOn": ["ExecutionFailed"]}}, context={"x": 1})
    assert failed["status"] == "completed"
    await w.sim.inside(w.engine.delete_workflow("child"))
    missing = await w.run({**call, "retryPolicy": {**policy, "retryOn": ["ExecutionFailed"]}})
    assert (missing["stepResults"]["call"]["attempts"], missing["failedSteps"]) == (1, ["call"])


async def test_executions_are_kept_as_long_as_the_engine_says() -> None:
    async with world(retention="1h") as w:
        execution = await w.run(step("a"))
        await w.sim.advance(hours=3)
        with pytest.raises(ExecutionNotFound):
            await w.now(execution["executionId"])


async def test_a_child_that_is_not_waited_for(w: World) -> None:
    await w.register(step("inner", takes=30), id="child")
    execution = await w.run({"id": "call", "action": "workflow.run", "params": {"workflowId": "child", "wait": False}})
    child = execution["output"]["call"]["executionId"]
    assert (await w.now(child))["status"] == "running"
    assert (await w.end(child))["status"] == "completed"


async def test_a_workflow_that_calls_itself_ends_at_the_limit_of_depth(w: World) -> None:
    execution = await w.run({"id": "again", "action": "workflow.run", "params": {"workflowId": "flow"}})
    assert execution["status"] == "failed"
    assert await w.sim.inside(w.engine.reading.count()) < 20


async def test_a_map_may_run_a_workflow_for_each_item(w: World) -> None:
    await w.register(step("inner", result="${{ context.item }}!"), id="child", output="${{ context.inner }}")
    execution = await w.run({"id": "each", "action": "map", "params": {"items": ["a", "b"], "workflow": "child"}})
    assert execution["output"] == {"each": ["a!", "b!"]}


async def test_a_run_that_is_cancelled_shows_what_it_did_not_do(w: World) -> None:
    await w.register(step("a"), step("slow", "a", takes=100), step("next", "slow"))
    execution = await w.start()
    await w.sim.advance(seconds=5)
    await w.sim.inside(w.engine.cancel(execution, "not wanted"))
    end = await w.end(execution)
    assert (end["status"], end["cancelReason"]) == ("cancelled", "not wanted")
    assert statuses(end) == {"a": "success", "slow": "skipped:cancelled", "next": "skipped:cancelled"}


async def test_a_paused_run_begins_nothing_new(w: World) -> None:
    await w.register(step("a", takes=5), step("b", "a"))
    execution = await w.start()
    await w.sim.advance(seconds=1)
    await w.engine.handle(execution).pause()
    await w.sim.advance(seconds=60)
    now = await w.now(execution)
    assert (now["status"], now["completedSteps"]) == ("paused", ["a"])
    await w.engine.handle(execution).resume()
    assert (await w.end(execution))["status"] == "completed"


# ── views ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_execution_object_begins_with_the_members_that_everybody_knows(w: World) -> None:
    execution = await w.run(step("a", result=1), context={"orderId": "order-123"})
    assert list(execution)[:9] == [
        "executionId",
        "workflowId",
        "status",
        "startTime",
        "currentSteps",
        "completedSteps",
        "failedSteps",
        "stepResults",
        "context",
    ]
    assert execution["executionId"].startswith("exec-")
    assert len(execution["executionId"]) == len("exec-") + 26


async def test_a_running_step_tells_its_attempt_and_its_back_off(w: World) -> None:
    policy = {"maxAttempts": 5, "initialDelay": 60_000}
    await w.register({**step("x", failures=2), "retryPolicy": policy}, step("slow", takes=50))
    execution = await w.start()
    await w.sim.advance(seconds=5)
    now = await w.now(execution)
    assert now["currentSteps"] == ["x", "slow"]
    assert (now["stepResults"]["x"]["phase"], now["stepResults"]["x"]["attempts"]) == ("backoff", 1)
    assert now["stepResults"]["slow"]["phase"] == "executing"
    assert [one["kind"] for one in now["waitingOn"]] == ["retry"]
    assert (await w.end(execution))["stepResults"]["x"]["attempts"] == 3


async def test_what_is_shown_costs_no_entry(w: World) -> None:
    execution = await w.run(*[step(f"s{n}", *([f"s{n - 1}"] if n else [])) for n in range(20)])
    assert len(await w.sim.handle(execution["executionId"]).history()) == 20


async def test_work_on_another_queue_waits_for_a_worker_of_that_queue(w: World) -> None:
    await w.register({**step("far", result=1), "queue": "gpu"}, step("then", "far"))
    execution = await w.start()
    await w.sim.run_until_idle()
    [wait] = (await w.now(execution))["waitingOn"]
    assert (wait["stepId"], wait["kind"], wait["queue"], wait["workers"]) == ("far", "worker", "gpu", 0)


async def test_http_results_are_what_the_answer_says(w: World) -> None:
    w.web.serve("http://json", {"valid": True})
    w.web.serve("http://empty", Response(204))
    w.web.serve("http://text", Response(200, {"content-type": "text/plain"}, "grüße".encode()))
    execution = await w.run(
        *[{"id": n, "action": "http.request", "params": {"url": f"http://{n}"}} for n in ("json", "empty", "text")]
    )
    assert execution["output"] == {"json": {"valid": True}, "empty": None, "text": "grüße"}
