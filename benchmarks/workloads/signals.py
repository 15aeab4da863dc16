"""From the call of ``signal()`` to the step behind the wait."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Final

from benchmarks.beds import BEDS, MEMORY, RELAXED, SQLITE, Bed
from benchmarks.hands import Order, hand
from benchmarks.limits import ONE, ONE_RELAXED, bare_commits
from benchmarks.passes import Figures, Plan, Ratio, Row, Table, percentile
from benchmarks.peers.known import DBOS
from benchmarks.peers.rows import row
from benchmarks.programs import WORKFLOWS, Meter, meters, parked
from benchmarks.starts import numbered, waiting
from durable import Worker, connect

RUNS: Final = 200
CROWD: Final = 1000
PAUSE_SECONDS: Final = 0.005
P50: Final = "ms, p50"
P99: Final = "ms, p99"


def alone(bed: Bed) -> Row:
    """Worker and sender in one process, one signal after the other."""

    async def measure(plan: Plan) -> Figures:
        runs, taken = plan.count(RUNS, 3), list[float]()
        meter = meters[-1] = Meter(keep=True)
        with bed.lay(plan) as url:
            async with connect(url) as client, Worker(client, workflows=WORKFLOWS):
                handles = await numbered(client, parked, runs)
                await waiting(client, runs)
                for number, handle in enumerate(handles):
                    resumed = meter.done = asyncio.Event()
                    meter.wanted = number + 1
                    sent = time.perf_counter()
                    await handle.signal("go")
                    await resumed.wait()
                    taken.append((meter.kept[number] - sent) * 1000)
                    await _pause(number)
        return _figures(taken)

    return Row(f"{bed.name}, one process", measure, _ratios(bed))


def across(bed: Bed) -> Row:
    """The worker is in another process than the sender."""

    async def measure(plan: Plan) -> Figures:
        runs, taken = plan.count(RUNS, 3), list[float]()
        with bed.lay(plan) as url:
            async with connect(url) as client, hand(Order(url, tell=True)) as worker:
                await worker.go()
                handles = await numbered(client, parked, runs)
                await waiting(client, runs)
                for number, handle in enumerate(handles):
                    sent = time.perf_counter()
                    await handle.signal("go")
                    told = await worker.hear("step")
                    assert told["step"] == number
                    taken.append((told["at"] - sent) * 1000)
                    await _pause(number)
        return _figures(taken)

    return Row(f"{bed.name}, two processes", measure, _ratios(bed))


def crowd(bed: Bed) -> Row:
    """All at once, worker and sender in one process."""

    async def measure(plan: Plan) -> Figures:
        runs = plan.count(CROWD, 3)
        meter = meters[-1] = Meter(runs)
        with bed.lay(plan) as url:
            async with connect(url) as client, Worker(client, workflows=WORKFLOWS):
                handles = await numbered(client, parked, runs)
                await waiting(client, runs)
                sent = time.perf_counter()
                await asyncio.gather(*(handle.signal("go") for handle in handles))
                await meter.done.wait()
        return {"signals a second": runs / (meter.ended - sent)}

    return Row(f"{bed.name}, {CROWD:,} at once", measure)


async def _pause(number: int) -> None:
    """The run behind ends, the worker comes to rest, and nothing falls into step with its looks."""
    await asyncio.sleep(PAUSE_SECONDS + 0.001 * (number % 10))


def _figures(taken: list[float]) -> Figures:
    return {P50: statistics.median(taken), P99: percentile(taken, 0.99), "ms, worst": max(taken)}


def _ratios(bed: Bed) -> tuple[Ratio, ...]:
    if bed is MEMORY:
        return ()
    bare = ONE_RELAXED if bed is RELAXED else ONE
    return (Ratio("{} bare commits", P50, bare, "commits a second", 0.001, times=True),)


TABLE: Final = Table(
    "signals",
    "Signals",
    f"{RUNS} runs wait for a signal. From the call of `signal()` to the first line of the step behind the wait; one "
    f"after the other, with the worker at rest in between, or {CROWD:,} at once.",
    (
        bare_commits(1, "FULL"),
        bare_commits(1, "NORMAL"),
        *(alone(bed) for bed in BEDS),
        across(SQLITE),
        *(crowd(bed) for bed in BEDS),
        row(DBOS, "one process", "SQLite, one process", P50, "signals", runs=6),
    ),
)
