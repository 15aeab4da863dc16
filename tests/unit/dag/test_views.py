"""A view is what has happened: at any moment, under any schedule, it agrees with what the executors saw."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from durable_dag import Engine
from durable_testing import Sim, explore
from tests.unit.dag.graphs import Literals
from tests.unit.dag.support import step, world


def random_steps(seed: int) -> list[dict[str, Any]]:
    dice = random.Random(seed)
    steps: list[dict[str, Any]] = []
    for number in range(dice.randint(2, 10)):
        sources = [one["id"] for one in steps if dice.random() < 0.4]
        policy = {"maxAttempts": dice.choice((1, 1, 3)), "initialDelay": 1000 * dice.choice((0, 1, 4))}
        one = step(f"s{number}", *sources, takes=dice.choice((0, 1, 3, 7)), failures=dice.choice((0, 0, 0, 1, 2)))
        steps.append({**one, "retryPolicy": policy, "join": dice.choice(("active", "any", "done"))})
    return steps


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
async def test_at_each_moment_what_is_shown_as_running_is_what_runs(seed: int) -> None:
    running: set[str] = set()
    ended: set[str] = set()

    def watch(engine: Engine) -> None:
        inner = engine.executors.get("act")
        assert inner is not None

        async def watched(params: Any, context: Any, one: Any) -> Any:
            running.add(one.id)
            try:
                return await inner.fn(params, context, one)
            finally:
                running.discard(one.id)
                ended.add(one.id)

        engine.register_executor("act", watched)

    async with world(watch) as w:
        await w.register(*random_steps(seed), maxConcurrency=4)
        execution = await w.start()
        for _ in range(60):
            await w.sim.advance(seconds=0.69)
            now = await w.now(execution)
            executing = {id for id, one in now["stepResults"].items() if one.get("phase") == "executing"}
            assert executing == running
            assert running <= set(now["currentSteps"])
            assert len(now["currentSteps"]) <= 4
            if now["status"] != "running":
                break
        end = await w.end(execution)
        assert end["status"] in ("completed", "failed")
        assert end["currentSteps"] == []
        for one in end["stepResults"].values():
            assert one["status"] in ("success", "failed", "skipped")
            if one["status"] != "skipped":
                assert one["duration"] >= 0
                assert one["stepId"] in ended


engine = Engine(js=Literals())
done: list[str] = []
broken: set[str] = set()


@engine.executor("flaky")
async def flaky(params: dict[str, Any], context: Any, one: Any) -> str:
    await asyncio.sleep(params.get("takes", 0))
    if one.id in broken:
        raise ValueError(one.id)
    done.append(one.id)
    return one.id


def flow() -> dict[str, Any]:
    def one(id: str, *after: Any, takes: int = 0) -> dict[str, Any]:
        return {"id": id, "action": "flaky", "params": {"takes": takes}, "dependencies": list(after)}

    steps = [one("a"), one("b", "a", takes=2), one("bad", "a"), one("c", "bad"), one("d", "b", takes=1)]
    return {"id": "flow", "steps": [*steps, {"id": "wait", "action": "delay", "params": {"duration": 3000}}]}


async def retried(sim: Sim) -> None:
    """A failed run that is retried: each step that succeeded has one outcome, whatever strikes."""
    done.clear()
    broken.clear()
    broken.add("bad")
    engine.bind(sim)
    await engine.register_workflow(flow())
    id = (await engine.start("flow", execution_id="x")).execution_id
    assert (await engine.result(id))["failedSteps"] == ["bad"]
    broken.clear()
    await engine.retry(id)
    end = await engine.result(id)
    assert end["status"] == "completed", end
    assert [one["status"] for one in end["stepResults"].values()] == ["success"] * 6
    assert end["output"] == {"c": "c", "d": "d", "wait": {"delayed": 3000}}
    history = [row for row in await sim.handle(id).history() if row.event == "step_completed"]
    assert len([row for row in history if row.name in ("a", "b", "d", "c", "bad")]) == 5


@pytest.mark.slow
async def test_a_retry_survives_whatever_strikes() -> None:
    await explore(retried, workflows=engine.workflows, examples=60)
