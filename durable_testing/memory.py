"""``MemoryStore``: the Store protocol over dictionaries. The reference model that other adapters are compared with.

No operation awaits anything, and each holds one lock from its first read to its last write: that makes it atomic, for
tasks of one loop and for threads alike.
"""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import final

from durable.clock import Clock, SystemClock
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
from durable_testing._memory import commits as _commits
from durable_testing._memory import controls as _controls
from durable_testing._memory import polls as _polls
from durable_testing._memory import reads as _reads
from durable_testing._memory import records as _records
from durable_testing._memory.hints import Listener
from durable_testing._memory.state import State

__all__ = ["MemoryStore"]

# Data sets with a name live as long as the process: whoever opens the same URL sees the same runs.
_NAMED: dict[str, State] = {}


@final
class MemoryStore:
    """Runs in memory: for tests, for trying things out, and as the model of what a store does.

    Args:
        url: ``memory://`` for data of its own, ``memory://name`` for data shared by this name in this process.
        clock: The store's clock; the system's by default.
    """

    def __init__(self, url: str = "memory://", *, clock: Clock | None = None) -> None:
        name = url.partition("://")[2]
        self._url = url
        self._clock: Clock = SystemClock() if clock is None else clock
        self._state = _NAMED.setdefault(name, State()) if name else State()
        self._lock = self._state.lock
        self._listeners: weakref.WeakSet[Listener] = weakref.WeakSet()
        self._closed = False

    # ── lifecycle ────────────────────────────────────────────────────────────────────────────────────────────────

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        self._closed = True
        for listener in list(self._listeners):
            listener.close()
        self._listeners.clear()

    def dedicated(self) -> MemoryStore:
        twin = MemoryStore(clock=self._clock)
        twin._url = self._url
        twin._state = self._state
        twin._lock = self._lock
        return twin

    def changes(self) -> AsyncIterator[None]:
        listener = Listener()
        if self._closed:
            listener.close()
            return listener
        self._listeners.add(listener)
        with self._lock:
            self._state.hints.add(listener)
        return listener

    @property
    def hinted(self) -> bool:
        return True

    # ── runs and workers ─────────────────────────────────────────────────────────────────────────────────────────

    async def create(self, runs: Sequence[NewRun]) -> Sequence[Created]:
        now = self._clock.now()
        with self._lock:
            answers = [self._state.create(new, now) for new in runs]
            self._state.hints.give()
        return answers

    async def poll(self, session: WorkerSession, want: Want) -> Poll:
        with self._lock:
            return _polls.poll(self._state, session, want, self._clock.now())

    async def renew(self, session: WorkerSession) -> bool:
        with self._lock:
            return _polls.renew(self._state, session, self._clock.now())

    async def leave(self, session: SessionId) -> None:
        with self._lock:
            _polls.leave(self._state, session, self._clock.now())

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        now = self._clock.now()
        with self._lock:
            state = self._state
            answers = [_commits.commit(state, asked, now) for asked in commits]
            if any(map(_commits.hints, commits)):
                state.hints.give()
        return answers

    async def send(self, messages: Sequence[Message]) -> Sequence[Sent]:
        now = self._clock.now()
        with self._lock:
            answers = [self._state.send(message, now) for message in messages]
            self._state.hints.give()
        return answers

    async def control(self, controls: Sequence[Control]) -> Sequence[Controlled]:
        now = self._clock.now()
        with self._lock:
            answers = [_controls.control(self._state, asked, now) for asked in controls]
            self._state.hints.give()
        return answers

    # ── reads ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def now(self) -> float:
        return self._clock.now()

    async def get(self, runs: Sequence[RunId]) -> Sequence[RunRecord | None]:
        with self._lock:
            rows = [self._state.runs.get(id) for id in runs]
            return [None if row is None else row.record() for row in rows]

    async def input(self, run: RunId) -> bytes | None:
        with self._lock:
            row = self._state.runs.get(run)
            return None if row is None else row.input

    async def outcome(self, run: RunId) -> bytes | None:
        with self._lock:
            row = self._state.runs.get(run)
            return None if row is None else row.outcome

    async def list(self, query: RunQuery, limit: int = 100, cursor: str | None = None) -> RunPage:
        with self._lock:
            return _reads.list_runs(self._state, query, limit, cursor)

    async def count(self, query: RunQuery) -> int:
        with self._lock:
            return _reads.count(self._state, query)

    async def journal(self, run: RunId, generation: int, start: int = 0, limit: int = PAGE_SIZE_MAX) -> JournalPage:
        with self._lock:
            row = self._state.runs.get(run)
            return JournalPage((), None) if row is None else JournalPage(*row.rows(generation, start, limit))

    async def messages(
        self, run: RunId, after: int = 0, limit: int = PAGE_SIZE_MAX, unread_only: bool = True
    ) -> Sequence[InboxMessage]:
        with self._lock:
            row = self._state.runs.get(run)
            return () if row is None else _reads.messages(row, after, limit, unread_only)

    async def values(self, run: RunId) -> Mapping[str, bytes]:
        with self._lock:
            row = self._state.runs.get(run)
            return {} if row is None else dict(row.values)

    async def stream(self, run: RunId, name: str, start: int = 0, limit: int = PAGE_SIZE_MAX) -> StreamPage:
        with self._lock:
            return _reads.stream(self._state.runs.get(run), name, start, limit)

    async def parts(self, run: RunId, hashes: Sequence[str]) -> Mapping[str, bytes]:
        with self._lock:
            row = self._state.runs.get(run)
            return {} if row is None else {hash: row.parts[hash] for hash in hashes if hash in row.parts}

    async def sessions(self) -> Sequence[SessionRecord]:
        now = self._clock.now()
        with self._lock:
            rows = sorted(self._state.sessions.values(), key=lambda row: (row.started_at, row.id), reverse=True)
            return [row.record(now) for row in rows]

    async def purge(self, query: PurgeQuery) -> int:
        with self._lock:
            return _reads.purge(self._state, query, self._clock.now())

    async def purgeable(self, query: PurgeQuery) -> Mapping[RunStatus, int]:
        with self._lock:
            return _reads.counted(self._state, query, self._clock.now())

    async def shrink(self, bytes_max: int) -> int:
        return 0  # what is deleted is gone

    async def check(self) -> Sequence[str]:
        with self._lock:
            return self._state.problems()

    async def stats(self) -> Mapping[str, int]:
        with self._lock:
            return _reads.stats(self._state)

    # ── a small key-value side table ─────────────────────────────────────────────────────────────────────────────

    async def put_record(
        self, kind: str, key: str, value: bytes, *, expect: int | None = None, keep_seconds: float | None = None
    ) -> RecordRow | None:
        with self._lock:
            return _records.put(self._state, kind, key, value, expect, keep_seconds, self._clock.now())

    async def get_record(self, kind: str, key: str) -> RecordRow | None:
        with self._lock:
            return _records.get(self._state, kind, key, self._clock.now())

    async def list_records(self, kind: str, after: str = "", limit: int = 100) -> Sequence[RecordRow]:
        with self._lock:
            return _records.list_after(self._state, kind, after, limit, self._clock.now())

    async def delete_record(self, kind: str, key: str) -> bool:
        with self._lock:
            found = _records.get(self._state, kind, key, self._clock.now()) is not None
            self._state.records.pop((kind, key), None)
            return found
