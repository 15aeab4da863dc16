"""One poll, from the reading line to the writing one: which of the two it needs, and who is proven dead."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from durable.clock import Clock
from durable.store import Poll, SessionId, Want, WorkerSession
from durable_sqlite import claims, locks, sessions
from durable_sqlite.database import Database
from durable_sqlite.hub import Hub
from durable_sqlite.sessions import Idle
from durable_sqlite.together import Write

__all__ = ["poll"]

_PROBE_SECONDS: Final = 1.0
_GLANCE_SECONDS: Final = 1.5  # polls that join others look for nobody's death: there must be others now and then


async def poll(database: Database, hub: Hub, clock: Clock, session: WorkerSession, want: Want) -> Poll:
    """See ``Store.poll``. Not synced: a power loss ends every claim anyway."""
    dead: list[SessionId] = []

    def glance(raw: sqlite3.Connection) -> tuple[Poll | None, list[SessionId]]:
        now = float(clock.now())
        hub.glanced_at = clock.monotonic()
        if hub.hold(session.id) and hub.directory is not None:
            locks.sweep(hub.directory, database.read_here(raw, lambda raw: sessions.in_doubt(raw, now)))
        answer, living = database.read_here(raw, lambda raw: claims.glance(raw, session, want, hub.idle, now))
        dead = _proven_dead(hub, clock, living)
        if answer is None or dead:
            return None, dead
        stays = hub.idled(session.id, Idle(want.poll_id, now, now + session.lease_seconds))
        return (answer if stays else None), []

    def write(raw: sqlite3.Connection) -> Poll:
        return _poll(database, hub, raw, session, want, dead)

    def both(raw: sqlite3.Connection) -> Poll:
        nonlocal dead
        answer, dead = glance(raw)
        return write(raw) if answer is None else answer

    if want.ahead and hub.lives_here(session.id) and hub.has_glanced(clock.monotonic(), _GLANCE_SECONDS):
        return await _joined(database, hub, session, want)
    if not database.is_writing:  # nothing to wait for in that line, and one hop is shorter than two
        return await database.run_writer(both)
    answer, dead = await database.run_reader(glance)
    return await database.run_writer(write) if answer is None else answer


async def _joined(database: Database, hub: Hub, session: WorkerSession, want: Want) -> Poll:
    """In the transaction of what was asked for just before, as a rule: no glance, which would see nothing of it.

    Nobody is proven dead here; a poll that follows no write looks for that.
    """
    news, joined, level = False, True, 0
    changes_since: Callable[[], int] = int

    def body(raw: sqlite3.Connection, now: float) -> tuple[Poll, set[SessionId]]:
        nonlocal news, level, changes_since
        (level,) = raw.execute("SELECT level FROM tide").fetchone()
        answer, gone, news = claims.poll(raw, session, want, hub.idle, (), now)
        changes_since = partial(_changes_since, raw, raw.total_changes)
        return answer, gone

    def alone(raw: sqlite3.Connection) -> tuple[Poll, set[SessionId]]:
        nonlocal joined
        joined = False
        return database.write_here(raw, body, synced=False, hints=lambda: news)

    later = False

    def after(polled: tuple[Poll, set[SessionId]]) -> None:
        nonlocal later
        later = changes_since() > 1  # besides the tide itself: what was written behind the poll it has not seen
        for one in (session.id, *polled[1]):
            hub.forget_idle(one)

    answer, _ = await database.join(Write(body, alone, False, lambda: True, after=after))
    # What was joined has raised the tide by one. If it is no higher, every hint until now was of what the poll saw.
    return replace(answer, fresh=not later and hub.tide <= level + joined)


def _changes_since(raw: sqlite3.Connection, seen: int) -> int:
    return raw.total_changes - seen


def _proven_dead(hub: Hub, clock: Clock, living: list[SessionId]) -> list[SessionId]:
    """Sessions whose lease stands and whose process is gone; looked for about once a second."""
    directory = hub.directory
    suspects = [session for session in dict.fromkeys(living) if not hub.lives_here(session)]
    if directory is None or not suspects or not hub.may_probe(clock.monotonic(), _PROBE_SECONDS):
        return []
    return [session for session in suspects if locks.is_dead(directory, session)]


def _poll(
    database: Database, hub: Hub, raw: sqlite3.Connection, session: WorkerSession, want: Want, dead: list[SessionId]
) -> Poll:
    """The proof of death is taken again and kept in hand until what follows from it is written."""
    proofs: dict[SessionId, int] = {}
    try:
        for one in dead:
            proof = None if hub.directory is None else locks.probe(hub.directory, one)
            if proof is not None:
                proofs[one] = proof
        answer, gone = _written(database, hub, raw, session, want, proofs)
    except BaseException:
        for proof in proofs.values():
            os.close(proof)
        raise
    for one in (session.id, *gone):
        hub.forget_idle(one)
    for one, proof in proofs.items():
        assert hub.directory is not None
        locks.forget(hub.directory, one, proof)
    return answer


def _written(
    database: Database,
    hub: Hub,
    raw: sqlite3.Connection,
    session: WorkerSession,
    want: Want,
    proofs: dict[SessionId, int],
) -> tuple[Poll, set[SessionId]]:
    news = False

    def body(raw: sqlite3.Connection, now: float) -> tuple[Poll, set[SessionId]]:
        nonlocal news
        answer, gone, news = claims.poll(raw, session, want, hub.idle, proofs, now)
        return answer, gone

    return database.write_here(raw, body, synced=False, hints=lambda: news)
