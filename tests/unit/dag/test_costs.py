"""What definitions cost is counted, not timed: twice the steps are twice the work, wherever the work is done."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from durable_dag.scheduling import board, decide
from tests.unit.dag.support import step, world

STEPS = 120


def chain(count: int) -> list[dict[str, Any]]:
    return [step(f"s{n}", *([f"s{n - 1}"] if n else []), result="${{ execution.id }}") for n in range(count)]


def join(count: int) -> list[dict[str, Any]]:
    return [step(f"s{n}") for n in range(count - 1)] + [step("end", *[f"s{n}" for n in range(count - 1)])]


def items(count: int) -> list[dict[str, Any]]:
    inner = {"action": "act", "params": {"result": "${{ item }}"}}
    return [{"id": "each", "action": "map", "params": {"items": list(range(count)), "step": inner}}]


def skipped(count: int) -> list[dict[str, Any]]:
    first = {"id": "s0", "action": "fail"}
    return [first, *[step(f"s{n}", f"s{n - 1}") for n in range(1, count)]]


SHAPES = {"chain": chain, "join": join, "items": items, "skipped": skipped}


class Count:
    """How many functions were called, in Python and below it."""

    calls = 0


@contextmanager
def counted() -> Iterator[Count]:
    found = Count()

    def note(frame: Any, event: str, what: Any) -> None:
        if event in ("call", "c_call"):
            found.calls += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(before)


async def costs(shape: str, count: int) -> dict[str, int]:
    """Calls of functions, by what is done; and commits."""
    async with world() as w:
        w.engine.register_executor("act", _act)
        await w.register(*SHAPES[shape](count))
        with counted() as carried:
            execution = await w.start()
            await w.end(execution)
        await w.sim.run_until_idle()
        commits = sum(1 for event in w.sim.world.trace.of("effect") if event.data["method"] == "commit")
        with counted() as looked:
            await w.now(execution)
        with counted() as drawn:
            await w.sim.inside(w.engine.visualize(execution))
        return {"carried": carried.calls, "looked": looked.calls, "drawn": drawn.calls, "commits": commits}


async def _act(params: dict[str, Any]) -> Any:
    return params.get("result")


@pytest.mark.slow
@pytest.mark.parametrize("shape", list(SHAPES))
async def test_twice_the_steps_are_twice_the_work(shape: str) -> None:
    one, two = await costs(shape, STEPS), await costs(shape, 2 * STEPS)
    for what in one:
        assert two[what] <= 2.05 * one[what] + 200, what


@pytest.mark.slow
async def test_a_run_that_is_taken_up_in_its_middle_is_replayed_in_one_pass() -> None:
    async def replayed(count: int) -> int:
        async with world() as w:
            w.engine.register_executor("act", _act)
            halt = {"id": "halt", "action": "signal.wait", "params": {"name": "go"}, "dependencies": [f"s{count - 1}"]}
            await w.register(*chain(count), halt)
            execution = await w.start()
            await w.sim.run_until_idle()
            w.sim.redeploy()
            with counted() as found:
                await w.sim.handle(execution).signal("go")
                assert (await w.end(execution))["status"] == "completed"
            return found.calls

    assert await replayed(2 * STEPS) <= 2.05 * await replayed(STEPS)


@pytest.mark.parametrize("shape", ["chain", "join", "skipped"])
async def test_each_edge_is_looked_at_once(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    def looking(join: Any, tally: Any) -> Any:
        nonlocal looks
        looks += 1
        return decide.decide(join, tally)

    monkeypatch.setattr(board, "decide", looking)
    async with world() as w:
        w.engine.register_executor("act", _act)
        await w.register(*SHAPES[shape](50))
        await w.end(await w.start())
    edges = sum(len(one.get("dependencies", ())) for one in SHAPES[shape](50))
    # Each step when the run begins, and a step once more for each of its edges; twice, because a view tells it again.
    assert looks <= 2 * (50 + edges)


async def test_a_step_costs_one_commit_and_a_map_one_for_many() -> None:
    assert (await costs("chain", 40))["commits"] <= 40 + 5
    assert (await costs("items", 400))["commits"] <= 40


async def test_the_line_for_a_slot_costs_the_same_for_each_who_stands_in_it() -> None:
    async def operations(count: int) -> int:
        async with world() as w:
            await w.register(step("a", takes=1), concurrency={})
            before = len(list(w.sim.world.trace.of("effect")))
            executions = [await w.start() for _ in range(count)]
            for id in executions:
                await w.sim.handle(id).result()
            return len([e for e in w.sim.world.trace.of("effect") if e.data["method"] != "poll"]) - before

    assert await operations(60) <= 2.05 * await operations(30)
