"""How a run ends, whoever ends it."""

from __future__ import annotations

import sqlite3

from durable.store import Message, MessageId, MessageKind, RunId, RunStatus
from durable_sqlite import inbox
from durable_sqlite.rows import Row

__all__ = ["end", "tell_parent"]


def end(
    raw: sqlite3.Connection,
    row: Row,
    status: RunStatus,
    outcome: bytes,
    error: str | None,
    ended_at: float,
    now: float,
    *,
    closing: bool,
    keep_seconds: float | None = None,
    terminated: bool = False,
) -> None:
    """The run ends; while it is closing it stands in the closing lane, due now. The row is written."""
    row.strikes = 0
    row.closing = int(bool(row.closing) or closing)
    row.ended_at = ended_at
    row.expires_at = None if keep_seconds is None else ended_at + keep_seconds
    row.rest(status, now if row.closing else None)
    row.enter_closing_lane()
    raw.execute("INSERT OR REPLACE INTO outcomes (run, outcome) VALUES (?, ?)", (row.key, outcome))
    raw.execute(
        "UPDATE details SET error = ?, terminated = ?, blocked = NULL, blocked_kind = NULL, blocked_call = NULL "
        "WHERE run = ?",
        (error, int(terminated), row.key),
    )
    row.save_all(raw)


def tell_parent(raw: sqlite3.Connection, row: Row, outcome: bytes, now: float) -> None:
    """The store has ended this run itself, so nobody else would tell."""
    if row.parent is None:
        return
    call, generation, notify = raw.execute(
        "SELECT parent_call, parent_generation, parent_notify FROM details WHERE run = ?", (row.key,)
    ).fetchone()
    if notify:
        id = MessageId(f"result/{row.id}/{row.generation}")
        inbox.send(raw, Message(RunId(row.parent), id, MessageKind.RESULT, call, outcome, generation), now)
