"""What is known when the storm is over: store, ledger, the client's notes, and the same runs without faults."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from durable import Client, Worker, connect
from durable.errors import DurableError, RunNotFound
from tests.storm.app import SIGNALS, journey, news
from tests.storm.client import Acks, run_id
from tests.storm.crew import Stall

__all__ = ["Entry", "Evidence", "Line", "Run", "read_epochs", "read_ledger", "read_runs", "reference"]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the ledger. ``call`` is the idempotency key without run and generation."""

    at: float
    pid: int
    epoch: int
    run: str
    call: str
    attempt: int
    phase: str


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a journal."""

    at: float
    epoch: int
    event: str
    call: str
    attempt: int
    value: Any


@dataclass(frozen=True, slots=True)
class Run:
    """A run as the store has it; ``result`` is what it returned, or why it did not."""

    id: str
    state: str
    result: Any
    journal: tuple[Entry, ...]


@dataclass(slots=True)
class Evidence:
    """All of it.

    Attributes:
        expected: The same runs without faults, on the memory store.
        wal_bytes: The largest write-ahead log that was seen.
        said: What the store's own checks found.
    """

    runs: dict[str, Run]
    expected: dict[str, Run]
    ledger: list[Line]
    acks: Acks
    stalls: list[Stall]
    lease: float
    wal_bytes: int = 0
    said: list[str] = field(default_factory=list)


def read_ledger(path: Path) -> list[Line]:
    """All lines, in the order in which they were written."""
    lines = []
    for text in path.read_text().splitlines():
        at, pid, epoch, key, attempt, phase = text.split(" ")
        run, _, call = key.split("/", 2)
        lines.append(Line(float(at), int(pid), int(epoch), run, call, int(attempt), phase))
    return lines


async def read_runs(client: Client, epochs: dict[tuple[str, int], int], ids: Iterable[str]) -> dict[str, Run]:
    """The runs with their journals, through the public face."""
    return {id: await _read(client, id, epochs) for id in ids}


async def _read(client: Client, id: str, epochs: dict[tuple[str, int], int]) -> Run:
    handle = client.handle(id)
    try:
        state = (await handle.status()).state
    except RunNotFound:
        return Run(id, "missing", None, ())
    result: Any = "not ended"
    if state in ("completed", "failed", "cancelled"):
        try:
            result = await handle.result(timeout=30)
        except DurableError as error:
            result = f"{type(error).__name__}: {error}"
    journal = tuple(
        Entry(row.at.timestamp(), epochs.get((id, row.position), 0), row.event, row.call, row.attempt, row.value)
        for row in await handle.history()
    )
    return Run(id, state, result, journal)


def read_epochs(path: Path) -> dict[tuple[str, int], int]:
    """(run, position) → the epoch under which the entry was written."""
    raw = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        rows = raw.execute("SELECT r.id, j.position, j.epoch FROM journal j JOIN runs r ON r.key = j.run")
        return {(run, position): epoch for run, position, epoch in rows}
    finally:
        raw.close()


async def reference(numbers: Iterable[int]) -> dict[str, Run]:
    """The same runs with the same signals, where nothing goes wrong."""
    async with connect("memory://") as client, Worker(client, workflows=[journey]):
        ids = {number: run_id(number) for number in numbers}
        for number, id in ids.items():
            await client.start(journey, number, id=id)
            for n in range(SIGNALS):
                await client.signal(id, news, n, id=f"news-{n}")
        await asyncio.gather(*(client.handle(id).result(timeout=600) for id in ids.values()))
        return await read_runs(client, {}, ids.values())
