"""Definitions and their executions over the API."""

from typing import Any

import pytest
from serving_rig import ETL, Rig

from durable import connect
from durable_server.app import asgi


async def test_a_definition_is_registered_once_per_content(rig: Rig) -> None:
    first = await rig.local("POST", "/workflows", ETL)
    again = await rig.local("POST", "/workflows", ETL)
    changed = await rig.local("POST", "/workflows", {**ETL, "name": "Another"})
    assert [one.status_code for one in (first, again, changed)] == [201, 200, 201]
    assert [one.json()["version"] for one in (first, again, changed)] == [1, 1, 2]
    assert first.json()["success"] is True
    assert first.json()["workflowId"] == "etl"
    assert [one["code"] for one in first.json()["warnings"]] == ["step_has_no_action"] * 2
    found = await rig.local("GET", "/workflows/etl")
    assert (found.headers["etag"], found.json()["name"]) == ('"2"', "Another")
    old = await rig.local.value("GET", "/workflows/etl?version=1")
    assert {name: old[name] for name in ETL} == ETL
    assert old == await rig.local.value("GET", "/workflows/etl/versions/1")
    assert [one["version"] for one in await rig.local.value("GET", "/workflows/etl/versions")] == [2, 1]


async def test_if_match_guards_against_others(rig: Rig) -> None:
    assert (await rig.local("POST", "/workflows", ETL, headers={"If-Match": '"0"'})).status_code == 201
    stale = await rig.local("POST", "/workflows", {**ETL, "name": "x"}, headers={"If-Match": '"0"'})
    assert (stale.status_code, stale.json()["code"]) == (409, "version_conflict")
    odd = await rig.local("POST", "/workflows", ETL, headers={"If-Match": "one"})
    assert odd.status_code == 400


async def test_all_that_is_wrong_is_told_with_its_place(rig: Rig) -> None:
    bad = {"id": "bad", "steps": [{"id": "a", "dependencies": ["b"]}, {"id": "a", "action": "unheard.of"}]}
    answer = await rig.local("POST", "/workflows", bad)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_definition")
    assert {one["code"] for one in answer.json()["details"]} == {
        "unknown_dependency",
        "duplicate_step_id",
        "unknown_action",
    }
    checked = await rig.local.value("POST", "/workflows/validate", bad)
    assert checked["valid"] is False
    assert len(checked["errors"]) == 3
    assert await rig.local.value("GET", "/workflows") == []
    good = await rig.local.value("POST", "/workflows/validate", ETL)
    assert (good["valid"], good["layers"]) == (True, [["extract"], ["wait"], ["load"]])
    strict = await rig.local.value("POST", "/workflows/validate?strict=true", ETL)
    assert strict["valid"] is False


async def test_a_dry_run_keeps_nothing(rig: Rig) -> None:
    dry = await rig.local("POST", "/workflows?dryRun=true", ETL)
    assert (dry.status_code, dry.json()["version"], dry.json()["created"]) == (200, 1, True)
    assert (await rig.local("GET", "/workflows/etl")).status_code == 404


async def test_definitions_are_listed_page_by_page(rig: Rig) -> None:
    for n in range(5):
        team = {"team": "even" if n % 2 == 0 else "odd"}
        await rig.local.value("POST", "/workflows", {**ETL, "id": f"etl-{n}", "tags": team})
    seen: list[str] = []
    answer = await rig.local("GET", "/workflows?limit=2")
    while True:
        seen += [one["id"] for one in answer.json()]
        if "link" not in answer.headers:
            break
        answer = await rig.local("GET", answer.headers["link"].partition(">")[0].removeprefix("<"))
    assert seen == [f"etl-{n}" for n in range(5)]
    odd = await rig.local.value("GET", "/workflows?tag=team:odd")
    assert [one["id"] for one in odd] == ["etl-1", "etl-3"]
    assert [one["id"] for one in await rig.local.value("GET", "/workflows?q=ETL-4")] == ["etl-4"]


