"""What the machine can do: bare SQLite, the disk, a hop into a thread and back, asyncio's tasks."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import time
from typing import Final, Literal

import aiosqlite

from benchmarks.beds import directory
from benchmarks.passes import Figures, Plan, Row, Table

Synchronous = Literal["FULL", "NORMAL"]
DATA: Final = b"x" * 100
ONE: Final = "bare SQLite, commits of 1 row"
MANY: Final = "bare SQLite, commits of 64 rows"
ONE_RELAXED: Final = "bare SQLite relaxed, commits of 1 row"
MANY_RELAXED: Final = "bare SQLite relaxed, commits of 64 rows"
TASKS: Final = "bare asyncio, tasks"


def bare_commits(rows: int, synchronous: Synchronous) -> Row:
    """Transactions of one table in WAL mode, one thread, ``rows`` rows of 100 bytes each."""

    async def measure(plan: Plan) -> Figures:
        with directory(plan) as folder:
            raw = sqlite3.connect(f"{folder}/bare.db", isolation_level=None)
            raw.execute("PRAGMA journal_mode = WAL")
            raw.execute(f"PRAGMA synchronous = {synchronous}")
            raw.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, data BLOB NOT NULL)")
            done, began = 0, time.perf_counter()
            while (now := time.perf_counter()) - began < plan.seconds:
                raw.execute("BEGIN IMMEDIATE")
                for _ in range(rows):
                    raw.execute("INSERT INTO t (data) VALUES (?)", (DATA,))
                raw.execute("COMMIT")
                done += 1
            raw.close()
        return {"commits a second": done / (now - began), "rows a second": done * rows / (now - began)}

    names = {(1, "FULL"): ONE, (64, "FULL"): MANY, (1, "NORMAL"): ONE_RELAXED, (64, "NORMAL"): MANY_RELAXED}
    return Row(names[rows, synchronous], measure, bare=True)


async def fsyncs(plan: Plan) -> Figures:
    """100 bytes appended to a file and forced onto the disk, one after the other."""
    with directory(plan) as folder, open(folder / "file", "wb", buffering=0) as file:
        done, began = 0, time.perf_counter()
        while (now := time.perf_counter()) - began < plan.seconds:
            file.write(DATA)
            os.fsync(file.fileno())
            done += 1
    return {"a second": done / (now - began)}


async def round_trips(plan: Plan) -> Figures:
    """``SELECT 1`` through aiosqlite, one after the other: the price of a hop into a thread and back."""
    async with aiosqlite.connect(":memory:") as database:
        done, began = 0, time.perf_counter()
        while (now := time.perf_counter()) - began < plan.seconds:
            async with database.execute("SELECT 1") as cursor:
                await cursor.fetchone()
            done += 1
    return {"a second": done / (now - began)}


async def tasks(plan: Plan) -> Figures:
    """Tasks that asyncio makes, runs and awaits, 64 at a time."""

    async def nothing() -> None:
        await asyncio.sleep(0)

    done, began = 0, time.perf_counter()
    while (now := time.perf_counter()) - began < plan.seconds:
        await asyncio.gather(*(nothing() for _ in range(64)))
        done += 64
    return {"a second": done / (now - began)}


async def interpreter(plan: Plan) -> Figures:
    """Python, started for nothing: milliseconds until it has ended."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "pass")
    await process.wait()
    return {"ms": (time.perf_counter() - began) * 1000}


BARE_TASKS: Final = Row(TASKS, tasks, bare=True)
MACHINE: Final = Table(
    "machine",
    "The machine",
    "Commits are transactions of one table in WAL mode by one thread, rows of 100 bytes; *relaxed* is "
    "`synchronous=NORMAL`. The rows in question are measured anew in each table that compares with them.",
    (
        bare_commits(1, "FULL"),
        bare_commits(64, "FULL"),
        bare_commits(1, "NORMAL"),
        bare_commits(64, "NORMAL"),
        Row("fsyncs of 100 bytes", fsyncs, bare=True),
        Row("aiosqlite, round trips", round_trips, bare=True),
        BARE_TASKS,
    ),
)
