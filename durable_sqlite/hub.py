"""What the stores of one process on one file share: who listens, and what is known of worker sessions."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Final, final

from durable.store import SessionId
from durable_sqlite.locks import SessionLocks
from durable_sqlite.sessions import Idle

__all__ = ["Hub", "Listener", "join", "leave"]


@final
class Listener(AsyncIterator[None]):
    """One iterator of ``Store.changes``. It listens from its creation; several hints may come as one.

    Args:
        watch: Called in the listener's loop before it waits, to have other processes' writes looked for.
        work_only: Hints of this process at what nobody but readers may care about pass it by.
    """

    def __init__(self, watch: Callable[[], None], *, work_only: bool = False) -> None:
        self.work_only = work_only
        self._lock = threading.Lock()
        self._watch = watch
        self._hinted = False
        self._closed = False
        self._waiter: asyncio.Future[None] | None = None

    def __aiter__(self) -> Listener:
        return self

    async def __anext__(self) -> None:
        while True:
            with self._lock:
                if self._hinted:
                    self._hinted = False
                    return
                if self._closed:
                    raise StopAsyncIteration
                self._waiter = waiter = asyncio.get_running_loop().create_future()
            self._watch()
            try:
                await waiter
            finally:
                self._waiter = None

    def hint(self) -> None:
        """There may be news. Called from any thread."""
        with self._lock:
            if not self._hinted:
                self._hinted = True
                self._wake()

    def close(self) -> None:
        """The store is closed: the iterator ends."""
        with self._lock:
            self._closed = True
            self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is None:
            return
        try:
            waiter.get_loop().call_soon_threadsafe(_set, waiter)
        except RuntimeError:  # its loop has been closed: nobody listens any more
            self._closed = True


def _set(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


@final
class Hub:
    """One per process and file. Its lock guards short moves of memory and lock files, never a statement.

    Attributes:
        idle: Sessions' last polls, where these changed nothing and so were not written down.
        glanced_at: When a poll of this process last looked for dead sessions, too; monotonic seconds.
        tide: The level of the table ``tide`` up to which listeners of this process were hinted by its own writes.
    """

    def __init__(self, key: str, directory: str | None) -> None:
        self.key = key
        self.directory = directory
        self.lock = threading.Lock()
        self.locks = SessionLocks(directory)
        self.idle: dict[SessionId, Idle] = {}
        self.tide = -1
        self.glanced_at: float | None = None
        self.stores = 0
        self._listeners: weakref.WeakSet[Listener] = weakref.WeakSet()
        self._probed_at: float | None = None

    def listen(self, listener: Listener) -> None:
        with self.lock:
            self._listeners.add(listener)

    def give(self, tide: int | None = None, *, work: bool = True) -> None:
        """Hint everybody here, or readers alone; ``tide`` is the level that this process's own write has reached."""
        with self.lock:
            if tide is not None and tide > self.tide:
                work = work or tide > self.tide + 1  # another process has written meanwhile, and nobody here was told
                self.tide = tide
            listeners = list(self._listeners)
        for listener in listeners:
            if work or not listener.work_only:
                listener.hint()

    def rise(self, tide: int) -> bool:
        """Whether the tide that was read is above what was known here; it is known from now on."""
        with self.lock:
            rose = tide > self.tide >= 0
            self.tide = max(self.tide, tide)
            return rose

    def hold(self, session: SessionId) -> bool:
        """The session lives here; whether that is new."""
        with self.lock:
            return self.locks.hold(session)

    def drop(self, session: SessionId) -> None:
        with self.lock:
            self.locks.drop(session)
            self.idle.pop(session, None)

    def idled(self, session: SessionId, idle: Idle) -> bool:
        """The session's poll changed nothing and was not written down; False if it has left meanwhile."""
        with self.lock:
            if session not in self.locks:
                return False
            self.idle[session] = idle
            return True

    def renewed(self, session: SessionId, now: float, expires_at: float) -> None:
        """The session's lease was written down; its last poll is as idle as it was."""
        with self.lock:
            if session in self.idle:
                self.idle[session] = Idle(self.idle[session].poll_id, now, expires_at)

    def forget_idle(self, session: SessionId) -> None:
        """What the session's last poll said was written down."""
        with self.lock:
            self.idle.pop(session, None)

    def lives_here(self, session: SessionId) -> bool:
        with self.lock:
            return session in self.locks

    def has_glanced(self, monotonic: float, seconds: float) -> bool:
        """Whether a poll of this process has glanced within so many seconds."""
        return self.glanced_at is not None and 0 <= monotonic - self.glanced_at < seconds

    def may_probe(self, monotonic: float, pause_seconds: float) -> bool:
        """Whether it is time to look for dead sessions again; if so, it is not for a while."""
        with self.lock:
            if self._probed_at is not None and 0 <= monotonic - self._probed_at < pause_seconds:
                return False
            self._probed_at = monotonic
            return True


_HUBS: Final[dict[str, Hub]] = {}
_HUBS_LOCK = threading.Lock()


def join(key: str, directory: str | None) -> Hub:
    """The hub of a file, one more store in it."""
    with _HUBS_LOCK:
        hub = _HUBS.get(key)
        if hub is None:
            hub = _HUBS[key] = Hub(key, directory)
        hub.stores += 1
        return hub


def leave(hub: Hub) -> None:
    """One store fewer; with the last one the locks go, and with them the sessions' proof of life."""
    with _HUBS_LOCK:
        hub.stores -= 1
        if hub.stores > 0:
            return
        if _HUBS.get(hub.key) is hub:
            del _HUBS[hub.key]
    with hub.lock:
        hub.locks.drop_all()


def _after_fork() -> None:
    global _HUBS_LOCK
    _HUBS_LOCK = threading.Lock()
    for hub in _HUBS.values():
        hub.lock = threading.Lock()
        hub.locks.after_fork()
    _HUBS.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
