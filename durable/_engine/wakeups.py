"""Hints that something may have changed: one listener for a whole client."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final, final

from durable._engine.pace import rhythm_of
from durable.clock import Clock
from durable.store import Store

__all__ = ["Changes"]

_WAITERS_MIN: Final = 64


@final
class Changes:
    """One listener on a store for a client; any number may wait.

    Args:
        hints: Begins to listen.
    """

    def __init__(self, store: Store, clock: Clock, hints: Callable[[], AsyncIterator[None]]) -> None:
        self._store = store
        self._hints = hints
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
        async for _ in self._hints():
            self.notify()
