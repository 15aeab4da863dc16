"""The README's fragments: each in a definition of one step, checked and carried out; and what it does in TypeScript."""

from __future__ import annotations

import asyncio
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from durable import connect
from durable_dag import Engine
from durable_dag.builder import Flow
from tests.dag.readme import block, definition_in
from tests.dag.services import Sent, Services, eventually
from tests.dag.serving import Server
from tests.unit.dag.support import Web, world

pytestmark = pytest.mark.slow


def fragment(heading: str, id: str = "step") -> dict[str, Any]:
    """A step made of a fragment alone."""
    return {"id": id, **block(heading).value}


# ── executors ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_request_is_sent_as_it_is_written(live: Server) -> None:
    live.services.serve("api.example.com/endpoint", {"stored": True})
    done = live.run(fragment("http.request"), id="request")
    assert done["stepResults"]["step"]["result"] == {"stored": True}
    [sent] = live.services.to("api.example.com/endpoint")
    assert (sent.method, sent.value) == ("POST", {"key": "value"})
    assert sent.headers["authorization"] == "Bearer token"
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["idempotency-key"] == f"{done['executionId']}:step"


def test_a_delay_is_as_long_as_it_says(live: Server) -> None:
    """Five seconds by the clock of the store; nobody is busy meanwhile."""
    live.post("/workflows", {"id": "delay", "steps": [fragment("delay")]})
    id = live.start("delay")
    waiting = live.until(id, lambda found: found["waitingOn"])
    [wait] = waiting["waitingOn"]
    assert (waiting["status"], wait["stepId"], wait["kind"]) == ("running", "step", "timer")
    assert wait["until"] == waiting["stepResults"]["step"]["startTime"] + 5000
    done = live.end(id)
    assert done["stepResults"]["step"]["result"] == {"delayed": 5000}
    assert 5000 <= done["stepResults"]["step"]["duration"] < 10_000


def test_data_is_transformed_by_javascript(live: Server) -> None:
    pytest.importorskip("quickjs")
    done = live.run(fragment("transform"), id="transform", context={"previous-step": [{"n": 1}, {"n": 2}]})
    assert done["stepResults"]["step"]["result"] == [{"n": 1, "processed": True}, {"n": 2, "processed": True}]


@pytest.mark.parametrize(("amount", "branch"), [(150, "true"), (100, "false")])
def test_a_condition_decides_about_what_comes_after_it(live: Server, amount: int, branch: str) -> None:
    pytest.importorskip("quickjs")
    after = {"id": "after", "dependencies": ["step"]}
    done = live.run(fragment("condition"), after, id="condition", context={"amount": amount})
    assert done["stepResults"]["step"]["result"] == {"result": branch == "true", "branch": branch}
    assert (done["completedSteps"], done["skippedSteps"]) == (
        (["step", "after"], []) if branch == "true" else (["step"], ["after"])
    )


def test_a_notification_is_sent(live: Server) -> None:
    done = live.run(fragment("webhook"), id="webhook")
    assert done["stepResults"]["step"]["result"] == {"status": 200, "sent": True}
    [sent] = live.services.to("notifications.example.com/notify")
    assert (sent.method, sent.value) == ("POST", {"event": "step-complete"})
    assert sent.headers["content-type"] == "application/json"


@pytest.mark.parametrize(("result", "completed"), [(150, ["conditional-step", "next"]), (50, ["conditional-step"])])
def test_a_step_may_depend_on_an_earlier_result(live: Server, result: int, completed: list[str]) -> None:
    pytest.importorskip("quickjs")
    after = {"id": "next", "dependencies": ["conditional-step"]}
    context = {"previousStep": {"result": result}}
    done = live.run(block("Step Conditions").value, after, id="step-conditions", context=context)
    assert done["completedSteps"] == completed

    # And where the previous step is one.
    live.services.serve("api.example.com/previous", {"result": result})
    before = {"id": "previousStep", "action": "http.request", "params": {"url": "http://api.example.com/previous"}}
    step = {**block("Step Conditions").value, "dependencies": ["previousStep"]}
    done = live.run(before, step, after, id="after-a-step")
    assert done["completedSteps"] == ["previousStep", *completed]


# ── retries, parallel steps ──────────────────────────────────────────────────────────────────────────────────────────


async def test_attempts_are_made_when_the_readme_says() -> None:
    """At once, after 1 s, after 2 s, after 4 s, after 8 s."""
    web = Web()
    async with world(web=web) as w:
        begun: list[float] = []

        def refuse(request: Any) -> int:
            begun.append(w.sim.world.clock_of(w.sim.world.client).now())
            return 503 if len(begun) < 5 else 200

        web.serve("http://api.example.com/endpoint", refuse)
        step = fragment("http.request") | block("Retry Policies").value
        assert (await w.engine.validate({"id": "flow", "steps": [step]})).valid
        done = await w.run(step)
    assert done["stepResults"]["step"]["attempts"] == 5
    waits = [later - earlier for earlier, later in zip(begun, begun[1:], strict=False)]
    assert waits == pytest.approx([1, 2, 4, 8], abs=0.1)


def test_a_step_is_tried_again_by_a_live_server(live: Server) -> None:
    live.services.serve("api.example.com/endpoint", 503, {"stored": True})
    step = fragment("http.request") | block("Retry Policies").value
    done = live.run(step, id="retried")
    assert (done["status"], done["stepResults"]["step"]["attempts"]) == ("completed", 2)
    assert 1000 <= done["stepResults"]["step"]["duration"] < 6000
    assert len({one.headers["idempotency-key"] for one in live.services.sent}) == 1


