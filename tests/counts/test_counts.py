"""What the engine may spend, counted: a change that makes a step dearer is seen here, on a machine of any speed.

Seconds differ from one minute to the next; how many functions a step calls, how many transactions a batch is and how
often a thread is handed something do not. Each ceiling is what was counted when it was set, and a tenth more. One that
must be raised is raised in the change that needs it, with its reason; one that has become too high is lowered.
"""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any

import pytest

from durable import Client, Context, Worker, connect, step, workflow
from durable_sqlite.connection import Line


@step
async def trivial(number: int) -> int:
    return number


@workflow
async def chain(ctx: Context, steps: int) -> int:
    return sum([await ctx.step(trivial, number) for number in range(steps)])


@workflow
async def fan(ctx: Context, steps: int) -> int:
    return sum(await asyncio.gather(*(ctx.step(trivial, number) for number in range(steps))))


@workflow
async def waits(ctx: Context) -> Any:
    return await ctx.wait_for_signal("never")


# ── functions ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Calls:
    """Counts the Python functions that this thread calls."""

    def __init__(self) -> None:
        self.total = 0

    def __enter__(self) -> Calls:
        sys.setprofile(self._profile)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _profile(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            self.total += 1


async def _called(client: Client, of: Any, steps: int, runs: int = 1) -> float:
    with Calls() as calls:
        handles = await asyncio.gather(*(client.start(of, steps) for _ in range(runs)))
        for handle in handles:
            assert await handle.result() == steps * (steps - 1) // 2
    return calls.total / runs


@pytest.mark.parametrize(
    ("of", "runs", "ceiling"),
    [
        pytest.param(chain, 1, 146, id="one run, a step after the other"),
        pytest.param(chain, 64, 108, id="64 runs at once"),
        pytest.param(fan, 1, 109, id="one run, all steps at once"),
    ],
)
async def test_functions_called_for_a_step(of: Any, runs: int, ceiling: int) -> None:
    """The difference of a long run and a short one, so that starting and ending are not counted."""
    async with connect("memory://") as client, Worker(client, workflows=[chain, fan], concurrency=64):
        await _called(client, of, 90)  # what is made at the first use is made
        few, many = await _called(client, of, 10, runs), await _called(client, of, 90, runs)
    spent = (many - few) / 80
    print(f"{spent:.0f} functions a step")
    assert spent <= ceiling


async def test_functions_called_for_a_run_of_one_step() -> None:
    async with connect("memory://") as client, Worker(client, workflows=[chain]):
        counted = sorted([await _called(client, chain, 1) for _ in range(9)])
    print(f"{counted[4]:.0f} functions a run of one step")
    assert counted[4] <= 1220


# ── the store ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Traffic:
    """What the stores of this process do: functions handed to their threads, statements, and rows changed."""

    def __init__(self) -> None:
        self.hops = 0
        self.statements: Counter[str] = Counter()
        self._open: list[sqlite3.Connection] = []

    def heard(self, raw: sqlite3.Connection) -> None:
        self._open.append(raw)
        raw.set_trace_callback(self._statement)

    def _statement(self, text: str) -> None:
        self.statements[text.split(None, 1)[0].upper()] += 1

    @property
    def transactions(self) -> int:
        return self.statements["COMMIT"]


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> Iterator[Traffic]:
    counted = Traffic()
    run, connected = Line.run, Line._connect

    async def counting(line: Line, work: Callable[[sqlite3.Connection], Any]) -> Any:
        counted.hops += 1
        return await run(line, work)

    def connecting(line: Line) -> None:
        connected(line)
        assert line._raw is not None
        counted.heard(line._raw)

    monkeypatch.setattr(Line, "run", counting)
    monkeypatch.setattr(Line, "_connect", connecting)
    yield counted


async def _spent(store: str, of: Any, runs: int, steps: int, traffic: Traffic) -> tuple[int, int, int]:
    """(transactions, hops, statements) from the first start of so many runs to the last result."""
    async with connect(store) as client, Worker(client, workflows=[of], concurrency=runs):
        await (await client.start(of, 1)).result()
        before = traffic.transactions, traffic.hops, traffic.statements.total()
        handles = await asyncio.gather(*(client.start(of, steps) for _ in range(runs)))
        await asyncio.gather(*(handle.result() for handle in handles))
        after = traffic.transactions, traffic.hops, traffic.statements.total()
    return after[0] - before[0], after[1] - before[1], after[2] - before[2]


async def _least(store: str, of: Any, runs: int, steps: int, traffic: Traffic, times: int = 3) -> tuple[int, ...]:
    """The least of several, for beats and looks at the clock come on top, more of them on a busy machine."""
    spent = [await _spent(store, of, runs, steps, traffic) for _ in range(times)]
    return tuple(min(kind) for kind in zip(*spent, strict=True))


@pytest.mark.parametrize(
    ("of", "runs", "transactions", "hops", "statements"),
    [
        pytest.param(chain, 1, 1.05, 1.1, 4.6, id="one run, a step after the other"),
        pytest.param(chain, 64, 0.018, 0.022, 0.085, id="64 runs at once"),
        pytest.param(fan, 1, 0.015, 0.02, 0.06, id="one run, all steps at once"),
    ],
)
async def test_what_a_step_costs_the_store(
    tmp_path: Path, traffic: Traffic, of: Any, runs: int, transactions: float, hops: float, statements: float
) -> None:
    """The difference of long runs and short ones, so that starting and ending are not counted."""
    few = await _least(f"sqlite:///{tmp_path}/few.db", of, runs, 20, traffic)
    many = await _least(f"sqlite:///{tmp_path}/many.db", of, runs, 120, traffic)
    spent = [(a - b) / (100 * runs) for a, b in zip(many, few, strict=True)]
    print("a step: {:.4f} transactions, {:.4f} hops, {:.4f} statements".format(*spent))
    assert spent[0] <= transactions and spent[1] <= hops and spent[2] <= statements


async def test_what_a_run_of_one_step_costs_the_store(tmp_path: Path, traffic: Traffic) -> None:
    """Started, claimed, one step, ended, and its result told."""
    transactions, hops, statements = await _least(f"sqlite:///{tmp_path}/one.db", chain, 1, 1, traffic, times=12)
    print(f"a run of one step: {transactions} transactions, {hops} hops, {statements} statements")
    assert transactions <= 3 and hops <= 5 and statements <= 40


# ── memory ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _blocks_of_waiting_runs(store: str, cache: int) -> float:
    """The middle of several rounds: in some, what is made once in a while is made, or thrown away."""
    async with connect(store) as client, Worker(client, workflows=[waits], concurrency=100, cache=cache) as worker:
        counts = []
        for number in range(1, 6):
            await asyncio.gather(*(client.start(waits) for _ in range(200)))
            while worker.held or await client.count(workflow=waits, status="waiting") < 200 * number:
                await asyncio.sleep(0.02)
            gc.collect()
            counts.append(sys.getallocatedblocks())
    return median(later - earlier for earlier, later in pairwise(counts)) / 200


@pytest.mark.parametrize(("cache", "ceiling"), [(1000, 92), (0, 2)], ids=["in the cache", "beyond the cache"])
async def test_allocations_of_a_waiting_run(tmp_path: Path, cache: int, ceiling: int) -> None:
    blocks = await _blocks_of_waiting_runs(f"sqlite:///{tmp_path}/waits.db", cache)
    print(f"{blocks:.1f} blocks a waiting run")
    assert blocks <= ceiling


class Left:
    """What the collector finds of what was left while this held it back, by type, if a good part of the runs did."""

    def __enter__(self) -> Left:
        gc.collect()
        gc.disable()
        return self

    def __exit__(self, *_: object) -> None:
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found = Counter(type(thing).__qualname__ for thing in gc.garbage)
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        self.found = {name: count for name, count in found.items() if count >= 20}


async def test_a_run_that_has_ended_leaves_nothing_to_the_collector() -> None:
    async with connect("memory://") as client, Worker(client, workflows=[chain, fan]):
        for of in (chain, fan):
            await (await client.start(of, 5)).result()
        with Left() as left:
            for of in (chain, fan):
                handles = [await client.start(of, 5) for _ in range(20)]
                for handle in handles:
                    await handle.result()
            del handle, handles
            await asyncio.sleep(0)
    assert left.found == {}


async def test_a_run_that_waits_beyond_the_cache_leaves_nothing_to_the_collector() -> None:
    async with connect("memory://") as client, Worker(client, workflows=[waits], cache=0):
        for of_all in (20, 60):
            with Left() as left:
                while await client.count(workflow=waits) < of_all:
                    await client.start(waits)
                while await client.count(workflow=waits, status="waiting") < of_all:
                    await asyncio.sleep(0.01)
    assert left.found == {}
