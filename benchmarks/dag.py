"""What carrying out a definition costs beside the same steps as code: ``python -m benchmarks.dag``.

Each shape is carried out twice on a store of its own, with one worker: as a definition whose executor returns at once,
and as a workflow of such steps. What is judged is the ratio: figures of one machine are worth little on another. Each
shape has a budget, and a broken one ends the program with 1.

Python 3.11 on four cores that other programs kept busy (load 3), the best of five rounds, in memory:

    seconds                                        definition     code  ratio  budget
    a chain of 1,000 steps                              0.155    0.050   3.09     6.0
    1,000 side by side                                  0.121    0.038   3.21     7.0
    5,000 items                                         0.468    0.252   1.85     4.0
    a chain taken up in its middle                      0.107    0.041   2.60     6.0
    a look at 1,000 steps (beside: its journal)         0.041    0.008   4.90    12.0
    a look at 5,000 items (beside: its journal)         0.123    0.042   2.93     8.0

and on SQLite (``--sqlite``), where a commit costs more than all the rest:

    a chain of 1,000 steps                              0.763    0.675   1.13     6.0
    1,000 side by side                                  0.117    0.055   2.12     7.0
    5,000 items                                         0.530    0.287   1.85     4.0
    a chain taken up in its middle                      0.359    0.296   1.21     6.0
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from tempfile import TemporaryDirectory
from typing import Any

from durable import Client, Context, Worker, Workflow, connect, workflow
from durable_dag import Engine

CHAIN, ITEMS, HALF = 1000, 5000, 500
Json = Any
Once = Callable[[], Awaitable[float]]


@dataclass(frozen=True)
class Row:
    """One shape.

    Attributes:
        definition: Seconds of the definition, the best of all rounds; so is ``code``.
        budget: What ``ratio`` may be at most.
    """

    name: str
    definition: float
    code: float
    budget: float

    @property
    def ratio(self) -> float:
        """How many times as long the definition takes."""
        return self.definition / self.code


async def nothing() -> int:
    """A step that costs nothing, so that the engine is what is measured."""
    return 1


@workflow
async def chain(ctx: Context, count: int) -> int:
    """One step after the other."""
    return sum([await ctx.step(f"s{number}", nothing) for number in range(count)])


@workflow
async def fan_out(ctx: Context, count: int) -> int:
    """All at once."""
    return sum(await asyncio.gather(*(ctx.step("item", nothing) for _ in range(count))))


@workflow
async def halting(ctx: Context, count: int) -> int:
    """A chain that waits for a signal in its middle."""
    done = sum([await ctx.step(f"s{number}", nothing) for number in range(count // 2)])
    await ctx.wait_for_signal("go")
    return done + sum([await ctx.step(f"s{number}", nothing) for number in range(count // 2, count)])


def act() -> dict[str, Json]:
    """A step's action."""
    return {"action": "act"}


def chained(count: int, halt: int | None = None) -> dict[str, Json]:
    """A definition of one step after the other; ``halt`` waits for a signal instead."""
    steps = [
        {
            "id": f"s{number}",
            **({"action": "signal.wait", "params": {"name": "go"}} if number == halt else act()),
            "dependencies": [f"s{number - 1}"] if number else [],
        }
        for number in range(count)
    ]
    return {"id": "chain", "steps": steps}


def mapped() -> dict[str, Json]:
    """A definition of one step for each item."""
    params = {"items": "${{ context.items }}", "step": {**act(), "params": {"item": "${{ item }}"}}}
    return {"id": "map", "steps": [{"id": "each", "action": "map", "params": params}]}


def joined(count: int) -> dict[str, Json]:
    """A definition of many steps side by side, and one behind all of them."""
    ids = [f"s{number}" for number in range(count - 1)]
    return {"id": "join", "steps": [*({"id": id, **act()} for id in ids), {"id": "end", **act(), "dependencies": ids}]}


