"""Callers who ask for more than their role gives, or say what is no time."""

import asyncio
from typing import Any

import pytest
from serving_rig import ETL, Rig, rigged
from test_events import listening

from durable_dag.engine import DAG, DELIVERY, WORK
from durable_server.idempotency import KIND
from durable_server.routes import streams

SENT = {"url": "http://127.0.0.1:9/x", "headers": {"authorization": "${{ secrets.STRIPE }}"}}
KEY = {"Idempotency-Key": "click-17"}


@pytest.mark.parametrize("name", [DAG, WORK, DELIVERY])
async def test_what_carries_definitions_out_is_started_by_definitions_alone(rig: Rig, name: str) -> None:
    """Its input says what is called with which secrets, and only administrators write definitions."""
    for body in ({"input": {"target": {"url": "http://127.0.0.1:9"}, "late": [], "payload": {}}}, {"context": {}}):
        answer = await rig.local("POST", "/executions/start", {"workflowId": name, **body})
        assert (answer.status_code, answer.json()["code"]) == (404, "workflow_not_found")
    assert await rig.client.count() == 0


@pytest.mark.parametrize(
    "hook",
    [
        SENT,
        "http://127.0.0.1:9/${{ secrets.STRIPE }}",
        {"url": "http://127.0.0.1:9/${{secrets['STRIPE']}}"},
    ],
)
async def test_webhooks_of_a_start_send_no_secret_unless_an_administrator_says_so(hook: Any) -> None:
    async with rigged(auth="tokens") as made:
        operator, admin = await made.caller("operate"), await made.caller("admin")
        await admin.value("POST", "/workflows", ETL)
        body = {"workflowId": "etl", "webhooks": {"onStep": hook}}
        answer = await operator("POST", "/executions/start", body)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert await made.client.count() == 0
        assert (await admin("POST", "/executions/start", body)).status_code == 201


async def test_a_secret_that_only_signs_is_anybodys_who_starts() -> None:
    async with rigged(auth="tokens") as made:
        operator, admin = await made.caller("operate"), await made.caller("admin")
        await admin.value("POST", "/workflows", ETL)
        hook = {"url": "http://127.0.0.1:9/x", "secret": "${{ secrets.SIGNING }}"}
        answer = await operator("POST", "/executions/start", {"workflowId": "etl", "webhooks": {"onComplete": hook}})
        assert answer.status_code == 201


@pytest.mark.parametrize("instant", [1e300, 253402300800000, 10**400])
@pytest.mark.parametrize("name", ["etl", "hello"])
async def test_an_instant_behind_the_last_year_is_refused(rig: Rig, name: str, instant: Any) -> None:
    await rig.local.value("POST", "/workflows", ETL)
    answer = await rig.local("POST", "/executions/start", {"workflowId": name, "startAt": instant})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_type")


@pytest.mark.parametrize("path", ["/events", "/executions/{id}/events"])
async def test_a_stream_ends_soon_after_its_token_was_revoked(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_ADMITTED_SECONDS", 0.05)
    monkeypatch.setattr(streams, "_BEAT_SECONDS", 0.05)
    async with rigged(auth="tokens") as made:
        operator = await made.caller("operate")
        made_token = await made.tokens.create("reader", ["read"])
        id = await operator.start("waits")
        headers = {"authorization": f"Bearer {made_token.text}"}
        async with listening(made, path.format(id=id), headers) as listener:
            reading = asyncio.ensure_future(_all(listener))
            await asyncio.sleep(0.3)
            assert not reading.done()  # the token is good: it goes on
            await made.tokens.revoke(made_token.token.id)
            async with asyncio.timeout(5):
                await reading
            assert listener.status == 200


async def _all(listener: Any) -> list[Any]:
    return [chunk async for chunk in listener]


async def test_a_restart_that_is_said_again_under_its_key_restarts_nothing(working: Rig) -> None:
    """Also where the answer was not kept: it was too large, or the server died before it could."""
    await working.local.value("POST", "/workflows", {"id": "w", "steps": [{"id": "a", "action": "noop"}]})
    body = {"workflowId": "w", "executionId": "one", "onConflict": "restart"}
    await working.local.value("POST", "/executions/start?wait=10s", body)
    for _ in range(3):
        found = await working.local.value("POST", "/executions/start?wait=10s", body, headers=KEY)
        assert (found["status"], found["attempt"]) == ("completed", 2)
        for row in await working.client.store.list_records(KIND):
            await working.client.store.delete_record(KIND, row.key)
    other = await working.local.value(
        "POST", "/executions/start?wait=10s", body, headers={"Idempotency-Key": "click-18"}
    )
    assert other["attempt"] == 3


async def test_a_start_under_a_key_that_is_said_again_does_not_restart_what_it_started(working: Rig) -> None:
    await working.local.value("POST", "/workflows", {"id": "w", "steps": [{"id": "a", "action": "noop"}]})
    for name in ("w", "hello"):
        body = {"workflowId": name, "executionId": f"of-{name}", "context": {"name": "you"}, "onConflict": "restart"}
        for _ in range(3):
            found = await working.local.value("POST", "/executions/start?wait=10s", body, headers=KEY)
            assert (found["status"], found["attempt"]) == ("completed", 1)
            for row in await working.client.store.list_records(KIND):
                await working.client.store.delete_record(KIND, row.key)
