"""The rule of skipping: the tables and the scheduler, held against the model."""

from __future__ import annotations

import asyncio
import random
import zlib
from datetime import UTC, datetime
from typing import Any

import pytest

from durable_dag import Engine
from durable_dag.graph.definition import PLAIN_SUCCESS, read_definition
from durable_dag.graph.edges import Ended, edge_state
from durable_dag.graph.plan import Plan
from durable_dag.scheduling.board import Board, Outcome
from durable_dag.starting import Start
from durable_dag.versions import Stored
from durable_testing import Sim, explore
from tests.unit.dag.graphs import Literals, definition_of, random_graph
from tests.unit.dag.model import outcome_of

WHEN = datetime(2026, 1, 1, tzinfo=UTC)


class Drawn(Literals):
    """A condition that is drawn to fail does: its expression is no literal."""


def drawn_engine() -> Engine:
    """An engine whose steps do as they are drawn, at their own pace."""
    engine = Engine(js=Drawn())

    @engine.executor("act")
    async def act(params: dict[str, Any]) -> str:
        await asyncio.sleep(params.get("delay", 0))
        if params.get("fails"):
            raise ValueError("drawn to fail")
        return "done"

    return engine


def statuses(execution: dict[str, Any], graph: dict[str, Any]) -> dict[str, tuple[str, str | None]]:
    """(status, reason) of each step, from the execution object."""
    found = execution["stepResults"]
    return {id: (found[id]["status"], found[id].get("skipReason")) for id in graph}


@pytest.mark.parametrize(
    ("source", "row"),
    [
        (Ended("success"), "live dead dead live"),
        (Ended("failed"), "broken live dead live"),
        (Ended("failed", handled=True), "dead live dead live"),
        (Ended("failed", critical=False), "live live dead live"),
        (Ended("skipped", reason="condition"), "dead dead live live"),
        (Ended("skipped", reason="dependency_failed"), "broken dead live live"),
    ],
)
def test_the_table_of_edges_is_as_it_is_written(source: Ended, row: str) -> None:
    assert [edge_state(on, source) for on in ("success", "failure", "skipped", "done")] == row.split()


@pytest.mark.parametrize(
    ("on", "branch", "state"),
    [
        (PLAIN_SUCCESS, "true", "live"),
        (PLAIN_SUCCESS, "false", "dead"),
        ("success", "false", "live"),
        ("true", "true", "live"),
        ("false", "true", "dead"),
        ("done", "false", "live"),
    ],
)
def test_a_condition_gates_its_bare_edges(on: str, branch: str, state: str) -> None:
    assert edge_state(on, Ended("success", "condition", branch)) == state


def boards_outcome(graph: dict[str, Any], order: random.Random) -> tuple[dict[str, Any], str]:
    """What the board makes of a graph when steps end in a random order."""
    plan = Plan.of(read_definition(definition_of(graph)))
    board = Board(plan)
    running = board.begin()
    while running:
        id = running.pop(order.randrange(len(running)))
        step = graph[id]
        if step["guard"] is False:
            outcome = Outcome("skipped", None, "condition")
        elif step["fails"]:
            outcome = Outcome("failed")
        else:
            outcome = Outcome("success", step["branch"])
        running += board.settle(id, outcome)
    assert board.all_over
    found = {id: (board.place(id).standing, board.place(id).reason) for id in graph}
    return found, "failed" if board.blocking else "completed"


@pytest.mark.parametrize("block", range(4))
def test_the_board_agrees_with_the_model_in_every_order_of_completion(block: int) -> None:
    for seed in range(block * 500, (block + 1) * 500):
        graph = random_graph(seed)
        wanted = outcome_of(graph)
        for order in range(4):
            assert boards_outcome(graph, random.Random(order)) == wanted, f"random_graph({seed}), order {order}"


async def check_against_the_model(seeds: range) -> None:
    """The real scheduler on the real engine, for a range of random graphs."""
    engine = drawn_engine()
    async with Sim(workflows=engine.workflows, seed=seeds.start) as sim:
        engine.bind(sim)
        for seed in seeds:
            graph = random_graph(seed)
            wanted, status = outcome_of(graph)
            document = definition_of(graph, f"g{seed}")
            plan = Plan.of(read_definition(document))
            assert list(plan.steps) == list(graph)
            started = await sim.inside(start_unchecked(engine, document))
            execution = await sim.inside(engine.result(started))
            assert (statuses(execution, graph), execution["status"]) == (wanted, status), f"random_graph({seed})"


async def start_unchecked(engine: Engine, document: dict[str, Any]) -> str:
    """Without the compile-only pass, which would refuse the conditions that are drawn to fail."""
    digest = await engine.versions.put_content(document)
    asked = Start(Stored(document["id"], 0, digest, 0.0, document))
    return (await engine._starter.start(asked)).execution_id


@pytest.mark.slow
@pytest.mark.parametrize("block", range(3))
async def test_the_scheduler_agrees_with_the_model(block: int) -> None:
    await check_against_the_model(range(block * 100, (block + 1) * 100))


faulty = drawn_engine()


async def struck(sim: Sim) -> None:
    """A graph of the schedule's own, in a world where workers die and answers are lost."""
    seed = zlib.crc32(str(sim.world.schedule).encode()) % 10_000
    graph = random_graph(seed, 6)
    faulty.bind(sim)
    execution = await faulty.result(await start_unchecked(faulty, definition_of(graph, f"g{seed}")))
    wanted, status = outcome_of(graph)
    assert (statuses(execution, graph), execution["status"]) == (wanted, status), f"random_graph({seed}, 6)"


@pytest.mark.slow
async def test_the_scheduler_agrees_with_the_model_whatever_strikes() -> None:
    await explore(struck, workflows=faulty.workflows, examples=100)


@pytest.mark.nightly
@pytest.mark.parametrize("block", range(40))
async def test_the_scheduler_agrees_with_the_model_on_twenty_thousand_graphs(block: int) -> None:
    await check_against_the_model(range(1000 + block * 500, 1000 + (block + 1) * 500))
