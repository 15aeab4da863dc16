"""Inboxes: putting messages in, reading them, and marking them read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any, Final

from durable.store import (
    ENDED,
    UNREAD_SIGNALS_MAX,
    InboxMessage,
    Message,
    MessageId,
    MessageKind,
    RunId,
    RunStatus,
    Sent,
)

__all__ = ["consume", "consume_all", "has_unread_after", "read_all", "send", "unconsume", "unread", "unread_of_kind"]

_ENDED: Final = frozenset(str(status) for status in ENDED)
_SIGNAL: Final = str(MessageKind.SIGNAL)
_WAITING: Final = str(RunStatus.WAITING)
_RECEIVER: Final = (
    "SELECT r.key, r.status, r.owner, r.due_at, coalesce(i.last_seq, 0), coalesce(i.unread_signals, 0), "
    "EXISTS (SELECT 1 FROM messages m WHERE m.run = r.key AND m.id = ?) "
    "FROM runs r LEFT JOIN inboxes i ON i.run = r.key WHERE r.id = ?"
)
_COUNT: Final = (
    "INSERT INTO inboxes (run, last_seq, unread_signals) VALUES (?, ?, ?) ON CONFLICT (run) "
    "DO UPDATE SET last_seq = excluded.last_seq, unread_signals = unread_signals + excluded.unread_signals"
)


def send(raw: sqlite3.Connection, message: Message, now: float, *, limited: bool = True) -> Sent:
    """Put one message in; a waiting run without owner becomes due.

    Args:
        limited: Whether a full inbox refuses it; what a run says to another is not refused.
    """
    row = raw.execute(_RECEIVER, (message.id, message.run)).fetchone()
    if row is None:
        return Sent.NOT_FOUND
    key, status, owner, due_at, last_seq, unread_signals, known = row
    if known:
        return Sent.DUPLICATE
    if status in _ENDED:
        return Sent.ENDED
    is_signal = message.kind is MessageKind.SIGNAL
    if limited and is_signal and unread_signals >= UNREAD_SIGNALS_MAX:
        return Sent.INBOX_FULL
    seq = last_seq + 1
    raw.execute(_COUNT, (key, seq, int(is_signal)))
    raw.execute(
        "INSERT INTO messages (run, seq, id, kind, name, generation, at, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (key, seq, message.id, str(message.kind), message.name, message.generation, now, message.payload),
    )
    if status == _WAITING and owner is None and (due_at is None or due_at > now):
        raw.execute("UPDATE runs SET due_at = ? WHERE key = ?", (now, key))
    return Sent.ACCEPTED


def consume(raw: sqlite3.Connection, key: int, id: MessageId, dead: str | None = None) -> bool:
    """Mark one message as read, or as a dead letter, and whether it was unread; others are left alone."""
    read = raw.execute(
        "UPDATE messages SET consumed = 1, dead = ? WHERE run = ? AND id = ? AND consumed = 0 RETURNING kind",
        (dead, key, id),
    ).fetchall()
    if read and read[0][0] == _SIGNAL:
        raw.execute("UPDATE inboxes SET unread_signals = unread_signals - 1 WHERE run = ?", (key,))
    return bool(read)


def consume_all(raw: sqlite3.Connection, key: int, dead: str) -> None:
    """No message is unread any more. Their ids stay known, so that a repeat of an old one is not taken for news."""
    raw.execute("UPDATE messages SET consumed = 1, dead = ? WHERE run = ? AND consumed = 0", (dead, key))
    raw.execute("UPDATE inboxes SET unread_signals = 0 WHERE run = ?", (key,))


def unconsume(raw: sqlite3.Connection, key: int, ids: Iterable[MessageId]) -> None:
    """These become unread again."""
    for id in ids:
        unread = raw.execute(
            "UPDATE messages SET consumed = 0, dead = NULL WHERE run = ? AND id = ? AND consumed = 1 RETURNING kind",
            (key, id),
        ).fetchall()
        if unread and unread[0][0] == _SIGNAL:
            raw.execute("UPDATE inboxes SET unread_signals = unread_signals + 1 WHERE run = ?", (key,))


def has_unread_after(raw: sqlite3.Connection, key: int, seq: int) -> bool:
    found = raw.execute(
        "SELECT 1 FROM messages WHERE run = ? AND consumed = 0 AND seq > ? LIMIT 1", (key, seq)
    ).fetchone()
    return found is not None


def unread_of_kind(raw: sqlite3.Connection, key: int, kind: MessageKind) -> list[MessageId]:
    rows = raw.execute(
        "SELECT id FROM messages WHERE run = ? AND consumed = 0 AND kind = ? ORDER BY seq", (key, str(kind))
    )
    return [MessageId(id) for (id,) in rows]


def unread(raw: sqlite3.Connection, run: RunId, key: int, after: int, limit: int) -> list[InboxMessage]:
    """Unread messages with a seq above ``after``, in order."""
    rows = raw.execute(
        "SELECT seq, id, kind, name, generation, at, consumed, dead, payload FROM messages "
        "WHERE run = ? AND consumed = 0 AND seq > ? ORDER BY seq LIMIT ?",
        (key, after, limit),
    )
    return [_read(run, row) for row in rows]


def read_all(raw: sqlite3.Connection, run: RunId, key: int, after: int, limit: int) -> list[InboxMessage]:
    """Messages, read ones too, with a seq above ``after``, in order."""
    rows = raw.execute(
        "SELECT seq, id, kind, name, generation, at, consumed, dead, payload FROM messages "
        "WHERE run = ? AND seq > ? ORDER BY seq LIMIT ?",
        (key, after, limit),
    )
    return [_read(run, row) for row in rows]


def _read(run: RunId, row: tuple[Any, ...]) -> InboxMessage:
    seq, id, kind, name, generation, at, consumed, dead, payload = row
    return InboxMessage(Message(run, id, MessageKind(kind), name, payload, generation), seq, at, bool(consumed), dead)
