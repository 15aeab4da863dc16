"""Plain commits, which write nothing but their own run: nearly all there are. A batch of them is a few statements."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from durable.store import CLOSING_LANE, Commit, Ended, Running, Waiting
from durable_sqlite.given import Given
from durable_sqlite.rows import write_waits

__all__ = ["STATEMENTS", "apply_all", "apply_one", "is_plain"]

# A run whose clock is ahead of store time does not stand, so that every stamp here is store time. What a commit leaves
# as it is comes as a number that stands for it, since NULL is dear to bind (see ``given``).
_ADVANCE: Final = (
    "UPDATE runs SET seq = given.seq + 1, position = given.position + given.entries, at = given.now, strikes = 0, "
    "flushed_activation = iif(given.activation < 0, flushed_activation, given.activation), "
    "flushed_count = iif(given.count < 0, flushed_count, given.count), "
    "waits = iif(given.waits = 0, runs.waits, given.waits)"
)
_REST: Final = (
    ", status = 'waiting', owner = NULL, due_at = iif(EXISTS (SELECT 1 FROM messages WHERE messages.run = runs.key "
    "AND messages.consumed = 0 AND messages.seq > given.seen), given.now, given.wake_at)"
)
_END: Final = (
    ", status = given.status, owner = NULL, lane = given.lane, closing = max(runs.closing, given.closing), "
    "due_at = iif(max(runs.closing, given.closing), given.now, NULL), "
    "ended_at = given.now, expires_at = given.now + given.keep_seconds"
)
_STANDS: Final = (
    " FROM given WHERE runs.id = given.id AND runs.epoch = given.epoch AND runs.seq = given.seq "
    "AND runs.position = given.position AND runs.at <= given.now AND runs.owner IS NOT NULL AND runs.ended_at IS NULL"
)
_OF_RUNS: Final = "FROM given CROSS JOIN runs WHERE runs.id = given.id"
_FENCE: Final = ("now", "id", "epoch", "seq", "position", "entries", "activation", "count", "waits")

_MOVES: Final = {
    Running: Given(_ADVANCE + _STANDS, *_FENCE),
    Waiting: Given(_ADVANCE + _REST + _STANDS, *_FENCE, "wake_at", "seen"),
    Ended: Given(_ADVANCE + _END + _STANDS, *_FENCE, "lane", "status", "keep_seconds", "closing"),
}
# What goes with runs that stood, and have moved on by one.
_APPEND: Final = Given(
    "INSERT INTO journal (run, generation, position, at, epoch, seq, data) "
    "SELECT runs.key, runs.generation, given.position, runs.at, runs.epoch, runs.seq - 1, given.data " + _OF_RUNS,
    *("id", "position", "data"),
)
_STAMP: Final = Given(
    "INSERT INTO stamps (run, epoch, seq, at) SELECT runs.key, given.epoch, given.seq, runs.at " + _OF_RUNS,
    *("id", "epoch", "seq"),
)
_OUTCOME: Final = Given(
    "INSERT OR REPLACE INTO outcomes (run, outcome) SELECT runs.key, given.outcome " + _OF_RUNS, *("id", "outcome")
)
# Only where that changes anything: for most runs it does not, and there is one page less to write.
_DETAILS: Final = Given(
    "UPDATE details SET error = given.error, terminated = 0, blocked = NULL, blocked_kind = NULL, blocked_call = NULL "
    "FROM given WHERE details.run = (SELECT key FROM runs WHERE runs.id = given.id) "
    "AND (details.error IS NOT given.error OR details.terminated != 0 OR details.blocked IS NOT NULL "
    "OR details.blocked_kind IS NOT NULL OR details.blocked_call IS NOT NULL)",
    *("id", "error"),
)
STATEMENTS: Final = {
    "keep": _MOVES[Running],
    "wait": _MOVES[Waiting],
    "end": _MOVES[Ended],
    "append": _APPEND,
    "stamp": _STAMP,
    "outcome": _OUTCOME,
    "details": _DETAILS,
}


def is_plain(asked: Commit, now: float) -> bool:
    """Whether the commit is plain, and due."""
    kind = asked.then.__class__
    return (
        (kind is Waiting or kind is Ended or (kind is Running and bool(asked.append)))
        and asked.alone
        and (asked.not_before is None or now >= asked.not_before)
    )


def apply_one(raw: sqlite3.Connection, asked: Commit, now: float) -> bool:
    """Apply a plain commit: ``APPLIED`` at ``now``. False if it does not stand; then nothing is written."""
    if _MOVES[asked.then.__class__].write_one(raw, _move(asked, now)) == 0:
        return False
    if len(asked.append) == 1:
        written = _APPEND.write_one(raw, (asked.run, asked.position, asked.append[0]))
        assert written == 1  # I1
    else:
        _write_entries(raw, (asked,))
    if asked.then.__class__ is Ended:
        _write_ends(raw, (asked,))
    return True


def apply_all(raw: sqlite3.Connection, commits: Sequence[Commit], now: float) -> bool:
    """Apply plain commits, of one run each: ``APPLIED`` at ``now``, all of them.

    False if there is one that does not stand; then nothing must stand of the others.
    """
    moves: dict[type[Any], list[tuple[Any, ...]]] = {}
    for asked in commits:
        moves.setdefault(asked.then.__class__, []).append(_move(asked, now))
    for kind, given in moves.items():
        if _MOVES[kind].write(raw, given) != len(given):
            return False
    _write_entries(raw, commits)
    if Ended in moves:
        _write_ends(raw, commits)
    return True


def _write_entries(raw: sqlite3.Connection, commits: Sequence[Commit]) -> None:
    entries: list[tuple[Any, ...]] = []
    stamps: list[tuple[Any, ...]] = []
    for asked in commits:
        if asked.append:
            entries += [(asked.run, n, bytearray(data)) for n, data in enumerate(asked.append, asked.position)]
        else:
            stamps.append((asked.run, asked.epoch, asked.seq))
    written = _APPEND.write(raw, entries), _STAMP.write(raw, stamps)
    assert written == (len(entries), len(stamps))  # I1: behind the fence of its run, each


def _write_ends(raw: sqlite3.Connection, commits: Sequence[Commit]) -> None:
    ends = [(asked.run, asked.then) for asked in commits if isinstance(asked.then, Ended)]
    _OUTCOME.write(raw, [(run, then.outcome) for run, then in ends])
    _DETAILS.write(raw, [(run, then.error) for run, then in ends])


def _move(asked: Commit, now: float) -> tuple[Any, ...]:
    """A row for the statement of its kind."""
    then = asked.then
    activation, count = (-1, -1) if asked.flushed is None else asked.flushed
    waits = 0 if asked.waits is None else write_waits(asked.waits)
    row = (now, asked.run, asked.epoch, asked.seq, asked.position, len(asked.append), activation, count, waits)
    if isinstance(then, Waiting):
        return (*row, then.wake_at, then.seen)
    if isinstance(then, Ended):
        return (*row, CLOSING_LANE.key, str(then.status), then.keep_seconds, int(then.closing))
    return row
