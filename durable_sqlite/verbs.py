"""Operator verbs: each a transition of the state graph, carried out once per request."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import assert_never

from durable.store import (
    Cancel,
    Control,
    Controlled,
    Fork,
    Message,
    MessageId,
    MessageKind,
    Pause,
    Resume,
    Retry,
    RunStatus,
    Sent,
    Settle,
    Terminate,
    VerbOutcome,
)
from durable_sqlite import creation, ends, inbox
from durable_sqlite.rows import Row, find

__all__ = ["control"]


def control(raw: sqlite3.Connection, asked: Control, now: float) -> Controlled:
    """See ``Store.control``; every answer is written down, refusals too, so that a repeat answers the same."""
    row = find(raw, asked.run)
    if row is None:
        return Controlled(VerbOutcome.NOT_FOUND, None)
    answered = raw.execute(
        "SELECT outcome, status, generation FROM requests WHERE run = ? AND request = ?", (row.key, asked.request_id)
    ).fetchone()
    if answered is not None:
        return Controlled(VerbOutcome(answered[0]), RunStatus(answered[1]), answered[2])
    outcome = _carry_out(raw, row, asked, now)
    status, generation = raw.execute("SELECT status, generation FROM runs WHERE key = ?", (row.key,)).fetchone()
    raw.execute(
        "INSERT INTO requests (run, request, outcome, status, generation) VALUES (?, ?, ?, ?, ?)",
        (row.key, asked.request_id, str(outcome), status, generation),
    )
    return Controlled(outcome, RunStatus(status), generation)


def _carry_out(raw: sqlite3.Connection, row: Row, asked: Control, now: float) -> VerbOutcome:
    match asked.verb:
        case Cancel() as verb:
            return _cancel(raw, row, verb, now)
        case Terminate() as verb:
            return _terminate(raw, row, verb, now)
        case Pause():
            return _pause(raw, row, asked.request_id, now)
        case Resume():
            return _resume(raw, row, now)
        case Retry() as verb:
            return _retry(raw, row, verb, now)
        case Fork() as verb:
            return _fork(raw, row, verb, now)
        case Settle() as verb:
            return _settle(raw, row, verb, now)
        case _ as never:
            assert_never(never)


def _cancel(raw: sqlite3.Connection, row: Row, verb: Cancel, now: float) -> VerbOutcome:
    if row.ended:
        return VerbOutcome.ALREADY if row.status == RunStatus.CANCELLED else VerbOutcome.NOT_ALLOWED
    unbegun = row.status == RunStatus.PENDING and row.started_at is None
    if row.epoch == 0 or unbegun or row.status == RunStatus.BLOCKED:
        _end(raw, row, verb.reason, verb.outcome, now)
        return VerbOutcome.DONE
    id = MessageId(f"cancel/{row.generation}")
    sent = inbox.send(raw, Message(row.id, id, MessageKind.CANCEL, "", verb.payload), now)
    if sent is Sent.DUPLICATE:
        return VerbOutcome.ALREADY
    if row.status == RunStatus.PAUSED:
        row.rest(RunStatus.WAITING, now)
        row.save(raw)
    return VerbOutcome.ASKED


def _terminate(raw: sqlite3.Connection, row: Row, verb: Terminate, now: float) -> VerbOutcome:
    if row.ended:
        return VerbOutcome.ALREADY if row.status == RunStatus.CANCELLED else VerbOutcome.NOT_ALLOWED
    row.raise_epoch()
    _end(raw, row, verb.reason, verb.outcome, now, terminated=True)
    return VerbOutcome.DONE


def _end(
    raw: sqlite3.Connection, row: Row, reason: str, outcome: bytes, now: float, *, terminated: bool = False
) -> None:
    """The store ends the run itself. Always closing: only a worker can tell whether anything is left to close."""
    ends.end(raw, row, RunStatus.CANCELLED, outcome, reason, max(now, row.at), now, closing=True, terminated=terminated)
    ends.tell_parent(raw, row, outcome, now)


def _pause(raw: sqlite3.Connection, row: Row, request_id: str, now: float) -> VerbOutcome:
    if row.ended or row.status == RunStatus.BLOCKED:
        return VerbOutcome.NOT_ALLOWED
    if row.status == RunStatus.PAUSED or inbox.unread_of_kind(raw, row.key, MessageKind.PAUSE):
        return VerbOutcome.ALREADY
    if row.owner is None:
        row.rest(RunStatus.PAUSED, None)
        row.save(raw)
        return VerbOutcome.DONE
    inbox.send(raw, Message(row.id, MessageId(f"pause/{request_id}"), MessageKind.PAUSE, "", b""), now)
    return VerbOutcome.ASKED


def _resume(raw: sqlite3.Connection, row: Row, now: float) -> VerbOutcome:
    if row.ended:
        return VerbOutcome.NOT_ALLOWED
    if row.status == RunStatus.PAUSED or row.status == RunStatus.BLOCKED:
        raw.execute(
            "UPDATE details SET blocked = NULL, blocked_kind = NULL, blocked_call = NULL WHERE run = ?", (row.key,)
        )
        row.strikes = 0
        row.rest(RunStatus.PENDING if row.epoch == 0 else RunStatus.WAITING, now)
        row.save(raw)
        return VerbOutcome.DONE
    pauses = inbox.unread_of_kind(raw, row.key, MessageKind.PAUSE)
    for id in pauses:
        inbox.consume(raw, row.key, id)
    return VerbOutcome.DONE if pauses else VerbOutcome.ALREADY


def _retry(raw: sqlite3.Connection, row: Row, verb: Retry, now: float) -> VerbOutcome:
    if not row.ended:
        return VerbOutcome.NOT_ALLOWED
    if row.owner is not None:
        row.raise_epoch()
    for id in inbox.unread_of_kind(raw, row.key, MessageKind.PAUSE):
        inbox.consume(raw, row.key, id)  # they were meant for the generation that has ended
    raw.execute("DELETE FROM outcomes WHERE run = ?", (row.key,))
    raw.execute("UPDATE details SET rewind = ?, error = NULL, terminated = 0 WHERE run = ?", (verb.order, row.key))
    row.next_generation()
    row.strikes = 0
    row.closing = 1
    row.ended_at = row.expires_at = None
    row.rest(RunStatus.PENDING, now)
    row.enter_own_lane()
    row.save_all(raw)
    return VerbOutcome.DONE


def _fork(raw: sqlite3.Connection, row: Row, verb: Fork, now: float) -> VerbOutcome:
    if find(raw, verb.new.id) is not None:
        return VerbOutcome.EXISTS
    seed, digest = raw.execute("SELECT seed, digest FROM details WHERE run = ?", (row.key,)).fetchone()
    (input,) = raw.execute("SELECT input FROM inputs WHERE run = ?", (row.key,)).fetchone()
    version = row.version if verb.new.version is None else verb.new.version
    key = creation.add(raw, replace(verb.new, version=version, input=input, seed=seed, digest=digest), now)
    raw.execute("UPDATE details SET rewind = ? WHERE run = ?", (verb.order, key))
    if row.started_at is not None:
        raw.execute("UPDATE runs SET started_at = ?, at = ? WHERE key = ?", (row.started_at, row.started_at, key))
    return VerbOutcome.DONE


def _settle(raw: sqlite3.Connection, row: Row, verb: Settle, now: float) -> VerbOutcome:
    if row.status != RunStatus.BLOCKED or verb.position != row.position:
        return VerbOutcome.NOT_ALLOWED
    (ordered,) = raw.execute("SELECT rewind IS NOT NULL FROM details WHERE run = ?", (row.key,)).fetchone()
    if ordered:  # the journal is still to be made by the next claim
        return VerbOutcome.NOT_ALLOWED
    row.at = max(now, row.at)
    raw.execute(
        "INSERT INTO journal (run, generation, position, at, epoch, seq, data) VALUES (?, ?, ?, ?, 0, 0, ?)",
        (row.key, row.generation, row.position, row.at, verb.entry),
    )
    raw.execute("UPDATE details SET blocked = NULL, blocked_kind = NULL, blocked_call = NULL WHERE run = ?", (row.key,))
    row.position += 1
    row.strikes = 0
    row.rest(RunStatus.WAITING, now)
    row.save(raw)
    return VerbOutcome.DONE
