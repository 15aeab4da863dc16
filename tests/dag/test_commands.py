"""Every command of the README, as it is written, against a live server with services on this machine.

Only the port is another, and ``watch`` looks once.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.dag.readme import BLOCKS, block, definition_in
from tests.dag.services import Sent, eventually
from tests.dag.serving import ENDED, Server, needs_curl

pytestmark = [pytest.mark.slow, needs_curl]

TESTS = Path(__file__).parent
PROVED = {
    ("Architecture", 0): "test_commands.py::test_the_pipeline_takes_its_data_apart_side_by_side_and_loads_it",
    ("POST /workflows", 0): "test_commands.py::test_a_definition_is_registered_listed_and_read_back",
    ("GET /workflows", 0): "test_commands.py::test_a_definition_is_registered_listed_and_read_back",
    ("GET /workflows/{workflowId}", 0): "test_commands.py::test_a_definition_is_registered_listed_and_read_back",
    ("POST /executions/start", 0): "test_commands.py::test_an_order_is_started_carried_out_and_told_of",
    ("POST /executions/start", 1): "test_commands.py::test_an_order_is_started_carried_out_and_told_of",
    ("GET /executions", 0): "test_commands.py::test_executions_are_listed_all_or_of_one_workflow",
    ("GET /executions/{executionId}", 0): "test_commands.py::test_a_running_execution_is_shown_as_it_is_documented",
    ("GET /executions/{executionId}", 1): "test_commands.py::test_a_running_execution_is_shown_as_it_is_documented",
    ("GET /executions/{executionId}/visualize", 0): (
        "test_commands.py::test_a_running_execution_is_shown_as_it_is_documented"
    ),
    ("GET /executions/{executionId}/visualize", 1): (
        "test_commands.py::test_a_running_execution_is_shown_as_it_is_documented"
    ),
    ("http.request", 0): "test_fragments.py::test_a_request_is_sent_as_it_is_written",
    ("delay", 0): "test_fragments.py::test_a_delay_is_as_long_as_it_says",
    ("transform", 0): "test_fragments.py::test_data_is_transformed_by_javascript",
    ("condition", 0): "test_fragments.py::test_a_condition_decides_about_what_comes_after_it",
    ("webhook", 0): "test_fragments.py::test_a_notification_is_sent",
    ("Retry Policies", 0): "test_fragments.py::test_attempts_are_made_when_the_readme_says",
    ("1. Data Processing Pipeline", 0): (
        "test_commands.py::test_the_pipeline_takes_its_data_apart_side_by_side_and_loads_it"
    ),
    ("2. E-commerce Order Flow", 0): "test_commands.py::test_the_order_flow_goes_through_all_its_services",
    ("3. CI/CD Pipeline", 0): "test_commands.py::test_a_pipeline_whose_steps_have_no_action_yet_is_carried_out",
    ("Parallel Execution", 0): "test_fragments.py::test_steps_that_do_not_depend_on_each_other_run_side_by_side",
    ("Running the Orchestrator", 0): "test_commands.py::test_the_server_says_where_it_is",
    ("Complete Example", 0): "test_commands.py::test_the_complete_example",
    ("Custom Executors", 0): "test_fragments.py::test_an_executor_of_ones_own_is_an_action_like_any_other",
    ("Dynamic Workflows", 0): "test_fragments.py::test_a_definition_made_by_a_program_is_one_like_any_other",
    ("Step Conditions", 0): "test_fragments.py::test_a_step_may_depend_on_an_earlier_result",
}


def test_every_block_of_the_readme_has_a_test() -> None:
    assert list(PROVED) == [(one.heading, one.number) for one in BLOCKS]
    for proof in PROVED.values():
        file, _, name = proof.partition("::")
        assert f"def {name}(" in (TESTS / file).read_text()


def test_the_server_says_where_it_is(live: Server) -> None:
    """Theirs: ``elide serve server.ts``; ours: ``durable server``, with ``--port 3000`` for the same address."""
    assert block("Running the Orchestrator").text == "elide serve server.ts"
    assert live.url == f"http://127.0.0.1:{live.port}"
    assert live.get("/healthz") == {"status": "ok"}


def test_a_definition_is_registered_listed_and_read_back(live: Server) -> None:
    register = block("POST /workflows").text
    written = definition_in("POST /workflows")
    said = live.bash(register)
    again = live.bash(register)
    assert (said.statuses[0] in (200, 201), again.statuses) == (True, [200])
    assert {name: again.values[0][name] for name in ("success", "workflowId", "version", "created")} == {
        "success": True,
        "workflowId": "order-processing",
        "version": said.values[0]["version"],
        "created": False,
    }
    # Its POST requests carry nothing: allowed, and told.
    assert [one["code"] for one in again.values[0]["warnings"]] == ["request_without_body"] * 3
    listed = live.bash(block("GET /workflows").text)
    read = live.bash(block("GET /workflows/{workflowId}").text)
    assert listed.statuses + read.statuses == [200, 200]
    assert isinstance(listed.values[0], list)
    for found in ([one for one in listed.values[0] if one["id"] == "order-processing"][0], read.values[0]):
        assert {name: found[name] for name in written} == written


def test_an_order_is_started_carried_out_and_told_of(live: Server) -> None:
    live.bash(block("POST /workflows").text)
    said = live.bash(block("POST /executions/start").text)
    documented = block("POST /executions/start", 1).value
    assert said.statuses == [201]
    assert set(documented) <= set(said.values[0])
    id = said.values[0]["executionId"]
    assert re.fullmatch(r"exec-[0-9A-Z]{26}", id)
    done = live.end(id)
    assert done["status"] == "completed"
    assert done["completedSteps"] == ["validate-order", "charge-payment", "fulfill-order"]
    assert done["context"]["amount"] == 99.99
    told = eventually(lambda: live.services.to("notifications/order-complete"))[0].value
    assert (told["executionId"], told["status"]) == (id, "completed")
    assert set(told["results"]) == set(done["completedSteps"])
    asked = [one.where for one in live.services.sent if not one.where.startswith("notifications")]
    assert asked == ["validation-service/validate", "payment-service/charge", "fulfillment-service/fulfill"]
    assert [one.method for one in live.services.sent] == ["POST"] * 4
    assert live.services.to("notifications/order-failed") == []


def test_an_order_that_fails_is_told_of_too(live: Server) -> None:
    live.services.serve("payment-service/charge", 402)
    live.bash(block("POST /workflows").text)
    done = live.end(live.bash(block("POST /executions/start").text).values[0]["executionId"])
    assert (done["status"], done["failedSteps"], done["skippedSteps"]) == (
        "failed",
        ["charge-payment"],
        ["fulfill-order"],
    )
    assert done["stepResults"]["fulfill-order"]["skipReason"] == "dependency_failed"
    told = eventually(lambda: live.services.to("notifications/order-failed"))[0].value
    assert (told["status"], told["failedSteps"]) == ("failed", ["charge-payment"])
    assert live.services.to("notifications/order-complete") == []
    assert live.services.to("fulfillment-service/fulfill") == []


def test_executions_are_listed_all_or_of_one_workflow(live: Server) -> None:
    live.post("/workflows", {"id": "other", "steps": [{"id": "a"}]})
    live.bash(block("POST /workflows").text)
    mine = [live.start("order-processing", {"orderId": str(n)}) for n in range(2)]
    other = live.start("other")
    for id in (*mine, other):
        live.end(id)
    said = live.bash(block("GET /executions").text)
    assert said.statuses == [200, 200]
    everything, filtered = said.values
    assert [one["executionId"] for one in everything][:3] == [other, *reversed(mine)]
    assert [one["executionId"] for one in filtered][:2] == list(reversed(mine))
    assert {one["workflowId"] for one in filtered} == {"order-processing"}
    assert set(filtered[0]) >= {"executionId", "workflowId", "status", "startTime", "currentSteps"}


class Held:
    """A service whose answer comes when the test says so."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.free = [threading.Event() for _ in answers]
        self.asked = 0

    def __call__(self, sent: Sent) -> Any:
        number = self.asked
        self.asked += 1
        assert self.free[number].wait(30)
        return self.answers[number]


