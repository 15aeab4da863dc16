"""What ``Commit.then`` says becomes of the run. Each move writes the row."""

from __future__ import annotations

import sqlite3
from typing import Final, assert_never

from durable.store import (
    Blocked,
    Closed,
    Commit,
    Continued,
    Ended,
    Paused,
    Released,
    Rewound,
    Running,
    RunStatus,
    Waiting,
)
from durable_sqlite import ends, inbox
from durable_sqlite.rows import Row, find

__all__ = ["can_rewind", "move"]

_COPY: Final = (
    "INSERT INTO journal (run, generation, position, at, epoch, seq, data) SELECT ?, ?, ?, at, 0, 0, data FROM journal "
    "WHERE run = ? AND generation = ? AND position = ?"
)
# The store cannot know which parts the copied entries name, and the source may be purged first.
_COPY_PARTS: Final = "INSERT OR IGNORE INTO parts (run, hash, data) SELECT ?, hash, data FROM parts WHERE run = ?"


def move(raw: sqlite3.Connection, row: Row, asked: Commit, now: float, *, stands: bool = True) -> None:
    """Carry out the move and write the row back under its fence.

    Args:
        stands: Whether what the commit consumes was unread; if not, a resume has taken the pause back.
    """
    match asked.then:
        case Running():
            row.save(raw)
        case Waiting(wake_at=wake_at, seen=seen):
            row.rest(RunStatus.WAITING, now if inbox.has_unread_after(raw, row.key, seen) else wake_at)
            row.save(raw)
        case Released():
            _release(raw, row, now)
        case Paused():
            if stands:
                row.rest(RunStatus.PAUSED, None)
            else:
                row.rest(RunStatus.WAITING, now)
            row.save(raw)
        case Blocked(kind=kind, reason=reason, call=call):
            raw.execute(
                "UPDATE details SET blocked = ?, blocked_kind = ?, blocked_call = ? WHERE run = ?",
                (reason, kind, call, row.key),
            )
            row.rest(RunStatus.BLOCKED, None)
            row.save(raw)
        case Ended(status, outcome, error, keep_seconds, closing):
            ends.end(raw, row, status, outcome, error, row.at, now, closing=closing, keep_seconds=keep_seconds)
        case Continued() as next:
            _continue_as(raw, row, next, now)
        case Rewound() as order:
            _rewind(raw, row, order)
        case Closed(keep_seconds):
            row.closing = 0
            if row.ended:
                row.owner = None
            if row.ended_at is not None and row.expires_at is None and keep_seconds is not None:
                row.expires_at = row.ended_at + keep_seconds
                row.save_all(raw)
            else:
                row.save(raw)
        case _ as never:
            assert_never(never)


def _release(raw: sqlite3.Connection, row: Row, now: float) -> None:
    """Drained. Without an entry there was no progress either, so older strikes stand; only this claim's goes."""
    if row.ended:
        row.owner, row.due_at = None, now
    else:
        row.strikes = max(0, row.strikes - 1)
        row.rest(RunStatus.WAITING, now)
    row.save(raw)


def _continue_as(raw: sqlite3.Connection, row: Row, next: Continued, now: float) -> None:
    raw.execute("UPDATE inputs SET input = ? WHERE run = ?", (next.input, row.key))
    raw.execute(
        "UPDATE details SET digest = ?, seed = ?, tries = ?, rewind = NULL WHERE run = ?",
        (next.digest, next.seed, next.tries, row.key),
    )
    row.next_generation()
    row.workflow, row.version = next.workflow, next.version
    row.started_at = None
    row.rest(RunStatus.PENDING, now + next.delay_seconds)
    row.enter_own_lane()
    row.save_all(raw)


def can_rewind(raw: sqlite3.Connection, row: Row, order: Rewound) -> bool:
    """Whether the run has an order to be rewound, and the source has all that is to be copied."""
    (ordered,) = raw.execute("SELECT rewind IS NOT NULL FROM details WHERE run = ?", (row.key,)).fetchone()
    if not ordered or not order.keep:
        return bool(ordered)
    source = find(raw, order.source)
    if source is None:
        return False
    (length,) = raw.execute(
        "SELECT coalesce(max(position) + 1, 0) FROM journal WHERE run = ? AND generation = ?",
        (source.key, order.generation),
    ).fetchone()
    return all(position < length for position in order.keep)


def _rewind(raw: sqlite3.Connection, row: Row, order: Rewound) -> None:
    source = find(raw, order.source)
    if source is not None:
        for n, position in enumerate(order.keep):
            raw.execute(_COPY, (row.key, row.generation, n, source.key, order.generation, position))
        if source.key != row.key:
            raw.execute(_COPY_PARTS, (row.key, source.key))
    inbox.unconsume(raw, row.key, order.unread)
    raw.execute("UPDATE details SET rewind = NULL WHERE run = ?", (row.key,))
    row.position = len(order.keep)
    row.flushed_activation, row.flushed_count = order.flushed
    assert row.started_at is not None
    last = raw.execute(
        "SELECT at FROM journal WHERE run = ? AND generation = ? AND position = ?",
        (row.key, row.generation, row.position - 1),
    ).fetchone()
    row.at = row.started_at if last is None else last[0]
    row.save(raw)
