"""Ten steps, one after the other, in one run or many."""

from __future__ import annotations

from typing import Final

from benchmarks.beds import BEDS, CONVEX, MEMORY, RELAXED, SQLITE, Bed
from benchmarks.limits import BARE_TASKS, MANY, MANY_RELAXED, ONE, ONE_RELAXED, TASKS, bare_commits
from benchmarks.passes import Figures, Plan, Ratio, Row, Table
from benchmarks.peers.known import DBOS, LANGGRAPH
from benchmarks.peers.rows import row
from benchmarks.programs import STEPS, WORKFLOWS, Meter, chain, meters
from benchmarks.starts import started
from durable import Client, Worker, connect

RATE: Final = "steps a second"


def of(bed: Bed, flight: int) -> Row:
    """Steps a second with ``flight`` runs in the hands of one worker."""

    async def measure(plan: Plan) -> Figures:
        with bed.lay(plan) as url:
            async with connect(url) as client:
                warm = await rate(client, flight, plan.count(max(flight, 40)))
                runs = max(flight * 4, round(warm * plan.seconds / STEPS))
                return {RATE: await rate(client, flight, plan.count(runs))}

    return Row(name(bed, flight), measure, _ratios(bed, flight), extra=bed.extra)


def name(bed: Bed, flight: int) -> str:
    """Of the row."""
    return f"{bed.name}, {flight} in flight"


async def rate(client: Client, flight: int, runs: int) -> float:
    """Of runs that were there before the worker."""
    await started(client, chain, runs, STEPS)
    meter = meters[-1] = Meter(runs * STEPS)
    async with Worker(client, workflows=WORKFLOWS, concurrency=flight):
        await meter.done.wait()
    return meter.rate


def _ratios(bed: Bed, flight: int) -> tuple[Ratio, ...]:
    return () if bed is CONVEX else (_ratio(bed, flight),)


def _ratio(bed: Bed, flight: int) -> Ratio:
    if bed is MEMORY:
        return Ratio("{} of bare tasks", RATE, TASKS, "a second")
    if flight == 1:
        return Ratio("{} of bare commits", RATE, ONE_RELAXED if bed is RELAXED else ONE, "commits a second")
    return Ratio("{} of bare rows", RATE, MANY_RELAXED if bed is RELAXED else MANY, "rows a second")


TABLE: Final = Table(
    "chain",
    "Chains",
    "Runs of ten trivial async steps, one after the other; each outcome is committed before the workflow sees it. *In "
    "flight* is the number of runs that one worker has in its hands at once. Steps a second from the first to the "
    "last; the runs were started before.",
    (
        *(bare_commits(rows, mode) for rows in (1, 64) for mode in ("FULL", "NORMAL")),
        BARE_TASKS,
        *(of(bed, flight) for bed in BEDS for flight in (1, 64, 512)),
        of(CONVEX, 64),
        row(DBOS, "1 in flight", name(SQLITE, 1), RATE, "chain", runs=30, flight=1),
        row(DBOS, "64 in flight", name(SQLITE, 64), RATE, "chain", runs=64, flight=64),
        row(LANGGRAPH, "1 in flight", name(SQLITE, 1), RATE, "chain", runs=30, flight=1),
        row(LANGGRAPH, "64 in flight", name(SQLITE, 64), RATE, "chain", runs=64, flight=64),
    ),
)