@pytest.fixture
def till(live: Server) -> Iterator[Held]:
    held = Held(503, {"receipt": "r-1"})
    live.services.serve("validation-service/validate", {"valid": True})
    live.services.serve("payment-service/charge", held)
    yield held
    for event in held.free:
        event.set()


TIMES = {"startTime", "duration"}


def documented_in(documented: Any, shown: Any) -> Any:
    """As much of what is shown as is documented; times count by their type."""
    if isinstance(documented, dict):
        return {
            name: value if name in TIMES and type(shown[name]) is int else documented_in(value, shown[name])
            for name, value in documented.items()
        }
    if isinstance(documented, list) and documented and isinstance(documented[0], dict):
        return [documented_in(one, other) for one, other in zip(documented, shown, strict=False)]
    return shown


def test_a_running_execution_is_shown_as_it_is_documented(live: Server, till: Held) -> None:
    live.bash(block("POST /workflows").text)
    live.start("order-processing", {"orderId": "order-123"}, executionId="exec-abc-123")
    live.until("exec-abc-123", lambda found: till.asked == 1 and found["currentSteps"] == ["charge-payment"])
    said = live.bash(block("GET /executions/{executionId}").text)
    documented = block("GET /executions/{executionId}", 1).value
    assert said.statuses == [200]
    assert documented_in(documented, said.values[0]) == documented
    assert list(said.values[0])[: len(documented)] == list(documented)
    assert said.values[0]["startTime"] > 1_700_000_000_000  # milliseconds, as all durations are

    till.free[0].set()  # refused, and tried again two seconds later
    live.until("exec-abc-123", lambda found: till.asked == 2)
    drawn = live.bash(block("GET /executions/{executionId}/visualize").text)
    documented = block("GET /executions/{executionId}/visualize", 1).value
    assert drawn.statuses == [200]
    assert documented_in(documented, drawn.values[0]) == documented
    assert [one["id"] for one in drawn.values[0]["steps"]] == ["validate-order", "charge-payment", "fulfill-order"]

    till.free[1].set()
    assert live.end("exec-abc-123")["stepResults"]["charge-payment"]["attempts"] == 2


