"""What can be read of single runs from outside."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from durable.store import (
    ENDED,
    InboxMessage,
    JournalPage,
    JournalRow,
    RunId,
    RunRecord,
    StreamPage,
)
from durable_sqlite import inbox
from durable_sqlite.rows import RECORD_COLUMNS, read_record

__all__ = ["get", "input_of", "journal", "messages", "outcome", "parts", "stream", "values"]

_GET: Final = " ".join(("SELECT", RECORD_COLUMNS, "FROM runs r JOIN details d ON d.run = r.key WHERE r.id = ?"))


def get(raw: sqlite3.Connection, runs: Sequence[RunId]) -> list[RunRecord | None]:
    rows = [raw.execute(_GET, (run,)).fetchone() for run in runs]
    return [None if row is None else read_record(raw, row) for row in rows]


def input_of(raw: sqlite3.Connection, run: RunId) -> bytes | None:
    row = raw.execute("SELECT i.input FROM runs r JOIN inputs i ON i.run = r.key WHERE r.id = ?", (run,)).fetchone()
    return None if row is None else row[0]


def outcome(raw: sqlite3.Connection, run: RunId) -> bytes | None:
    row = raw.execute("SELECT o.outcome FROM runs r JOIN outcomes o ON o.run = r.key WHERE r.id = ?", (run,)).fetchone()
    return None if row is None else row[0]


def _key(raw: sqlite3.Connection, run: RunId) -> int | None:
    row = raw.execute("SELECT key FROM runs WHERE id = ?", (run,)).fetchone()
    return None if row is None else int(row[0])


def journal(raw: sqlite3.Connection, run: RunId, generation: int, start: int, limit: int) -> JournalPage:
    rows = raw.execute(
        "SELECT j.position, j.at, j.data FROM runs r JOIN journal j ON j.run = r.key "
        "WHERE r.id = ? AND j.generation = ? AND j.position >= ? ORDER BY j.position LIMIT ?",
        (run, generation, start, limit + 1),
    ).fetchall()
    found = tuple([JournalRow(position, at, data) for position, at, data in rows[:limit]])
    for n, row in enumerate(found):
        assert row.position == start + n  # I1: no holes
    return JournalPage(found, start + limit if len(rows) > limit else None)


def messages(raw: sqlite3.Connection, run: RunId, after: int, limit: int, unread_only: bool) -> list[InboxMessage]:
    key = _key(raw, run)
    if key is None:
        return []
    return (inbox.unread if unread_only else inbox.read_all)(raw, run, key, after, limit)


def values(raw: sqlite3.Connection, run: RunId) -> dict[str, bytes]:
    rows = raw.execute("SELECT v.key, v.value FROM runs r JOIN run_values v ON v.run = r.key WHERE r.id = ?", (run,))
    return dict(rows.fetchall())


def stream(raw: sqlite3.Connection, run: RunId, name: str, start: int, limit: int) -> StreamPage:
    row = raw.execute("SELECT key, status FROM runs WHERE id = ?", (run,)).fetchone()
    if row is None:
        return StreamPage((), start, False)
    key, status = row
    rows = raw.execute(
        "SELECT item FROM streams WHERE run = ? AND stream = ? AND place >= ? ORDER BY place LIMIT ?",
        (key, name, start, limit + 1),
    ).fetchall()
    items = tuple([item for (item,) in rows[:limit]])
    return StreamPage(items, start + len(items), status in ENDED and len(rows) <= limit)


def parts(raw: sqlite3.Connection, run: RunId, hashes: Sequence[str]) -> dict[str, bytes]:
    key = _key(raw, run)
    if key is None:
        return {}
    rows = [
        (hash, raw.execute("SELECT data FROM parts WHERE run = ? AND hash = ?", (key, hash)).fetchone())
        for hash in hashes
    ]
    return {hash: row[0] for hash, row in rows if row is not None}
