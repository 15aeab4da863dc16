"""How late sleepers wake."""

from __future__ import annotations

import statistics
from typing import Final

from benchmarks.beds import BEDS, SQLITE, Bed
from benchmarks.passes import Figures, Plan, Row, Table, percentile
from benchmarks.peers.known import DBOS
from benchmarks.peers.rows import row
from benchmarks.programs import WORKFLOWS, Meter, lateness, meters, sleeper
from benchmarks.starts import started
from durable import Worker, connect

RUNS: Final = 1000
SECONDS: Final = 1.0
P50: Final = "ms late, p50"
P99: Final = "ms late, p99"
EARLY: Final = "early"


def of(bed: Bed) -> Row:
    """Runs that sleep once."""

    async def measure(plan: Plan) -> Figures:
        runs = plan.count(RUNS, 3)
        with bed.lay(plan) as url:
            async with connect(url) as client, Worker(client, workflows=WORKFLOWS):
                await (await client.start(sleeper, 0.01)).result()
                lateness.clear()
                meter = meters[-1] = Meter(runs)
                await started(client, sleeper, runs, SECONDS if plan.scale >= 1 else 0.1)
                await meter.done.wait()
        late = [seconds * 1000 for seconds in lateness]
        return {
            P50: statistics.median(late),
            P99: percentile(late, 0.99),
            "ms late, worst": max(late),
            "ms late, best": min(late),
            EARLY: sum(one < 0 for one in late),
        }

    return Row(bed.name, measure)


TABLE: Final = Table(
    "timers",
    "Timers",
    f"{RUNS:,} runs sleep for {SECONDS:g} s each. Late is the first line of the step behind the sleep, by the clock of "
    "the store against the deadline.",
    (*(of(bed) for bed in BEDS), row(DBOS, "100 timers", SQLITE.name, P50, "timers", timers=100, milliseconds=1000)),
)