async def test_a_disabled_definition_takes_no_starts(rig: Rig) -> None:
    await rig.local.value("POST", "/workflows", ETL)
    shown = await rig.local.value("PATCH", "/workflows/etl", {"enabled": False})
    assert shown["enabled"] is False
    answer = await rig.local("POST", "/executions/start", {"workflowId": "etl"})
    assert (answer.status_code, answer.json()["code"]) == (409, "workflow_disabled")
    await rig.local.value("PATCH", "/workflows/etl", {"enabled": True})
    await rig.local.start("etl")
    assert (await rig.local("PATCH", "/workflows/etl", {})).status_code == 400


async def test_a_definition_with_live_executions_is_not_deleted_by_mistake(rig: Rig) -> None:
    await rig.local.value("POST", "/workflows", ETL)
    id = await rig.local.start("etl")
    refused = await rig.local("DELETE", "/workflows/etl")
    assert (refused.status_code, refused.json()["code"]) == (409, "workflow_in_use")
    assert (await rig.local("DELETE", "/workflows/etl?force=true")).status_code == 204
    assert (await rig.local("GET", "/workflows/etl")).status_code == 404
    assert (await rig.local.value("GET", "/executions?workflowId=etl"))[0]["executionId"] == id


@pytest.mark.parametrize("id", ["nobody", "a b", "%00", "x" * 300, "..", "%F0%9F%98%80"])
async def test_what_is_no_definition_is_not_found(rig: Rig, id: str) -> None:
    for path in ("", "/versions", "/versions/1", "/versions/x"):
        assert (await rig.local("GET", f"/workflows/{id}{path}")).status_code in (400, 404)
    assert (await rig.local("DELETE", f"/workflows/{id}")).status_code in (400, 404)
    assert (await rig.local("PATCH", f"/workflows/{id}", {"enabled": True})).status_code in (400, 404)


async def test_an_execution_of_a_definition_is_led_to_its_end(working: Rig) -> None:
    call = working.local
    await call.value("POST", "/workflows", ETL)
    id = await call.start("etl", context={"day": 7}, tags={"team": "ops"})
    found = await call.until(id, waiting="signal")
    assert found["kind"] == "dag"
    assert found["completedSteps"] == ["extract"]
    assert found["context"]["day"] == 7
    why = await call.value("GET", f"/executions/{id}/why")
    assert {one["stepId"]: one["kind"] for one in why["steps"]} == {"wait": "signal", "load": "dependency"}
    assert [one["executionId"] for one in await call.value("GET", "/executions?workflowId=etl")] == [id]
    assert [one["executionId"] for one in await call.value("GET", "/executions?kind=dag&tag=team:ops")] == [id]
    assert await call.value("GET", "/executions?kind=code") == []
    assert (await call.value("GET", "/executions/count?workflowId=etl"))["total"] == 1
    settled = await call("POST", f"/executions/{id}/steps/wait/complete", {"result": {"yes": True}})
    assert settled.status_code == 202
    done = await call.until(id, status="completed")
    assert done["stepResults"]["wait"]["result"] == {"yes": True}
    picture = await call.value("GET", f"/executions/{id}/visualize")
    assert [(one["id"], one["dependencies"]) for one in picture["steps"]] == [
        ("extract", []),
        ("wait", ["extract"]),
        ("load", ["wait"]),
    ]
    step = await call.value("GET", f"/executions/{id}/steps/wait")
    assert step["action"] == "signal.wait"
    assert (await call("GET", f"/executions/{id}/steps/nothing")).status_code == 404
    assert await call.value("GET", f"/executions/{id}/steps/extract/attempts") == []


