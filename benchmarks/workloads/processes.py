"""Several worker processes on one file."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Final

from benchmarks.beds import RELAXED, SQLITE, Bed
from benchmarks.hands import Order, hand
from benchmarks.passes import Figures, Plan, Ratio, Row, Table
from benchmarks.programs import STEPS, chain
from benchmarks.starts import started
from durable import connect

RUNS: Final = 2000
FLIGHT: Final = 64
RATE: Final = "steps a second"


def of(bed: Bed, processes: int) -> Row:
    """Together, from the moment when they may begin to the end of the last run."""

    async def measure(plan: Plan) -> Figures:
        runs = plan.count(RUNS, 20)
        with bed.lay(plan) as url:
            async with connect(url) as client, contextlib.AsyncExitStack() as stack:
                await started(client, chain, runs, STEPS)
                hands = [
                    await stack.enter_async_context(hand(Order(url, concurrency=FLIGHT))) for _ in range(processes)
                ]
                await asyncio.gather(*(one.hear("ready") for one in hands))
                began = time.perf_counter()
                await asyncio.gather(*(one.go() for one in hands))
                while await client.count(status="completed") < runs:
                    await asyncio.sleep(0.02)
                return {RATE: runs * STEPS / (time.perf_counter() - began)}

    ratio = Ratio("{} of one process", RATE, name(bed, 1), RATE)
    return Row(name(bed, processes), measure, (ratio,) if processes > 1 else ())


def name(bed: Bed, processes: int) -> str:
    """Of the row."""
    return f"{bed.name}, {processes} process{'es' * (processes > 1)}"


TABLE: Final = Table(
    "processes",
    "Several processes",
    f"{RUNS:,} runs of ten trivial steps on one file, {FLIGHT} in flight in each worker process. Steps a second of all "
    "processes together, from the moment when they may begin to the end of the last run.",
    tuple(of(bed, processes) for bed in (SQLITE, RELAXED) for processes in (1, 2, 4)),
)