def test_steps_that_do_not_depend_on_each_other_run_side_by_side(live: Server) -> None:
    """A and B are answered only when both have come; C comes after both."""
    both = threading.Barrier(2, timeout=20)

    def meet(sent: Sent) -> dict[str, Any]:
        both.wait()
        return {"met": True}

    live.services.serve("service/a", meet)
    live.services.serve("service/b", meet)
    steps = [
        {"id": id, "action": "http.request", "params": {"url": f"http://service/{id}"}, "dependencies": after}
        for id, after in (("a", []), ("b", []), ("c", ["a", "b"]))
    ]
    assert live.run(*steps, id="parallel")["completedSteps"] == ["a", "b", "c"]
    assert [one.where for one in live.services.sent][2:] == ["service/c"]


# ── webhooks of a workflow ───────────────────────────────────────────────────────────────────────────────────────────


def test_each_ending_of_a_step_is_told_if_somebody_wants_to_know(live: Server) -> None:
    definition = definition_in("2. E-commerce Order Flow")
    definition["id"], definition["webhooks"]["onStep"] = "told-flow", "http://analytics/step"
    live.services.serve("payment/charge", 402)
    live.post("/workflows", definition)
    done = live.end(live.start("told-flow"))
    assert done["status"] == "failed"
    told = eventually(lambda: [one.value for one in live.services.to("analytics/step")][4:] and live.services.sent)
    steps = sorted((one.value for one in told if one.where == "analytics/step"), key=lambda one: one["sequence"])
    assert [(one["stepId"], one["status"]) for one in steps] == [
        ("validate", "success"),
        ("check-inventory", "success"),
        ("charge-payment", "failed"),
        ("ship-order", "skipped"),
        ("send-confirmation", "skipped"),
    ]
    assert {one["executionId"] for one in steps} == {done["executionId"]}
    assert eventually(lambda: live.services.to("support/order-failed"))[0].value["failedSteps"] == ["charge-payment"]
    assert live.services.to("analytics/order-complete") == []


# ── programs ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_executor_of_ones_own_is_an_action_like_any_other(live: Server) -> None:
    """Theirs: ``workflowEngine.registerExecutor``; ours: ``engine.executor`` in the served module."""
    assert "registerExecutor('custom-action'" in block("Custom Executors").text
    assert {"name": "custom-action", "builtIn": False} in [
        {"name": one["name"], "builtIn": one["builtIn"]} for one in live.get("/actions")
    ]
    step = {"id": "greet", "action": "custom-action", "params": {"word": "Hello"}}
    done = live.run(step, id="custom", context={"name": "Ada"})
    assert done["stepResults"]["greet"]["result"] == {"greeting": "Hello, Ada"}


def workflow_for_order(order: dict[str, Any]) -> dict[str, Any]:
    """Ours of ``generateWorkflowForOrder``: a step for each item, and one after all of them."""
    flow = Flow(f"order-{order['id']}")
    packed = [
        flow.http(f"pack-{item}", f"http://shipping/pack/{item}", method="POST", body={"item": item})
        for item in order["items"]
    ]
    flow.http("ship", "http://shipping/ship", method="POST", after=packed, body={"order": order["id"]})
    return flow.document()


def test_a_definition_made_by_a_program_is_one_like_any_other(live: Server) -> None:
    assert "workflowEngine.registerWorkflow(workflow)" in block("Dynamic Workflows").text

    async def register() -> None:
        async with connect(f"sqlite:///{live.folder}/runs.db") as client:
            engine = Engine(client)
            await engine.register_workflow(workflow_for_order({"id": 77, "items": ["book", "pen"]}))

    asyncio.run(register())  # beside the server, on its store
    assert [step["id"] for step in live.get("/workflows/order-77")["steps"]] == ["pack-book", "pack-pen", "ship"]
    done = live.end(live.start("order-77"))
    assert (done["status"], done["completedSteps"]) == ("completed", ["pack-book", "pack-pen", "ship"])
    assert live.services.sent[-1].where == "shipping/ship"


# ── production ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_killed_server_has_lost_nothing_and_another_goes_on(tmp_path: Path) -> None:
    """Persistence, recovery, and several orchestrators on shared state."""
    with Services() as services:
        first = Server(tmp_path, services)
        asked, free = threading.Event(), threading.Event()

        def hold(sent: Sent) -> dict[str, Any]:
            asked.set()
            free.wait(30)
            return {"receipt": "r-1"}

        services.serve("payment/charge", hold)
        first.post("/workflows", definition_in("2. E-commerce Order Flow"))
        id = first.start("order-flow", {"orderId": "123"})
        assert asked.wait(20)
        second = Server(tmp_path, services, "--auth", "none")  # shows and starts, and does not work
        try:
            assert second.get(f"/executions/{id}")["currentSteps"] == ["charge-payment"]
            assert first.stop(signal.SIGKILL) == -signal.SIGKILL
            free.set()
            third = Server(tmp_path, services)
            try:
                assert third.end(id)["status"] == "completed"
                done = second.get(f"/executions/{id}")
                eventually(lambda: services.to("analytics/order-complete"))
            finally:
                assert third.stop() == 0
        finally:
            assert second.stop() == 0
    assert done["context"]["charge-payment"] == {"receipt": "r-1"}
    assert len(services.to("validation/validate")) == len(services.to("inventory/check")) == 1  # not done again
    assert len(services.to("payment/charge")) == 2  # nobody knows whether the first one was heard
    assert len({one.headers["idempotency-key"] for one in services.to("payment/charge")}) == 1