class Room:
    """A store with an engine."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.engine = Engine(client)

        @self.engine.executor("act")
        async def _(params: Json) -> int:
            return 1

    def worker(self) -> Worker:
        """One that has everything."""
        return Worker(self.client, workflows=[*self.engine.workflows, chain, fan_out, halting])


async def in_room(work: Callable[[Room], Awaitable[float]], *, sqlite: bool = False) -> float:
    """Do it on a store of its own."""
    with TemporaryDirectory() as folder:
        async with connect(f"sqlite:///{folder}/runs.db" if sqlite else "memory://") as client:
            return await work(Room(client))


async def defined(room: Room, document: dict[str, Json], context: Json = None) -> float:
    """Seconds from the start of an execution to its end."""
    await room.engine.register_workflow(document)
    async with room.worker():
        began = time.perf_counter()
        started = await room.engine.start(document["id"], context)
        await room.engine.handle(started.execution_id).result()
        return time.perf_counter() - began


async def coded(room: Room, code: Workflow[[int], int], count: int) -> float:
    """Seconds from the start of a run to its end."""
    async with room.worker():
        began = time.perf_counter()
        handle = await room.client.start(code, count)
        await handle.result()
        return time.perf_counter() - began


async def resumed(room: Room, definition: bool) -> float:
    """Seconds in which another worker takes up a run in its middle, and brings it to its end."""
    async with room.worker():
        if definition:
            await room.engine.register_workflow(chained(CHAIN, HALF))
            id = (await room.engine.start("chain")).execution_id
        else:
            id = (await room.client.start(halting, CHAIN)).id
        handle = room.client.handle(id)
        while not any(wait.kind == "signal" and wait.name == "go" for wait in (await handle.status()).waits):
            await asyncio.sleep(0.01)
    await handle.signal("go")
    began = time.perf_counter()
    async with room.worker():
        await handle.result()
        return time.perf_counter() - began


async def looked_at(room: Room, document: dict[str, Json], context: Json = None) -> tuple[float, float]:
    """Seconds of a look at an execution that has ended: at its object, and at its bare journal."""
    await room.engine.register_workflow(document)
    async with room.worker():
        id = (await room.engine.start(document["id"], context)).execution_id
        await room.engine.handle(id).result()
    began = time.perf_counter()
    await room.engine.get(id)
    middle = time.perf_counter()
    await room.client.handle(id).history()
    return middle - began, time.perf_counter() - middle


async def main(rounds: int, *, sqlite: bool = False) -> list[Row]:
    """Measure every shape."""
    items = {"items": list(range(ITEMS))}

    async def best(work: Callable[[Room], Awaitable[float]]) -> float:
        return min([await in_room(work, sqlite=sqlite) for _ in range(rounds)])

    async def views(name: str, document: dict[str, Json], context: Json, budget: float) -> Row:
        async def once(room: Room) -> float:
            found.append(await looked_at(room, document, context))
            return 0.0

        found: list[tuple[float, float]] = []
        await best(once)
        return Row(name, min(one for one, _ in found), min(one for _, one in found), budget)

    return [
        Row(
            "a chain of 1,000 steps",
            await best(lambda room: defined(room, chained(CHAIN))),
            await best(lambda room: coded(room, chain, CHAIN)),
            6.0,
        ),
        Row(
            "1,000 side by side",
            await best(lambda room: defined(room, joined(CHAIN))),
            await best(lambda room: coded(room, fan_out, CHAIN)),
            7.0,
        ),
        Row(
            "5,000 items",
            await best(lambda room: defined(room, mapped(), items)),
            await best(lambda room: coded(room, fan_out, ITEMS)),
            4.0,
        ),
        Row(
            "a chain taken up in its middle",
            await best(lambda room: resumed(room, True)),
            await best(lambda room: resumed(room, False)),
            6.0,
        ),
        await views("a look at 1,000 steps (beside: its journal)", chained(CHAIN), None, 12.0),
        await views("a look at 5,000 items (beside: its journal)", mapped(), items, 8.0),
    ]


def told(rows: list[Row]) -> str:
    """A table."""
    lines = [f"{'seconds':<46} {'definition':>10} {'code':>8} {'ratio':>6} {'budget':>7}"]
    lines += [f"{r.name:<46} {r.definition:>10.3f} {r.code:>8.3f} {r.ratio:>6.2f} {r.budget:>7.1f}" for r in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sqlite", action="store_true", help="on SQLite files instead of in memory")
    parser.add_argument("--json", action="store_true", help="figures for programs")
    options = parser.parse_args()
    measured = asyncio.run(main(options.rounds, sqlite=options.sqlite))
    print(json.dumps([{**asdict(r), "ratio": r.ratio} for r in measured]) if options.json else told(measured))
    if any(row.ratio > row.budget for row in measured):
        raise SystemExit(1)
