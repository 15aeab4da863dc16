"""The shared watch over runs that people wait for.

Runs that a worker of this client works on are not read: it tells their ends by name, with the outcome that it has
committed. All others are looked at together, when something hints at a change. Whatever is told or hinted, every run
that is waited for is read once an interval: that is the correctness path.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from durable._author.logs import logger
from durable._core.why import unserved
from durable._engine.wakeups import Changes
from durable._engine.weather import Weather
from durable._model.ids import RunId
from durable._model.runs import RunRecord, RunStatus
from durable.clock import Clock
from durable.store import Store

__all__ = ["End", "RunWatch"]

_log = logger("durable.client")
_PAGE: Final = 500
_FRESH_SECONDS: Final = 0.05
_UNSERVED_SECONDS: Final = 5.0  # workers start, and deploys happen: nobody is told of a run that lies for a moment


@final
@dataclass(frozen=True, slots=True)
class End:
    """A run has ended.

    Attributes:
        outcome: Encoded; None if it is yet to be read.
    """

    workflow: str
    version: str | None
    outcome: bytes | None


@final
class _Waiter:
    """Somebody who waits for a run.

    Attributes:
        was_first: Whether it waited already when the end was sent to the store, so that this is the end it waits for.
    """

    __slots__ = ("end", "was_first")

    def __init__(self) -> None:
        self.end: asyncio.Future[End | None] = asyncio.get_running_loop().create_future()
        self.was_first = False

    def tell(self, end: End | None) -> None:
        if not self.end.done():
            self.end.set_result(end)


@final
class RunWatch:
    """Everybody in this client who waits for a run to end: one read for all of them, at most one at a time."""

    def __init__(self, store: Store, clock: Clock, changes: Changes, weather: Weather) -> None:
        self._store = store
        self._clock = clock
        self._changes = changes
        self._weather = weather
        self._waiting: dict[RunId, list[_Waiter]] = {}
        self._named: dict[RunId, None] = {}
        self._blocked: set[RunId] = set()  # of which it was told
        self._unserved: set[RunId] = set()  # likewise
        self._task: asyncio.Task[None] | None = None
        self._poke = asyncio.Event()
        self._ask_workers_at = 0.0
        self._tended: list[Container[RunId]] = []
        self._fresh: OrderedDict[RunId, float] = OrderedDict()  # until when; in the order in which they came

    # ── what workers of this client tell ─────────────────────────────────────────────────────────────────────────

    def tend(self, held: Container[RunId]) -> None:
        """A worker of this client works on these; it tells when one of them ends, or is held no longer."""
        self._tended.append(held)

    def untend(self, held: Container[RunId]) -> None:
        """That worker has stopped."""
        self._tended = [other for other in self._tended if other is not held]

    def ending(self, run: RunId) -> None:
        """The end of this run is about to be sent to the store."""
        for waiter in self._waiting.get(run, ()):
            waiter.was_first = True

    def ended(self, run: RunRecord, outcome: bytes) -> None:
        """A worker of this client has committed the end of this run."""
        for waiter in self._waiting.get(run.id, ()):
            if waiter.was_first:  # for who came later it may have begun anew already
                waiter.tell(End(run.workflow, run.version, outcome))
        self.look_at(run.id)

    def look_at(self, run: RunId) -> None:
        """Something has become of this run that has no name here."""
        if any(not waiter.end.done() for waiter in self._waiting.get(run, ())):
            self._named[run] = None
            self._poke.set()

    def created(self, runs: Iterable[RunId]) -> None:
        """This client has just made these runs: they have hardly ended yet, and mostly its own worker takes them."""
        if not self._tended:
            return
        now = self._clock.monotonic()
        while self._fresh and self._fresh[oldest := next(iter(self._fresh))] <= now:
            del self._fresh[oldest]
        for run in runs:
            self._fresh[run] = now + _FRESH_SECONDS

    # ── waiting ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def stop(self) -> None:
        """Let the watch go; whoever still waits is cancelled."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        for waiters in self._waiting.values():
            for waiter in waiters:
                waiter.end.cancel()

    async def until_ended(self, run: RunId, seconds: float | None = None) -> End | None:
        """The end of the run; None if there is no such run.

        Raises:
            TimeoutError: It has not ended after so many seconds.
        """
        if seconds is None:
            return await self._until_ended(run)
        ended, timer = asyncio.ensure_future(self._until_ended(run)), asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait([ended, timer], return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                raise TimeoutError
            return ended.result()
        finally:
            ended.cancel()
            timer.cancel()

    async def _until_ended(self, run: RunId) -> End | None:
        waiter = _Waiter()
        self._waiting.setdefault(run, []).append(waiter)
        look: asyncio.TimerHandle | None = None
        seconds = self._fresh.get(run, 0.0) - self._clock.monotonic()
        if seconds > 0:
            look = asyncio.get_running_loop().call_later(seconds, self._no_longer_fresh, run)
        else:
            self._no_longer_fresh(run)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._watch())
        try:
            return await waiter.end
        finally:
            if look is not None:
                look.cancel()
            waiters = self._waiting.get(run, [])
            if waiter in waiters:
                waiters.remove(waiter)
            if not waiters:
                self._waiting.pop(run, None)
                self._blocked.discard(run)
                self._unserved.discard(run)

    def _is_held(self, run: RunId) -> bool:
        return any(run in held for held in self._tended)

    def _no_longer_fresh(self, run: RunId) -> None:
        self._fresh.pop(run, None)
        if not self._is_held(run):
            self.look_at(run)

    # ── watching ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _watch(self) -> None:
        try:
            await self._watch_all()
        except Exception as error:  # the store is damaged: those who wait are told
            for waiters in self._waiting.values():
                for waiter in waiters:
                    if not waiter.end.done():
                        waiter.end.set_exception(error)

    async def _watch_all(self) -> None:
        hinted_at = whole_at = self._clock.monotonic()
        change = self._changes.future()
        while self._waiting:
            self._poke.clear()
            named, self._named = self._named, {}
            runs = [run for run in named if run in self._waiting]
            now = self._clock.monotonic()
            # What other processes end has no name here, and is not to wait until nothing else happens.
            if now - whole_at >= self._changes.interval:
                runs, hinted_at, whole_at = list(self._waiting), now, now
            elif change.done() and (not runs or now - hinted_at >= self._patience()):
                runs, hinted_at = list(dict.fromkeys((*runs, *self._nameless()))), now
                change = self._changes.future()
            await self._look(runs)
            if not self._named:
                await self._until_something(change, whole_at)
        change.cancel()

    def _nameless(self) -> list[RunId]:
        """Those of which nobody here would tell the end."""
        fresh = self._fresh
        return [run for run in self._waiting if run not in fresh and not self._is_held(run)]

    def _patience(self) -> float:
        """Seconds from one look at all runs to the next while others are being told of by name."""
        return min(0.25, 0.001 * len(self._waiting))

    async def _until_something(self, change: asyncio.Future[None], whole_at: float) -> None:
        seconds = max(0.0, whole_at + self._changes.interval - self._clock.monotonic())
        poked = asyncio.ensure_future(self._poke.wait())
        timer = asyncio.ensure_future(self._clock.pause(seconds))
        waits: list[asyncio.Future[Any]] = [change, poked, timer]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            poked.cancel()
            timer.cancel()
        if not self._named:
            await self._clock.sleep(min(0.05, 0.0001 * len(self._waiting)))

    async def _look(self, runs: Sequence[RunId]) -> None:
        for start in range(0, len(runs), _PAGE):
            page = runs[start : start + _PAGE]
            records = await self._weather.through(lambda page=page: self._store.get(page))  # type: ignore[misc]
            for run, record in zip(page, records, strict=True):
                if record is not None and record.status is RunStatus.BLOCKED and run not in self._blocked:
                    self._blocked.add(run)
                    _log.warning(
                        "Waiting for run %s, which is blocked: %s It goes on when it is resumed.", run, record.blocked
                    )
                if record is None or record.ended:
                    end = None if record is None else End(record.workflow, record.version, None)
                    for waiter in self._waiting.pop(run, []):
                        waiter.tell(end)
            await self._say_unserved([record for record in records if record is not None and not record.ended])

    async def _say_unserved(self, records: Sequence[RunRecord]) -> None:
        """Once a run: that it is due, and that no living worker can take it."""
        now = self._clock.now() - _UNSERVED_SECONDS
        lying = [
            run
            for run in records
            if run.owner is None and run.due_at is not None and run.due_at < now and run.id not in self._unserved
        ]
        if not lying or self._clock.monotonic() < self._ask_workers_at:
            return
        self._ask_workers_at = self._clock.monotonic() + _UNSERVED_SECONDS
        sessions = await self._weather.through(self._store.sessions)
        for run in lying:
            nobody = unserved(run, sessions)
            if nobody is not None and run.id in self._waiting:
                self._unserved.add(run.id)
                _log.warning("Waiting for run %s: %s", run.id, nobody)