def test_the_pipeline_takes_its_data_apart_side_by_side_and_loads_it(live: Server) -> None:
    pytest.importorskip("quickjs")
    data = {
        "users": [{"id": 1, "name": "Ada", "email": "ada@example.org"}],
        "orders": [{"id": 7, "status": "active"}, {"id": 8, "status": "cancelled"}],
    }
    live.services.serve("source-system/data", data)
    said = live.bash(block("1. Data Processing Pipeline").text)
    assert said.statuses == [201, 201]
    assert (said.values[0]["success"], said.values[0]["workflowId"]) == (True, "etl-pipeline")
    checked = live.post("/workflows/validate", definition_in("1. Data Processing Pipeline"))
    assert checked["layers"] == [["extract"], ["transform-users", "transform-orders"], ["load"]]
    done = live.end(said.values[1]["executionId"])
    assert done["status"] == "completed"
    assert done["context"]["transform-users"] == [{"id": 1, "name": "Ada"}]
    assert done["context"]["transform-orders"] == [{"id": 7, "status": "active"}]
    assert [one.method for one in live.services.to("source-system/data")] == ["GET"]
    assert [one.method for one in live.services.to("target-system/load")] == ["POST"]


FLOW = [
    "validation/validate",
    "inventory/check",
    "payment/charge",
    "shipping/ship",
    "notifications/email",
    "analytics/order-complete",
]


def test_the_order_flow_goes_through_all_its_services(live: Server) -> None:
    said = live.bash(block("2. E-commerce Order Flow").text)
    assert said.statuses[0] in (200, 201)
    done = live.end(live.start("order-flow", {"orderId": "123"}))
    assert done["status"] == "completed"
    eventually(lambda: live.services.to("analytics/order-complete"))
    assert [one.where for one in live.services.sent] == FLOW
    assert live.services.to("notifications/email")[0].value == {"type": "order-confirmation"}
    assert done["stepResults"]["send-confirmation"]["result"] == {"status": 200, "sent": True}


def test_a_pipeline_whose_steps_have_no_action_yet_is_carried_out(live: Server) -> None:
    written = block("3. CI/CD Pipeline").value
    (live.folder / "cicd.json").write_text(block("3. CI/CD Pipeline").text)
    command = "curl -X POST http://localhost:3000/workflows -H 'Content-Type: application/json' -d @cicd.json"
    said = live.bash(command)
    assert said.statuses == [201]
    assert [one["code"] for one in said.values[0]["warnings"]] == ["step_has_no_action"] * 6
    done = live.end(live.start("cicd-pipeline"))
    assert (done["status"], done["completedSteps"]) == ("completed", [step["id"] for step in written["steps"]])


@pytest.mark.parametrize("jq", [True, False], ids=["jq", "python"])
def test_the_complete_example(live: Server, jq: bool) -> None:
    definition = definition_in("2. E-commerce Order Flow")
    (live.folder / "workflow-definition.json").write_text(json.dumps(definition))
    said = live.bash(block("Complete Example").text, jq=jq)
    assert said.statuses[0] in (200, 201)
    assert said.statuses[1:] == [201, 200, 200, 200]
    registered, status, picture, everything = said.values
    assert registered["workflowId"] == "order-flow"
    assert status in ("pending", "running", *ENDED)
    assert picture["workflowName"] == "E-commerce Order Flow"
    assert everything[0]["executionId"] == picture["executionId"]
    assert live.end(picture["executionId"])["context"]["orderId"] == "123"
