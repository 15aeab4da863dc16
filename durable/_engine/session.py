"""A worker's session with the store: its heartbeat, in a thread and on a connection of its own (rule 11)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Final, Literal, final

from durable._author.logs import logger
from durable._engine.stalls import Stalls
from durable._model import defaults
from durable._model.claims import WorkerSession
from durable.clock import Clock
from durable.errors import StoreError
from durable.store import Store

__all__ = ["Heartbeat", "Lease"]

_log = logger("durable.worker")
_SLICE_SECONDS: Final = 0.5


@final
class Lease:
    """How long this worker may believe that its runs are its own: measured from when it asked, not when it heard."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._until = 0.0
        self._waiters: list[asyncio.Future[None]] = []

    def renewed(self, asked_at: float) -> None:
        """The store has renewed the lease; it was asked at this local time, in seconds since boot."""
        self._until = max(self._until, asked_at + self._seconds)

    def holds(self) -> bool:
        """Whether a new attempt may begin."""
        return self._clock.since_boot() < self._until

    async def wait(self) -> None:
        """Until it holds (again)."""
        while not self.holds():
            await self._clock.sleep(0.05)


@final
class Heartbeat:
    """Renews the session every few seconds while the worker's loop is alive.

    Args:
        mode: ``"thread"``; or ``"task"`` where one loop must see everything (a simulator).
        ticked: When the worker's loop last turned, in local monotonic seconds.
        stalls: Asked from the thread twice a second.
        idle: Whether nothing is held, so that polls are sign of life enough.
    """

    def __init__(
        self,
        store: Store,
        session: WorkerSession,
        lease: Lease,
        clock: Clock,
        ticked: Callable[[], float],
        mode: Literal["thread", "task"],
        beat_seconds: float,
        stall_seconds: float = defaults.STALL_SECONDS,
        stalls: Stalls | None = None,
        idle: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._session = session
        self._lease = lease
        self._clock = clock
        self._ticked = ticked
        self._mode = mode
        self._beat_seconds = beat_seconds
        self._stall_seconds = stall_seconds
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._stopped = False
        self._stalls = stalls
        self._idle = idle

    def start(self) -> None:
        """Begin to beat."""
        if self._mode == "task":
            self._task = asyncio.get_running_loop().create_task(self._beat_as_task())
            return
        self._thread = threading.Thread(target=self._beat_in_thread, name="durable-heartbeat", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Stop beating; the session ends by ``leave`` or by its lease."""
        self._stopped = True  # before the look at what the thread has published: it may not have begun yet (B12)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        thread, loop, stop = self._thread, self._loop, self._stop
        if thread is not None:
            if loop is not None and stop is not None and not loop.is_closed():
                loop.call_soon_threadsafe(stop.set)
            await asyncio.get_running_loop().run_in_executor(None, thread.join, 5.0)

    async def _beat_as_task(self) -> None:
        while True:
            await self._clock.pause(self._beat_seconds)
            if not self._idle():
                await self._renew(self._store)

    def _beat_in_thread(self) -> None:
        try:
            asyncio.run(self._beat_until_stopped())
        except Exception:
            _log.exception("The heartbeat has stopped; this worker's runs will go to others when its lease ends.")

    async def _beat_until_stopped(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        if self._stopped:
            return
        store = self._store.dedicated()
        opened = False
        due = self._clock.monotonic() + self._beat_seconds
        try:
            while not self._stop.is_set():
                try:
                    await asyncio.wait_for(self._stop.wait(), min(_SLICE_SECONDS, self._beat_seconds))
                except TimeoutError:
                    pass
                if self._stalls is not None:
                    self._stalls.look()
                now = self._clock.monotonic()
                if now < due or self._idle() or self._stop.is_set():
                    continue
                due = now + self._beat_seconds
                if now - self._ticked() > self._stall_seconds:
                    _log.error(
                        "The worker's loop has not turned for %.0f s; the heartbeat stops.", now - self._ticked()
                    )
                    return
                if not opened:
                    opened = await self._open(store)
                if opened:
                    await self._renew(store)
        finally:
            await store.close()

    async def _open(self, store: Store) -> bool:
        try:
            await store.open()
        except StoreError as error:
            _log.warning("The heartbeat cannot reach the store: %s", error)
            return False
        return True

    async def _renew(self, store: Store) -> None:
        asked_at = self._clock.since_boot()
        try:
            if await store.renew(self._session):
                self._lease.renewed(asked_at)
        except StoreError as error:
            _log.debug("A heartbeat failed: %s", error)
