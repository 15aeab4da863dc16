"""``python -m benchmarks.quick``: what this machine can do, what the engine does on it, and the ratio of the two.

Steps a second are counted from the first step to the last; runs are created before the clock
starts, so that the starting client is not what is measured. Passes are interleaved, so that a slow minute of the
machine hits all rows alike; medians are told.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import aiosqlite

from durable import Client, Context, Worker, connect, step, workflow

STEPS = 10
PASSES = 5
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
Measure = Callable[[float], Awaitable[float]]


# ── what the machine can do ──────────────────────────────────────────────────────────────────────────────────────────


def _open(path: str) -> sqlite3.Connection:
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("PRAGMA journal_mode = WAL")
    raw.execute("PRAGMA synchronous = FULL")
    raw.execute("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, data BLOB NOT NULL)")
    return raw


def bare_commits(rows: int) -> Measure:
    """Transactions a second of one table, one thread, synchronous=FULL, ``rows`` rows of 100 bytes each."""

    async def measure(seconds: float) -> float:
        with tempfile.TemporaryDirectory() as directory:
            raw = _open(f"{directory}/bare.db")
            data, done, began = b"x" * 100, 0, time.perf_counter()
            while (now := time.perf_counter()) - began < seconds:
                raw.execute("BEGIN IMMEDIATE")
                for _ in range(rows):
                    raw.execute("INSERT INTO t (data) VALUES (?)", (data,))
                raw.execute("COMMIT")
                done += 1
            raw.close()
            return done / (now - began)

    return measure


async def round_trips(seconds: float) -> float:
    """``SELECT 1`` through aiosqlite, one after the other: the price of a hop into a thread and back."""
    async with aiosqlite.connect(":memory:") as database:
        done, began = 0, time.perf_counter()
        while (now := time.perf_counter()) - began < seconds:
            async with database.execute("SELECT 1") as cursor:
                await cursor.fetchone()
            done += 1
        return done / (now - began)


async def bare_tasks(seconds: float) -> float:
    """Tasks that asyncio makes, runs and awaits in a second, 64 at a time."""

    async def nothing() -> None:
        await asyncio.sleep(0)

    done, began = 0, time.perf_counter()
    while (now := time.perf_counter()) - began < seconds:
        await asyncio.gather(*(nothing() for _ in range(64)))
        done += 64
    return done / (now - began)


# ── what the engine does on it ───────────────────────────────────────────────────────────────────────────────────────


class Meter:
    """Notes when the first and the last of so many steps ran."""

    def __init__(self, steps: int) -> None:
        self.left = steps
        self.began = self.ended = 0.0
        self.done = asyncio.Event()

    def tick(self) -> None:
        """One step runs."""
        now = time.perf_counter()
        self.began = self.began or now
        self.left -= 1
        if self.left == 0:
            self.ended = now
            self.done.set()


meters: list[Meter] = []


@step
async def trivial(number: int) -> int:
    meters[-1].tick()
    return number


@workflow
async def ten_steps(ctx: Context) -> int:
    total = 0
    for number in range(STEPS):
        total += await ctx.step(trivial, number)
    return total


def engine(url: Callable[[str], str], flight: int) -> Measure:
    """Steps a second with ``flight`` runs in flight."""

    async def measure(seconds: float) -> float:
        with tempfile.TemporaryDirectory() as directory:
            async with connect(url(directory)) as client:
                await _steps(client, flight, max(flight, 20))  # imports, caches, the file's first pages
                runs, rate = max(flight * 2, 20), 0.0
                while True:
                    taken, rate = await _steps(client, flight, runs)
                    if taken >= seconds * 0.6:
                        return rate
                    runs = int(runs * min(max(seconds / max(taken, 1e-3), 1.5), 20.0))

    return measure


async def _steps(client: Client, flight: int, runs: int) -> tuple[float, float]:
    """(seconds, steps a second) of one batch of runs."""
    for begin in range(0, runs, 500):
        await asyncio.gather(*(client.start(ten_steps) for _ in range(begin, min(begin + 500, runs))))
    meter = Meter(runs * STEPS)
    meters[:] = [meter]
    async with Worker(client, workflows=[ten_steps], concurrency=flight):
        await meter.done.wait()
    taken = meter.ended - meter.began
    return taken, runs * STEPS / taken


STORES: dict[str, Callable[[str], str]] = {
    "memory": lambda directory: "memory://",
    "SQLite, full": lambda directory: f"sqlite:///{directory}/bench.db",
    "SQLite, relaxed": lambda directory: f"sqlite:///{directory}/bench.db?durability=relaxed",
}

ROWS: dict[str, Measure] = {
    "bare SQLite, commits of 1 row": bare_commits(1),
    "bare SQLite, commits of 64 rows": bare_commits(64),
    "aiosqlite, round trips": round_trips,
    "asyncio, tasks": bare_tasks,
    **{f"{name}, {flight} in flight": engine(url, flight) for name, url in STORES.items() for flight in (1, 64)},
}


@dataclass(frozen=True)
class Ratio:
    """One of our rates over one of the machine's."""

    name: str
    ours: str
    bare: str
    rows: int = 1


