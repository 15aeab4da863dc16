"""Looking after the store: purge, check, figures."""

from __future__ import annotations

import json
import sqlite3
from typing import Any, Final

from durable.store import PurgeQuery, RunStatus

__all__ = ["check", "purge", "stats"]

# Rows that one purge deletes before it stops early, so that it does not hold up the writers for long.
_ROWS_MAX: Final = 50_000

_WHAT: Final = (
    " r.closing = 0 AND r.ended_at IS NOT NULL AND r.ended_at < :ended_before "
    "AND (NOT :expired OR (r.expires_at IS NOT NULL AND r.expires_at <= :now)) "
    "AND (:workflow IS NULL OR r.workflow = :workflow) "
    "AND (:statuses = '[]' OR r.status IN (SELECT value FROM json_each(:statuses))) "
)
_SELECT: Final = "SELECT r.key, r.epoch FROM "
_BY_END: Final = " ORDER BY r.ended_at, r.key LIMIT :limit"
BY_RUN: Final = "".join(
    (_SELECT, "json_each(:runs) w CROSS JOIN runs r INDEXED BY runs_id ON r.id = w.value WHERE", _WHAT, _BY_END)
)
BY_EXPIRY: Final = "".join(
    (
        _SELECT,
        "runs r INDEXED BY runs_expiring WHERE r.expires_at <= :now AND",
        _WHAT,
        " ORDER BY r.expires_at LIMIT :limit",
    )
)
BY_END: Final = "".join((_SELECT, "runs r INDEXED BY runs_closed WHERE", _WHAT, _BY_END))

_DELETE: Final = (
    "DELETE FROM journal WHERE run = ?",
    "DELETE FROM stamps WHERE run = ?",
    "DELETE FROM messages WHERE run = ?",
    "DELETE FROM inboxes WHERE run = ?",
    "DELETE FROM run_values WHERE run = ?",
    "DELETE FROM streams WHERE run = ?",
    "DELETE FROM parts WHERE run = ?",
    "DELETE FROM requests WHERE run = ?",
    "DELETE FROM labels WHERE run = ?",
    "DELETE FROM inputs WHERE run = ?",
    "DELETE FROM outcomes WHERE run = ?",
    "DELETE FROM details WHERE run = ?",
    "DELETE FROM runs WHERE key = ?",
)


def purge(raw: sqlite3.Connection, query: PurgeQuery, now: float) -> int:
    """See ``Store.purge``; fewer than the limit at a time if they are large."""
    if query.runs:
        statement = BY_RUN
    elif query.expired:
        statement = BY_EXPIRY
    else:
        statement = BY_END
    parameters: dict[str, Any] = {
        "ended_before": float("inf") if query.ended_before is None else query.ended_before,
        "expired": int(query.expired),
        "now": now,
        "workflow": query.workflow,
        "statuses": json.dumps([str(status) for status in query.statuses]),
        "runs": json.dumps(sorted(set(query.runs))),
        "limit": max(0, query.limit),
    }
    purged = 0
    changes = raw.total_changes
    highest = 0
    for key, epoch in raw.execute(statement, parameters).fetchall():
        highest = max(highest, epoch)
        for delete in _DELETE:
            raw.execute(delete, (key,))
        purged += 1
        if raw.total_changes - changes > _ROWS_MAX:
            break
    if purged:
        raw.execute("UPDATE tide SET epochs_purged = max(epochs_purged, ?) WHERE one = 1", (highest,))
    return purged


_CHECKS: Final = (
    (
        "owned by a session that the store does not know",
        "SELECT id FROM runs WHERE owner IS NOT NULL AND owner NOT IN (SELECT id FROM sessions) LIMIT 100",
    ),
    (
        "ended without an outcome",
        "SELECT id FROM runs WHERE ended_at IS NOT NULL AND key NOT IN (SELECT run FROM outcomes) LIMIT 100",
    ),
    (
        "has an outcome without having ended",
        "SELECT id FROM runs WHERE ended_at IS NULL AND key IN (SELECT run FROM outcomes) LIMIT 100",
    ),
    (
        "its status does not fit its end",
        "SELECT id FROM runs WHERE (ended_at IS NOT NULL) != (status IN ('completed', 'failed', 'cancelled')) "
        "LIMIT 100",
    ),
    (
        "ended, and due without being closed",
        "SELECT id FROM runs WHERE ended_at IS NOT NULL AND due_at IS NOT NULL AND closing = 0 LIMIT 100",
    ),
    (
        "running, yet neither owned nor due",
        "SELECT id FROM runs WHERE status IN ('pending', 'running') AND owner IS NULL AND due_at IS NULL LIMIT 100",
    ),
    (
        "its journal is not as long as its row says",
        "SELECT id FROM runs r WHERE position != (SELECT count(*) FROM journal j WHERE j.run = r.key "
        "AND j.generation = r.generation) LIMIT 100",
    ),
    (
        "has no input or no details",
        "SELECT id FROM runs WHERE key NOT IN (SELECT run FROM inputs) OR key NOT IN (SELECT run FROM details) "
        "LIMIT 100",
    ),
    (
        "its unread signals are miscounted",
        "SELECT r.id FROM inboxes i JOIN runs r ON r.key = i.run WHERE i.unread_signals != (SELECT count(*) "
        "FROM messages m WHERE m.run = i.run AND m.consumed = 0 AND m.kind = 'signal') LIMIT 100",
    ),
)


def check(raw: sqlite3.Connection) -> list[str]:
    """Pages and indices first; then each row against the others."""
    lines = [str(line) for (line,) in raw.execute("PRAGMA integrity_check(100)") if line != "ok"]
    if lines:
        return lines
    return [f"run {id}: {problem}" for problem, statement in _CHECKS for (id,) in raw.execute(statement)]


def stats(raw: sqlite3.Connection) -> dict[str, int]:
    """Figures for people; they count, so they take a while on a large store."""
    figures = {f"runs.{status}": 0 for status in RunStatus}
    for status, runs in raw.execute("SELECT status, count(*) FROM runs GROUP BY status"):
        figures[f"runs.{status}"] = runs
    (figures["entries"],) = raw.execute("SELECT count(*) FROM journal").fetchone()
    (figures["messages"],) = raw.execute("SELECT count(*) FROM messages").fetchone()
    (pages,) = raw.execute("PRAGMA page_count").fetchone()
    (size,) = raw.execute("PRAGMA page_size").fetchone()
    figures["bytes"] = pages * size
    return figures
