"""The workbench under every test of the kit: a store, a clock that stands still, and short words for long calls."""

from __future__ import annotations

import asyncio
import functools
import inspect
import itertools
import unittest
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, final

from durable.store import (
    CLOSING_LANE,
    Claim,
    Commit,
    Committed,
    Control,
    Controlled,
    Created,
    Ended,
    Held,
    InboxMessage,
    JournalRow,
    Lane,
    Message,
    MessageId,
    MessageKind,
    NewRun,
    Poll,
    RunId,
    Running,
    RunRecord,
    RunStatus,
    Sent,
    SessionId,
    Store,
    Then,
    Verb,
    Verdict,
    Want,
    WorkerSession,
)
from durable_testing.clock import ManualClock

__all__ = [
    "ALL_BYTES",
    "LANE",
    "LANES",
    "LEASE_SECONDS",
    "Bench",
    "Grip",
    "Worker",
    "new_run",
    "on_its_own_loop",
    "signal",
]

LEASE_SECONDS = 15.0
LANE = Lane("default", "work", "1")
LANES = (LANE, CLOSING_LANE)
ALL_BYTES = bytes(range(256))

_POLLS = itertools.count(1)  # two workers of one name are one session, so their poll ids must differ too


def new_run(id: str = "r", **given: Any) -> NewRun:
    """A run of ``LANE`` whose fields are all unlike their defaults where that does no harm."""
    fields: dict[str, Any] = {
        "workflow": "work",
        "version": "1",
        "queue": "default",
        "input": b"input of " + id.encode(),
        "digest": f"digest of {id}",
        "seed": f"seed of {id}",
    }
    return NewRun(RunId(id), **{**fields, **given})


def signal(id: str, run: str = "r", payload: bytes = b"hello", kind: MessageKind = MessageKind.SIGNAL) -> Message:
    return Message(RunId(run), MessageId(id), kind, "news", payload)


@final
class Grip:
    """A claim in a worker's hand, with the fence of its next commit."""

    def __init__(self, store: Store, claim: Claim) -> None:
        self.store = store
        self.claim = claim
        self.run = claim.run.id
        self.epoch = claim.run.epoch
        self.position = claim.run.position
        self.seq = 0

    def asked(self, *append: bytes, **rest: Any) -> Commit:
        """The next commit, not sent."""
        fence = {"epoch": self.epoch, "seq": self.seq, "position": self.position, "append": append}
        return Commit(self.run, **{**fence, **rest})

    async def commit(self, *append: bytes, then: Then | None = None, **rest: Any) -> Committed:
        """The next commit, sent; it must be applied."""
        answer = await self.tried(*append, then=Running() if then is None else then, **rest)
        assert answer.verdict is Verdict.APPLIED
        self.seq += 1
        self.position += len(append)
        return answer

    async def tried(self, *append: bytes, **rest: Any) -> Committed:
        """The next commit, sent, whatever the answer."""
        (answer,) = await self.store.commit([self.asked(*append, **rest)])
        return answer

    @property
    def held(self) -> Held:
        return Held(self.run, self.epoch)


@final
class Worker:
    """A worker session that remembers what it holds, and says so with every poll."""

    def __init__(self, store: Store, name: str) -> None:
        self.store = store
        self.session = WorkerSession(SessionId(name), f"host:{name}", LEASE_SECONDS, (("work", "1"),), ("default",))
        self.grips: dict[RunId, Grip] = {}

    async def poll(
        self, limit: int = 10, lanes: tuple[Lane, ...] = LANES, poll_id: str | None = None, **want: Any
    ) -> Poll:
        held = tuple(grip.held for grip in self.grips.values())
        asked = Want(poll_id or f"poll {next(_POLLS)}", lanes, limit, **{"held": held, **want})
        answer = await self.store.poll(self.session, asked)
        for run in answer.lost:
            self.grips.pop(run, None)
        for claim in answer.claims:
            self.grips[claim.run.id] = Grip(self.store, claim)
        return answer

    async def claim(self, limit: int = 10, **want: Any) -> list[Grip]:
        """Poll; the new claims in their order."""
        answer = await self.poll(limit, **want)
        return [self.grips[claim.run.id] for claim in answer.claims]

    async def one(self, **want: Any) -> Grip:
        """Poll; the one and only new claim."""
        (grip,) = await self.claim(**want)
        return grip

    def forget(self, *runs: RunId) -> None:
        for run in runs or tuple(self.grips):
            del self.grips[run]


