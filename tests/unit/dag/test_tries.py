"""What is known of attempts and of missing workers: only what has been written, and that exactly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from durable_dag import Engine
from tests.unit.dag.support import World, statuses, step, world


@pytest.fixture
async def w() -> AsyncIterator[World]:
    async with world() as made:
        yield made


async def tries(w: World, execution: str, id: str) -> list[dict[str, Any]]:
    return (await w.sim.inside(w.engine.step(execution, id)))["tries"]


async def test_each_attempt_has_its_bounds(w: World) -> None:
    policy = {"maxAttempts": 3, "initialDelay": 4000, "backoffMultiplier": 2, "jitter": 0.5}
    execution = await w.run({**step("a", takes=3, failures=2), "retryPolicy": policy})
    start = execution["startTime"]
    found = await tries(w, execution["executionId"], "a")
    assert [(one["n"], one["status"]) for one in found] == [(1, "failed"), (2, "failed"), (3, "success")]
    assert found[0]["earliest"] == start
    for one in found:
        assert one["earliest"] <= one["start"] <= one["earliest"] + 1100, "the simulator looks once a second"
        assert one["start"] + 1900 <= one["end"]
        assert 3000 <= one["end"] - one["earliest"] <= 3200
    for before, after, delay in zip(found, found[1:], (4000, 8000), strict=False):
        assert delay * 0.5 <= after["earliest"] - before["end"] <= delay * 1.5
        assert after["earliest"] - before["end"] != delay, "the journal's delay, chance and all"
    shown = await w.sim.inside(w.engine.visualize(execution["executionId"]))
    assert (shown["steps"][0]["attempts"], shown["steps"][0]["tries"]) == (3, found)


async def test_of_a_short_attempt_no_begin_is_made_up(w: World) -> None:
    execution = await w.run(step("a"))
    [only] = await tries(w, execution["executionId"], "a")
    assert (only["start"], only["status"]) == (None, "success")
    assert execution["startTime"] == only["earliest"] <= only["end"]


async def test_the_attempt_that_runs_is_there_and_has_no_end(w: World) -> None:
    policy = {"maxAttempts": 2, "initialDelay": 5000}
    await w.register({**step("a", takes=20, failures=1), "retryPolicy": policy})
    execution = await w.start()
    await w.sim.advance(seconds=10)
    [first] = await tries(w, execution, "a")
    assert (first["n"], first["end"], first["status"]) == (1, None, "running")
    await w.sim.advance(seconds=13)
    assert [one["status"] for one in await tries(w, execution, "a")] == ["failed"]
    await w.sim.advance(seconds=5)
    failed, running = await tries(w, execution, "a")
    assert (running["n"], running["earliest"]) == (2, failed["end"] + 5000)
    assert running["earliest"] <= running["start"] <= running["earliest"] + 400


async def test_a_wait_before_a_sub_workflows_next_attempt_belongs_to_neither(w: World) -> None:
    await w.register(step("inner", takes=3, failures=9), id="sub")
    policy = {"maxAttempts": 2, "initialDelay": 10_000}
    call = {"id": "call", "action": "workflow.run", "params": {"workflowId": "sub"}, "retryPolicy": policy}
    execution = await w.run(call)
    first, second = await tries(w, execution["executionId"], "call")
    assert second["earliest"] - first["end"] >= 10_000


# ── workers that lack something ──────────────────────────────────────────────────────────────────────────────────────


async def test_an_action_that_no_worker_has_yet_is_waited_for() -> None:
    """However long: it is no failure of the step, and none of its attempts."""
    late: list[Engine] = []
    async with world(late.append, allow_unknown_actions=True) as w:
        await w.register({"id": "new", "action": "new-action"}, step("then", "new", result="${{ context.new }}"))
        execution = await w.start()
        await w.sim.advance(seconds=300)
        now = await w.now(execution)
        [wait] = now["waitingOn"]
        assert (now["status"], wait["stepId"], wait["kind"], wait["action"]) == (
            "running",
            "new",
            "worker",
            "new-action",
        )

        @late[0].executor("new-action")
        async def new(params: Any) -> str:
            return "there"

        end = await w.end(execution)
        assert (end["status"], end["output"]) == ("completed", {"then": "there"})


async def test_real_failures_are_counted_as_before(w: World) -> None:
    execution = await w.run({**step("a", failures=5), "retryPolicy": {"maxAttempts": 3, "initialDelay": 1}})
    assert statuses(execution) == {"a": "failed"}
    assert execution["stepResults"]["a"]["attempts"] == 3


async def test_who_executes_is_told(w: World) -> None:
    await w.register(step("a", takes=20))
    execution = await w.start()
    await w.sim.advance(seconds=5)
    now = (await w.now(execution))["stepResults"]["a"]
    assert now["workerId"]
    assert now["leaseExpiresAt"] > now["startTime"]
