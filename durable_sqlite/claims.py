"""One poll: renew, take from the dead, reconcile, claim, and tell what is new.

A poll that has nothing to write is answered from a read transaction, by ``glance``; everything else is decided anew by
``poll`` in a write transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping
from typing import Final

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
from durable_sqlite.rows import RECORD_COLUMNS, read_record

__all__ = ["glance", "poll"]

# A run of this id that was purged may have a worker that lives on: no epoch comes again (see ``upkeep``).
_NEXT_EPOCH: Final = "max(epoch, (SELECT epochs_purged FROM tide)) + 1"
_TAKE: Final = (
    f"UPDATE runs SET epoch = {_NEXT_EPOCH}, seq = 0, owner = ?, due_at = NULL, "  # noqa: S608
    "strikes = strikes + 1, status = 'running', "
    "at = iif(started_at IS NULL, max(at, ?), at), started_at = coalesce(started_at, max(at, ?)), "
    "version = ?, lane = ? WHERE key = ?"
)
_TAKE_CLOSING: Final = f"UPDATE runs SET epoch = {_NEXT_EPOCH}, seq = 0, owner = ?, due_at = NULL WHERE key = ?"  # noqa: S608
_CLAIMED: Final = (
    f"SELECT {RECORD_COLUMNS}, i.input FROM runs r JOIN details d ON d.run = r.key "  # noqa: S608
    "JOIN inputs i ON i.run = r.key WHERE r.id = ? AND r.owner = ? AND r.epoch = ?"
)

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
    news |= _reconcile(raw, worker.id, want, claims if repeated else [], now)  # (3)
    if not repeated:
        claims, blocked = _claim(raw, worker.id, want, now)  # (4)
        news |= blocked
    owned = _owned(raw, worker.id)
    unheard = any(one.run not in owned or owned[one.run][1] != one.epoch for one in want.held)
    raw.execute(
        "UPDATE sessions SET lost_runs = lost_runs AND ?, last_poll = ?, last_claims = ? WHERE id = ?",
        (unheard, want.poll_id, json.dumps(claims), worker.id),
    )
    found = [head.due_at for head in heads(raw, {lane.key for lane in want.lanes})]
    standing = [holder for holder in others if holder.session not in gone]
    return _answer(raw, worker, want, owned, claims, standing, found, now), gone, news


def _owned(raw: sqlite3.Connection, session: SessionId) -> Owned:
    return {
        run: (key, epoch)
        for run, key, epoch in raw.execute("SELECT id, key, epoch FROM runs WHERE owner = ?", (session,))
    }


def _reconcile(raw: sqlite3.Connection, session: SessionId, want: Want, claims: Claims, now: float) -> bool:
    """Runs that the session owns without knowing it are released: the answer that said so was lost."""
    held = {one.run: one.epoch for one in want.held}
    claimed = {run: epoch for run, epoch, _ in claims}
    released = False
    for run, (key, epoch) in _owned(raw, session).items():
        if held.get(run) != epoch and claimed.get(run) != epoch:
            sessions.release(raw, key, now, strike=False, lonely_after=want.lonely_after)
            released = True
    return released


def _claim(raw: sqlite3.Connection, session: SessionId, want: Want, now: float) -> tuple[Claims, bool]:
    """Take due runs, in order, until there are enough. Also: whether any was blocked."""
    claims: Claims = []
    blocked = lonely_taken = False
    if want.limit <= 0:
        return claims, blocked
    lanes = {lane.key: lane for lane in want.lanes}
    for run in due_runs(raw, heads(raw, lanes), now):
        lonely = not run.ended and run.strikes >= want.lonely_after
        if lonely and run.strikes >= want.lonely_after + want.crash_budget:
            _block(raw, run)
            blocked = True
        elif not (lonely and lonely_taken):
            lonely_taken = lonely_taken or lonely
            id, epoch = _take(raw, session, run, lanes[run.lane], now)
            claims.append((id, epoch, lonely))
            if len(claims) == want.limit:
                break
    return claims, blocked


def _take(raw: sqlite3.Connection, session: SessionId, run: DueRun, lane: Lane, now: float) -> tuple[RunId, int]:
    raw.execute("DELETE FROM stamps WHERE run = ?", (run.key,))
    if run.ended:
        raw.execute(_TAKE_CLOSING, (session, run.key))
    else:
        version, key = run.version, run.lane
        if version is None and lane.pin is not None:
            version, key = lane.pin, Lane(lane.queue, lane.workflow, lane.pin).key
        raw.execute(_TAKE, (session, now, now, version, key, run.key))
    id, epoch = raw.execute("SELECT id, epoch FROM runs WHERE key = ?", (run.key,)).fetchone()
    return id, epoch


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
        claims=tuple(claim for run, epoch, lonely in claims for claim in _read(raw, worker.id, run, epoch, lonely)),
        messages=tuple(_news(raw, worker.id, held)),
        lost=tuple(lost),
        next_due_at=min(instants, default=None),
    )


def _read(raw: sqlite3.Connection, session: SessionId, run: RunId, epoch: int, lonely: bool) -> list[Claim]:
    """The claim as it now stands, if it does."""
    row = raw.execute(_CLAIMED, (run, session, epoch)).fetchone()
    if row is None:
        return []
    *values, key, input = row
    record = read_record(raw, (*values, key))
    return [Claim(record, input, tuple(inbox.unread(raw, run, key, 0, PAGE_SIZE_MAX)), lonely)]


def _news(raw: sqlite3.Connection, session: SessionId, held: Collection[tuple[Held, int]]) -> list[InboxMessage]:
    """Unread messages of held runs. The inboxes' heads tell at once which runs have any that are new."""
    heads = dict(
        raw.execute(
            "SELECT i.run, i.last_seq FROM runs r JOIN inboxes i ON i.run = r.key WHERE r.owner = ?", (session,)
        )
    )
    return [
        message
        for one, key in held
        if heads.get(key, 0) > one.seen
        for message in inbox.unread(raw, one.run, key, one.seen, PAGE_SIZE_MAX)
    ]
