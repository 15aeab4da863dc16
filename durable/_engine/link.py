"""What a client's rooms share: the store, and how to reach it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar, final

from durable._author.registry import Registry
from durable._engine.wakeups import Changes, RunWatch
from durable._engine.weather import Weather
from durable.clock import Clock
from durable.codec import Codec
from durable.errors import DurableError
from durable.store import Store

T = TypeVar("T")

__all__ = ["Link"]

_ATTEMPTS: Final = 12  # a client waits out some seconds of bad weather, then says so


@final
class Link:
    """One open (or not yet open) connection of a client.

    Attributes:
        registry: Workflows known in this process, for starts by name and for result types.
    """

    def __init__(self, store: Store, codec: Codec, clock: Clock) -> None:
        self.store = store
        self.codec = codec
        self.clock = clock
        self.registry = Registry()
        self.changes = Changes(store, clock)
        self.weather = Weather(clock)
        self.watch = RunWatch(store, clock, self.changes, self.weather)
        self._opened = False
        self._closed = False

    async def open(self) -> None:
        """Connect, once."""
        if self._closed:
            raise DurableError("This client is closed; connect() again.")
        if self._opened:
            return
        self._opened = True
        try:
            await self.weather.through(self.store.open, attempts=_ATTEMPTS)
        except BaseException:
            self._opened = False
            await self.store.close()
            raise
        self.changes.start()

    async def close(self) -> None:
        """Let go of the store, once."""
        if self._opened and not self._closed:
            self._closed = True
            await self.watch.stop()
            await self.changes.stop()
            await self.store.close()

    async def reach(self, call: Callable[[], Awaitable[T]]) -> T:
        """Ask the store, waiting out short bad weather.

        Raises:
            StoreError: It is still bad after some seconds.
        """
        if not self._opened or self._closed:
            raise DurableError("This client is not open. Use it inside `async with connect(...) as client:`.")
        return await self.weather.through(call, attempts=_ATTEMPTS)
