"""``InlineStore``: an adapter that needs a real event loop or threads, inside the simulated one.

Each call is carried out at once, on a real loop of its own, while simulated time stands still. What the adapter's own
watchers would find out about other processes, nobody tells it here: hints come after each write through this door.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Final, final

from durable._core.loop import Inside
from durable.store import Store

__all__ = ["InlineStore"]

_HINTING: Final = frozenset({"create", "commit", "send", "control", "leave"})
_PLAIN: Final = frozenset({"hinted"})


@final
class _Listener(AsyncIterator[None]):
    def __init__(self) -> None:
        self._news = asyncio.Event()

    def __aiter__(self) -> _Listener:
        return self

    async def __anext__(self) -> None:
        await self._news.wait()
        self._news.clear()

    def hint(self) -> None:
        self._news.set()


@final
class InlineStore:
    """The adapter, usable on the simulated loop; every method of the protocol goes straight through."""

    def __init__(self, inner: Store, shared: InlineStore | None = None) -> None:
        self._inner = inner
        self._real: asyncio.AbstractEventLoop = asyncio.new_event_loop() if shared is None else shared._real
        self._listeners: list[_Listener] = [] if shared is None else shared._listeners
        self._open: list[Store] = [] if shared is None else shared._open
        self._owner = shared is None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name in _PLAIN:
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            answer = self._carry_out(method(*args, **kwargs))
            if name in _HINTING:
                for listener in self._listeners:
                    listener.hint()
            return answer

        return call

    def _carry_out(self, work: Coroutine[Any, Any, Any]) -> Any:
        with Inside(_NoLoop()):
            asyncio.events._set_running_loop(None)
            return self._real.run_until_complete(work)

    async def open(self) -> None:
        self._carry_out(self._inner.open())
        self._open.append(self._inner)

    def changes(self) -> AsyncIterator[None]:
        listener = _Listener()
        self._listeners.append(listener)
        return listener

    def dedicated(self) -> InlineStore:
        return InlineStore(self._inner.dedicated(), self)

    async def close(self) -> None:
        """Close it; the first of its family also closes what killed processes have left open."""
        left = list(self._open) if self._owner else [self._inner]
        for store in left:
            if store in self._open:
                self._open.remove(store)
            self._carry_out(store.close())
        if self._owner:
            self._real.close()


class _NoLoop:
    """Stands in where ``Inside`` wants a loop: the real one is entered by its own ``run_until_complete``."""

    _running = False
