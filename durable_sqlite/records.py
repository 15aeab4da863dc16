"""The key-value side table: versioned, expiring, put-if."""

from __future__ import annotations

import sqlite3
from typing import Final

from durable.store import RecordRow

_SWEEP_SECONDS: Final = 3_600.0  # the clock may be set back a little, and what was not expired then is wanted again
_SWEEP: Final = (
    "DELETE FROM records WHERE (kind, key) IN (SELECT kind, key FROM records WHERE expires_at <= ? LIMIT 10)"
)

__all__ = ["delete", "get", "list_after", "put"]


def get(raw: sqlite3.Connection, kind: str, key: str, now: float) -> RecordRow | None:
    row = raw.execute(
        "SELECT value, version, updated_at, expires_at FROM records "
        "WHERE kind = ? AND key = ? AND (expires_at IS NULL OR expires_at > ?)",
        (kind, key, now),
    ).fetchone()
    return None if row is None else RecordRow(kind, key, *row)


def put(
    raw: sqlite3.Connection,
    kind: str,
    key: str,
    value: bytes,
    expect: int | None,
    keep_seconds: float | None,
    now: float,
) -> RecordRow | None:
    """Put it if the version is the expected one; a few long expired records of anybody go at the same time."""
    row = get(raw, kind, key, now)
    version = 0 if row is None else row.version
    if expect is not None and expect != version:
        return None
    raw.execute(_SWEEP, (now - _SWEEP_SECONDS,))
    expires_at = None if keep_seconds is None else now + keep_seconds
    raw.execute(
        "INSERT OR REPLACE INTO records (kind, key, version, updated_at, expires_at, value) VALUES (?, ?, ?, ?, ?, ?)",
        (kind, key, version + 1, now, expires_at, value),
    )
    return RecordRow(kind, key, value, version + 1, now, expires_at)


def list_after(raw: sqlite3.Connection, kind: str, after: str, limit: int, now: float) -> list[RecordRow]:
    rows = raw.execute(
        "SELECT key, value, version, updated_at, expires_at FROM records "
        "WHERE kind = ? AND key > ? AND (expires_at IS NULL OR expires_at > ?) ORDER BY key LIMIT ?",
        (kind, after, now, limit),
    )
    return [RecordRow(kind, *row) for row in rows]


def delete(raw: sqlite3.Connection, kind: str, key: str, now: float) -> bool:
    """Delete it; whether there was one that had not expired."""
    found = get(raw, kind, key, now) is not None
    raw.execute("DELETE FROM records WHERE kind = ? AND key = ?", (kind, key))
    return found
