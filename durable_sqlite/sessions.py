"""Worker sessions: their rows, and what happens to their runs when they go."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from durable.store import SessionId, SessionRecord, WorkerSession

__all__ = [
    "Holder",
    "Idle",
    "Known",
    "back_off",
    "beat",
    "holders",
    "known",
    "leave",
    "list_all",
    "reap",
    "release",
    "renew",
]

FORGET_SECONDS: Final = 2 * 86_400.0  # the dead are remembered for a day at least; this is twice that

_FIND: Final = (
    "SELECT name, registered, queues, expires_at, lease_seconds, lost_runs, last_poll, last_claims FROM sessions "
    "WHERE id = ?"
)
_BEAT: Final = (
    "INSERT INTO sessions (id, name, registered, queues, started_at, seen_at, expires_at, lease_seconds) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name, "
    "registered = excluded.registered, queues = excluded.queues, seen_at = excluded.seen_at, "
    "expires_at = excluded.expires_at, lease_seconds = excluded.lease_seconds RETURNING lost_runs"
)
# Who holds runs, and in which lanes: one step of the index per (owner, lane), however many runs they hold.
_HOLDERS: Final = (
    "WITH RECURSIVE heads (key, owner, lane) AS ("
    "SELECT * FROM (SELECT key, owner, lane FROM runs INDEXED BY runs_owner WHERE owner IS NOT NULL "
    "ORDER BY owner, lane LIMIT 1) "
    "UNION ALL SELECT r.key, r.owner, r.lane FROM heads JOIN runs r ON r.key = ("
    "SELECT n.key FROM runs n INDEXED BY runs_owner WHERE n.owner IS NOT NULL "
    "AND (n.owner, n.lane) > (heads.owner, heads.lane) ORDER BY n.owner, n.lane LIMIT 1)) "
    "SELECT heads.owner, heads.lane, s.expires_at FROM heads LEFT JOIN sessions s ON s.id = heads.owner"
)


@dataclass(frozen=True, slots=True)
class Known:
    """What the store knows of a session that polls again.

    Attributes:
        last_claims: (run, epoch, lonely) of ``last_poll``.
    """

    name: str
    registered: str
    queues: str
    expires_at: float
    lease_seconds: float
    lost_runs: bool
    last_poll: str | None
    last_claims: tuple[tuple[Any, int, bool], ...]


@dataclass(frozen=True, slots=True)
class Holder:
    """A session that holds runs of a lane."""

    session: SessionId
    lane: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class Idle:
    """What an idle poll has said and nobody has written down: known to this process, until the session next writes.

    Other processes see the older lease, which has at least two thirds to go at that moment.
    """

    poll_id: str
    seen_at: float
    expires_at: float


def known(raw: sqlite3.Connection, session: SessionId) -> Known | None:
    """The session's row."""
    row = raw.execute(_FIND, (session,)).fetchone()
    if row is None:
        return None
    name, registered, queues, expires_at, lease_seconds, lost_runs, last_poll, last_claims = row
    claims = tuple((run, epoch, lonely) for run, epoch, lonely in json.loads(last_claims))
    return Known(name, registered, queues, expires_at, lease_seconds, bool(lost_runs), last_poll, claims)


def words(session: WorkerSession) -> tuple[str, str]:
    """What it has registered and which queues it reads, as the row has them."""
    return json.dumps(session.registered), json.dumps(session.queues)


def beat(raw: sqlite3.Connection, session: WorkerSession, now: float) -> bool:
    """The lease runs from now; returns whether runs were taken from this session without its knowing."""
    registered, queues = words(session)
    expires_at = now + session.lease_seconds
    values = (session.id, session.name, registered, queues, now, now, expires_at, session.lease_seconds)
    return bool(raw.execute(_BEAT, values).fetchone()[0])


def renew(raw: sqlite3.Connection, session: WorkerSession, now: float) -> bool:
    """See ``Store.renew``; the bad news stays until a poll shows that it was heard: an answer may be late, or lost."""
    return not beat(raw, session, now)


def holders(raw: sqlite3.Connection, idle: Mapping[SessionId, Idle]) -> list[Holder]:
    """Who holds runs, lane by lane. A session without a row has no lease."""
    found: list[Holder] = []
    for owner, lane, expires_at in raw.execute(_HOLDERS):
        known_here = idle.get(owner)
        if expires_at is None:
            expires_at = float("-inf")
        elif known_here is not None:
            expires_at = known_here.expires_at
        found.append(Holder(owner, lane, expires_at))
    return found


