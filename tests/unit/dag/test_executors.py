"""Executors: what http.request sends and makes of answers, secrets, and those that programs add."""

from __future__ import annotations

import json
from typing import Any

import pytest

from durable.errors import InvalidInput
from durable_dag import Engine, ExecutionNotFound, HttpProblem, Response
from durable_dag.executors.scripts import branch_of
from tests.unit.dag.graphs import Literals
from tests.unit.dag.support import World, world


@pytest.fixture
async def w():
    async with world(secrets={"TOKEN": "s3cret-t0ken"}) as made:
        made.web.serve("http://x/", {"ok": True})
        yield made


def http(**params: Any) -> dict[str, Any]:
    return {"id": "call", "action": "http.request", "params": {"url": "http://x/", **params}}


async def test_a_json_body_is_sent_as_json_and_a_text_as_it_is(w: World) -> None:
    await w.run(http(method="POST", body={"a": ["${{ context.n }}"]}), context={"n": 1})
    await w.run(http(method="POST", body="raw", headers={"Content-Type": "text/csv"}))
    first, second = w.web.sent
    assert (first.headers["content-type"], json.loads(first.body or b"")) == ("application/json", {"a": [1]})
    assert (second.headers["content-type"], second.body) == ("text/csv", b"raw")


async def test_what_is_not_read_only_carries_the_key_of_the_step(w: World) -> None:
    execution = await w.run(http(method="POST", body={}))
    await w.run(http())
    assert w.web.sent[0].headers["idempotency-key"] == f"{execution['executionId']}:call"
    assert "idempotency-key" not in w.web.sent[1].headers


async def test_query_and_auth(w: World) -> None:
    await w.run(http(query={"q": "a b", "n": [1, 2], "none": None}, auth={"bearer": "${{ secrets.TOKEN }}"}))
    await w.run(http(auth={"basic": {"username": "u", "password": "p"}}))
    assert w.web.sent[0].url == "http://x/?q=a+b&n=1&n=2"
    assert w.web.sent[0].headers["authorization"] == "Bearer s3cret-t0ken"
    assert w.web.sent[1].headers["authorization"] == "Basic dTpw"


async def test_a_secret_is_nowhere_in_the_store(w: World) -> None:
    execution = await w.run(http(headers={"x-key": "key ${{ secrets.TOKEN }}"}))
    assert w.web.sent[0].headers["x-key"] == "key s3cret-t0ken"
    history = await w.sim.handle(execution["executionId"]).history()
    request = await w.sim.handle(execution["executionId"]).input()
    assert "s3cret" not in json.dumps([str(history), execution, request])


async def test_a_secret_that_is_not_there_fails_without_a_retry() -> None:
    async with world() as w:
        step = {**http(headers={"k": "${{ secrets.NONE }}"}), "retryPolicy": {"maxAttempts": 5}}
        execution = await w.run(step)
        assert (execution["status"], execution["stepResults"]["call"]["attempts"]) == ("failed", 1)


async def test_a_step_is_shown_with_its_params_and_without_its_secrets(w: World) -> None:
    w.web.serve("http://x/", 500, {"ok": 1})
    call = http(method="POST", headers={"k": "key ${{ secrets.TOKEN }}"}, body={"n": "${{ context.n }}"})
    execution = await w.run({**call, "retryPolicy": {"maxAttempts": 2, "initialDelay": 10}}, context={"n": 5})
    shown = await w.sim.inside(w.engine.step(execution["executionId"], "call"))
    assert shown["params"]["body"] == {"n": 5}
    assert shown["params"]["headers"] == {"k": "key ${{ secrets.TOKEN }}"}
    assert [(one["n"], one["status"]) for one in shown["tries"]] == [(1, "failed"), (2, "success")]
    with pytest.raises(ExecutionNotFound):
        await w.sim.inside(w.engine.step(execution["executionId"], "none"))


@pytest.mark.parametrize(
    ("answers", "attempts", "status"),
    [
        ([500, {"ok": 1}], 2, "completed"),
        ([429, 408, {"ok": 1}], 3, "completed"),
        ([HttpProblem("away"), {"ok": 1}], 2, "completed"),
        ([404, {"ok": 1}], 1, "failed"),
        ([301, {"ok": 1}], 1, "failed"),
        ([Response(200, {"content-type": "application/json"}, b"{"), {"ok": 1}], 2, "completed"),
    ],
)
async def test_what_is_tried_again(w: World, answers: list[Any], attempts: int, status: str) -> None:
    w.web.serve("http://x/", *answers)
    execution = await w.run({**http(), "retryPolicy": {"maxAttempts": 3, "initialDelay": 10}})
    assert (execution["status"], execution["stepResults"]["call"]["attempts"]) == (status, attempts)


