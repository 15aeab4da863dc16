"""The key-value side table: versioned, expiring, put-if."""

from __future__ import annotations

from durable.store import RecordRow
from durable_testing._memory.state import State

__all__ = ["get", "list_after", "put"]


def get(state: State, kind: str, key: str, now: float) -> RecordRow | None:
    row = state.records.get((kind, key))
    if row is None or (row.expires_at is not None and row.expires_at <= now):
        return None
    return row


def put(
    state: State, kind: str, key: str, value: bytes, expect: int | None, keep_seconds: float | None, now: float
) -> RecordRow | None:
    row = get(state, kind, key, now)
    version = 0 if row is None else row.version
    if expect is not None and expect != version:
        return None
    expires_at = None if keep_seconds is None else now + keep_seconds
    row = state.records[kind, key] = RecordRow(kind, key, value, version + 1, now, expires_at)
    return row


def list_after(state: State, kind: str, after: str, limit: int, now: float) -> list[RecordRow]:
    keys = sorted(key for of, key in state.records if of == kind and key > after)
    rows = (get(state, kind, key, now) for key in keys)
    return [row for row in rows if row is not None][:limit]
