"""Convex functions as steps: journaled, retried, told apart, and heard of when a run has ended."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from durable import Context, Retry, RunFailed, StepError, Worker, connect, workflow
from durable.errors import InvalidInput
from durable_convex.functions import ConvexError, ConvexFunctionError, ConvexUnavailable, Functions, mutation
from tests.convex.lookalike import Lookalike, Thrown


class User(BaseModel):
    name: str
    age: int


@pytest.fixture
def convex(look: Lookalike) -> Functions:
    return Functions(look.url)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("durable_convex.functions._LINGER_SECONDS", 0.0)
    monkeypatch.setattr("durable_convex.transport.PATIENCE_SECONDS", 0.3)


async def result_of(wf: Any, *input: Any, **options: Any) -> Any:
    async with connect("memory://") as client, Worker(client, workflows=[wf]):
        return await (await client.start(wf, *input, **options)).result(timeout=20)


def throwing(count: int, thrown: Thrown, value: Any = None) -> Callable[[dict[str, Any]], Any]:
    """A function that throws so many times."""
    calls = iter(range(count))

    def function(args: dict[str, Any]) -> Any:
        if next(calls, None) is not None:
            raise thrown
        return value

    return function


async def test_a_mutation_is_a_step_whose_result_is_journaled(look: Lookalike, convex: Functions) -> None:
    look.answers["update"] = lambda args: {"id": args["id"], "visits": 3}
    update = convex.mutation("users:update")

    @workflow
    async def wf(ctx: Context) -> Any:
        return await ctx.step(update, {"id": "u1", "tags": ["a", "b"]})

    async with connect("memory://") as client, Worker(client, workflows=[wf]):
        handle = await client.start(wf)
        assert await handle.result(timeout=20) == {"id": "u1", "visits": 3.0}
        assert "users:update" in str(await handle.history())
    assert look.sent[0]["args"] == {"id": "u1", "tags": ["a", "b"]}
    assert look.calls["update"] == 1


async def test_the_declared_type_makes_numbers_of_javascript_what_they_are(look: Lookalike, convex: Functions) -> None:
    look.answers["get"] = lambda args: {"name": "Ada", "age": 36}
    get = convex.query("users:get", returns=User)

    @workflow
    async def wf(ctx: Context) -> User:
        return await ctx.step(get, {"id": "u1"})

    user = await result_of(wf)
    assert user == User(name="Ada", age=36)
    assert type(user.age) is int


async def test_a_call_is_retried_as_its_policy_says(look: Lookalike, convex: Functions) -> None:
    look.answers["flaky"] = throwing(2, Thrown({}), "done")
    patient = convex.action("mail:flaky", retry=Retry(5, initial=0.01))

    @workflow
    async def wf(ctx: Context) -> str:
        return await ctx.step(patient, {})

    assert await result_of(wf) == "done"
    assert look.calls["flaky"] == 3


@pytest.mark.parametrize("retry", [None, False])
async def test_without_a_policy_and_with_retry_false_a_call_is_tried_once(
    look: Lookalike, convex: Functions, retry: Any
) -> None:
    look.answers["flaky"] = throwing(1, Thrown({}), "done")
    once = convex.mutation("mail:flaky", retry=retry)

    @workflow
    async def wf(ctx: Context) -> Any:
        return await ctx.step(once, {})

    with pytest.raises(RunFailed) as failed:
        await result_of(wf)
    assert isinstance(failed.value.__cause__, ConvexFunctionError | StepError)
    assert look.calls["flaky"] == 1


async def test_retry_true_is_the_default_policy(convex: Functions) -> None:
    assert convex.action("mail:send", retry=True).policy.retry.max_attempts == 5


async def test_an_error_of_the_app_comes_with_its_data_decoded(look: Lookalike, convex: Functions) -> None:
    data = {"code": "TAKEN", "count": {"$integer": "BQAAAAAAAAA="}}
    look.answers["claim"] = throwing(9, Thrown({"errorData": data, "errorMessage": "taken"}))
    claim = convex.mutation("names:claim")

    @workflow
    async def wf(ctx: Context) -> Any:
        try:
            return await ctx.step(claim, {"name": "ada"})
        except ConvexError as error:
            return error.data

    assert await result_of(wf) == {"code": "TAKEN", "count": 5}


async def test_a_mutation_that_may_have_run_is_not_said_again_behind_the_workflows_back(
    look: Lookalike, convex: Functions
) -> None:
    look.answers["pay"] = lambda args: None
    look.lose = lambda name, count: True
    with pytest.raises(ConvexUnavailable) as caught:
        await convex.call("mutation", "shop:pay", {})
    assert caught.value.perhaps_done
    assert look.calls["pay"] == 1


async def test_a_mutation_that_surely_has_not_run_is_said_again(look: Lookalike, convex: Functions) -> None:
    from tests.convex.test_adapter_transport import refused

    look.answers["pay"] = lambda args: "paid"
    look.before = lambda name, count: refused(503, "OptimisticConcurrencyControlFailure") if count < 3 else None
    assert await convex.call("mutation", "shop:pay", {}) == "paid"
    assert look.calls["pay"] == 3


async def test_the_idempotency_key_is_handed_on_where_it_is_asked_for_and_stays_the_same(
    look: Lookalike, convex: Functions
) -> None:
    look.answers["pay"] = throwing(2, Thrown({}), "paid")
    pay = convex.mutation("shop:pay", key="requestId", retry=Retry(5, initial=0.01))

    @workflow
    async def wf(ctx: Context) -> list[str]:
        return [await ctx.step(pay, {"sum": 1}), await ctx.step(pay, {"sum": 2})]

    assert await result_of(wf) == ["paid", "paid"]
    first, *_, last = [said["args"]["requestId"] for said in look.sent]
    assert [said["args"]["requestId"] for said in look.sent] == [first] * 3 + [last]
    assert first != last


async def test_arguments_for_all_functions_are_below_the_calls_own(look: Lookalike) -> None:
    look.answers["get"] = lambda args: args
    guarded = Functions(look.url, arguments={"token": "t", "sum": 0})
    assert await guarded.call("query", "shop:get", {}) is not None
    step = guarded.query("shop:get")

    @workflow
    async def wf(ctx: Context) -> Any:
        return await ctx.step(step, {"sum": 5})

    assert await result_of(wf) == {"token": "t", "sum": 5.0}


async def test_an_identity_is_asked_for_each_call(look: Lookalike) -> None:
    async def identity() -> str:
        return "a.jwt"

    look.answers["me"] = lambda args: "ada"
    assert await Functions(look.url, identity=identity).call("query", "users:me", {}) == "ada"
    assert look.identities == ["Bearer a.jwt"]


@pytest.mark.parametrize("kind", ["success", "error", "canceled"])
async def test_a_mutation_hears_how_a_run_has_ended(look: Lookalike, convex: Functions, kind: str) -> None:
    look.answers["done"] = throwing(1, Thrown({}))
    told = convex.on_complete("orders:done", retry=Retry(None, initial=0.01))

    @workflow
    async def order(ctx: Context, how: str) -> str:
        if how == "error":
            raise ValueError("no stock")
        return await ctx.wait_for_signal("go", str) if how == "canceled" else "shipped"

    async with connect("memory://") as client, Worker(client, workflows=[order, told]):
        handle = await client.start(
            order, kind, id="order-1", on_complete=told, on_complete_context={"originalArgs": {"n": 1}}
        )
        if kind == "canceled":
            await handle.cancel("no longer wanted")
        await until(lambda: look.calls["done"] >= 2)
    said = look.sent[-1]["args"]
    assert (said["workflowId"], said["workflow"]) == ("order-1", "order")
    assert said["context"] == {"originalArgs": {"n": 1.0}}
    expected = {
        "success": {"kind": "success", "returnValue": "shipped"},
        "error": {"kind": "error", "error": "ValueError: no stock"},
        "canceled": {"kind": "canceled", "error": "no longer wanted"},
    }
    assert said["result"] == expected[kind]


async def test_without_a_deployment_a_call_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONVEX_URL", "DURABLE_STORE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InvalidInput, match=r"CONVEX_URL"):
        await Functions().call("query", "a:b", {})


async def test_the_environment_names_the_deployment(look: Lookalike, monkeypatch: pytest.MonkeyPatch) -> None:
    look.answers["b"] = lambda args: 1
    monkeypatch.setenv("CONVEX_URL", look.url)
    assert await Functions().call("query", "a:b", {}) == 1
    monkeypatch.delenv("CONVEX_URL")
    monkeypatch.setenv("DURABLE_STORE", f"convex+{look.url}?functions=jobs")
    assert await Functions().call("query", "a:b", {}) == 1


@pytest.mark.parametrize("path", ["update", ":update", "users:", "usérs:update", ""])
def test_what_is_no_function_is_refused_where_it_is_written(path: str) -> None:
    with pytest.raises(InvalidInput, match="module:name"):
        mutation(path)


async def test_arguments_that_convex_does_not_know_are_refused(convex: Functions) -> None:
    with pytest.raises(InvalidInput, match="cannot be given to Convex"):
        await convex.call("query", "a:b", {"when": object()})
    with pytest.raises(InvalidInput, match="cannot be given to Convex"):
        await convex.call("query", "a:b", {"größe": 1})


async def test_connections_are_kept_between_calls_and_let_go_with_the_loop(look: Lookalike) -> None:
    look.answers["b"] = lambda args: 1
    convex = Functions(look.url)

    def twice() -> None:
        async def main() -> None:
            await convex.call("query", "a:b", {})
            await convex.call("query", "a:b", {})
            assert len(convex._lines) == 1

        asyncio.run(main())

    await asyncio.to_thread(twice)
    assert convex._lines == {}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)