async def test_a_status_may_be_named_for_retries_and_expected(w: World) -> None:
    w.web.serve("http://x/", 404, {"ok": 1})
    policy = {"maxAttempts": 3, "initialDelay": 10, "retryOn": [404]}
    assert (await w.run({**http(), "retryPolicy": policy}))["status"] == "completed"
    w.web.serve("http://x/", 404)
    assert (await w.run(http(expectStatus=[200, 404])))["output"] == {"call": None}


async def test_a_retry_after_is_heeded(w: World) -> None:
    w.web.serve("http://x/", Response(429, {"retry-after": "30"}), {"ok": 1})
    execution = await w.run({**http(), "retryPolicy": {"maxAttempts": 3, "initialDelay": 10}})
    assert 30_000 <= execution["stepResults"]["call"]["duration"] < 31_000


async def test_the_whole_answer_can_be_had(w: World) -> None:
    w.web.serve("http://x/", Response(201, {"content-type": "text/plain", "x-id": "7"}, b"made"))
    execution = await w.run(http(response="full"))
    assert execution["output"]["call"] == {
        "status": 201,
        "headers": {"content-type": "text/plain", "x-id": "7"},
        "body": "made",
    }


async def test_an_executor_is_given_what_it_takes(w: World) -> None:
    seen: list[tuple[Any, ...]] = []
    w.engine.register_executor("one", lambda params: seen.append((params,)))
    w.engine.register_executor("two", lambda params, context: seen.append((params, context)))
    w.engine.register_executor(
        "three", lambda params, context, step: seen.append((params, context, step.id, step.attempt))
    )
    steps = [
        {"id": n, "action": n, "params": {"p": 1}, "dependencies": d}
        for n, d in (("one", []), ("two", ["one"]), ("three", ["two"]))
    ]
    await w.run(*steps, context={"c": 2})
    context = {"c": 2, "one": None}
    assert seen == [({"p": 1},), ({"p": 1}, context), ({"p": 1}, {**context, "two": None}, "three", 1)]


async def test_an_executor_may_say_that_its_errors_are_final(w: World) -> None:
    @w.engine.executor("final", retryable=False)
    async def final(params: Any) -> None:
        raise ValueError("once")

    execution = await w.run({"id": "a", "action": "final", "retryPolicy": {"maxAttempts": 5}})
    assert execution["stepResults"]["a"]["attempts"] == 1
    assert execution["stepResults"]["a"]["error"] == "StepFailure: ValueError: once"


async def test_a_result_that_is_not_json_fails_the_step_and_not_the_engine(w: World) -> None:
    w.engine.register_executor("odd", lambda params: object())
    execution = await w.run({"id": "a", "action": "odd", "critical": False}, {"id": "b", "dependencies": ["a"]})
    assert (execution["status"], execution["stepResults"]["a"]["status"]) == ("completed", "failed")


@pytest.mark.parametrize(
    ("name", "fn"),
    [
        ("delay", len),
        ("", len),
        ("a b", len),
        ("x", 5),
        ("x", lambda: 1),
        ("x", lambda a, b, c, d: 1),
        ("x", lambda p, *, k: 1),
    ],
)
def test_an_executor_that_cannot_be_one_is_refused(name: str, fn: Any) -> None:
    with pytest.raises(InvalidInput):
        Engine(js=Literals()).register_executor(name, fn)


@pytest.mark.parametrize(
    ("value", "cases", "default", "branch"),
    [
        ("gold", ["gold", "silver"], None, "gold"),
        (5, ["5"], None, "5"),
        (True, ["true"], None, "true"),
        ("none", ["gold"], None, None),
        ("none", ["gold"], "other", "other"),
        (2, {"two": 2, "yes": True}, None, "two"),
        (1, {"yes": True, "one": 1}, None, "one"),
        ([1], {"list": [1]}, None, "list"),
    ],
)
def test_a_switch_takes_the_case_of_its_value(value: Any, cases: Any, default: str | None, branch: str | None) -> None:
    assert branch_of(value, cases, default) == branch
