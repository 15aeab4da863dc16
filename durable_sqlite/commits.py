"""The one way in which a worker writes: fence, then apply whole.

Plain commits, which are nearly all there are, go a way of their own (``plain``). Everything else, and what does not
stand there, goes the general way: read, check, write.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from durable.store import Closed, Commit, Committed, Ended, Released, Rewound, RunId, Running, Verdict
from durable_sqlite import creation, inbox, moves, plain
from durable_sqlite.batches import Apart
from durable_sqlite.rows import Row, find, write_waits

__all__ = ["commit", "commit_all", "hints", "is_work"]

_SEVERAL: Final = 4  # plain commits are written together from so many on
_APPEND: Final = "INSERT INTO journal (run, generation, position, at, epoch, seq, data) VALUES (?, ?, ?, ?, ?, ?, ?)"


def commit_all(raw: sqlite3.Connection, commits: Sequence[Commit], now: float) -> list[Committed]:
    """Apply a batch. Raises at the first surprise; the caller rolls back, and applies them one by one.

    Raises:
        Apart: Among its plain commits there is one that does not stand.
    """
    if len(commits) == 1:
        return [_commit(raw, commits[0], now)]
    several = _plain(commits, now)
    if len(several) < _SEVERAL:
        return [_commit(raw, asked, now) for asked in commits]
    if not plain.apply_all(raw, several, now):
        raise Apart
    applied = {asked.run for asked in several}
    return [
        Committed(Verdict.APPLIED, now, now) if asked.run in applied else commit(raw, asked, now) for asked in commits
    ]


def _commit(raw: sqlite3.Connection, asked: Commit, now: float) -> Committed:
    if plain.is_plain(asked, now) and plain.apply_one(raw, asked, now):
        return Committed(Verdict.APPLIED, now, now)
    return commit(raw, asked, now)


def _plain(commits: Sequence[Commit], now: float) -> list[Commit]:
    """The plain ones, if it is all one in which order they and the others are applied."""
    if len({asked.run for asked in commits}) < len(commits):
        return []
    found = [asked for asked in commits if plain.is_plain(asked, now)]
    if len(found) == len(commits):
        return found
    touched = {run for asked in commits for run in _touches(asked)}
    return [asked for asked in found if asked.run not in touched]


def _touches(asked: Commit) -> list[RunId]:
    """Other runs that the commit writes or reads."""
    runs = [message.run for message in asked.messages] + [new.id for new in asked.children]
    return [*runs, asked.then.source] if isinstance(asked.then, Rewound) else runs


def hints(asked: Commit) -> bool:
    """Whether somebody may have something to do or to read after this commit."""
    if asked.then.__class__ is not Running:
        return True
    return bool(asked.messages) or bool(asked.children) or bool(asked.emits) or bool(asked.values)


def is_work(asked: Commit) -> bool:
    """Whether a worker may have something to do after this commit, and not readers alone."""
    then = asked.then
    if then.__class__ is Running or (isinstance(then, Ended) and not then.closing):
        return bool(asked.messages) or bool(asked.children)
    return True


def commit(raw: sqlite3.Connection, asked: Commit, now: float) -> Committed:
    """Check the fence, in the order that ``Store.commit`` gives, and apply.

    A repeat is recognised before the owner is looked at: the commit that gave the run up has no owner either, and its
    lost answer must come again as it was.
    """
    row = find(raw, asked.run)
    if row is None or row.epoch != asked.epoch:
        return Committed(Verdict.LEASE_LOST, 0.0, now)
    if asked.seq < row.seq:
        children = tuple([creation.repeated_child(raw, new) for new in asked.children])
        return Committed(Verdict.ALREADY_APPLIED, _stamp(raw, row, asked), now, children)
    if row.owner is None or asked.seq != row.seq or asked.position != row.position:
        return Committed(Verdict.LEASE_LOST, 0.0, now)
    if not _may(raw, row, asked):
        return Committed(Verdict.LEASE_LOST, 0.0, now)
    if asked.not_before is not None and now < asked.not_before:
        return Committed(Verdict.NOT_DUE, 0.0, now)
    return _apply(raw, row, asked, now)


def _may(raw: sqlite3.Connection, row: Row, asked: Commit) -> bool:
    """Whether the run can make this move at all: nothing is appended after an end (I1), no end is left so (I9)."""
    if row.ended and (asked.append or not isinstance(asked.then, Running | Released | Closed)):
        return False
    if not isinstance(asked.then, Rewound):
        return True
    return row.position == 0 and not asked.append and moves.can_rewind(raw, row, asked.then)


def _stamp(raw: sqlite3.Connection, row: Row, asked: Commit) -> float:
    """The ``at`` of a commit of this epoch: beside its entry, or in ``stamps`` if it left none."""
    found = raw.execute(
        "SELECT at FROM journal WHERE run = ? AND generation = ? AND position = ? AND epoch = ? AND seq = ?",
        (row.key, row.generation, asked.position, row.epoch, asked.seq),
    ).fetchone()
    if found is None:
        found = raw.execute(
            "SELECT at FROM stamps WHERE run = ? AND epoch = ? AND seq = ?", (row.key, row.epoch, asked.seq)
        ).fetchone()
    if found is None:  # the generation has changed since, or the caller misremembers the position
        found = raw.execute(
            "SELECT at FROM journal WHERE run = ? AND epoch = ? AND seq = ? LIMIT 1", (row.key, row.epoch, asked.seq)
        ).fetchone()
    return row.at if found is None else float(found[0])


def _apply(raw: sqlite3.Connection, row: Row, asked: Commit, now: float) -> Committed:
    key = row.key
    row.at = max(now, row.at)
    if asked.append:
        row.strikes = 0
        rows = [
            (key, row.generation, row.position + n, row.at, row.epoch, row.seq, data)
            for n, data in enumerate(asked.append)
        ]
        raw.executemany(_APPEND, rows)
        row.position += len(rows)
    elif not isinstance(asked.then, Running | Released):
        row.strikes = 0
    if asked.flushed is not None:
        row.flushed_activation, row.flushed_count = asked.flushed
    if asked.waits is not None:
        row.waits = write_waits(asked.waits)
    stands = _read_mail(raw, key, asked)
    _publish(raw, key, asked)
    # Children before messages: a commit may create a run and signal it. Both before the move: a run that signals
    # itself and then waits must find the message.
    children = tuple([creation.child(raw, new, now) for new in asked.children])
    for message in asked.messages:
        inbox.send(raw, message, now, limited=False)
    epoch, seq = row.epoch, row.seq
    row.seq += 1
    moves.move(raw, row, asked, now, stands=stands)
    if not asked.append:
        raw.execute("INSERT INTO stamps (run, epoch, seq, at) VALUES (?, ?, ?, ?)", (key, epoch, seq, row.at))
    return Committed(Verdict.APPLIED, row.at, now, children)


def _read_mail(raw: sqlite3.Connection, key: int, asked: Commit) -> bool:
    """Whether everything was still unread."""
    unread = [inbox.consume(raw, key, id) for id in asked.consumed]
    for letter in asked.dead:
        inbox.consume(raw, key, letter.id, letter.reason)
    return all(unread)


def _publish(raw: sqlite3.Connection, key: int, asked: Commit) -> None:
    for name, value in asked.values:
        raw.execute(
            "INSERT INTO run_values (run, key, value) VALUES (?, ?, ?) "
            "ON CONFLICT (run, key) DO UPDATE SET value = excluded.value",
            (key, name, value),
        )
    for emit in asked.emits:
        raw.execute(
            "INSERT INTO streams (run, stream, place, item) SELECT ?, ?, "
            "coalesce((SELECT max(place) + 1 FROM streams WHERE run = ? AND stream = ?), 0), ?",
            (key, emit.stream, key, emit.stream, emit.item),
        )
    for part in asked.parts:
        raw.execute("INSERT OR IGNORE INTO parts (run, hash, data) VALUES (?, ?, ?)", (key, part.hash, part.data))
