"""A process is killed in the middle of many runs, and another one comes."""

from __future__ import annotations

from typing import Final

from benchmarks.beds import BEDS, SQLITE, Bed
from benchmarks.hands import Order, hand
from benchmarks.passes import Figures, Plan, Row, Table
from benchmarks.peers.known import DBOS
from benchmarks.peers.rows import AFTER, BEFORE, recovered
from benchmarks.programs import interrupted
from benchmarks.starts import started
from durable import connect

RUNS: Final = 200
FEW: Final = 50


def of(bed: Bed, killed: int = RUNS) -> Row:
    """From the start of the second process to the end of the last run."""

    async def measure(plan: Plan) -> Figures:
        runs = plan.count(killed, 3)
        with bed.lay(plan) as url:
            async with connect(url) as client:
                await started(client, interrupted, runs, BEFORE, AFTER)
                first = Order(url, wanted=runs * (BEFORE + 1), concurrency=runs, halt=True)
                async with hand(first) as victim:
                    await victim.go()
                    await victim.hear("ended")
                    await victim.kill()
                second = Order(url, wanted=runs * (1 + AFTER), completed=runs, concurrency=runs)
                async with hand(second) as heir:
                    await heir.go()
                    done = (await heir.hear("completed"))["completed"]
                    assert await client.count(status="completed") == runs
        return {"s": done - heir.began}

    return Row(name(bed, killed), measure)


def name(bed: Bed, killed: int) -> str:
    """Of the row."""
    return f"{bed.name}, {killed} runs"


TABLE: Final = Table(
    "recover",
    "Recovery",
    "Runs of ten steps, all in their sixth step, when their worker's process gets SIGKILL. Seconds from the start "
    "of a new process, the interpreter's and the imports included, to the end of the last run.",
    (
        *(of(bed) for bed in BEDS if bed.processes),
        of(SQLITE, FEW),
        recovered(DBOS, f"{FEW} runs", name(SQLITE, FEW), FEW),
    ),
)
