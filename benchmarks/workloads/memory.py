"""What waiting runs take of a worker's memory."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from benchmarks.beds import SQLITE, Bed
from benchmarks.hands import Order, hand
from benchmarks.passes import Figures, Plan, Row, Table
from benchmarks.programs import parked
from benchmarks.starts import numbered, waiting
from durable import connect

CACHED: Final = 2_000
RUNS: Final = 10_000
MB: Final = 1e6
ALL: Final = "MB, all waiting"
EACH: Final = "bytes a run beyond the cache"


def of(bed: Bed) -> Row:
    """The runs are started by another process than the worker's, whose memory is looked at."""

    async def measure(plan: Plan) -> Figures:
        cached, runs = plan.count(CACHED, 3), plan.count(RUNS, 10)
        with bed.lay(plan) as url:
            async with connect(url) as client, hand(Order(url)) as worker:
                await worker.go()
                await numbered(client, parked, 1)
                await waiting(client, 1)
                empty = resident(worker.pid)
                await numbered(client, parked, cached - 1)
                await waiting(client, cached)
                full = resident(worker.pid)
                await numbered(client, parked, runs - cached)
                await waiting(client, runs)
                all_of_them = resident(worker.pid)
        return {
            "MB, empty worker": empty / MB,
            "MB, cache full": full / MB,
            ALL: all_of_them / MB,
            EACH: (all_of_them - full) / (runs - cached),
        }

    return Row(bed.name, measure, passes=3)


def resident(process: int) -> int:
    """Bytes of memory that a process has on the machine."""
    status = Path(f"/proc/{process}/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024
    told = subprocess.run(["ps", "-o", "rss=", "-p", str(process)], capture_output=True, text=True, check=True)
    return int(told.stdout) * 1024


TABLE: Final = Table(
    "memory",
    "Memory",
    f"Resident memory of a worker's process while {RUNS:,} runs wait for a signal; its cache holds 1,000 of them, the "
    f"default. *Cache full* is with {CACHED:,} runs.",
    (of(SQLITE),),
)
