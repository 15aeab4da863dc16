"""One poll: renew, take from the dead, reconcile, claim, and tell what is new.

A poll that has nothing to write is answered from a read transaction, by ``glance``; everything else is decided anew by
``poll`` in a write transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping
from typing import Any, Final

from durable.store import (
    PAGE_SIZE_MAX,
    Claim,
    Held,
    InboxMessage,
    Lane,
    Poll,
    RunId,
    SessionId,
    Want,
    WorkerSession,
)
from durable_sqlite import inbox, sessions
from durable_sqlite.due import DueRun, due_runs, heads
from durable_sqlite.given import Given
from durable_sqlite.rows import RECORD_COLUMNS, read_record

__all__ = ["STATEMENTS", "glance", "poll"]

_TAKE: Final = Given(
    "UPDATE runs SET epoch = given.epoch, seq = 0, owner = given.owner, due_at = NULL, "
    "strikes = strikes + 1, status = 'running', "
    "at = iif(started_at IS NULL, max(at, given.now), at), started_at = coalesce(started_at, max(at, given.now)), "
    "version = given.version, lane = given.lane FROM given WHERE runs.key = given.key",
    *("key", "epoch", "owner", "now", "version", "lane"),
)
_TAKE_CLOSING: Final = Given(
    "UPDATE runs SET epoch = given.epoch, seq = 0, owner = given.owner, due_at = NULL FROM given "
    "WHERE runs.key = given.key",
    *("key", "epoch", "owner"),
)
# Lists of numbers and texts come as one text, since each row would be a step (see ``given``).
_OWNED: Final = "SELECT json_group_array(json_array(id, key, epoch)) FROM runs WHERE owner = ?"
_INBOXES: Final = (
    "SELECT json_group_array(json_array(i.run, i.last_seq)) FROM runs r JOIN inboxes i ON i.run = r.key "
    "WHERE r.owner = ?"
)
_CLAIMED: Final = (
    f"SELECT i.input, EXISTS (SELECT 1 FROM messages m WHERE m.run = r.key AND m.consumed = 0), {RECORD_COLUMNS} "  # noqa: S608
    "FROM json_each(?) w CROSS JOIN runs r ON r.key = w.value CROSS JOIN details d ON d.run = r.key "
    "CROSS JOIN inputs i ON i.run = r.key"
)
_FORGET_STAMPS: Final = "DELETE FROM stamps WHERE run IN (SELECT value FROM json_each(?))"
STATEMENTS: Final = {"take": _TAKE, "take for closing": _TAKE_CLOSING}

Owned = dict[RunId, tuple[int, int]]  # (key, epoch) of each run that the session owns
Claims = list[tuple[RunId, int, bool]]  # (run, epoch, lonely)


def glance(
    raw: sqlite3.Connection, worker: WorkerSession, want: Want, idle: Mapping[SessionId, sessions.Idle], now: float
) -> tuple[Poll | None, list[SessionId]]:
    """Answer a poll that changes nothing; else None. Also: the sessions that hold runs with a lease that still stands.

    Args:
        idle: Polls of sessions of this process that were answered so, since they last wrote.
    """
    last_poll = idle[worker.id].poll_id if worker.id in idle else None
    others = [holder for holder in sessions.holders(raw, idle) if holder.session != worker.id]
    living = [holder.session for holder in others if holder.expires_at > now]
    known = sessions.known(raw, worker.id)
    if known is None or known.lost_runs or len(living) < len(others):
        return None, living
    if (known.name, known.registered, known.queues) != (worker.name, *sessions.words(worker)):
        return None, living
    left = known.expires_at - now
    if known.lease_seconds != worker.lease_seconds or not worker.lease_seconds * 2 / 3 <= left:
        return None, living
    if last_poll is None and known.last_poll == want.poll_id:
        return None, living
    owned = _owned(raw, worker.id)
    held = {one.run: one.epoch for one in want.held}
    if any(held.get(run) != epoch for run, (_, epoch) in owned.items()):
        return None, living
    found = heads(raw, {lane.key for lane in want.lanes})
    if want.limit > 0 and last_poll != want.poll_id and any(head.due_at <= now for head in found):
        return None, living
    return _answer(raw, worker, want, owned, (), others, [head.due_at for head in found], now), living


def poll(
    raw: sqlite3.Connection,
    worker: WorkerSession,
    want: Want,
    idle: Mapping[SessionId, sessions.Idle],
    dead: Collection[SessionId],
    now: float,
) -> tuple[Poll, set[SessionId], bool]:
    """See ``Store.poll``; the numbers are its own.

    Also: the sessions that have lost their leases, and whether runs have become claimable, or blocked.

    Args:
        idle: Polls of sessions of this process that were not written down.
        dead: Sessions that are proven dead.
    """
    known = sessions.known(raw, worker.id)
    if known is None:
        sessions.forget_old(raw, now)
    last_poll = idle[worker.id].poll_id if worker.id in idle else None
    sessions.beat(raw, worker, now)  # (1)
    others = [holder for holder in sessions.holders(raw, idle) if holder.session != worker.id]
    gone = {holder.session for holder in others if holder.expires_at <= now or holder.session in dead}
    news = False
    for session in gone:  # (2)
        news |= sessions.reap(raw, session, idle, want.lonely_after, now)
    claims: Claims = [] if known is None or last_poll is not None else list(known.last_claims)
    repeated = want.poll_id == (last_poll if last_poll is not None or known is None else known.last_poll)
    owned = _owned(raw, worker.id)
    news |= _reconcile(raw, owned, want, claims if repeated else [], now)  # (3)
    if not repeated:
        claims, blocked = _claim(raw, worker.id, owned, want, now)  # (4)
        news |= blocked
    unheard = any(one.run not in owned or owned[one.run][1] != one.epoch for one in want.held)
    raw.execute(
        "UPDATE sessions SET lost_runs = lost_runs AND ?, last_poll = ?, last_claims = ? WHERE id = ?",
        (unheard, want.poll_id, json.dumps(claims), worker.id),
    )
    found = [head.due_at for head in heads(raw, {lane.key for lane in want.lanes})]
    standing = [holder for holder in others if holder.session not in gone]
    return _answer(raw, worker, want, owned, claims, standing, found, now), gone, news


def _owned(raw: sqlite3.Connection, session: SessionId) -> Owned:
    (found,) = raw.execute(_OWNED, (session,)).fetchone()
    return {run: (key, epoch) for run, key, epoch in json.loads(found)}


def _reconcile(raw: sqlite3.Connection, owned: Owned, want: Want, claims: Claims, now: float) -> bool:
    """Runs that the session owns without knowing it are released: the answer that said so was lost."""
    held = {one.run: one.epoch for one in want.held}
    claimed = {run: epoch for run, epoch, _ in claims}
    released = False
    for run, (key, epoch) in list(owned.items()):
        if held.get(run) != epoch and claimed.get(run) != epoch:
            sessions.release(raw, key, now, strike=False, lonely_after=want.lonely_after)
            del owned[run]
            released = True
    return released


def _claim(raw: sqlite3.Connection, session: SessionId, owned: Owned, want: Want, now: float) -> tuple[Claims, bool]:
    """Take due runs, in order, until there are enough; they are owned then. Also: whether any was blocked."""
    taken: list[DueRun] = []
    claims: Claims = []
    blocked = lonely_taken = False
    if want.limit <= 0:
        return claims, blocked
    lanes = {lane.key: lane for lane in want.lanes}
    (purged,) = raw.execute("SELECT epochs_purged FROM tide").fetchone()
    for run in due_runs(raw, heads(raw, lanes), now):
        lonely = not run.ended and run.strikes >= want.lonely_after
        if lonely and run.strikes >= want.lonely_after + want.crash_budget:
            _block(raw, run)
            blocked = True
        elif not (lonely and lonely_taken):
            lonely_taken = lonely_taken or lonely
            # A run of this id that was purged may have a worker that lives on: no epoch comes again (see ``upkeep``).
            epoch = max(run.epoch, purged) + 1
            owned[run.id] = (run.key, epoch)
            claims.append((run.id, epoch, lonely))
            taken.append(run)
            if len(claims) == want.limit:
                break
    _take(raw, session, taken, owned, lanes, now)
    return claims, blocked


def _take(
    raw: sqlite3.Connection,
    session: SessionId,
    runs: Collection[DueRun],
    owned: Owned,
    lanes: Mapping[str, Lane],
    now: float,
) -> None:
    """Write down that the session owns them."""
    open_runs: list[tuple[Any, ...]] = []
    closing: list[tuple[Any, ...]] = []
    for run in runs:
        epoch, lane = owned[run.id][1], lanes[run.lane]
        if run.ended:
            closing.append((run.key, epoch, session))
            continue
        version, key = run.version, run.lane
        if version is None and lane.pin is not None:
            version, key = lane.pin, Lane(lane.queue, lane.workflow, lane.pin).key
        open_runs.append((run.key, epoch, session, now, version, key))
    written = _TAKE.write(raw, open_runs) + _TAKE_CLOSING.write(raw, closing)
    assert written == len(runs)  # I5: they were due in this same transaction
    if any(run.epoch for run in runs):
        raw.execute(_FORGET_STAMPS, (json.dumps([run.key for run in runs]),))


def _block(raw: sqlite3.Connection, run: DueRun) -> None:
    """The crash budget is spent. The strikes stay, for people to see; resume forgets them."""
    raw.execute("UPDATE runs SET status = 'blocked', due_at = NULL WHERE key = ?", (run.key,))
    raw.execute(
        "UPDATE details SET blocked = ?, blocked_kind = 'crash_budget', blocked_call = NULL WHERE run = ?",
        (f"{run.strikes} workers claimed this run and none of them made progress.", run.key),
    )


def _answer(
    raw: sqlite3.Connection,
    worker: WorkerSession,
    want: Want,
    owned: Owned,
    claims: Collection[tuple[RunId, int, bool]],
    others: Collection[sessions.Holder],
    due: Collection[float],
    now: float,
) -> Poll:
    held: list[tuple[Held, int]] = []
    lost: list[RunId] = []
    for one in want.held:
        mine = owned.get(one.run)
        if mine is None or mine[1] != one.epoch:
            lost.append(one.run)
        else:
            held.append((one, mine[0]))
    lanes = {lane.key for lane in want.lanes}
    instants = [*due, *(holder.expires_at for holder in others if holder.lane in lanes)]
    return Poll(
        now=now,
        claims=_read(raw, owned, claims),
        messages=tuple(_news(raw, worker.id, held)),
        lost=tuple(lost),
        next_due_at=min(instants, default=None),
    )


def _read(raw: sqlite3.Connection, owned: Owned, claims: Collection[tuple[RunId, int, bool]]) -> tuple[Claim, ...]:
    """The claims as they now stand, if they do."""
    lonely = {owned[run][0]: lonely for run, epoch, lonely in claims if run in owned and owned[run][1] == epoch}
    if not lonely:
        return ()
    rows = raw.execute(_CLAIMED, (json.dumps(list(lonely)),)).fetchall()
    assert len(rows) == len(lonely)
    found: list[Claim] = []
    for input, has_mail, *values in rows:
        key = values[-1]
        record = read_record(raw, values)
        messages = inbox.unread(raw, record.id, key, 0, PAGE_SIZE_MAX) if has_mail else ()
        found.append(Claim(record, input, tuple(messages), lonely[key]))
    return tuple(found)


def _news(raw: sqlite3.Connection, session: SessionId, held: Collection[tuple[Held, int]]) -> list[InboxMessage]:
    """Unread messages of held runs. The inboxes' heads tell at once which runs have any that are new."""
    if not held:
        return []
    (found,) = raw.execute(_INBOXES, (session,)).fetchone()
    heads = dict(json.loads(found))
    return [
        message
        for one, key in held
        if heads.get(key, 0) > one.seen
        for message in inbox.unread(raw, one.run, key, one.seen, PAGE_SIZE_MAX)
    ]