@pytest.mark.parametrize(("form", "media"), [("mermaid", "text/plain"), ("dot", "text/"), ("svg", "image/svg+xml")])
async def test_an_execution_is_drawn(working: Rig, form: str, media: str) -> None:
    await working.local.value("POST", "/workflows", ETL)
    id = await working.local.start("etl")
    await working.local.until(id, waiting="signal")
    answer = await working.local("GET", f"/executions/{id}/visualize?format={form}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(media)
    assert "extract" in answer.text.lower()
    assert "default-src 'none'" in answer.headers["content-security-policy"]


async def test_the_history_names_the_definition(working: Rig) -> None:
    await working.local.value("POST", "/workflows", ETL)
    id = await working.local.start("etl")
    await working.local.until(id, waiting="signal")
    events = await working.local.value("GET", f"/executions/{id}/history")
    assert events[0]["type"] == "execution.created"
    assert events[0]["data"]["workflowId"] == "etl"


async def test_where_everything_goes_is_told(working: Rig) -> None:
    await working.local.value("POST", "/workflows", ETL)
    id = await working.local.start("etl")
    await working.local.until(id, waiting="signal")
    found = await working.local.value("GET", f"/executions/{id}/visualize?layout=1")
    assert len(found["layout"]["nodes"]) == 3


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"version": 9}, 404, "workflow_not_found"),
        ({"context": {"extract": 1}}, 400, "context_conflict"),
        ({"input": 1}, 400, "invalid_input"),
        ({"executionId": "no spaces"}, 400, "invalid_input"),
        ({"webhooks": {"onComplete": 7}}, 400, "invalid_definition"),
    ],
)
async def test_a_start_of_a_definition_that_does_not_fit(rig: Rig, body: Any, status: int, code: str) -> None:
    await rig.local.value("POST", "/workflows", ETL)
    answer = await rig.local("POST", "/executions/start", {"workflowId": "etl", **body})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_failed_execution_is_retried_and_forked(working: Rig) -> None:
    call = working.local
    fails = {"id": "fails", "steps": [{"id": "a"}, {"id": "b", "action": "fail", "dependencies": ["a"]}]}
    await call.value("POST", "/workflows", fails)
    id = await call.start("fails")
    await call.until(id, status="failed", failedSteps=["b"])
    assert (await call("POST", f"/executions/{id}/retry", {})).status_code == 202
    await call.until(id, status="failed", attempt=2)
    await call.value("POST", "/workflows", {**fails, "steps": [{"id": "a"}, {"id": "b", "dependencies": ["a"]}]})
    forked = await call.value("POST", f"/executions/{id}/fork", {"from": "b", "version": 2})
    await call.until(forked["executionId"], status="completed")
    assert (await call("POST", f"/executions/{id}/fork", {"from": "z"})).status_code == 400


async def test_what_can_be_done_is_listed(rig: Rig) -> None:
    found = {one["name"]: one for one in await rig.local.value("GET", "/actions")}
    assert {"http.request", "delay", "transform", "condition", "webhook", "signal.wait"} <= set(found)
    assert found["delay"]["builtIn"] is True
    schema = await rig.local("GET", "/schema/workflow.json")
    assert schema.headers["content-type"] == "application/schema+json"
    assert schema.json()["type"] == "object"


async def test_deliveries_that_are_not_there(rig: Rig) -> None:
    assert await rig.local.value("GET", "/webhook-deliveries?status=dead") == []
    assert (await rig.local("GET", "/webhook-deliveries?status=odd")).status_code == 400
    assert (await rig.local("POST", "/webhook-deliveries/nobody/redeliver")).status_code == 404


async def test_a_dead_letter_is_seen_and_sent_again(working: Rig) -> None:
    call = working.local
    hooks = {"onComplete": {"url": "http://127.0.0.1:9/", "maxAttempts": 1}}
    await call.value("POST", "/workflows", {"id": "tells", "steps": [{"id": "a"}], "webhooks": hooks})
    id = await call.start("tells")
    await call.until(id, status="completed")
    found: list[Any] = []
    while not found:
        found = await call.value("GET", f"/webhook-deliveries?executionId={id}&status=dead")
        await working.client.link.clock.sleep(0.01)
    assert (found[0]["event"], found[0]["status"]) == ("workflow.completed", "dead")
    delivery = found[0]["deliveryId"]
    # It is told of apart: nobody asked for it as an execution.
    assert [one["executionId"] for one in await call.value("GET", "/executions")] == [id]
    assert (await call.value("GET", "/executions/count"))["total"] == 1
    assert (await call("POST", f"/webhook-deliveries/{delivery}/redeliver")).status_code == 202


async def test_a_server_without_an_engine_has_no_definitions() -> None:
    from serving_rig import Caller

    async with connect("memory://no-engine") as client:
        local = Caller(asgi(client, auth="none"))
        answer = await local("POST", "/workflows", ETL)
        assert (answer.status_code, answer.json()["code"]) == (501, "no_definitions")
        assert await local.value("GET", "/workflows") == []
        assert await local.value("GET", "/actions") == []
        assert await local.value("GET", "/webhook-deliveries") == []
