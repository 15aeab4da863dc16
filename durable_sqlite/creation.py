"""Runs come into being: created, or begun anew in place of what was there."""

from __future__ import annotations

import sqlite3
from typing import Final

from durable.store import Created, Creation, Lane, NewRun, RunId, RunStatus
from durable_sqlite import inbox
from durable_sqlite.rows import Row, find, read_parent

__all__ = ["add", "child", "create", "repeated_child"]

_INSERT: Final = (
    "INSERT INTO runs (id, status, lane, workflow, version, queue, priority, generation, epoch, seq, position, "
    "flushed_activation, flushed_count, strikes, created_at, at, due_at, parent, closing, waits) "
    "VALUES (?, 'pending', ?, ?, ?, ?, ?, 1, 0, 0, 0, 0, 0, 0, ?, ?, ?, ?, 0, '') ON CONFLICT (id) DO NOTHING"
)
_INSERT_DETAILS: Final = (
    "INSERT INTO details (run, digest, seed, parent_call, parent_generation, parent_on_close, parent_notify, "
    "replaced_by, on_complete) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_REPLACE_CALL: Final = (
    "UPDATE details SET parent_call = ?, parent_generation = ?, parent_on_close = ?, parent_notify = ? "
    "WHERE run = ? AND EXISTS (SELECT 1 FROM runs WHERE key = details.run AND parent = ?)"
)
_REPLACE_DETAILS: Final = (
    "UPDATE details SET digest = ?, seed = ?, tries = 0, replaced_by = ?, terminated = 0, error = NULL, "
    "blocked = NULL, blocked_kind = NULL, blocked_call = NULL, on_complete = ?, rewind = NULL WHERE run = ?"
)
_CREATED: Final = (
    "SELECT r.workflow, d.digest, r.parent, d.parent_call, d.parent_generation, d.parent_on_close, d.parent_notify, "
    "r.generation, r.status FROM runs r JOIN details d ON d.run = r.key WHERE r.id = ?"
)


def create(raw: sqlite3.Connection, new: NewRun, now: float) -> Created:
    """See ``Store.create``."""
    if add(raw, new, now) is not None:
        return _made(new)
    if new.replace is None:
        return _created(raw, Creation.EXISTED, new.id)
    row = find(raw, new.id)
    assert row is not None
    (replaced_by,) = raw.execute("SELECT replaced_by FROM details WHERE run = ?", (row.key,)).fetchone()
    if new.replace != replaced_by:
        _replace(raw, row, new, now)
    return _created(raw, Creation.REPLACED, new.id)


def child(raw: sqlite3.Connection, new: NewRun, now: float) -> Created:
    """A child of a commit: one whose id exists is left alone, whatever it asks for."""
    return _created(raw, Creation.EXISTED, new.id) if add(raw, new, now) is None else _made(new)


def repeated_child(raw: sqlite3.Connection, new: NewRun) -> Created:
    """The same child in the answer to a repeated commit."""
    if raw.execute("SELECT 1 FROM runs WHERE id = ?", (new.id,)).fetchone() is None:  # purged since
        return Created(Creation.EXISTED, new.workflow, new.digest, new.parent, 1, RunStatus.PENDING)
    return _created(raw, Creation.EXISTED, new.id)


def add(raw: sqlite3.Connection, new: NewRun, now: float) -> int | None:
    """Insert the run, and return its key; None if one of its id exists, which is left alone."""
    parent = new.parent
    lane = Lane(new.queue, new.workflow, new.version).key
    inserted = raw.execute(
        _INSERT,
        (
            new.id,
            lane,
            new.workflow,
            new.version,
            new.queue,
            new.priority,
            now,
            now,
            now + new.delay_seconds,
            None if parent is None else parent.run,
        ),
    )
    if inserted.rowcount == 0:
        return None
    key = inserted.lastrowid
    assert key is not None
    call = (None, None, None, None)
    if parent is not None:
        call = (parent.call, parent.generation, parent.on_close, int(parent.notify))  # type: ignore[assignment]
    raw.execute(_INSERT_DETAILS, (key, new.digest, new.seed, *call, new.replace, new.on_complete))
    raw.execute("INSERT INTO inputs (run, input) VALUES (?, ?)", (key, new.input))
    _label(raw, key, new, now)
    return key


def _label(raw: sqlite3.Connection, key: int, new: NewRun, created_at: float) -> None:
    for name, value in new.labels.items():
        raw.execute(
            "INSERT INTO labels (name, value, created_at, id, run) VALUES (?, ?, ?, ?, ?)",
            (name, value, created_at, new.id, key),
        )


def _replace(raw: sqlite3.Connection, row: Row, new: NewRun, now: float) -> None:
    """The next generation, with everything the starter gives; messages and values of the old one are gone."""
    if row.owner is not None:
        row.raise_epoch()
    has_children = raw.execute("SELECT 1 FROM runs WHERE parent = ? LIMIT 1", (row.id,)).fetchone() is not None
    row.closing = int(bool(row.closing) or has_children)
    inbox.consume_all(raw, row.key, "The run was replaced.")
    raw.execute("DELETE FROM run_values WHERE run = ?", (row.key,))
    raw.execute("DELETE FROM outcomes WHERE run = ?", (row.key,))
    raw.execute("DELETE FROM labels WHERE run = ?", (row.key,))
    raw.execute("UPDATE inputs SET input = ? WHERE run = ?", (new.input, row.key))
    raw.execute(_REPLACE_DETAILS, (new.digest, new.seed, new.replace, new.on_complete, row.key))
    if new.parent is not None:
        call = (new.parent.call, new.parent.generation, new.parent.on_close, int(new.parent.notify))
        raw.execute(_REPLACE_CALL, (*call, row.key, new.parent.run))
    _label(raw, row.key, new, row.created_at)
    row.next_generation()
    row.workflow, row.version, row.queue, row.priority = new.workflow, new.version, new.queue, new.priority
    row.strikes = 0
    row.started_at = row.ended_at = row.expires_at = None
    row.rest(RunStatus.PENDING, now + new.delay_seconds)
    row.enter_own_lane()
    row.save_all(raw)


def _made(new: NewRun) -> Created:
    return Created(Creation.CREATED, new.workflow, new.digest, new.parent, 1, RunStatus.PENDING)


def _created(raw: sqlite3.Connection, outcome: Creation, id: RunId) -> Created:
    row = raw.execute(_CREATED, (id,)).fetchone()
    workflow, digest, parent, call, parent_generation, on_close, notify, generation, status = row
    caller = read_parent(parent, call, parent_generation, on_close, notify)
    return Created(outcome, workflow, digest, caller, generation, RunStatus(status))
