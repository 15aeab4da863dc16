"""The storm itself: bad weather for so many seconds, then quiet, then the evidence."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final, final

from durable import Client, connect
from durable.errors import DurableError, StoreError
from durable.store import RunId, RunStatus
from tests.storm.client import Acks
from tests.storm.crew import Crew
from tests.storm.evidence import Evidence, read_epochs, read_ledger, read_runs, reference

__all__ = ["Plan", "Told", "storm"]

_EXIT_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How bad it gets. Pairs are the ends of uniform draws, in seconds.

    Attributes:
        runs: Kept open at once; when one ends, the client starts another.
        quiet_seconds: How long everything may take to come to its end afterwards. A run that workers have died of is
            tried again with pauses of up to a minute.
    """

    seconds: float
    runs: int = 200
    seed: int = 1
    lease: float = 1.5
    kill: tuple[float, float] = (0.02, 0.4)
    stall_every: float = 3.0
    stall: float = 2.0
    lock_every: float = 5.0
    lock: tuple[float, float] = (0.1, 2.0)
    client_every: float = 4.0
    quiet_seconds: float = 180.0


@final
@dataclass(slots=True)
class Told:
    """What the storm was like, for people."""

    crew: Crew
    evidence: Evidence
    resumed: int
    quiet_took: float
    drain_took: float

    def __str__(self) -> str:
        begins = [(line.run, line.call, line.attempt) for line in self.evidence.ledger if line.phase == "begin"]
        return (
            f"{len(self.evidence.runs)} runs, {self.crew.kills} kills, {len(self.crew.stalls)} stalls, "
            f"{self.crew.holds} locks, {self.crew.client_kills} client kills; "
            f"{len(begins)} begins of {len(set(begins))} attempts; {self.resumed} resumed; "
            f"log at most {self.evidence.wal_bytes / 2**20:.1f} MiB; quiet after {self.quiet_took:.1f} s, "
            f"drained in {self.drain_took:.1f} s"
        )


@dataclass(slots=True)
class _Watch:
    """What is seen on the way."""

    wal_bytes: int = 0
    resumed: int = 0
    odd: list[str] = field(default_factory=list)


async def storm(folder: Path, plan: Plan) -> Told:
    """Have it, and see what is left."""
    crew = Crew(folder, plan.lease, plan.runs)
    watch = _Watch()
    async with connect(crew.url) as client:
        crew.start()
        try:
            await _bad_weather(crew, client, plan, watch)
            began = time.monotonic()
            async with _beside(_gauge(crew, watch), _operate(client, watch)):
                (folder / "enough").touch()
                await crew.client_ends(plan.quiet_seconds)
                await _come_to_rest(client, plan.quiet_seconds, watch)
            quiet_took = time.monotonic() - began
            await _all_at_work(client, crew)
            drain_took = await crew.drain(_EXIT_SECONDS)
        finally:
            crew.end()
        evidence = await _gather(crew, client, plan, watch)
    evidence.said += _closed_file(crew)
    return Told(crew, evidence, watch.resumed, quiet_took, drain_took)


async def _bad_weather(crew: Crew, client: Client, plan: Plan, watch: _Watch) -> None:
    dice = Random(plan.seed)

    async def kills() -> None:
        while True:
            await asyncio.sleep(dice.uniform(*plan.kill))
            crew.kill_worker(dice)

    async def stalls() -> None:
        while True:
            await asyncio.sleep(max(plan.stall_every - plan.stall, 0.1))
            await crew.stall_worker(dice, plan.stall)

    async def locks() -> None:
        while True:
            seconds = dice.uniform(*plan.lock)
            await asyncio.sleep(plan.lock_every - seconds)
            await crew.hold_lock(seconds)

    async def clients() -> None:
        while True:
            await asyncio.sleep(plan.client_every * dice.uniform(0.5, 1.5))
            crew.kill_client()

    async with _beside(kills(), stalls(), locks(), clients(), _gauge(crew, watch), _operate(client, watch)):
        await asyncio.sleep(plan.seconds)


@contextlib.asynccontextmanager
async def _beside(*works: object) -> AsyncIterator[None]:
    """Run these while the block runs; one that fails fails the block."""
    tasks = [asyncio.ensure_future(work) for work in works]  # type: ignore[call-overload]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended


async def _gauge(crew: Crew, watch: _Watch) -> None:
    """How large the log gets."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            watch.wal_bytes = max(watch.wal_bytes, os.stat(f"{crew.database}-wal").st_size)
        await asyncio.sleep(0.05)


async def _operate(client: Client, watch: _Watch) -> None:
    """A run that worker after worker has died of is blocked, and a person resumes it; nothing else may be blocked."""
    while True:
        await asyncio.sleep(1.0)
        try:
            for run in await client.list(status=["blocked"], limit=1000):
                (record,) = await client.store.get([RunId(run.id)])
                if record is None or record.status is not RunStatus.BLOCKED:
                    continue
                if record.blocked_kind != "crash_budget":
                    watch.odd.append(f"{run.id} is blocked: {record.blocked}")
                await client.handle(run.id).resume()
                watch.resumed += 1
        except StoreError:
            continue  # the lock is held: later


async def _come_to_rest(client: Client, seconds: float, watch: _Watch) -> None:
    """Until every run has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if await client.count() == await client.count(status=["completed", "failed", "cancelled"]):
            return
        await asyncio.sleep(0.1)
    for run in await client.list(status=["pending", "running", "waiting", "blocked", "paused"], limit=5):
        with contextlib.suppress(DurableError):
            watch.odd.append(f"{run.id} does not end: {await client.handle(run.id).explain()}")


async def _all_at_work(client: Client, crew: Crew) -> None:
    """Until the youngest worker has registered: before that, a SIGTERM ends it as it ends any process."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        alive = {int(session.name.rpartition("/")[2]) for session in await client.store.sessions() if session.alive}
        if crew.workers <= alive:
            return
        await asyncio.sleep(0.05)


async def _gather(crew: Crew, client: Client, plan: Plan, watch: _Watch) -> Evidence:
    acks = Acks(crew.folder / "acks")
    expected = await reference(sorted(acks.started))
    runs = await read_runs(client, read_epochs(crew.database), expected)
    ledger = read_ledger(crew.folder / "ledger")
    evidence = Evidence(runs, expected, ledger, acks, crew.stalls, plan.lease, watch.wal_bytes)
    evidence.said += watch.odd + crew.deaths
    evidence.said += [f"process {pid} was left behind" for pid in crew.orphans()]
    evidence.said += [f"store.check(): {line}" for line in await client.store.check()]
    if await client.count() != len(expected):
        evidence.said.append(f"{await client.count()} runs in the store, {len(expected)} acknowledged")
    for log in ("workers.log", "client.log", "holder.log"):
        for line in (
            (crew.folder / log).read_text(errors="replace").splitlines() if (crew.folder / log).exists() else ()
        ):
            if line.startswith("Traceback") or " CRITICAL " in line:
                evidence.said.append(f"{log}: {line}")
    return evidence


def _closed_file(crew: Crew) -> list[str]:
    """After the last close: a whole file, and nothing beside it."""
    raw = sqlite3.connect(crew.database)
    try:
        said = [f"integrity_check: {line}" for (line,) in raw.execute("PRAGMA integrity_check") if line != "ok"]
    finally:
        raw.close()
    left = [path.name for path in crew.folder.iterdir() if path.name.startswith("storm.db-") and path.is_file()]
    return said + [f"{name} was left behind" for name in left]
