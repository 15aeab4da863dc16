"""A run's row in Python: read whole, changed, written back by the fewest columns that cover the change."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any, Final, final

from durable.store import (
    CLOSING_LANE,
    ENDED,
    Lane,
    Parent,
    RunId,
    RunRecord,
    RunStatus,
    SessionId,
    Wait,
    WaitKind,
)

__all__ = ["Row", "find", "read_record", "write_waits"]

_ENDED: Final = frozenset(str(status) for status in ENDED)

_FIND: Final = (
    "SELECT key, id, status, lane, workflow, version, queue, priority, generation, epoch, seq, position, "
    "flushed_activation, flushed_count, strikes, created_at, started_at, at, ended_at, expires_at, due_at, owner, "
    "parent, closing, waits FROM runs WHERE id = ?"
)

# What a commit or a verb changes while the run stays where it is in its life; the other indices stay untouched.
_SAVE: Final = (
    "UPDATE runs SET status = ?, seq = ?, position = ?, flushed_activation = ?, flushed_count = ?, strikes = ?, "
    "at = ?, due_at = ?, owner = ?, closing = ?, waits = ?, epoch = ? "
    "WHERE key = ? AND epoch = ? AND seq = ? AND position = ?"
)
_SAVE_ALL: Final = (
    "UPDATE runs SET status = ?, seq = ?, position = ?, flushed_activation = ?, flushed_count = ?, strikes = ?, "
    "at = ?, due_at = ?, owner = ?, closing = ?, waits = ?, epoch = ?, lane = ?, workflow = ?, version = ?, queue = ?, "
    "priority = ?, generation = ?, started_at = ?, ended_at = ?, expires_at = ? "
    "WHERE key = ? AND epoch = ? AND seq = ? AND position = ?"
)


@final
class Row:
    """One row of ``runs``, for one transaction.

    Attributes:
        fence: (epoch, seq, position) as read, and as the write must still find them.
    """

    __slots__ = (
        "at",
        "closing",
        "created_at",
        "due_at",
        "ended_at",
        "epoch",
        "expires_at",
        "fence",
        "flushed_activation",
        "flushed_count",
        "generation",
        "id",
        "key",
        "lane",
        "owner",
        "parent",
        "position",
        "priority",
        "queue",
        "seq",
        "started_at",
        "status",
        "strikes",
        "version",
        "waits",
        "workflow",
    )

    def __init__(self, values: tuple[Any, ...]) -> None:
        self.key: int
        self.id: RunId
        self.status: str
        self.lane: str
        self.workflow: str
        self.version: str | None
        self.queue: str
        self.priority: int
        self.generation: int
        self.epoch: int
        self.seq: int
        self.position: int
        self.flushed_activation: int
        self.flushed_count: int
        self.strikes: int
        self.created_at: float
        self.started_at: float | None
        self.at: float
        self.ended_at: float | None
        self.expires_at: float | None
        self.due_at: float | None
        self.owner: SessionId | None
        self.parent: RunId | None
        self.closing: int
        self.waits: str
        (
            self.key,
            self.id,
            self.status,
            self.lane,
            self.workflow,
            self.version,
            self.queue,
            self.priority,
            self.generation,
            self.epoch,
            self.seq,
            self.position,
            self.flushed_activation,
            self.flushed_count,
            self.strikes,
            self.created_at,
            self.started_at,
            self.at,
            self.ended_at,
            self.expires_at,
            self.due_at,
            self.owner,
            self.parent,
            self.closing,
            self.waits,
        ) = values
        self.fence = (self.epoch, self.seq, self.position)

    @property
    def ended(self) -> bool:
        return self.status in _ENDED

    def rest(self, status: RunStatus, due_at: float | None) -> None:
        """No owner; due then, or not."""
        self.status = str(status)
        self.owner = None
        self.due_at = due_at

    def raise_epoch(self) -> None:
        self.epoch += 1
        self.seq = 0

    def enter_own_lane(self) -> None:
        self.lane = Lane(self.queue, self.workflow, self.version).key

    def enter_closing_lane(self) -> None:
        self.lane = CLOSING_LANE.key

    def next_generation(self) -> None:
        """An empty journal under the next number; the old one is kept."""
        self.generation += 1
        self.position = 0
        self.flushed_activation = self.flushed_count = 0
        self.waits = ""

    def _hot(self) -> tuple[object, ...]:
        return (
            self.status,
            self.seq,
            self.position,
            self.flushed_activation,
            self.flushed_count,
            self.strikes,
            self.at,
            self.due_at,
            self.owner,
            self.closing,
            self.waits,
            self.epoch,
        )

    def save(self, raw: sqlite3.Connection) -> None:
        """Write back what changes often."""
        self._write(raw, _SAVE, self._hot())

    def save_all(self, raw: sqlite3.Connection) -> None:
        """Write back everything: at ends and new beginnings."""
        cold = (
            self.lane,
            self.workflow,
            self.version,
            self.queue,
            self.priority,
            self.generation,
            self.started_at,
            self.ended_at,
            self.expires_at,
        )
        self._write(raw, _SAVE_ALL, (*self._hot(), *cold))

    def _write(self, raw: sqlite3.Connection, statement: str, values: tuple[object, ...]) -> None:
        written = raw.execute(statement, (*values, self.key, *self.fence)).rowcount
        assert written == 1  # I4: the fence that was read still stands in the same transaction
        self.fence = (self.epoch, self.seq, self.position)


def find(raw: sqlite3.Connection, id: RunId) -> Row | None:
    """The row of a run, by its id."""
    values = raw.execute(_FIND, (id,)).fetchone()
    return None if values is None else Row(values)


# ── waits as text ────────────────────────────────────────────────────────────────────────────────────────────────────


def write_waits(waits: tuple[Wait, ...]) -> str:
    """The summary as one text; empty for none."""
    if not waits:
        return ""
    return json.dumps(
        [
            (str(one.kind), one.name, one.call, one.since, one.until, one.attempt, one.attempts_max, one.error)
            for one in waits
        ],
        separators=(",", ":"),
    )


def _read_waits(text: str) -> tuple[Wait, ...]:
    if text == "":
        return ()
    return tuple(
        Wait(WaitKind(kind), name, call, since, until, attempt, attempts_max, error)
        for kind, name, call, since, until, attempt, attempts_max, error in json.loads(text)
    )


# ── records ──────────────────────────────────────────────────────────────────────────────────────────────────────────

RECORD_COLUMNS: Final = (
    "r.id, r.workflow, r.version, r.queue, r.priority, r.status, r.generation, r.epoch, r.position, "
    "r.flushed_activation, r.flushed_count, r.strikes, d.tries, d.seed, d.digest, r.created_at, r.started_at, r.at, "
    "r.ended_at, r.due_at, r.owner, r.parent, d.parent_call, d.parent_generation, d.parent_on_close, d.parent_notify, "
    "d.on_complete, r.waits, d.blocked, d.blocked_kind, d.blocked_call, d.error, d.terminated, r.closing, d.rewind, "
    "EXISTS (SELECT 1 FROM labels l WHERE l.run = r.key), r.key"
)


def read_record(raw: sqlite3.Connection, values: Sequence[Any]) -> RunRecord:
    """A run as the protocol shows it, from ``RECORD_COLUMNS`` and its labels."""
    (
        id,
        workflow,
        version,
        queue,
        priority,
        status,
        generation,
        epoch,
        position,
        flushed_activation,
        flushed_count,
        strikes,
        tries,
        seed,
        digest,
        created_at,
        started_at,
        at,
        ended_at,
        due_at,
        owner,
        parent,
        parent_call,
        parent_generation,
        parent_on_close,
        parent_notify,
        on_complete,
        waits,
        blocked,
        blocked_kind,
        blocked_call,
        error,
        terminated,
        closing,
        rewind,
        labelled,
        key,
    ) = values
    labels: list[tuple[str, str]] = []
    if labelled:
        labels = raw.execute("SELECT name, value FROM labels WHERE run = ? ORDER BY name", (key,)).fetchall()
    return RunRecord(
        id=id,
        workflow=workflow,
        version=version,
        queue=queue,
        priority=priority,
        status=RunStatus(status),
        generation=generation,
        epoch=epoch,
        position=position,
        flushed=(flushed_activation, flushed_count),
        strikes=strikes,
        tries=tries,
        seed=seed,
        digest=digest,
        created_at=created_at,
        started_at=started_at,
        at=at,
        ended_at=ended_at,
        due_at=due_at,
        owner=owner,
        labels=dict(labels),
        parent=read_parent(parent, parent_call, parent_generation, parent_on_close, parent_notify),
        on_complete=on_complete,
        waits=_read_waits(waits),
        blocked=blocked,
        blocked_kind=blocked_kind,
        blocked_call=blocked_call,
        error=error,
        terminated=bool(terminated),
        closing=bool(closing),
        rewind=rewind,
    )


def read_parent(run: RunId | None, call: str, generation: int, on_close: Any, notify: int) -> Parent | None:
    """The call that started a run, from its columns."""
    return None if run is None else Parent(run, call, generation, on_close, bool(notify))