RATIOS = (
    Ratio("steps at 1 in flight / bare commits of 1 row", "SQLite, full, 1 in flight", "bare SQLite, commits of 1 row"),
    Ratio(
        "steps at 64 in flight / bare rows in commits of 64",
        "SQLite, full, 64 in flight",
        "bare SQLite, commits of 64 rows",
        64,
    ),
    Ratio("memory, steps at 64 in flight / bare tasks", "memory, 64 in flight", "asyncio, tasks"),
)


# ── telling it ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def run(seconds: float, say: Callable[[str], None]) -> dict[str, list[float]]:
    """Rates by row, one for each pass."""
    rates: dict[str, list[float]] = {name: [] for name in ROWS}
    for number in range(1, PASSES + 1):
        for name, measure in ROWS.items():
            say(f"pass {number} of {PASSES}: {name}")
            rates[name].append(await measure(seconds))
    return rates


def machine() -> str:
    """One line about where this was measured."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        name = names[0] if names else name
    return (
        f"{os.cpu_count()} cores ({name}), {platform.system()}, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, load {os.getloadavg()[0]:.1f} at the end"
    )


def table(rates: dict[str, list[float]]) -> list[str]:
    """Lines of a Markdown table: median, slowest and fastest pass."""
    lines = ["| | per second | slowest pass | fastest pass |", "|---|---:|---:|---:|"]
    for name, values in rates.items():
        lines.append(f"| {name} | {statistics.median(values):,.0f} | {min(values):,.0f} | {max(values):,.0f} |")
    return lines


def ratios(rates: dict[str, list[float]]) -> dict[str, float]:
    """Medians of the passes' own ratios, for each pass has its own weather."""
    return {
        ratio.name: statistics.median(
            ours / (bare * ratio.rows) for ours, bare in zip(rates[ratio.ours], rates[ratio.bare], strict=True)
        )
        for ratio in RATIOS
    }


def page(rates: dict[str, list[float]], seconds: float) -> str:
    """``docs/performance.md``."""
    lines = [
        "# Performance",
        "",
        "<!-- Written by `python -m benchmarks.quick --write`; edit benchmarks/quick.py instead. -->",
        "",
        "Figures of one machine, measured in one sitting: not promises, but proportions. Measure your own with",
        "",
        "```console",
        "$ python -m benchmarks.quick",
        "```",
        "",
        f"Machine: {machine()}. Medians of {PASSES} interleaved passes of about {seconds:g} s each.",
        "",
        f"The workflow calls {STEPS} trivial async steps, one after the other. Each outcome is committed before the",
        "workflow sees it. *In flight* is the number of runs that one worker has in its hands at once; the engine rows",
        "are steps, the bare rows are transactions, round trips and tasks.",
        "",
        *table(rates),
        "",
        "| Ratio | |",
        "|---|---:|",
        *(f"| {name} | {value:.2f} |" for name, value in ratios(rates).items()),
        "",
        "## How to read it",
        "",
        "- **At 1 in flight** a step costs a transaction, so the disk decides: `synchronous=FULL` waits for it. The",
        "  first ratio says how much of the bare rate is left when a fenced update and a journal entry are written",
        "  instead of one row, by way of a thread, and the workflow code runs between two commits.",
        "- **At 64 in flight** transactions are shared: while one is under way, the outcomes of all other runs queue",
        "  for the next. Now it is the processor that decides, and Python's share of it.",
        "- **Relaxed** (`?durability=relaxed`) survives a crash of the process, but may lose the last commits to a",
        "  power cut.",
        "- **Memory** is the engine without a disk: what is left is the price of determinism, encoding and asyncio.",
        "- A step that takes 50 ms of real work costs 50 ms, and less than one for the engine. Real steps wait for",
        "  networks; `concurrency=` decides how many runs do so at once in one worker, and several workers may share",
        "  one file.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quick", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement (default 1)")
    parser.add_argument("--json", action="store_true", help="print rates and ratios as JSON")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    parser.add_argument("--only", default="", help="only rows whose name has this text (no ratios)")
    given = parser.parse_args()
    for name in [name for name in ROWS if given.only not in name]:
        del ROWS[name]
    rates = asyncio.run(run(given.seconds, lambda text: print(text, file=sys.stderr, flush=True)))
    whole = not given.only
    if given.json:
        print(json.dumps({"machine": machine(), "rates": rates, "ratios": ratios(rates) if whole else {}}, indent=2))
    else:
        print(machine(), *table(rates), sep="\n")
        for name, value in ratios(rates).items() if whole else ():
            print(f"{name}: {value:.2f}")
    if given.write:
        PAGE.write_text(page(rates, given.seconds))


if __name__ == "__main__":
    main()
