"""Over the API: steps settled by hand, ends from without, why something waits, attempts, and the oldest first."""

from __future__ import annotations

from typing import Any

import pytest
from serving_rig import ETL, WORKFLOWS, Rig, rigged

from durable import Worker

SLOW = {"id": "slow", "action": "signal.wait", "params": {"name": "never"}}
LATER = {"id": "later", "dependencies": ["slow"]}


async def waiting(rig: Rig, *steps: dict[str, Any], **more: Any) -> str:
    """An execution of these steps that waits for a signal."""
    await rig.local.value("POST", "/workflows", {"id": "flow", "steps": list(steps), **more})
    id = await rig.local.start("flow")
    await rig.local.until(id, waiting="signal")
    return id


# ── settling ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("verb", "body", "status", "end"),
    [
        ("complete", {"result": {"n": 1}}, "completed", {"status": "success", "result": {"n": 1}}),
        ("fail", {"error": "by phone"}, "failed", {"status": "failed", "error": "StepFailure: by phone"}),
        ("fail", {"error": "no", "name": "Declined"}, "failed", {"status": "failed", "error": "Declined: no"}),
        (
            "skip",
            {"reason": "no need"},
            "completed",
            {"status": "skipped", "skipReason": "manual", "reason": "no need"},
        ),
    ],
)
async def test_a_step_is_settled(working: Rig, verb: str, body: Any, status: str, end: Any) -> None:
    id = await waiting(working, SLOW, LATER)
    assert (await working.local("POST", f"/executions/{id}/steps/slow/{verb}", body)).status_code == 202
    done = await working.local.until(id, status=status)
    assert {name: done["stepResults"]["slow"].get(name) for name in end} == end
    assert done["stepResults"]["slow"]["byHand"] is True


async def test_only_a_step_that_is_under_way_is_settled(working: Rig) -> None:
    id = await waiting(working, SLOW, LATER)
    answer = await working.local("POST", f"/executions/{id}/steps/later/skip", {})
    assert (answer.status_code, answer.json()["code"]) == (409, "not_waiting")
    answer = await working.local("POST", f"/executions/{id}/steps/nobody/skip", {})
    assert (answer.status_code, answer.json()["code"]) == (404, "step_not_found")


async def test_a_result_that_does_not_fit_is_refused(working: Rig) -> None:
    id = await waiting(working, {**SLOW, "outputSchema": {"type": "number"}})
    answer = await working.local("POST", f"/executions/{id}/steps/slow/complete", {"result": "seven"})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_result")
    assert answer.json()["details"][0]["path"] == "/result"


async def test_a_key_makes_settling_repeatable(working: Rig) -> None:
    id = await waiting(working, SLOW)
    for _ in range(2):
        answer = await working.local(
            "POST", f"/executions/{id}/steps/slow/complete", {"result": 1}, headers={"Idempotency-Key": "once"}
        )
        assert answer.status_code == 202
    assert (await working.local.until(id, status="completed"))["output"] == {"slow": 1}


async def test_a_worker_may_complete_and_fail_but_not_skip() -> None:
    async with rigged(auth="tokens") as strict:
        by_hand = await strict.caller("worker")
        answer = await by_hand("POST", "/executions/x/steps/y/skip", {})
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert (await by_hand("POST", "/executions/x/steps/y/fail", {"error": "e"})).status_code == 404


# ── ends from without ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_termination_is_told_also_when_the_server_died_before_it_could(working: Rig) -> None:
    hooks = {"onFailure": {"url": "http://127.0.0.1:9/", "maxAttempts": 1}}
    id = await waiting(working, SLOW, webhooks=hooks)
    await working.client.handle(id).terminate("enough")  # and then it died
    assert await working.local.value("GET", f"/webhook-deliveries?executionId={id}") == []
    again = await working.local("POST", f"/executions/{id}/cancel", {"mode": "now"})
    assert again.status_code == 200
    assert len(await working.local.value("GET", f"/webhook-deliveries?executionId={id}")) == 1


async def test_a_termination_by_the_api_is_told(working: Rig) -> None:
    hooks = {"onFailure": {"url": "http://127.0.0.1:9/", "maxAttempts": 1}}
    id = await waiting(working, SLOW, webhooks=hooks)
    answer = await working.local("POST", f"/executions/{id}/cancel", {"mode": "now", "reason": "enough"})
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
    [told] = await working.local.value("GET", f"/webhook-deliveries?executionId={id}")
    assert told["event"] == "workflow.cancelled"


