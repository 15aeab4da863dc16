"""``scheduleTimeout``: what no worker takes up in time has failed; and members that steps have, or have no use for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from durable_dag import Engine, HttpProblem, verify
from durable_testing import Sim
from tests.unit.dag.graphs import Literals
from tests.unit.dag.support import World, statuses, step, world


@pytest.fixture
async def w():
    async with world() as made:
        yield made


LATE = {**step("late"), "queue": "nobody", "scheduleTimeout": 30_000}


async def test_work_that_no_worker_takes_up_fails_by_name(w: World) -> None:
    catch = {**step("catch"), "dependencies": [{"step": "late", "on": "failure"}]}
    await w.register(LATE, catch)
    execution = await w.start()
    await w.sim.advance(seconds=29)
    now = await w.now(execution)
    [wait] = now["waitingOn"]
    assert (wait["stepId"], wait["kind"], wait["queue"]) == ("late", "worker", "nobody")
    assert wait["until"] == now["startTime"] + 30_000
    end = await w.end(execution)
    assert statuses(end) == {"late": "failed", "catch": "success"}
    late = end["stepResults"]["late"]
    assert late["errorDetail"]["name"] == "ScheduleTimeout"
    assert late["errorDetail"]["message"] == "no worker of queue 'nobody' has taken it up within 30000 ms"
    assert late["duration"] == 30_000
    await w.sim.run_until_idle()
    [child] = (await w.sim.list(workflow="dag.work")).runs
    assert child.state == "cancelled"


@pytest.mark.parametrize(("takes", "rows"), [(50, 2), (1, 0)])
async def test_work_that_is_taken_up_in_time_may_last_as_long_as_it_likes(takes: int, rows: int) -> None:
    """What is over before the time is leaves no timer behind; else one look is taken, and no other."""
    engine = Engine(js=Literals())

    @engine.executor("slow")
    async def slow(params: dict[str, Any]) -> str:
        await asyncio.sleep(takes)
        return "done"

    late = {"id": "late", "action": "slow", "queue": "gpu", "scheduleTimeout": 30_000}
    async with Sim(workflows=engine.workflows, queues=("default", "gpu")) as sim:
        engine.bind(sim)
        await sim.inside(engine.register_workflow({"id": "flow", "steps": [late]}))
        execution = (await sim.inside(engine.start("flow"))).execution_id
        end = await sim.inside(engine.result(execution))
        assert (end["status"], end["output"]) == ("completed", {"late": "done"})
        assert end["endTime"] - end["startTime"] == takes * 1000
        assert end["stepResults"]["late"]["attempts"] == 1
        names = [row.name for row in await sim.handle(execution).history()]
        assert names.count("schedule:") == rows


async def test_a_workflow_that_is_run_elsewhere_and_each_item_of_a_map_are_held_to_it_too(w: World) -> None:
    await w.register(step("a"), id="inner")
    call = {"id": "call", "action": "workflow.run", "params": {"workflowId": "inner"}}
    items = {"items": [1, 2], "workflow": "inner", "tolerateFailures": 1}
    many = {"id": "many", "action": "map", "params": items}
    work = {"id": "work", "action": "map", "params": {"items": [1, 2], "step": {"action": "act"}}}
    late = {"queue": "nobody", "scheduleTimeout": 10_000}
    policy = {"retryPolicy": {"maxAttempts": 2, "initialDelay": 1000, "retryOn": ["ScheduleTimeout"]}}
    await w.register({**call, **late, **policy}, {**many, **late}, {**work, **late})
    end = await w.end(await w.start())
    assert set(statuses(end).values()) == {"failed"}
    assert {one["errorDetail"]["name"] for one in end["stepResults"].values()} == {"ScheduleTimeout"}
    assert [end["stepResults"][id]["duration"] for id in ("call", "many", "work")] == [21_000, 10_000, 10_000]


@pytest.mark.parametrize(
    ("more", "warned"),
    [
        ({"scheduleTimeout": 1000}, ["scheduleTimeout"]),
        ({"scheduleTimeout": 1000, "queue": "gpu"}, []),
        ({"scheduleTimeout": 1000, "action": "workflow.run", "params": {"workflowId": "x"}}, []),
        (
            {"scheduleTimeout": 1000, "queue": "gpu", "action": "delay", "params": {"duration": 1}},
            ["scheduleTimeout"],
        ),
        ({"retryPolicy": {}, "action": "delay", "params": {"duration": 1}}, ["retryPolicy"]),
        ({"retryPolicy": {}, "action": "signal.wait"}, ["retryPolicy"]),
        ({"retryPolicy": {}, "action": "noop"}, ["retryPolicy"]),
        ({"retryPolicy": {}, "timeout": 5, "action": "fail"}, ["retryPolicy", "timeout"]),
        ({"retryPolicy": {}, "action": "workflow.run", "params": {"workflowId": "x", "wait": False}}, ["retryPolicy"]),
        ({"timeout": 5, "action": "signal.wait"}, []),
        ({"timeout": 5, "retryPolicy": {}, "action": "map", "params": {"items": [], "workflow": "x"}}, []),
    ],
)
async def test_what_has_no_effect_is_told(more: dict[str, Any], warned: list[str]) -> None:
    hook = {"id": "s", "action": "webhook", "params": {"url": "http://x/"}}
    found = await Engine(js=Literals()).validate({"id": "f", "steps": [{**hook, **more}]})
    assert found.valid
    assert [one.path for one in found.warnings if one.code == "no_effect"] == [f"/steps/0/{name}" for name in warned]


async def test_a_default_queue_gives_a_schedule_timeout_its_effect() -> None:
    hook = {"id": "s", "action": "webhook", "params": {"url": "http://x/"}, "scheduleTimeout": 5}
    found = await Engine(js=Literals()).validate({"id": "f", "steps": [hook], "defaults": {"queue": "gpu"}})
    assert (found.errors, found.warnings) == ((), ())


@pytest.mark.parametrize("wrong", [0, -1, "1s", True])
async def test_what_is_no_schedule_timeout_is_told(wrong: Any) -> None:
    found = await Engine(js=Literals()).validate({"id": "f", "steps": [{"id": "s", "scheduleTimeout": wrong}]})
    assert [one.path for one in found.errors] == ["/steps/0/scheduleTimeout"]


# ── whose retries these are ──────────────────────────────────────────────────────────────────────────────────────────


async def test_each_item_of_a_map_is_tried_again_by_the_steps_policy(w: World) -> None:
    tried: dict[int, int] = {}

    async def flaky(params: Any, context: dict[str, Any]) -> int:
        item: int = context["item"]
        tried[item] = tried.get(item, 0) + 1
        if tried[item] < item:
            raise ValueError(item)
        return item * 10

    w.engine.register_executor("flaky", flaky)
    await w.register({"id": "a", "action": "flaky"}, id="inner", output="${{ context.a }}")
    policy = {"maxAttempts": 3, "initialDelay": 1000, "backoffMultiplier": 2}
    params: dict[str, Any] = {"items": [1, 2, 3], "workflow": "inner"}
    await w.register({"id": "each", "action": "map", "params": params, "retryPolicy": policy})
    end = await w.end(await w.start())
    assert (end["status"], end["output"]) == ("completed", {"each": [10, 20, 30]})
    assert (tried, end["endTime"] - end["startTime"]) == ({1: 1, 2: 2, 3: 3}, 3000)
    params["items"] = [1, 4]
    tried.clear()
    await w.register({"id": "each", "action": "map", "params": params, "retryPolicy": policy})
    end = await w.end(await w.start())
    assert (end["status"], tried) == ("failed", {1: 1, 4: 3})


@pytest.mark.parametrize("child", [False, True])
async def test_no_attempt_begins_later_than_max_elapsed_after_the_first(w: World, child: bool) -> None:
    policy = {"maxAttempts": 100, "initialDelay": 1000, "backoffMultiplier": 1, "maxElapsed": 4500}
    await w.register(step("a", failures=1), id="inner")
    call = {"id": "call", "action": "workflow.run", "params": {"workflowId": "inner"}}
    await w.register({**(call if child else step("call", failures=99)), "retryPolicy": policy})
    end = await w.end(await w.start())
    assert end["stepResults"]["call"]["attempts"] == 5
    assert end["stepResults"]["call"]["duration"] == 4000


async def test_jitter_is_a_share_of_the_wait(w: World) -> None:
    policy = {"maxAttempts": 2, "initialDelay": 10_000, "jitter": 0.5}
    await w.register(*[{**step(f"s{n}", failures=1), "retryPolicy": policy} for n in range(20)])
    end = await w.end(await w.start())
    waits = {one["duration"] for one in end["stepResults"].values()}
    assert len(waits) > 10
    assert all(5000 <= wait <= 15_000 for wait in waits)


async def test_defaults_are_for_steps_that_say_nothing_themselves(w: World) -> None:
    defaults = {"retryPolicy": {"maxAttempts": 3, "initialDelay": 10}, "timeout": 5000, "queue": "nobody"}
    own = {"retryPolicy": {"maxAttempts": 1}, "timeout": 20_000, "queue": "default"}
    wait = {"id": "wait", "action": "signal.wait", "params": {"timeout": 9000, "onTimeout": "continue"}}
    slow = {**step("slow", takes=8), **own}
    often = {**step("often", failures=2), "queue": "default"}
    short = {**step("short", takes=8), "queue": "default", "retryPolicy": {"maxAttempts": 1}}
    late = {**step("late"), "scheduleTimeout": 1000}
    await w.register(wait, slow, often, short, late, defaults=defaults)
    results = (await w.end(await w.start()))["stepResults"]
    assert (results["wait"]["status"], results["wait"]["duration"]) == ("success", 9000)
    assert (results["slow"]["status"], results["slow"]["duration"]) == ("success", 8000)
    assert (results["often"]["status"], results["often"]["duration"]) == ("success", 30)
    assert (results["short"]["errorDetail"]["name"], results["short"]["duration"]) == ("TimeoutError", 5000)
    assert results["late"]["errorDetail"]["name"] == "ScheduleTimeout"


# ── the output, and the secrets of webhooks ──────────────────────────────────────────────────────────────────────────


async def test_an_output_may_be_made_by_javascript(w: World) -> None:
    output = {"two": "${{ context.a }}", "three": "${{ 3 }}", "text": "${{ [1] }}!"}
    await w.register(step("a", result=2), output=output)
    end = await w.end(await w.start())
    assert (end["status"], end["output"]) == ("completed", {"two": 2, "three": 3, "text": "[1]!"})
    assert await w.sim.handle(end["executionId"]).result() == end["output"]


async def test_a_secret_that_is_being_replaced_signs_beside_the_new_one(w: World) -> None:
    old, new = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAECAwQFBgcICQoLDA0ODw=="
    w.web.serve("http://n/complete", HttpProblem("away"), 200)
    await w.run(step("a"), webhooks={"onComplete": {"url": "http://n/complete", "secret": f"{new} {old}"}})
    await w.sim.advance(hours=1)
    [_, sent] = w.web.to("http://n/complete")
    at = float(sent.headers["webhook-timestamp"])
    assert len(sent.headers["webhook-signature"].split()) == 2
    assert all(verify(secret, sent.headers, sent.body or b"", at) for secret in (old, new))
    assert not verify("whsec_AAAA", sent.headers, sent.body or b"", at)
