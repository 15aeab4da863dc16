"""The Idempotency-Key header: a repeated call gets the first answer and does nothing."""

import asyncio
from typing import Any

import pytest
from serving_rig import Rig, rigged

from durable_server.idempotency import KEEP_SECONDS, KIND, UNDER_WAY_SECONDS, Ledger
from durable_server.problems import Problem
from durable_server.server import WAIT_SECONDS_MAX

BODY = {"workflowId": "hello", "context": {"name": "Ada"}}
KEY = {"Idempotency-Key": "click-17"}


async def test_the_same_call_again_gets_the_same_answer(rig: Rig) -> None:
    first = await rig.local("POST", "/executions/start", BODY, headers=KEY)
    again = await rig.local("POST", "/executions/start", BODY, headers=KEY)
    quoted = await rig.local("POST", "/executions/start", BODY, headers={"Idempotency-Key": '"click-17"'})
    prefixed = await rig.local("POST", "/api/v1/executions/start", BODY, headers=KEY)
    assert first.status_code == 201
    for other in (again, quoted, prefixed):
        assert (other.status_code, other.json()) == (201, first.json())
        assert other.headers["idempotency-replayed"] == "true"
        assert other.headers["location"] == first.headers["location"]
    assert "idempotency-replayed" not in first.headers
    assert await rig.client.count() == 1


async def test_spaces_and_the_order_of_members_make_no_other_call(rig: Rig) -> None:
    headers = {**KEY, "Content-Type": "application/json"}
    texts = ['{"workflowId":"hello","context":{"a":1}}', '{ "context": {"a": 1}, "workflowId": "hello" }']
    answers = [await rig.local("POST", "/executions/start", content=text, headers=headers) for text in texts]
    assert answers[0].json() == answers[1].json()
    assert await rig.client.count() == 1


@pytest.mark.parametrize("path", ["/executions/start", "/executions/start?wait=1ms"])
async def test_another_body_or_query_under_the_same_key_is_refused(rig: Rig, path: str) -> None:
    await rig.local("POST", "/executions/start", BODY, headers=KEY)
    body = BODY if "?" in path else {**BODY, "context": {"name": "Bob"}}
    answer = await rig.local("POST", path, body, headers=KEY)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_mismatch")
    assert await rig.client.count() == 1


async def test_a_call_that_was_refused_may_be_said_again(rig: Rig) -> None:
    refused = await rig.local("POST", "/executions/start", {"workflowId": "later"}, headers=KEY)
    assert refused.status_code == 404
    assert (await rig.local("POST", "/executions/start", BODY, headers=KEY)).status_code == 201


async def test_keys_of_two_callers_and_of_two_paths_never_meet() -> None:
    async with rigged(auth="tokens") as made:
        ada, bob = await made.caller("operate"), await made.caller("operate")
        one = await ada.value("POST", "/executions/start", BODY, headers=KEY)
        two = await bob.value("POST", "/executions/start", BODY, headers=KEY)
        assert one["executionId"] != two["executionId"]
        for id in (one["executionId"], two["executionId"]):
            await ada.value("POST", f"/executions/{id}/signal/go", {}, headers=KEY)


async def test_while_the_first_is_under_way_the_second_is_told_so(working: Rig) -> None:
    body = {"workflowId": "waits", "context": {}, "executionId": "mine"}
    first = asyncio.create_task(working.local("POST", "/executions/start?wait=10s", body, headers=KEY))
    await asyncio.sleep(0)
    while await working.client.count() == 0:
        await asyncio.sleep(0.01)
    second = await working.local("POST", "/executions/start?wait=10s", body, headers=KEY)
    assert (second.status_code, second.json()["code"]) == (409, "idempotency_in_flight")
    assert second.headers["retry-after"] == "1"
    await working.local("POST", "/executions/mine/signal/go", {})
    assert (await first).json()["status"] == "completed"
    third = await working.local("POST", "/executions/start?wait=10s", body, headers=KEY)
    assert third.json()["status"] == "completed"


async def test_what_a_crashed_server_had_begun_is_found_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server dies after the start and before the answer; the record of the call goes by itself."""

    async def dies(self: Ledger, ticket: Any, answer: Any) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "end", dies)
        with pytest.raises(asyncio.CancelledError):
            await rig.local("POST", "/executions/start", BODY, headers=KEY)
    assert await rig.client.count() == 1
    row = (await rig.client.store.list_records(KIND))[0]
    assert row.expires_at is not None
    assert row.expires_at - row.updated_at == pytest.approx(UNDER_WAY_SECONDS)
    await rig.client.store.delete_record(KIND, row.key)  # as time does
    again = await rig.local("POST", "/executions/start", BODY, headers=KEY)
    assert (again.status_code, again.json()["created"]) == (200, False)
    assert await rig.client.count() == 1


async def test_a_signal_sent_twice_is_received_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    id = await rig.local.start("waits")
    for _ in range(2):
        await rig.local.value("POST", f"/executions/{id}/signal/go", {"n": 1}, headers=KEY)
        for row in await rig.client.store.list_records(KIND):
            await rig.client.store.delete_record(KIND, row.key)
    assert len(await rig.client.store.messages(id)) == 1  # type: ignore[arg-type]


async def test_answers_are_kept_for_a_week_and_no_call_outlives_its_record(rig: Rig) -> None:
    await rig.local("POST", "/executions/start", BODY, headers=KEY)
    row = (await rig.client.store.list_records(KIND))[0]
    assert row.expires_at is not None
    assert row.expires_at - row.updated_at == pytest.approx(KEEP_SECONDS) == 7 * 86_400
    assert WAIT_SECONDS_MAX < UNDER_WAY_SECONDS


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "a b", "é"])
async def test_a_key_that_is_none_is_refused(rig: Rig, key: str) -> None:
    with pytest.raises(Problem) as caught:
        await Ledger(rig.client).begin(key, ("a",), b"")
    assert caught.value.status == 400