# ── why ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def why(rig: Rig, id: str) -> dict[Any, Any]:
    found = await rig.local.value("GET", f"/executions/{id}/why")
    assert all(one["say"] and "todo" in one for one in found["steps"]), found
    return {one["stepId"]: one for one in found["steps"]}


async def test_why_a_step_waits_leads_to_the_root(working: Rig) -> None:
    steps = [SLOW, LATER, {"id": "last", "dependencies": ["later"]}]
    id = await waiting(working, *steps)
    found = await why(working, id)
    assert (found["slow"]["kind"], found["slow"]["name"]) == ("signal", "never")
    assert (found["last"]["steps"], found["last"]["rootSteps"]) == (["later"], ["slow"])
    assert found["last"]["say"] == "waits for later, in the end for slow"
    assert found["slow"]["since"] > 0


async def test_why_a_step_is_tried_again_later(working: Rig) -> None:
    policy = {"maxAttempts": 4, "initialDelay": 3_600_000}
    flaky = {"id": "flaky", "action": "http.request", "params": {"url": "http://127.0.0.1:9/"}, "retryPolicy": policy}
    await working.local.value("POST", "/workflows", {"id": "flow", "steps": [flaky]})
    id = await working.local.start("flow")
    await working.local.until(id, waiting="retry")
    one = (await why(working, id))["flaky"]
    assert (one["attempt"], one["maxAttempts"]) == (1, 4)
    assert one["error"].startswith("HttpProblem")
    assert "attempt 1 of 4 failed" in one["say"]


async def test_why_an_execution_without_a_worker_does_not_begin(rig: Rig) -> None:
    await rig.local.value("POST", "/workflows", ETL)
    first, second = await rig.local.start("etl"), await rig.local.start("etl", queue="gpu")
    [wait] = (await rig.local.value("GET", f"/executions/{first}"))["waitingOn"]
    assert (wait["stepId"], wait["kind"], wait["workers"]) == (None, "worker", 0)
    found = await why(rig, second)
    assert found[None]["say"] == "no living worker reads queue gpu and carries definitions out"
    assert found[None]["todo"] == "start a worker for queue gpu"


async def test_why_a_delayed_execution_does_not_begin(working: Rig) -> None:
    await working.local.value("POST", "/workflows", ETL)
    id = await working.local.start("etl", delay=3_600_000)
    found = (await why(working, id))[None]
    assert (found["kind"], found["say"].startswith("its timer fires")) == ("timer", True)


async def test_why_an_execution_stands_still_whose_workers_have_gone(rig: Rig) -> None:
    async with rig.working():
        id = await waiting(rig, SLOW, LATER)
    found = await why(rig, id)
    assert (found[None]["kind"], found[None]["workers"]) == ("worker", 0)
    assert found["slow"]["kind"] == "signal"


async def test_why_work_of_another_queue_is_not_done(working: Rig) -> None:
    far = {"id": "far", "queue": "gpu"} | {"action": "http.request", "params": {"url": "http://127.0.0.1:9/"}}
    await working.local.value("POST", "/workflows", {"id": "flow", "steps": [far]})
    id = await working.local.start("flow")
    await working.local.until(id, waiting="worker", currentSteps=["far"])
    one = (await why(working, id))["far"]
    assert (one["queue"], one["workers"], one["todo"]) == ("gpu", 0, "start a worker for queue gpu")
    async with Worker(working.client, workflows=working.engine.workflows, queues=["gpu"], drain=0.2):
        await working.local.until(id, status="failed")


async def test_why_it_is_queued_behind_others(rig: Rig) -> None:
    """A worker is there, and busy with other things."""
    await rig.local.value("POST", "/workflows", ETL)
    async with Worker(rig.client, workflows=[*WORKFLOWS, *rig.engine.workflows], concurrency=1, drain=0.1):
        held = await rig.local.start("careful")
        await rig.local.until(held, currentSteps=["once"])
        ids = [await rig.local.start("etl") for _ in range(3)]
        one = (await why(rig, ids[2]))[None]
        assert (one["kind"], one["workers"], one["ahead"]) == ("worker", 1, 2)


