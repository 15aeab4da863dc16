"""``FaultStore``: any adapter, with planned faults, and every operation written into the trace."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar, final

from durable.clock import Clock, SystemClock
from durable.errors import OutcomeUnknown, StoreError
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
    Sent,
    SessionId,
    SessionRecord,
    Store,
    StreamPage,
    Want,
    WorkerSession,
)
from durable_testing.faults import ERRORS, Fault, FaultKind, Op, Plan
from durable_testing.trace import Trace

T = TypeVar("T")

__all__ = ["FaultStore"]


@final
class FaultStore:
    """A store that works, except when the plan says otherwise: put it around any adapter.

    Args:
        inner: The real store.
        plan: What goes wrong; ``Faults([...])`` for a fixed list.
        actor: Whose operations these are, for the trace.
        clock: For delays.
        trace: Where everything is written down.
    """

    def __init__(
        self,
        inner: Store,
        plan: Plan,
        *,
        actor: str = "client",
        clock: Clock | None = None,
        trace: Trace | None = None,
    ) -> None:
        self.inner = inner
        self._plan = plan
        self._actor = actor
        self._clock: Clock = SystemClock() if clock is None else clock
        self._trace = Trace() if trace is None else trace

    # ── one operation ────────────────────────────────────────────────────────────────────────────────────────────

    async def _do(self, method: str, asked: tuple[Any, ...], call: Callable[[], Awaitable[T]]) -> T:
        op, fault = self._plan.begin(self._actor, method, asked)
        now = self._clock.now
        self._trace.add(now(), self._actor, "begin", op=op.number, method=method, asked=asked)
        try:
            answer = await (self._effect(op, call) if fault is None else self._struck(op, fault, call))
        except StoreError as error:
            self._trace.add(now(), self._actor, "end", op=op.number, error=type(error).__name__)
            raise
        self._trace.add(now(), self._actor, "end", op=op.number, error=None)
        return answer

    async def _effect(self, op: Op, call: Callable[[], Awaitable[T]]) -> T:
        await self._plan.breathe()
        answer = await call()
        self._trace.add(
            self._clock.now(),
            self._actor,
            "effect",
            op=op.number,
            method=op.method,
            asked=op.asked,
            answer=answer,
            now=await self.inner.now(),
        )
        await self._plan.breathe()
        return answer

    async def _struck(self, op: Op, fault: Fault, call: Callable[[], Awaitable[T]]) -> T:
        self._trace.add(self._clock.now(), self._actor, "fault", what=str(fault))
        match fault.kind:
            case FaultKind.CRASH_BEFORE:
                await self._plan.crash(op)
            case FaultKind.ERROR:
                raise ERRORS[fault.error]("A planned fault: nothing was written.")
            case FaultKind.UNREACHED:
                raise OutcomeUnknown("A planned fault: nothing was written, but who knows.")
            case FaultKind.DELAY:
                await self._clock.sleep(fault.seconds)
            case _:
                pass
        answer = await self._effect(op, call)
        match fault.kind:
            case FaultKind.CRASH_AFTER:
                await self._plan.crash(op)
            case FaultKind.UNKNOWN:
                raise OutcomeUnknown("A planned fault: it was written, but who knows.")
            case FaultKind.REPEAT:
                answer = await self._effect(op, call)
            case FaultKind.LATE:
                await self._clock.sleep(fault.seconds)
            case _:
                pass
        return answer

    # ── the protocol ─────────────────────────────────────────────────────────────────────────────────────────────

    async def open(self) -> None:
        await self.inner.open()

    async def close(self) -> None:
        await self.inner.close()

    def dedicated(self) -> Store:
        return FaultStore(self.inner.dedicated(), self._plan, actor=self._actor, clock=self._clock, trace=self._trace)

    async def changes(self) -> AsyncIterator[None]:
        async for _ in self.inner.changes():
            for _ in range(self._plan.hint(self._actor)):
                yield

    @property
    def hinted(self) -> bool:
        return self.inner.hinted

    async def create(self, runs: Sequence[NewRun]) -> Sequence[Created]:
        return await self._do("create", (runs,), lambda: self.inner.create(runs))

    async def poll(self, session: WorkerSession, want: Want) -> Poll:
        return await self._do("poll", (session, want), lambda: self.inner.poll(session, want))

    async def renew(self, session: WorkerSession) -> bool:
        return await self._do("renew", (session,), lambda: self.inner.renew(session))

    async def leave(self, session: SessionId) -> None:
        return await self._do("leave", (session,), lambda: self.inner.leave(session))

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        return await self._do("commit", (commits,), lambda: self.inner.commit(commits))

    async def send(self, messages: Sequence[Message]) -> Sequence[Sent]:
        return await self._do("send", (messages,), lambda: self.inner.send(messages))

    async def control(self, controls: Sequence[Control]) -> Sequence[Controlled]:
        return await self._do("control", (controls,), lambda: self.inner.control(controls))

    async def now(self) -> float:
        return await self.inner.now()

    async def get(self, runs: Sequence[RunId]) -> Sequence[RunRecord | None]:
        return await self._do("get", (runs,), lambda: self.inner.get(runs))

    async def input(self, run: RunId) -> bytes | None:
        return await self._do("input", (run,), lambda: self.inner.input(run))

    async def outcome(self, run: RunId) -> bytes | None:
        return await self._do("outcome", (run,), lambda: self.inner.outcome(run))

    async def list(self, query: RunQuery, limit: int = 100, cursor: str | None = None) -> RunPage:
        return await self._do("list", (query, limit, cursor), lambda: self.inner.list(query, limit, cursor))

    async def count(self, query: RunQuery) -> int:
        return await self._do("count", (query,), lambda: self.inner.count(query))

    async def journal(self, run: RunId, generation: int, start: int = 0, limit: int = PAGE_SIZE_MAX) -> JournalPage:
        limit = self._plan.page(limit)
        asked = (run, generation, start, limit)
        return await self._do("journal", asked, lambda: self.inner.journal(run, generation, start, limit))

    async def messages(
        self, run: RunId, after: int = 0, limit: int = PAGE_SIZE_MAX, unread_only: bool = True
    ) -> Sequence[InboxMessage]:
        asked = (run, after, limit, unread_only)
        return await self._do("messages", asked, lambda: self.inner.messages(run, after, limit, unread_only))

    async def values(self, run: RunId) -> Mapping[str, bytes]:
        return await self._do("values", (run,), lambda: self.inner.values(run))

    async def stream(self, run: RunId, name: str, start: int = 0, limit: int = PAGE_SIZE_MAX) -> StreamPage:
        return await self._do("stream", (run, name, start, limit), lambda: self.inner.stream(run, name, start, limit))

    async def parts(self, run: RunId, hashes: Sequence[str]) -> Mapping[str, bytes]:
        return await self._do("parts", (run, hashes), lambda: self.inner.parts(run, hashes))

    async def sessions(self) -> Sequence[SessionRecord]:
        return await self._do("sessions", (), self.inner.sessions)

    async def purge(self, query: PurgeQuery) -> int:
        return await self._do("purge", (query,), lambda: self.inner.purge(query))

    async def check(self) -> Sequence[str]:
        return await self.inner.check()

    async def stats(self) -> Mapping[str, int]:
        return await self.inner.stats()

    async def put_record(
        self, kind: str, key: str, value: bytes, *, expect: int | None = None, keep_seconds: float | None = None
    ) -> RecordRow | None:
        return await self._do(
            "put_record",
            (kind, key, value, expect, keep_seconds),
            lambda: self.inner.put_record(kind, key, value, expect=expect, keep_seconds=keep_seconds),
        )

    async def get_record(self, kind: str, key: str) -> RecordRow | None:
        return await self._do("get_record", (kind, key), lambda: self.inner.get_record(kind, key))

    async def list_records(self, kind: str, after: str = "", limit: int = 100) -> Sequence[RecordRow]:
        return await self._do("list_records", (kind, after, limit), lambda: self.inner.list_records(kind, after, limit))

    async def delete_record(self, kind: str, key: str) -> bool:
        return await self._do("delete_record", (kind, key), lambda: self.inner.delete_record(kind, key))
