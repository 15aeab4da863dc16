"""Lists and counts of runs: one statement per index that can lead, so that none walks what it does not need."""

from __future__ import annotations

import base64
import binascii
import heapq
import json
import sqlite3
from itertools import islice
from typing import Any, Final

from durable.errors import InvalidInput
from durable.store import PAGE_SIZE_MAX, RunId, RunPage, RunQuery, RunStatus
from durable_sqlite.rows import RECORD_COLUMNS, read_record

__all__ = ["STATEMENTS", "count", "list_runs", "prefix_end"]

# Every condition is in every statement; one that was not asked for is NULL (or empty, or without bound) and holds.
_CONDITIONS: Final = (
    "(:workflow IS NULL OR r.workflow = :workflow) AND (:queue IS NULL OR r.queue = :queue) "
    "AND (:parent IS NULL OR r.parent = :parent) AND (:status IS NULL OR r.status = :status) "
    "AND (:prefix IS NULL OR (r.id >= :prefix AND (:prefix_end IS NULL OR r.id < :prefix_end))) "
    "AND r.created_at > :after AND (r.created_at, r.id) < (:cursor_at, :cursor_id) "
    "AND (:labels = 0 OR (SELECT count(*) FROM labels l, json_each(:label_pairs) p WHERE l.run = r.key "
    "AND l.name = json_extract(p.value, '$[0]') AND l.value = json_extract(p.value, '$[1]')) = :labels)"
)
# What leads: the table with the index it is read by, and the condition that makes the index fit.
_LEADS: Final = {
    "label": (
        "labels t CROSS JOIN runs r ON r.key = t.run",
        "t.name = :label_name AND t.value = :label_value AND (t.created_at, t.id) < (:cursor_at, :cursor_id)",
        "t.created_at DESC, t.id DESC",
    ),
    "parent": ("runs r INDEXED BY runs_parent", "r.parent = :parent", ""),
    "prefix": ("runs r INDEXED BY runs_id", "r.id >= :prefix AND r.id < :prefix_end", ""),
    "workflow": ("runs r INDEXED BY runs_workflow", "r.workflow = :workflow", ""),
    "ended": ("runs r INDEXED BY runs_ended", "r.ended_at IS NOT NULL AND r.status = :status", ""),
    "stuck": ("runs r INDEXED BY runs_stuck", "r.status IN ('paused', 'blocked') AND r.status = :status", ""),
    "live": ("runs r INDEXED BY runs_live", "r.ended_at IS NULL", ""),
    "created": ("runs r INDEXED BY runs_created", "r.created_at > :after", ""),
}


def _statement(kind: str, lead: str) -> str:
    tables, condition, order = _LEADS[lead]
    order = order or "r.created_at DESC, r.id DESC"
    if kind == "count":
        return " ".join(("SELECT count(*) FROM", tables, "WHERE", condition, "AND", _CONDITIONS))
    joined = (tables, "JOIN details d ON d.run = r.key WHERE", condition, "AND", _CONDITIONS)
    return " ".join(("SELECT", RECORD_COLUMNS, "FROM", *joined, "ORDER BY", order, "LIMIT :limit"))


STATEMENTS: Final = {(kind, lead): _statement(kind, lead) for kind in ("list", "count") for lead in _LEADS}

_LIVE: Final = frozenset({RunStatus.PENDING, RunStatus.RUNNING, RunStatus.WAITING})
_STUCK: Final = frozenset({RunStatus.PAUSED, RunStatus.BLOCKED})


def list_runs(raw: sqlite3.Connection, query: RunQuery, limit: int, cursor: str | None) -> RunPage:
    """See ``Store.list``. Each wanted status is a list of its own, since each has its index; they are merged."""
    if not 1 <= limit <= PAGE_SIZE_MAX:
        raise InvalidInput(f"A page has 1 to {PAGE_SIZE_MAX} runs, not {limit}.")
    place = (float("inf"), "") if cursor is None else _read_cursor(cursor)
    parameters = _parameters(query, place, limit + 1)
    lists = [
        raw.execute(STATEMENTS["list", _lead(query, status)], {**parameters, "status": status}).fetchall()
        for status in _statuses(query)
    ]
    merged = heapq.merge(*lists, key=_place, reverse=True)
    rows = list(islice(merged, limit + 1))
    next = _write_cursor(*_place(rows[limit - 1])) if len(rows) > limit else None
    return RunPage(tuple(read_record(raw, row) for row in rows[:limit]), next)


def count(raw: sqlite3.Connection, query: RunQuery) -> int:
    """See ``Store.count``."""
    parameters = _parameters(query, (float("inf"), ""), 0)
    return sum(
        raw.execute(STATEMENTS["count", _lead(query, status)], {**parameters, "status": status}).fetchone()[0]
        for status in _statuses(query)
    )


def _statuses(query: RunQuery) -> list[str | None]:
    return sorted({str(status) for status in query.statuses}) if query.statuses else [None]  # type: ignore[return-value]


def _lead(query: RunQuery, status: str | None) -> str:
    """Which index is read: the one that most likely leaves the least to look at."""
    if query.parent is not None:
        return "parent"
    if query.labels:
        return "label"
    if query.id_prefix and prefix_end(query.id_prefix) is not None:
        return "prefix"
    if status in _STUCK:
        return "stuck"
    if status in (RunStatus.FAILED, RunStatus.CANCELLED):
        return "ended"
    if query.workflow is not None:
        return "workflow"
    if status is None:
        return "created"
    return "live" if status in _LIVE else "ended"


def _parameters(query: RunQuery, place: tuple[float, str], limit: int) -> dict[str, Any]:
    if query.created_before is not None:  # strictly before an instant is before the least id at that instant
        place = min(place, (query.created_before, ""))
    labels = list(query.labels.items())
    name, value = labels[0] if labels else (None, None)
    return {
        "workflow": query.workflow,
        "queue": query.queue,
        "parent": query.parent,
        "prefix": query.id_prefix,
        "prefix_end": None if query.id_prefix is None else prefix_end(query.id_prefix),
        "after": float("-inf") if query.created_after is None else query.created_after,
        "cursor_at": place[0],
        "cursor_id": place[1],
        "labels": len(labels),
        "label_pairs": json.dumps(labels),
        "label_name": name,
        "label_value": value,
        "limit": limit,
    }


def prefix_end(prefix: str) -> str | None:
    """The least text above all texts that begin so; None if there is none. UTF-8 sorts like its code points."""
    while prefix:
        last = ord(prefix[-1]) + 1
        if 0xD800 <= last <= 0xDFFF:
            last = 0xE000  # surrogates are no text
        if last <= 0x10FFFF:
            return prefix[:-1] + chr(last)
        prefix = prefix[:-1]
    return None


# ── cursors ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _place(row: tuple[Any, ...]) -> tuple[float, str]:
    return row[15], row[0]  # created_at and id, in the order of RECORD_COLUMNS


def _write_cursor(created_at: float, id: str) -> str:
    return base64.urlsafe_b64encode(f"{created_at.hex()} {id}".encode()).decode()


def _read_cursor(cursor: str) -> tuple[float, str]:
    try:
        created_at, space, id = base64.b64decode(cursor, b"-_", validate=True).decode().partition(" ")
        if space and id:
            return float.fromhex(created_at), RunId(id)
    except (binascii.Error, ValueError, OverflowError):
        pass
    raise InvalidInput(f"The cursor {cursor[:40]!r} is not one of this store's; begin again without one.")