async def test_why_it_waits_for_its_turn(working: Rig) -> None:
    first = await waiting(working, SLOW, concurrency={"key": "one", "limit": 1})
    second = await working.local.start("flow")
    await working.local.until(second, waiting="slot")
    one = (await why(working, second))[None]
    assert (one["kind"], one["holders"]) == ("slot", [first])
    assert one["say"] == f"waits for its turn: {first} hold the 1 slots of 'one'"


async def test_why_it_is_paused(working: Rig) -> None:
    id = await waiting(working, SLOW, LATER)
    await working.local.value("POST", f"/executions/{id}/pause", {})
    await working.local.until(id, status="paused")
    assert (await why(working, id))[None]["kind"] == "paused"


async def test_why_it_failed(working: Rig) -> None:
    steps = [
        {"id": "bad", "action": "fail", "params": {"message": "as it must"}},
        {"id": "then", "dependencies": ["bad"]},
    ]
    hooks = {"onFailure": {"url": "http://127.0.0.1:9/", "maxAttempts": 5}}
    await working.local.value("POST", "/workflows", {"id": "flow", "steps": steps, "webhooks": hooks})
    id = await working.local.start("flow")
    await working.local.until(id, status="failed")
    found = await why(working, id)
    assert found["bad"]["say"] == "failed at attempt 1: StepFailure: as it must"
    assert (found["then"]["kind"], found["then"]["steps"]) == ("skipped", ["bad"])
    assert (found[None]["kind"], found[None]["count"]) == ("delivery", 1)


# ── attempts, pictures, order ────────────────────────────────────────────────────────────────────────────────────────


async def test_attempts_have_their_times(working: Rig) -> None:
    policy = {"maxAttempts": 2, "initialDelay": 10}
    flaky = {"id": "flaky", "action": "http.request", "params": {"url": "http://127.0.0.1:9/"}, "retryPolicy": policy}
    await working.local.value("POST", "/workflows", {"id": "flow", "steps": [flaky]})
    id = await working.local.start("flow")
    done = await working.local.until(id, status="failed")
    first, second = await working.local.value("GET", f"/executions/{id}/steps/flaky/attempts")
    assert (first["n"], second["n"], second["status"]) == (1, 2, "failed")
    assert done["startTime"] <= first["earliest"] <= first["end"]
    assert second["earliest"] == first["end"] + 10
    shown = await working.local.value("GET", f"/executions/{id}/visualize?layout=1")
    assert shown["steps"][0]["tries"] == [first, second]


async def test_all_executions_come_oldest_first(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where many have begun in one instant, and where stretches are small."""
    monkeypatch.setattr("durable_server.oldest.PAGE_SIZE_MAX", 8)
    monkeypatch.setattr("durable_server.oldest._FEW", 2)
    for number in range(30):
        await rig.local.start("hello" if number % 3 else "waits", executionId=f"e{number}")
    newest: list[str] = [one["executionId"] for one in await rig.local.value("GET", "/executions")]
    for limit in (1, 4, 7, 30, 100):
        assert await _pages(rig, {"order": "asc", "limit": limit}) == newest[::-1]
    of_one = [id for id in newest[::-1] if int(id[1:]) % 3 == 0]
    assert await _pages(rig, {"order": "asc", "limit": 2, "workflowId": "waits"}) == of_one
    assert await _pages(rig, {"order": "asc", "limit": 2, "q": "e2"}) == [one for one in newest[::-1] if "e2" in one]


async def _pages(rig: Rig, asked: dict[str, Any]) -> list[str]:
    found: list[str] = []
    cursor = None
    while True:
        answer = await rig.local("GET", "/executions", params=asked | ({} if cursor is None else {"cursor": cursor}))
        assert answer.status_code == 200, answer.text
        page = [one["executionId"] for one in answer.json()]
        assert len(page) <= asked["limit"]
        found += page
        cursor = answer.headers.get("x-next-cursor")
        if cursor is None:
            return found


async def test_cursors_of_one_order_are_none_of_the_other(rig: Rig) -> None:
    for number in range(3):
        await rig.local.start("hello", executionId=f"e{number}")
    for order, other in (("asc", "desc"), ("desc", "asc")):
        answer = await rig.local("GET", f"/executions?limit=1&order={order}")
        cursor = answer.headers["x-next-cursor"]
        wrong = await rig.local("GET", "/executions", params={"order": other, "cursor": cursor})
        assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid_input")


async def test_what_is_not_offered_is_not_found(rig: Rig) -> None:
    answer = await rig.local("GET", "/schedules")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
