"""A second session on a thread and an event loop of its own, so that two operations can really be under way at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, final

if TYPE_CHECKING:
    from types import TracebackType

    from durable.store import Store

__all__ = ["Aside"]

_PATIENCE_SECONDS: Final = 30.0  # for a thread that only has to get its turn


@final
class Aside:
    """Another session, elsewhere.

    Args:
        here: The session of the test's own loop.
        opened: Opens the other one; called on the other loop.
    """

    def __init__(self, here: Store, opened: Callable[[], Awaitable[Store]]) -> None:
        self._here = here
        self._opened = opened
        self._ready: asyncio.Future[None]
        self._over: asyncio.Event
        self._loop: asyncio.AbstractEventLoop
        self._there: Store
        self._gate = threading.Barrier(2)
        self._thread = threading.Thread(target=self._main, name="second session", daemon=True)

    async def __aenter__(self) -> Aside:
        self._home = asyncio.get_running_loop()
        self._ready = self._home.create_future()
        self._thread.start()
        await self._ready
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        await asyncio.to_thread(self._thread.join)

    def _main(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        try:
            self._there = await self._opened()
        except BaseException as error:
            self._home.call_soon_threadsafe(self._ready.set_exception, error)
            return
        self._home.call_soon_threadsafe(self._ready.set_result, None)
        try:
            await self._over.wait()
        finally:
            await self._there.close()

    async def there(self, ask: Callable[[Store], Awaitable[Any]]) -> Any:
        """The other session's answer."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._ask(ask), self._loop))

    async def at_once(
        self, here: Callable[[Store], Awaitable[Any]], there: Callable[[Store], Awaitable[Any]]
    ) -> tuple[Any, Any]:
        """Both sessions' answers; each asks when both threads stand ready."""
        other = asyncio.run_coroutine_threadsafe(self._ask(there, gated=True), self._loop)
        self._gate.wait(_PATIENCE_SECONDS)
        # Neither is left under way, whatever becomes of the other.
        answers = await asyncio.gather(here(self._here), asyncio.wrap_future(other), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return answers[0], answers[1]

    async def _ask(self, ask: Callable[[Store], Awaitable[Any]], *, gated: bool = False) -> Any:
        if gated:
            self._gate.wait(_PATIENCE_SECONDS)
        return await ask(self._there)
