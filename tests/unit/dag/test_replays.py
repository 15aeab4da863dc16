"""Executions are replayed like any run: at each moment, and after each deploy, the code fits what it has written."""

from __future__ import annotations

from typing import Any

import pytest

from durable import connect
from durable._author.registry import Registry
from durable._engine.survey import Survey
from durable.store import RunId
from durable_dag import Engine
from durable_testing import Fit, check_determinism, replay_all
from tests.unit.dag.graphs import Literals
from tests.unit.dag.support import World, step, world


def everything() -> list[dict[str, Any]]:
    """A definition of every kind of step."""
    inner = {"action": "act", "params": {"takes": 2, "result": "${{ item }}"}}
    policy = {"maxAttempts": 3, "initialDelay": 2000}
    return [
        step("first", takes=1, result={"n": 1}),
        {**step("flaky", "first", takes=1, failures=2), "retryPolicy": policy},
        {"id": "check", "action": "condition", "params": {"expression": "true"}, "dependencies": ["first"]},
        {**step("yes", takes=1), "dependencies": [{"step": "check", "on": True}]},
        {**step("no"), "dependencies": [{"step": "check", "on": False}]},
        {"id": "each", "action": "map", "params": {"items": [1, 2, 3], "step": inner, "concurrency": 2}},
        {"id": "wait", "action": "delay", "params": {"duration": 4000}, "dependencies": ["yes"]},
        {"id": "asked", "action": "signal.wait", "params": {"name": "go", "timeout": 60_000}},
        {"id": "child", "action": "workflow.run", "params": {"workflowId": "inner"}, "dependencies": ["wait"]},
        {**step("late"), "queue": "nobody", "scheduleTimeout": 9000, "critical": False},
        step("end", "flaky", "child", "each", "asked", result="${{ context.first.n }}"),
    ]


async def begun(w: World, count: int) -> list[str]:
    hooks = {"onStep": "http://n/step", "onComplete": "http://n/end"}
    w.web.serve("http://n/step", 500, 200)
    w.web.serve("http://n/end", 200)
    await w.register(step("a", takes=2), id="inner")
    more: dict[str, Any] = {"webhooks": hooks, "timeout": 90_000, "maxConcurrency": 4, "output": {"n": "${{ 1 }}"}}
    await w.register(*everything(), concurrency={"limit": 2}, **more)
    return [await w.start() for _ in range(count)]


async def fits(w: World, engine: Engine) -> dict[str, Fit]:
    """How the code of an engine fits the open runs that are at rest."""
    found = await w.sim.inside(replay_all(w.sim.store, engine.workflows))
    return {one.run: one.fit for one in found if not one.in_motion}


@pytest.mark.slow
async def test_at_each_moment_the_code_fits_what_it_has_written() -> None:
    seen = 0
    async with world() as w:
        executions = await begun(w, 3)
        for moment in range(60):
            await w.sim.advance(seconds=0.7)
            if moment == 30:
                for id in executions[:2]:
                    await w.sim.handle(id).signal("go")
            found = await fits(w, w.engine)
            seen += len(found)
            assert set(found.values()) <= {Fit.UNCHANGED}
        for id in executions:
            if (await w.now(id))["status"] == "running":
                await w.sim.handle(id).signal("go")
            assert (await w.end(id))["status"] == "completed"
        assert seen > 50


async def test_an_engine_of_another_process_fits_them_too_and_ended_runs_end_the_same() -> None:
    other = Engine(js=Literals())
    async with world() as w:
        [execution] = await begun(w, 1)
        await w.sim.advance(seconds=3)
        assert set((await fits(w, other)).values()) == {Fit.UNCHANGED}
        await w.sim.handle(execution).signal("go")
        assert (await w.end(execution))["output"] == {"n": 1}
        survey = Survey(w.sim.store, _registry(other), w.sim.link.codec, w.sim.link.clock)
        [row] = await w.sim.inside(_rows(w, execution))
        ended = await w.sim.inside(survey.run(row, ended=True))
        assert ended is not None
        assert (ended.fit, ended.end) == (Fit.UNCHANGED, 'returns {"n":1}')


async def _rows(w: World, id: str) -> Any:
    return await w.sim.store.get([RunId(id)])


def _registry(engine: Engine) -> Registry:
    registry = Registry()
    for workflow in engine.workflows:
        registry.add(workflow)
    return registry


async def test_a_definition_that_is_changed_changes_no_run() -> None:
    """The definition is in the run; one that comes later is none of its affair."""
    async with world() as w:
        [execution] = await begun(w, 1)
        await w.sim.advance(seconds=3)
        await w.register(step("quite", takes=1), step("another", "quite"))
        assert set((await fits(w, w.engine)).values()) == {Fit.UNCHANGED}
        await w.sim.handle(execution).signal("go")
        assert (await w.end(execution))["completedSteps"][0] == "first"


@pytest.mark.slow
def test_nothing_that_may_vary_makes_a_difference() -> None:
    """Another clock, other random numbers, another environment: the same calls in the same order."""
    engine = Engine(js=Literals())
    engine.register_executor("act", lambda params: params.get("result"))
    kept = ("late", "child", "asked", "end")
    steps = [one for one in everything() if one["id"] not in kept] + [step("end", "flaky", "each")]
    request = {"workflowId": "flow", "version": 1, "context": {}, "definition": {"id": "flow", "steps": steps}}
    found = check_determinism(engine.workflows[0], request, run_steps=True, hash_seeds=())
    assert found.end.startswith("returns")


async def test_a_store_of_its_own_can_be_asked_the_same() -> None:
    async with connect("memory://") as client:
        engine = Engine(client, js=Literals())
        engine.register_executor("act", lambda params: 1)
        await engine.register_workflow({"id": "flow", "steps": [step("a")]})
        await engine.start("flow")
        [found] = await replay_all(client, engine.workflows)
        assert found.fit is Fit.UNCHANGED
