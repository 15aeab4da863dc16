"""One run with many steps at once."""

from __future__ import annotations

import statistics
import time
from typing import Final

from benchmarks.beds import BEDS, MEMORY, RELAXED, SQLITE, Bed
from benchmarks.limits import BARE_TASKS, MANY, MANY_RELAXED, TASKS, bare_commits
from benchmarks.passes import Figures, Plan, Ratio, Row, Table
from benchmarks.peers.known import DBOS, LANGGRAPH
from benchmarks.peers.rows import row
from benchmarks.programs import WORKFLOWS, fanout
from durable import Worker, connect

RUNS: Final = 5
RATE: Final = "steps a second"


def of(bed: Bed, width: int) -> Row:
    """Runs one after the other, each from its start to its result."""

    async def measure(plan: Plan) -> Figures:
        wide, taken = plan.count(width, 10), list[float]()
        with bed.lay(plan) as url:
            async with connect(url) as client, Worker(client, workflows=WORKFLOWS):
                for _ in range(RUNS + 1):
                    began = time.perf_counter()
                    handle = await client.start(fanout, wide)
                    assert await handle.result() == wide * (wide - 1) // 2
                    taken.append(time.perf_counter() - began)
        return {RATE: wide / statistics.median(taken[1:])}

    bare = Ratio("{} of bare rows", RATE, MANY_RELAXED if bed is RELAXED else MANY, "rows a second")
    ratio = Ratio("{} of bare tasks", RATE, TASKS, "a second") if bed is MEMORY else bare
    return Row(name(bed, width), measure, (ratio,))


def name(bed: Bed, width: int) -> str:
    """Of the row."""
    return f"{bed.name}, {width:,} wide"


TABLE: Final = Table(
    "fanout",
    "Fan-out",
    f"One run gathers so many trivial steps at once. Steps a second, from the call of `start()` to the result; the "
    f"median of {RUNS} runs.",
    (
        bare_commits(64, "FULL"),
        bare_commits(64, "NORMAL"),
        BARE_TASKS,
        *(of(bed, width) for bed in BEDS for width in (100, 1000)),
        row(DBOS, "100 wide", name(SQLITE, 100), RATE, "fanout", width=100),
        row(DBOS, "1,000 wide", name(SQLITE, 1000), RATE, "fanout", width=1000),
        row(LANGGRAPH, "100 wide", name(SQLITE, 100), RATE, "fanout", width=100),
        row(LANGGRAPH, "1,000 wide", name(SQLITE, 1000), RATE, "fanout", width=1000),
    ),
)
