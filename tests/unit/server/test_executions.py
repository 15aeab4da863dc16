"""Executions of code over the API: starting, looking, acting."""

from typing import Any

import pytest
from serving_rig import Rig, refusals

from durable import Worker


async def test_a_start_answers_with_the_id_and_the_execution_can_be_looked_at(working: Rig) -> None:
    call = working.local
    answer = await call("POST", "/executions/start", {"workflowId": "hello", "context": {"name": "Ada"}})
    assert answer.status_code == 201
    started = answer.json()
    assert started["workflowId"] == "hello"
    assert started["created"] is True
    assert answer.headers["location"] == f"/executions/{started['executionId']}"
    found = await call.until(started["executionId"], status="completed")
    assert list(found)[:9] == [
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
    assert found["output"] == {"said": "hello Ada"}
    assert found["completedSteps"] == ["greet"]
    assert found["kind"] == "code"
    assert found["context"] == {"input": {"name": "Ada"}}
    result = found["stepResults"]["greet"]
    assert (result["status"], result["attempts"], result["result"]) == ("success", 1, "hello Ada")
    assert found["startTime"] <= result["endTime"] <= found["endTime"]
    assert result["duration"] == result["endTime"] - result["startTime"]


async def test_a_start_can_wait_for_the_end(working: Rig) -> None:
    answer = await working.local(
        "POST", "/executions/start?wait=10s", {"workflowId": "hello", "input": {"name": "Bob"}}
    )
    assert answer.status_code == 200
    assert answer.json()["output"] == {"said": "hello Bob"}


async def test_a_start_that_waits_too_long_answers_with_the_running_execution(working: Rig) -> None:
    answer = await working.local("POST", "/executions/start?wait=10ms", {"workflowId": "waits", "context": {}})
    assert answer.status_code == 202
    assert answer.json()["status"] in ("pending", "running")


async def test_the_same_id_with_the_same_context_is_the_same_execution(rig: Rig) -> None:
    body = {"workflowId": "hello", "context": {"name": "Ada"}, "executionId": "mine"}
    first = await rig.local("POST", "/executions/start", body)
    again = await rig.local("POST", "/executions/start", body)
    other = await rig.local("POST", "/executions/start", {**body, "context": {"name": "Bob"}})
    refused = await rig.local("POST", "/executions/start", {**body, "onConflict": "fail"})
    assert [one.status_code for one in (first, again, other, refused)] == [201, 200, 409, 409]
    assert [one.json().get("created") for one in (first, again)] == [True, False]


async def test_only_what_has_ended_is_restarted(working: Rig) -> None:
    call = working.local
    body = {"workflowId": "waits", "context": {}, "executionId": "mine", "onConflict": "restart"}
    assert (await call("POST", "/executions/start", body)).status_code == 201
    assert (await call("POST", "/executions/start", body)).status_code == 409
    await call.value("POST", "/executions/mine/cancel", {"mode": "now"})
    assert (await call("POST", "/executions/start", body)).status_code == 201
    assert (await call.value("GET", "/executions/mine"))["attempt"] == 2


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"workflowId": "nobody"}, 404, "workflow_not_found"),
        ({}, 400, "missing_field"),
        ({"workflowId": 7}, 400, "invalid_type"),
        ({"workflowId": "hello", "context": []}, 400, "invalid_type"),
        ({"workflowId": "hello", "context": None}, 400, "invalid_type"),
        ({"workflowId": "hello", "onConflict": "perhaps"}, 400, "invalid_type"),
        ({"workflowId": "hello", "delay": -1}, 400, "invalid_type"),
        ({"workflowId": "hello", "delay": "soon"}, 400, "invalid_type"),
        ({"workflowId": "hello", "priority": 1.5}, 400, "invalid_type"),
        ({"workflowId": "hello", "tags": {"a": 1}}, 400, "invalid_type"),
        ({"workflowId": "hello", "startAt": "tomorrow"}, 400, "invalid_type"),
        ({"workflowId": "hello", "context": {}, "executionId": "a\nb"}, 400, "invalid_name"),
        ({"workflowId": "hello", "context": {}, "executionId": ""}, 400, "invalid_name"),
        ({"workflowId": "hello", "context": {}, "version": 2}, 400, "invalid_input"),
        ({"workflowId": "hello", "context": {}, "webhooks": {}}, 400, "invalid_input"),
        ({"workflowId": "hello", "input": 7}, 400, "invalid_input"),
        ([], 400, "invalid_type"),
    ],
)
async def test_a_start_that_does_not_fit_is_told_what_is_wrong(rig: Rig, body: Any, status: int, code: str) -> None:
    answer = await rig.local("POST", "/executions/start", body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert set(answer.json()) == {"error", "code", "details"}
    assert (await rig.local.value("GET", "/executions/count"))["total"] == 0


async def test_everything_that_is_wrong_is_told_at_once(rig: Rig) -> None:
    body = {"priority": "high", "tags": [], "delay": "soon"}
    found = (await rig.local("POST", "/executions/start", body)).json()["details"]
    assert [one["path"] for one in found] == ["/workflowId", "/delay", "/priority", "/tags"]


async def test_a_delayed_start_is_pending(working: Rig) -> None:
    id = await working.local.start("hello", delay=3_600_000)
    found = await working.local.value("GET", f"/executions/{id}/why")
    assert found["status"] == "pending"
    assert "delay" in found["why"]


async def test_pages_lead_through_all_executions(rig: Rig) -> None:
    ids = [await rig.local.start("hello", executionId=f"e{n}", context={"n": n}) for n in range(7)]
    seen: list[str] = []
    path = "/api/v1/executions?limit=3&workflowId=hello"
    sizes = []
    while True:
        answer = await rig.local("GET", path)
        page = [one["executionId"] for one in answer.json()]
        seen += page
        sizes.append(len(page))
        link = answer.headers.get("link")
        if link is None:
            break
        target, _, rel = link.partition(">; ")
        assert rel == 'rel="next"'
        path = target.removeprefix("<")
        assert path.startswith("/api/v1/executions?limit=3&workflowId=hello&cursor=")
        again = await rig.local("GET", "/executions", params={"limit": 3, "cursor": answer.headers["x-next-cursor"]})
        assert again.status_code == 200
    assert seen == list(reversed(ids))
    assert sizes == [3, 3, 1]


async def test_filters_choose(working: Rig) -> None:
    call = working.local
    done = await call.start("hello", tags={"team": "ops"})
    failed = await call.start("refused")
    waiting = await call.start("waits", tags={"team": "dev"}, executionId="needle-7")
    await call.until(done, status="completed")
    await call.until(failed, status="failed")
    await call.until(waiting, status="running")

    async def ids(query: str) -> list[str]:
        return [one["executionId"] for one in await call.value("GET", f"/executions?{query}")]

    assert await ids("status=completed") == [done]
    assert await ids("status=completed&status=failed") == [failed, done]
    assert await ids("tag=team:ops") == [done]
    assert await ids("workflowId=waits") == [waiting]
    assert await ids("hasError=true") == [failed]
    assert set(await ids("hasError=false")) == {done, waiting}
    assert await ids("q=NEEDLE") == [waiting]
    assert await ids("q=not%20you") == [failed]
    assert await ids("kind=dag") == []
    assert await ids("kind=code&status=failed") == [failed]
    assert await ids("startedBefore=1000") == []
    assert set(await ids("startedAfter=2020-01-01T00:00:00Z")) == {done, failed, waiting}
    shown = await call.value("GET", "/executions?status=failed&include=stepResults,context")
    assert shown[0]["failedSteps"] == ["refuse"]
    assert shown[0]["stepResults"]["refuse"]["error"].endswith("not you")
    counted = await call.value("GET", "/executions/count?groupBy=status")
    assert counted["total"] == 3
    assert {one["key"]: one["count"] for one in counted["groups"]} == {"running": 1, "completed": 1, "failed": 1}
    counted = await call.value("GET", "/executions/count?groupBy=workflowId&status=failed")
    assert counted == {"total": 1, "groups": [{"key": "refused", "count": 1}]}


async def test_a_page_may_be_short_and_yet_lead_on(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the store cannot choose by is looked for row by row, and no call looks at all of them."""
    monkeypatch.setattr("durable_server.filters.LOOKED_AT_MAX", 3)
    for number in range(10):
        await rig.local.start("hello", executionId=f"e{number}")
    pages: list[list[str]] = []
    cursor = None
    while cursor is not None or not pages:
        params = {"q": "e1", "limit": 2} | ({} if cursor is None else {"cursor": cursor})
        answer = await rig.local("GET", "/executions", params=params)
        pages.append([one["executionId"] for one in answer.json()])
        cursor = answer.headers.get("x-next-cursor")
    assert [id for page in pages for id in page] == ["e1"]
    assert [] in pages


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=many",
        "status=unheard-of",
        "kind=other",
        "tag=team",
        "startedAfter=yesterday",
        "cursor=nonsense",
        "order=up",
        "hasError=perhaps",
    ],
)
async def test_a_parameter_that_does_not_fit_is_refused(rig: Rig, query: str) -> None:
    answer = await rig.local("GET", f"/executions?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]


async def test_what_nobody_has_is_not_found(rig: Rig) -> None:
    for path in ("", "/visualize", "/history", "/events", "/why", "/steps/a", "/steps/a/attempts"):
        answer = await rig.local("GET", f"/executions/nobody{path}")
        assert (answer.status_code, answer.json()["error"]) == (404, "Execution not found"), path
    for path in ("cancel", "pause", "resume", "retry", "signal/go", "steps/a/skip"):
        assert (await rig.local("POST", f"/executions/nobody/{path}", {})).status_code == 404, path


async def test_a_step_is_found_by_its_id(working: Rig) -> None:
    id = await working.local.start("refused")
    await working.local.until(id, status="failed")
    found = await working.local.value("GET", f"/executions/{id}/steps/refuse")
    assert (found["status"], found["attempts"]) == ("failed", 1)
    attempts = await working.local.value("GET", f"/executions/{id}/steps/refuse/attempts")
    assert [one["status"] for one in attempts] == ["failed"]
    assert (await working.local("GET", f"/executions/{id}/steps/nothing")).status_code == 404


async def test_a_picture_has_the_seeds_members(working: Rig) -> None:
    id = await working.local.start("hello")
    await working.local.until(id, status="completed")
    found = await working.local.value("GET", f"/executions/{id}/visualize")
    assert list(found) == ["executionId", "workflowName", "status", "duration", "steps"]
    assert found["steps"][0]["id"] == "greet"
    assert (await working.local("GET", f"/executions/{id}/visualize?format=dot")).status_code == 400


async def test_a_signal_is_delivered_or_kept(working: Rig) -> None:
    call = working.local
    id = await call.start("waits")
    found = await call.until(id, waiting="signal")
    assert [(one["stepId"], one["kind"]) for one in found["waitingOn"]] == [("go", "signal")]
    kept = await call("POST", f"/executions/{id}/signal/other", {"a": 1})
    assert (kept.status_code, kept.json()) == (202, {"buffered": True})
    sent = await call("POST", f"/executions/{id}/signal/go", {"ok": True})
    assert (sent.status_code, sent.json()) == (202, {"delivered": True})
    assert (await call.until(id, status="completed"))["output"] == {"ok": True}
    assert (await call("POST", f"/executions/{id}/signal/go", {})).status_code == 409


async def test_a_signal_without_a_body_carries_null(working: Rig) -> None:
    id = await working.local.start("waits")
    assert (await working.local("POST", f"/executions/{id}/signal/go")).status_code == 202
    assert (await working.local.until(id, status="completed"))["output"] is None


async def test_an_execution_is_cancelled_once(rig: Rig) -> None:
    id = await rig.local.start("hello")
    first = await rig.local("POST", f"/executions/{id}/cancel", {"reason": "out of stock"})
    again = await rig.local("POST", f"/executions/{id}/cancel")
    assert (first.status_code, again.status_code) == (202, 200)
    found = await rig.local.value("GET", f"/executions/{id}")
    assert (found["status"], found["cancelReason"]) == ("cancelled", "out of stock")


async def test_what_has_completed_is_not_cancelled(working: Rig) -> None:
    id = await working.local.start("hello")
    await working.local.until(id, status="completed")
    answer = await working.local("POST", f"/executions/{id}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "execution_ended")
    assert (await working.local("POST", f"/executions/{id}/pause")).status_code == 409


async def test_a_paused_execution_goes_on(rig: Rig) -> None:
    id = await rig.local.start("hello")
    answer = await rig.local("POST", f"/executions/{id}/pause", {"reason": "lunch"})
    assert (answer.status_code, answer.json()) == (202, {"executionId": id, "status": "paused"})
    assert (await rig.local("POST", f"/executions/{id}/resume")).json()["status"] == "pending"
    async with rig.working():
        await rig.local.until(id, status="completed")


async def test_a_retry_keeps_what_succeeded(working: Rig) -> None:
    call = working.local
    id = await call.start("refused")
    before = await call.until(id, status="failed")
    refusals["on"] = False
    assert (await call("POST", f"/executions/{id}/retry", {"from": "failed"})).status_code == 202
    after = await call.until(id, status="completed")
    assert after["attempt"] == 2
    assert after["stepResults"]["greet"]["endTime"] == before["stepResults"]["greet"]["endTime"]
    assert (await call("POST", f"/executions/{id}/retry", {"context": {"a": 1}})).status_code == 400


async def test_a_fork_is_an_execution_of_its_own(working: Rig) -> None:
    call = working.local
    id = await call.start("refused")
    await call.until(id, status="failed")
    refusals["on"] = False
    answer = await call("POST", f"/executions/{id}/fork", {"from": "refuse", "executionId": "other"})
    assert answer.status_code == 201
    assert answer.json()["forkedFrom"] == id
    await call.until("other", status="completed")
    assert (await call.value("GET", f"/executions/{id}"))["status"] == "failed"
    assert (await call("POST", f"/executions/{id}/fork", {"from": "nothing"})).status_code == 400
    assert (await call("POST", f"/executions/{id}/fork", {"from": "refuse", "executionId": "other"})).status_code == 409


async def test_a_blocked_execution_is_running_and_says_so_and_is_settled(rig: Rig) -> None:
    call = rig.local
    async with Worker(rig.client, workflows=rig.client.link.registry.all(), drain=0.05):
        id = await call.start("careful")
        await call.until(id, currentSteps=["once"])
    async with Worker(rig.client, workflows=rig.client.link.registry.all(), drain=0.05):
        found = await call.until(id, waiting="blocked")
        assert found["status"] == "running"
        assert found["waitingOn"][0]["stepId"] == "once"
        assert found["waitingOn"][0]["code"] == "unknown_outcome"
        wrong = await call("POST", f"/executions/{id}/steps/other/complete", {"result": 1})
        assert (wrong.status_code, wrong.json()["code"]) == (409, "not_waiting")
        done = await call("POST", f"/executions/{id}/steps/once/complete", {"result": "paid"})
        assert done.status_code == 202
        assert (await call.until(id, status="completed"))["output"] == "paid"


async def test_events_are_numbered_and_can_be_read_from_any_on(working: Rig) -> None:
    id = await working.local.start("hello")
    await working.local.until(id, status="completed")
    events = await working.local.value("GET", f"/executions/{id}/history")
    assert [one["type"] for one in events] == ["execution.created", "step.completed", "execution.completed"]
    numbers = [one["seq"] for one in events]
    assert numbers == sorted(set(numbers))
    for place, number in enumerate(numbers):
        rest = await working.local.value("GET", f"/executions/{id}/history?after={number}")
        assert rest == events[place + 1 :]
    assert await working.local.value("GET", f"/executions/{id}/history?limit=1") == events[:1]


async def test_texts_under_telling_names_are_hidden_in_what_is_shown(working: Rig) -> None:
    id = await working.local.start("hello", context={"name": "Ada", "password": "hunter2hunter2"})
    await working.local.until(id, status="completed")
    for path in ("", "/history", "/steps/greet"):
        assert "hunter2" not in (await working.local("GET", f"/executions/{id}{path}")).text


async def test_many_are_cancelled_at_once(rig: Rig) -> None:
    call = rig.local
    ids = [await call.start("hello", tags={"batch": "a"}) for _ in range(3)]
    other = await call.start("hello")
    body = {"filter": {"workflowId": "hello", "tags": {"batch": "a"}}, "dryRun": True}
    dry = await call.value("POST", "/executions/bulk/cancel", body)
    assert (dry["matched"], dry["done"]) == (3, 0)
    assert (await call.value("GET", "/executions/count?status=cancelled"))["total"] == 0
    done = await call.value("POST", "/executions/bulk/cancel", {**body, "dryRun": False, "reason": "all of them"})
    assert (done["matched"], done["done"], done["failed"], done["more"]) == (3, 3, 0, False)
    assert {one["executionId"] for one in done["executions"]} == set(ids)
    assert (await call.value("GET", f"/executions/{other}"))["status"] == "pending"
    retried = await call.value("POST", "/executions/bulk/retry", {"ids": [ids[0], other, "nobody", ids[0]]})
    assert (retried["matched"], retried["done"], retried["failed"]) == (2, 1, 2)
    codes = {one["executionId"]: one.get("code") for one in retried["executions"]}
    assert codes == {ids[0]: None, other: "execution_conflict", "nobody": "execution_not_found"}


async def test_a_filter_with_a_member_that_nobody_knows_chooses_nothing(rig: Rig) -> None:
    id = await rig.local.start("hello")
    answer = await rig.local("POST", "/executions/bulk/cancel", {"filter": {"workflowid": "another"}})
    assert answer.status_code == 400
    assert answer.json()["details"][0]["path"] == "/filter/workflowid"
    assert (await rig.local.value("GET", f"/executions/{id}"))["status"] == "pending"


async def test_a_bulk_verb_takes_ids_or_a_filter(rig: Rig) -> None:
    for body in ({}, {"ids": ["a"], "filter": {}}, {"filter": {"status": "odd"}}, {"ids": []}):
        assert (await rig.local("POST", "/executions/bulk/cancel", body)).status_code == 400, body