class Bench:
    """Base of the kit's test classes.

    A test is a plain coroutine function. It is run on an event loop of its own, with a fresh ``store`` on a fresh
    ``clock``, so no pytest plugin is needed; afterwards ``Store.check`` must find nothing, and all is closed.

    Attributes:
        clock_turns_back: Whether the store follows the clock when it is set back, as administrators and NTP do. False
            for one whose time comes from where nobody can set it back; tests of it are then skipped.
    """

    clock_turns_back = True

    clock: ManualClock
    store: Store
    _open: list[Store]

    def __init_subclass__(cls, **given: Any) -> None:
        super().__init_subclass__(**given)
        for name, test in list(vars(cls).items()):
            if name.startswith("test_") and inspect.iscoroutinefunction(test):
                setattr(cls, name, on_its_own_loop(test))

    # ── what an adapter says ─────────────────────────────────────────────────────────────────────────────────────

    async def make_store(self, clock: ManualClock) -> Store:
        """A fresh store, opened, empty, that takes its time from ``clock`` and from nothing else.

        Called once or more in each test; what the stores of one test hold must be apart.
        """
        raise NotImplementedError

    async def second(self, store: Store) -> Store:
        """Another session onto the same data, opened: as another process would have it, if that is possible.

        Some tests call it on a thread and an event loop of their own, and use and close there what it gave.
        """
        twin = store.dedicated()
        await twin.open()
        return twin

    # ── around each test ─────────────────────────────────────────────────────────────────────────────────────────

    async def _run(self, test: Callable[[Any], Awaitable[None]]) -> None:
        self.clock = ManualClock()
        self.store = await self.make_store(self.clock)
        self._open = [self.store]
        try:
            await test(self)
            assert list(await self.store.check()) == []
        finally:
            for store in reversed(self._open):
                await store.close()

    async def twin(self) -> Store:
        """A second session, closed after the test."""
        twin = await self.second(self.store)
        self._open.append(twin)
        return twin

    # ── short words ──────────────────────────────────────────────────────────────────────────────────────────────

    def worker(self, name: str = "w1", store: Store | None = None) -> Worker:
        return Worker(self.store if store is None else store, name)

    async def create(self, id: str = "r", **given: Any) -> Created:
        (answer,) = await self.store.create([new_run(id, **given)])
        return answer

    async def grip(self, id: str = "r", worker: Worker | None = None, **given: Any) -> Grip:
        """Create a run and claim it (alone: nothing else may be due)."""
        await self.create(id, **given)
        return await (self.worker() if worker is None else worker).one()

    async def row(self, id: str = "r") -> RunRecord:
        (row,) = await self.store.get([RunId(id)])
        assert row is not None
        return row

    async def rows(self, id: str = "r", generation: int = 1) -> tuple[JournalRow, ...]:
        return (await self.store.journal(RunId(id), generation)).rows

    async def entries(self, id: str = "r", generation: int = 1) -> list[bytes]:
        return [row.data for row in await self.rows(id, generation)]

    async def unread(self, id: str = "r") -> Sequence[InboxMessage]:
        return await self.store.messages(RunId(id))

    async def send(self, id: str, run: str = "r", **given: Any) -> Sent:
        (answer,) = await self.store.send([signal(id, run, **given)])
        return answer

    async def control(self, verb: Verb, id: str = "r", request: str = "request") -> Controlled:
        (answer,) = await self.store.control([Control(RunId(id), request, verb)])
        return answer

    async def end(self, id: str = "r", **given: Any) -> None:
        """Create, claim and complete a run (alone: nothing else may be due)."""
        grip = await self.grip(id)
        await grip.commit(then=Ended(RunStatus.COMPLETED, b"result", **given))

    def turn_back(self, seconds: float) -> None:
        """Set the store's clock back, or skip the test if this store's cannot be."""
        if not self.clock_turns_back:
            raise unittest.SkipTest("the clock of this store is never set back (clock_turns_back)")
        self.clock.jump(-seconds)

    def expire(self) -> None:
        """Let every lease run out."""
        self.clock.advance(LEASE_SECONDS)


def on_its_own_loop(test: Callable[[Any], Awaitable[None]]) -> Callable[[Bench], None]:
    """The coroutine function as a test: on a loop of its own, with a fresh store and a fresh clock."""

    @functools.wraps(test)
    def run(self: Bench) -> None:
        asyncio.run(self._run(test))

    del run.__wrapped__  # pytest plugins would look through it and find a coroutine
    return run