def back_off(strikes: int, lonely_after: int) -> float:
    """Seconds before a run is claimable again whose owner was lost."""
    return 0.0 if strikes < lonely_after else min(60.0, 2.0 ** min(strikes - lonely_after, 6))


def reap(
    raw: sqlite3.Connection, session: SessionId, idle: Mapping[SessionId, Idle], lonely_after: int, now: float
) -> bool:
    """An expired or dead session loses its runs, with the strikes that they have; returns whether there were any."""
    runs = [key for (key,) in raw.execute("SELECT key FROM runs WHERE owner = ?", (session,))]
    for key in runs:
        release(raw, key, now, strike=True, lonely_after=lonely_after)
    _finish(raw, session, idle, now)
    raw.execute("UPDATE sessions SET lost_runs = ? WHERE id = ?", (bool(runs), session))
    return bool(runs)


def _finish(raw: sqlite3.Connection, session: SessionId, idle: Mapping[SessionId, Idle], now: float) -> None:
    """The session's lease is over now, if it was not before; what was not written down is written now."""
    known_here = idle.get(session)
    if known_here is not None:
        raw.execute(
            "UPDATE sessions SET seen_at = ?, expires_at = ?, last_poll = ?, last_claims = '[]' WHERE id = ?",
            (known_here.seen_at, known_here.expires_at, known_here.poll_id, session),
        )
    raw.execute("UPDATE sessions SET expires_at = min(expires_at, ?) WHERE id = ?", (now, session))


def release(raw: sqlite3.Connection, key: int, now: float, *, strike: bool, lonely_after: int | None) -> None:
    """The owner is gone without a commit: the run is claimable at once, or after a back-off."""
    strikes, ended = raw.execute("SELECT strikes, ended_at IS NOT NULL FROM runs WHERE key = ?", (key,)).fetchone()
    due_at = now
    if not ended:
        strikes = strikes if strike else max(0, strikes - 1)
        due_at = now if lonely_after is None else now + back_off(strikes, lonely_after)
    raw.execute("UPDATE runs SET owner = NULL, due_at = ?, strikes = ? WHERE key = ?", (due_at, strikes, key))


def leave(raw: sqlite3.Connection, session: SessionId, idle: Mapping[SessionId, Idle], now: float) -> None:
    """See ``Store.leave``."""
    for (key,) in raw.execute("SELECT key FROM runs WHERE owner = ?", (session,)).fetchall():
        release(raw, key, now, strike=False, lonely_after=None)
    _finish(raw, session, idle, now)


def forget_old(raw: sqlite3.Connection, now: float) -> None:
    """Forget sessions that are long dead and hold nothing."""
    raw.execute(
        "DELETE FROM sessions WHERE expires_at < ? AND NOT EXISTS (SELECT 1 FROM runs WHERE owner = sessions.id)",
        (now - FORGET_SECONDS,),
    )


def in_doubt(raw: sqlite3.Connection, now: float) -> list[SessionId]:
    """Sessions of which it matters whether their processes live."""
    rows = raw.execute(
        "SELECT id FROM sessions WHERE expires_at > ? OR EXISTS (SELECT 1 FROM runs WHERE owner = sessions.id)", (now,)
    )
    return [SessionId(id) for (id,) in rows]


def list_all(
    raw: sqlite3.Connection, now: float, idle: Mapping[SessionId, Idle], is_dead: Callable[[SessionId], bool]
) -> list[SessionRecord]:
    """Every session, newest first.

    Args:
        idle: What this process knows better than the table.
        is_dead: Whether the session's process is proven dead; asked for those whose lease still runs.
    """
    rows = raw.execute(
        "SELECT id, name, registered, queues, started_at, seen_at, expires_at, lost_runs, "
        "(SELECT count(*) FROM runs WHERE owner = sessions.id) FROM sessions ORDER BY started_at DESC, id DESC"
    ).fetchall()
    records: list[SessionRecord] = []
    for id, name, registered, queues, started_at, seen_at, expires_at, lost_runs, held in rows:
        known_here = None if lost_runs else idle.get(id)
        if known_here is not None:
            seen_at, expires_at = known_here.seen_at, known_here.expires_at
        record = SessionRecord(
            id=id,
            name=name,
            registered=tuple((workflow, version) for workflow, version in json.loads(registered)),
            queues=tuple(json.loads(queues)),
            started_at=started_at,
            seen_at=seen_at,
            expires_at=expires_at,
            alive=expires_at > now and not is_dead(id),
            held=held,
        )
        records.append(record)
    return records
