"""The shortest run: one step, and how long its starter waits for the result."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Final

from benchmarks.beds import BEDS, CONVEX, RELAXED, SQLITE, Bed
from benchmarks.limits import ONE, ONE_RELAXED, bare_commits
from benchmarks.passes import Figures, Plan, Ratio, Row, Table, percentile
from benchmarks.peers.known import DBOS, LANGGRAPH
from benchmarks.peers.rows import row
from benchmarks.programs import WORKFLOWS, hello
from durable import Worker, connect

RUNS: Final = 200
WARM: Final = 10
WHOLE: Final = "ms from start() to result"
FROM_STARTED: Final = "ms from started to result"


def of(bed: Bed) -> Row:
    """Runs of one step, one after the other, of one worker in the starter's process."""

    async def measure(plan: Plan) -> Figures:
        whole, since_started = list[float](), list[float]()
        with bed.lay(plan) as url:
            async with connect(url) as client, Worker(client, workflows=WORKFLOWS):
                for _ in range(plan.count(RUNS // 10 if bed is CONVEX else RUNS, 3) + WARM):
                    began = time.perf_counter()
                    handle = await client.start(hello)
                    started = time.perf_counter()
                    assert await handle.result() == 1
                    ended = time.perf_counter()
                    whole.append((ended - began) * 1000)
                    since_started.append((ended - started) * 1000)
                    await asyncio.sleep(0.001)  # what the end of a run leaves to be done is not the next one's
        whole, since_started = whole[WARM:], since_started[WARM:]  # imports, caches, the file's first pages
        return {
            FROM_STARTED: statistics.median(since_started),
            WHOLE: statistics.median(whole),
            "ms, p99": percentile(whole, 0.99),
        }

    bare = ONE_RELAXED if bed is RELAXED else ONE
    commits = Ratio("{} bare commits", FROM_STARTED, bare, "commits a second", 0.001, times=True)
    return Row(bed.name, measure, (commits,) if bed in (SQLITE, RELAXED) else (), extra=bed.extra)


TABLE: Final = Table(
    "hello",
    "Hello",
    "A run of one trivial step; runs one after the other, started and awaited in the worker's process. Medians; "
    "*started* is when `start()` returns, and the run is durable.",
    (
        bare_commits(1, "FULL"),
        bare_commits(1, "NORMAL"),
        *(of(bed) for bed in (*BEDS, CONVEX)),
        row(DBOS, "", SQLITE.name, FROM_STARTED, "hello", runs=30),
        row(LANGGRAPH, "", SQLITE.name, WHOLE, "hello", runs=30),
    ),
)
