"""``SqliteStore``: the Store protocol over one SQLite file. This is its face; each verb is one function in one hop."""

from __future__ import annotations

import asyncio
import sqlite3
import weakref
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import final

from durable.clock import Clock, SystemClock
from durable.errors import StoreError
from durable.store import (
    PAGE_SIZE_MAX,
    Commit,
    Committed,
    Control,
    Controlled,
    Created,
    InboxMessage,
    JournalPage,
    Message,
    NewRun,
    Poll,
    PurgeQuery,
    RecordRow,
    RunId,
    RunPage,
    RunQuery,
    RunRecord,
    RunStatus,
    Sent,
    SessionId,
    SessionRecord,
    StreamPage,
    Want,
    WorkerSession,
)
from durable_sqlite import commits as _commits
from durable_sqlite import (
    creation,
    inbox,
    listing,
    locks,
    polls,
    reads,
    records,
    sessions,
    upkeep,
    verbs,
)
from durable_sqlite.database import Database
from durable_sqlite.hub import Hub, Listener
from durable_sqlite.url import parse

__all__ = ["SqliteStore"]


@final
class SqliteStore:
    """Runs in one SQLite file, for any number of processes on one machine.

    Args:
        url: ``sqlite:///relative.db``, ``sqlite:////absolute/path.db`` or ``sqlite:///:memory:``; options
            ``durability=full|relaxed`` (whether a power loss may cost what was just acknowledged) and
            ``create=true|false``.
        clock: The store's clock; the system's by default.

    Raises:
        InvalidInput: The URL says something else.
    """

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        self._url = url
        self._clock: Clock = SystemClock() if clock is None else clock
        self._database = Database(parse(url), self._clock)
        self._opened = False
        self._listeners: weakref.WeakSet[Listener] = weakref.WeakSet()
        self._watchers: dict[asyncio.AbstractEventLoop, asyncio.Task[None]] = {}
        self._closed = False

    # ── lifecycle ────────────────────────────────────────────────────────────────────────────────────────────────

    async def open(self) -> None:
        if self._opened:
            return
        await self._database.open()
        self._opened = True
        self._closed = False

    async def close(self) -> None:
        self._closed = True
        for listener in list(self._listeners):
            listener.close()
        self._listeners.clear()
        self._stop_watching()
        if self._opened:
            self._opened = False
            await self._database.close()

    def dedicated(self) -> SqliteStore:
        twin = SqliteStore(self._url, clock=self._clock)
        twin._database = self._database.twin()
        return twin

    def changes(self) -> AsyncIterator[None]:
        return self._listen(Listener(self._watch))

    def work(self) -> AsyncIterator[None]:
        return self._listen(Listener(self._watch, work_only=True))

    def _listen(self, listener: Listener) -> Listener:
        if self._closed:
            listener.close()
            return listener
        self._listeners.add(listener)
        self._hub().listen(listener)
        return listener

    @property
    def hinted(self) -> bool:
        return True

    def _hub(self) -> Hub:
        hub = self._database.hub
        if hub is None:
            raise StoreError("This store is not open.")
        return hub

    # ── other processes' writes ──────────────────────────────────────────────────────────────────────────────────

    def _watch(self) -> None:
        """Have other processes' writes looked for in the running loop, as long as anybody listens."""
        loop = asyncio.get_running_loop()
        watcher = self._watchers.get(loop)
        if not self._closed and not self._database.in_memory and (watcher is None or watcher.done()):
            self._watchers[loop] = loop.create_task(self._look_out())

    async def _look_out(self) -> None:
        while self._listeners and not self._closed:
            await self._clock.sleep(self._database.look_seconds())
            try:
                await self._database.look()
            except StoreError:
                continue  # busy or in trouble: whoever calls next is told

    def _stop_watching(self) -> None:
        for loop, watcher in self._watchers.items():
            try:
                loop.call_soon_threadsafe(watcher.cancel)
            except RuntimeError:  # its loop is closed, and the task with it
                pass
        self._watchers.clear()

    # ── runs and workers ─────────────────────────────────────────────────────────────────────────────────────────

    async def create(self, runs: Sequence[NewRun]) -> Sequence[Created]:
        return await self._database.write_batch(runs, creation.create, hints=True)

    async def poll(self, session: WorkerSession, want: Want) -> Poll:
        return await polls.poll(self._database, self._hub(), self._clock, session, want)

    async def renew(self, session: WorkerSession) -> bool:
        hub = self._hub()

        def renew(raw: sqlite3.Connection, now: float) -> tuple[bool, float]:
            return sessions.renew(raw, session, now), now

        standing, now = await self._database.write(renew, synced=False)
        hub.renewed(session.id, now, now + session.lease_seconds)
        return standing

    async def leave(self, session: SessionId) -> None:
        hub = self._hub()

        def leave(raw: sqlite3.Connection) -> None:
            self._database.write_here(raw, lambda raw, now: sessions.leave(raw, session, hub.idle, now), hints=True)

        # In its own turn, and in nobody's transaction: a poll of this session that was asked for before, and that
        # nobody waits for any more, claims before it, not behind it.
        await self._database.run_writer(leave)
        hub.drop(session)

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        hints = any(map(_commits.hints, commits))
        work = hints and any(map(_commits.is_work, commits))
        return await self._database.write_batch(
            commits, _commits.commit, hints=hints, work=work, whole=_commits.commit_all
        )

    async def send(self, messages: Sequence[Message]) -> Sequence[Sent]:
        return await self._database.write_batch(messages, inbox.send, hints=True)

    async def control(self, controls: Sequence[Control]) -> Sequence[Controlled]:
        return await self._database.write_batch(controls, verbs.control, hints=True)

    # ── reads ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def now(self) -> float:
        return float(self._clock.now())

    async def get(self, runs: Sequence[RunId]) -> Sequence[RunRecord | None]:
        return await self._database.read(lambda raw: reads.get(raw, runs))

    async def input(self, run: RunId) -> bytes | None:
        return await self._database.read(lambda raw: reads.input_of(raw, run))

    async def outcome(self, run: RunId) -> bytes | None:
        return await self._database.read(lambda raw: reads.outcome(raw, run))

    async def list(self, query: RunQuery, limit: int = 100, cursor: str | None = None) -> RunPage:
        return await self._database.read(lambda raw: listing.list_runs(raw, query, limit, cursor))

    async def count(self, query: RunQuery) -> int:
        return await self._database.read(lambda raw: listing.count(raw, query))

    async def journal(self, run: RunId, generation: int, start: int = 0, limit: int = PAGE_SIZE_MAX) -> JournalPage:
        return await self._database.read(lambda raw: reads.journal(raw, run, generation, start, limit))

    async def messages(
        self, run: RunId, after: int = 0, limit: int = PAGE_SIZE_MAX, unread_only: bool = True
    ) -> Sequence[InboxMessage]:
        return await self._database.read(lambda raw: reads.messages(raw, run, after, limit, unread_only))

    async def values(self, run: RunId) -> Mapping[str, bytes]:
        return await self._database.read(lambda raw: reads.values(raw, run))

    async def stream(self, run: RunId, name: str, start: int = 0, limit: int = PAGE_SIZE_MAX) -> StreamPage:
        return await self._database.read(lambda raw: reads.stream(raw, run, name, start, limit))

    async def parts(self, run: RunId, hashes: Sequence[str]) -> Mapping[str, bytes]:
        return await self._database.read(lambda raw: reads.parts(raw, run, hashes))

    async def sessions(self) -> Sequence[SessionRecord]:
        hub, now = self._hub(), await self.now()

        def is_dead(session: SessionId) -> bool:
            return hub.directory is not None and not hub.lives_here(session) and locks.is_dead(hub.directory, session)

        return await self._database.read(lambda raw: sessions.list_all(raw, now, hub.idle, is_dead))

    async def purge(self, query: PurgeQuery) -> int:
        purged = await self._database.write(lambda raw, now: upkeep.purge(raw, query, now))
        if purged:
            await self._database.run_writer(upkeep.wipe_log)
        return purged

    async def purgeable(self, query: PurgeQuery) -> Mapping[RunStatus, int]:
        now = await self.now()
        return await self._database.read(lambda raw: upkeep.purgeable(raw, query, now))

    async def shrink(self, bytes_max: int) -> int:
        freed = await self._database.write(lambda raw, now: upkeep.shrink(raw, bytes_max))
        if freed:
            await self._database.run_writer(upkeep.fold)
        return freed

    async def check(self) -> Sequence[str]:
        return await self._database.read(upkeep.check)

    async def stats(self) -> Mapping[str, int]:
        return await self._database.read(upkeep.stats)

    # ── a small key-value side table ─────────────────────────────────────────────────────────────────────────────

    async def put_record(
        self, kind: str, key: str, value: bytes, *, expect: int | None = None, keep_seconds: float | None = None
    ) -> RecordRow | None:
        return await self._database.write(
            lambda raw, now: records.put(raw, kind, key, value, expect, keep_seconds, now)
        )

    async def get_record(self, kind: str, key: str) -> RecordRow | None:
        now = await self.now()
        return await self._database.read(lambda raw: records.get(raw, kind, key, now))

    async def list_records(self, kind: str, after: str = "", limit: int = 100) -> Sequence[RecordRow]:
        now = await self.now()
        return await self._database.read(lambda raw: records.list_after(raw, kind, after, limit, now))

    async def delete_record(self, kind: str, key: str) -> bool:
        return await self._database.write(lambda raw, now: records.delete(raw, kind, key, now))
