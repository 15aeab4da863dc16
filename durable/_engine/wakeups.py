"""Hints that something may have changed, and the shared watch over runs that people wait for."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Sequence
from typing import Any, Final, final

from durable._author.logs import logger
from durable._engine.pace import rhythm_of
from durable._engine.weather import Weather
from durable._model.ids import RunId
from durable._model.runs import RunRecord, RunStatus
from durable.clock import Clock
from durable.store import Store

__all__ = ["Changes", "RunWatch"]

_log = logger("durable.client")
_WAITERS_MIN: Final = 64


@final
class Changes:
    """One listener on ``store.changes()`` for a client; any number may wait."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiters: dict[asyncio.Future[None], None] = {}  # woken in the order in which they came
        self._swept_at = _WAITERS_MIN
        self._task: asyncio.Task[None] | None = None
        self._rhythm = rhythm_of(store)

    @property
    def interval(self) -> float:
        """Seconds between a client's looks when nothing hints; the store may hint at one time and not at another."""
        return self._rhythm.look_seconds if self._store.hinted else self._rhythm.unhinted_seconds

    def start(self) -> None:
        """Begin to listen."""
        self._task = asyncio.get_running_loop().create_task(self._listen())

    async def stop(self) -> None:
        """Listen no more; whoever waits goes on."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self.notify()

    def notify(self) -> None:
        """Something has changed."""
        waiters, self._waiters = self._waiters, {}
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def future(self) -> asyncio.Future[None]:
        """Done at the next change. Take it before you look: what changes in between is not missed (B2)."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if len(self._waiters) >= self._swept_at:  # who gave up waiting is not to be kept until something changes
            self._waiters = {waiter: None for waiter in self._waiters if not waiter.done()}
            self._swept_at = max(_WAITERS_MIN, 2 * len(self._waiters))
        self._waiters[future] = None
        return future

    async def wait(self, change: asyncio.Future[None], timeout: float) -> None:
        """Until the change, or ``timeout`` seconds have passed; polling is the correctness path."""
        timer = asyncio.ensure_future(self._clock.pause(timeout))
        try:
            await asyncio.wait([change, timer], return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            self._waiters.pop(change, None)
            change.cancel()

    async def _listen(self) -> None:
        async for _ in self._store.changes():
            self.notify()


@final
class RunWatch:
    """Everybody in this client who waits for a run to end: one read for all of them, at most one at a time."""

    def __init__(self, store: Store, clock: Clock, changes: Changes, weather: Weather) -> None:
        self._store = store
        self._clock = clock
        self._changes = changes
        self._weather = weather
        self._waiting: dict[RunId, list[asyncio.Future[RunRecord | None]]] = {}
        self._ended: dict[RunId, None] = {}
        self._told: set[RunId] = set()
        self._task: asyncio.Task[None] | None = None
        self._poke = asyncio.Event()

    def ended(self, run: RunId) -> None:
        """A worker in this process has seen this run end."""
        if run in self._waiting:
            self._ended[run] = None
            self._poke.set()

    async def stop(self) -> None:
        """Let the watch go; whoever still waits is cancelled."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        for futures in self._waiting.values():
            for future in futures:
                future.cancel()

    async def until_ended(self, run: RunId) -> RunRecord | None:
        """The row of the run once it has ended; None if there is no such run."""
        future: asyncio.Future[RunRecord | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(run, []).append(future)
        self._ended[run] = None
        self._poke.set()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._watch())
        try:
            return await future
        finally:
            futures = self._waiting.get(run, [])
            if future in futures:
                futures.remove(future)
            if not futures:
                self._waiting.pop(run, None)
                self._told.discard(run)

    async def _watch(self) -> None:
        try:
            await self._watch_all()
        except Exception as error:  # the store is damaged: those who wait are told
            for futures in self._waiting.values():
                for future in futures:
                    if not future.done():
                        future.set_exception(error)

    async def _watch_all(self) -> None:
        whole_at = -math.inf
        change = self._changes.future()
        while self._waiting:
            self._poke.clear()
            named, self._ended = self._ended, {}
            runs = [run for run in named if run in self._waiting]
            # What other processes end has no name here, and is not to wait until nothing else happens.
            if not runs or self._clock.monotonic() - whole_at >= self._patience(change):
                runs, whole_at = list(self._waiting), self._clock.monotonic()
                change.cancel()
                change = self._changes.future()
            await self._look(runs)
            if not self._ended:
                await self._until_something(change)
        change.cancel()

    def _patience(self, change: asyncio.Future[None]) -> float:
        """Seconds from one look at all runs to the next while others are being told of by name."""
        return min(0.25, 0.001 * len(self._waiting)) if change.done() else self._changes.interval

    async def _until_something(self, change: asyncio.Future[None]) -> None:
        poked = asyncio.ensure_future(self._poke.wait())
        timer = asyncio.ensure_future(self._clock.pause(self._changes.interval))
        waits: list[asyncio.Future[Any]] = [change, poked, timer]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            poked.cancel()
            timer.cancel()
        if not self._ended:
            await self._clock.sleep(min(0.05, 0.0001 * len(self._waiting)))

    async def _look(self, runs: Sequence[RunId]) -> None:
        for start in range(0, len(runs), 500):
            page = runs[start : start + 500]
            records = await self._weather.through(lambda page=page: self._store.get(page))  # type: ignore[misc]
            for run, record in zip(page, records, strict=True):
                if record is not None and record.status is RunStatus.BLOCKED and run not in self._told:
                    self._told.add(run)
                    _log.warning(
                        "Waiting for run %s, which is blocked: %s It goes on when it is resumed.", run, record.blocked
                    )
                if record is None or record.ended:
                    for future in self._waiting.pop(run, []):
                        if not future.done():
                            future.set_result(record)
