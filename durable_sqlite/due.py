"""The claim index: which lanes have what due, and the due runs in the order in which they are claimed."""

from __future__ import annotations

import heapq
import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from durable.store import RunId

__all__ = ["DueRun", "Head", "due_runs", "heads"]

AGED_SECONDS: Final = 60.0
_CHUNK: Final = 64

# One step of the index per (lane, priority) that has anything, however much lies behind each.
HEADS: Final = (
    "WITH RECURSIVE heads (lane, priority) AS ("
    "SELECT value, (SELECT priority FROM runs INDEXED BY runs_due WHERE lane = value AND due_at IS NOT NULL "
    "ORDER BY priority DESC LIMIT 1) FROM json_each(?) "
    "UNION ALL SELECT heads.lane, (SELECT r.priority FROM runs r INDEXED BY runs_due WHERE r.lane = heads.lane "
    "AND r.due_at IS NOT NULL AND r.priority < heads.priority ORDER BY r.priority DESC LIMIT 1) "
    "FROM heads WHERE heads.priority IS NOT NULL) "
    "SELECT lane, priority, (SELECT r.due_at FROM runs r INDEXED BY runs_due WHERE r.lane = heads.lane "
    "AND r.priority = heads.priority AND r.due_at IS NOT NULL ORDER BY r.due_at LIMIT 1) "
    "FROM heads WHERE priority IS NOT NULL"
)
DUE: Final = (
    "SELECT due_at, key, id, epoch, strikes, ended_at IS NOT NULL, lane, version FROM runs INDEXED BY runs_due "
    "WHERE lane = ? AND priority = ? AND due_at IS NOT NULL AND due_at <= ? AND (due_at, key) > (?, ?) "
    "ORDER BY due_at, key LIMIT ?"
)


@dataclass(frozen=True, slots=True)
class Head:
    """The earliest due time of one lane and priority."""

    lane: str
    priority: int
    due_at: float


@dataclass(frozen=True, slots=True)
class DueRun:
    """A run that may be claimed."""

    due_at: float
    key: int
    id: RunId
    epoch: int
    strikes: int
    ended: bool
    lane: str
    version: str | None


def heads(raw: sqlite3.Connection, lanes: Iterable[str]) -> list[Head]:
    """One head per lane and priority that has anything due, now or later."""
    rows = raw.execute(HEADS, (json.dumps(list(lanes)),))
    return [Head(lane, priority, due_at) for lane, priority, due_at in rows]


def due_runs(raw: sqlite3.Connection, found: Iterable[Head], now: float) -> Iterator[DueRun]:
    """Due runs in claim order: aged ones, then by priority, then by due time, then the older.

    Runs that the caller claims meanwhile leave the index behind the place where this reads on.
    """

    def ranked(head: Head) -> Iterator[tuple[tuple[bool, int, float, int], DueRun]]:
        for run in _lane_runs(raw, head, now):
            yield (run.due_at >= now - AGED_SECONDS, -head.priority, run.due_at, run.key), run

    streams = [ranked(head) for head in found if head.due_at <= now]
    for _, run in heapq.merge(*streams, key=lambda pair: pair[0]):
        yield run


def _lane_runs(raw: sqlite3.Connection, head: Head, now: float) -> Iterator[DueRun]:
    after: tuple[float, int] = (float("-inf"), -1)
    while True:
        rows = raw.execute(DUE, (head.lane, head.priority, now, *after, _CHUNK)).fetchall()
        for due_at, key, id, epoch, strikes, ended, lane, version in rows:
            yield DueRun(due_at, key, id, epoch, strikes, bool(ended), lane, version)
            after = (due_at, key)
        if len(rows) < _CHUNK:
            return
