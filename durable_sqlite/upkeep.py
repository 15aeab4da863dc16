"""Looking after the store: purge, check, figures."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import Any, Final

from durable.store import PurgeQuery, RunStatus

__all__ = ["check", "fold", "purge", "purgeable", "shrink", "stats", "wipe_log"]

# What one purge deletes before it stops early, so that it does not hold up the writers for long: they include the
# heartbeats, and a second of it for every few hundred megabytes would cost other workers their leases.
_ROWS_MAX: Final = 50_000
_BYTES_MAX: Final = 16 * 1024 * 1024

_WHAT: Final = (
    " r.closing = 0 AND r.ended_at IS NOT NULL AND r.ended_at < :ended_before "
    "AND (NOT :expired OR (r.expires_at IS NOT NULL AND r.expires_at <= :now)) "
    "AND (:workflow IS NULL OR r.workflow = :workflow) "
    "AND (:statuses = '[]' OR r.status IN (SELECT value FROM json_each(:statuses))) "
)
_SELECT: Final = "SELECT r.key, r.epoch FROM "
_COUNT: Final = "SELECT r.status, count(*) FROM "
_FROM_RUNS: Final = "json_each(:runs) w CROSS JOIN runs r INDEXED BY runs_id ON r.id = w.value WHERE" + _WHAT
_FROM_EXPIRY: Final = "runs r INDEXED BY runs_expiring WHERE r.expires_at <= :now AND" + _WHAT
_FROM_END: Final = "runs r INDEXED BY runs_closed WHERE" + _WHAT
_BY_END: Final = " ORDER BY r.ended_at, r.key LIMIT :limit"
_BY_STATUS: Final = " GROUP BY r.status"
BY_RUN: Final = _SELECT + _FROM_RUNS + _BY_END
BY_EXPIRY: Final = _SELECT + _FROM_EXPIRY + " ORDER BY r.expires_at LIMIT :limit"
BY_END: Final = _SELECT + _FROM_END + _BY_END
COUNT_BY_RUN: Final = _COUNT + _FROM_RUNS + _BY_STATUS
COUNT_BY_EXPIRY: Final = _COUNT + _FROM_EXPIRY + _BY_STATUS
COUNT_BY_END: Final = _COUNT + _FROM_END + _BY_STATUS

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
    statement = BY_RUN if query.runs else BY_EXPIRY if query.expired else BY_END
    purged = 0
    changes = raw.total_changes
    highest = 0
    (size,) = raw.execute("PRAGMA page_size").fetchone()
    free = _free_pages(raw)
    for key, epoch in raw.execute(statement, _parameters(query, now)).fetchall():
        highest = max(highest, epoch)
        for delete in _DELETE:
            raw.execute(delete, (key,))
        purged += 1
        if raw.total_changes - changes > _ROWS_MAX or (_free_pages(raw) - free) * size > _BYTES_MAX:
            break
    if purged:
        raw.execute("UPDATE tide SET epochs_purged = max(epochs_purged, ?) WHERE one = 1", (highest,))
    return purged


def _free_pages(raw: sqlite3.Connection) -> int:
    (pages,) = raw.execute("PRAGMA freelist_count").fetchone()
    return int(pages)


def _parameters(query: PurgeQuery, now: float) -> dict[str, Any]:
    return {
        "ended_before": float("inf") if query.ended_before is None else query.ended_before,
        "expired": int(query.expired),
        "now": now,
        "workflow": query.workflow,
        "statuses": json.dumps([str(status) for status in query.statuses]),
        "runs": json.dumps(sorted(set(query.runs))),
        "limit": max(0, query.limit),
    }


def purgeable(raw: sqlite3.Connection, query: PurgeQuery, now: float) -> dict[RunStatus, int]:
    """See ``Upkeep.purgeable``."""
    statement = COUNT_BY_RUN if query.runs else COUNT_BY_EXPIRY if query.expired else COUNT_BY_END
    return {RunStatus(status): runs for status, runs in raw.execute(statement, _parameters(query, now))}


def shrink(raw: sqlite3.Connection, bytes_max: int) -> int:
    """See ``Upkeep.shrink``; 0 for a file that was made without room for it (``PRAGMA auto_vacuum``)."""
    (size,) = raw.execute("PRAGMA page_size").fetchone()
    (before,) = raw.execute("PRAGMA page_count").fetchone()
    for _ in range(min(_free_pages(raw), max(1, bytes_max // size))):
        raw.execute("PRAGMA incremental_vacuum(1)")  # page by page: the driver leaves it after the first one anyway
    (after,) = raw.execute("PRAGMA page_count").fetchone()
    return int((before - after) * size)


def wipe_log(raw: sqlite3.Connection) -> None:
    """Put the log into the database and cut it to nothing: until then it still holds what was purged.

    Nobody is waited for: while others read or write, it is left to the next purge or the last close.
    """
    with contextlib.suppress(sqlite3.OperationalError):
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def fold(raw: sqlite3.Connection) -> None:
    """Put the log into the database, as far as readers let it: only then does the file become as short as it says."""
    raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


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
