"""Wake-up hints: from any thread that writes to any event loop that listens."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator
from typing import final

__all__ = ["Hints", "Listener"]


@final
class Listener(AsyncIterator[None]):
    """One iterator of ``Store.changes``. It listens from its creation; several hints may come as one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
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
            try:
                await waiter
            finally:
                self._waiter = None

    def hint(self) -> None:
        with self._lock:
            if not self._hinted:
                self._hinted = True
                self._wake()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._wake()

    def _wake(self) -> None:
        if self._waiter is None:
            return
        loop = self._waiter.get_loop()
        try:
            if asyncio.get_running_loop() is loop:
                _set(self._waiter)
                return
        except RuntimeError:
            pass  # a thread without a loop
        try:
            loop.call_soon_threadsafe(_set, self._waiter)
        except RuntimeError:  # its loop has been closed: nobody listens any more
            self._closed = True


def _set(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


@final
class Hints:
    """Everybody who listens to one data set. Iterators that were dropped without a word are forgotten."""

    def __init__(self) -> None:
        # In the order in which they came: a set would wake them in another order in another process.
        self._listeners: weakref.WeakValueDictionary[int, Listener] = weakref.WeakValueDictionary()
        self._count = 0

    def add(self, listener: Listener) -> None:
        self._count += 1
        self._listeners[self._count] = listener

    def give(self) -> None:
        for listener in list(self._listeners.values()):
            listener.hint()
