"""The helpers of one event loop: started when needed, shared fairly, let go when idle."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, final

from durable.errors import MissingExtra
from durable_dag.js.child import Child
from durable_dag.js.errors import JsFailure, JsInterrupted

__all__ = ["Pool"]

_Outcome = bytes | JsFailure | MissingExtra


@final
class Pool:
    """At most ``helpers`` processes; calls beyond that wait in the order in which they came."""

    def __init__(self, helpers: int, idle_seconds: float) -> None:
        self.loop = asyncio.get_running_loop()
        self._idle_seconds = idle_seconds
        self._slots = asyncio.Semaphore(helpers)
        self._children: set[Child] = set()
        # The one used last is used next, so that those beyond need are left alone, and let go.
        self._idle: list[Child] = []
        self._timers: dict[Child, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """Of the processes that run."""
        return [child.pid for child in self._children]

    async def ask(self, frame: bytes, timeout: float) -> bytes:
        """An answer to a frame.

        Cancelled while it waits for its turn, a call is forgotten. Cancelled later, it runs to its end, which its
        limits have set, and the helper lives on.

        Raises:
            JsFailure: There is none.
            MissingExtra: There is no engine.
        """
        await self._slots.acquire()
        if self._closed:
            self._slots.release()
            raise JsInterrupted("The JavaScript runtime was closed.")
        exchange = self._begin(self._exchange(frame, timeout))
        exchange.add_done_callback(lambda _: self._slots.release())
        outcome = await asyncio.shield(exchange)
        if isinstance(outcome, bytes):
            return outcome
        raise outcome

    def shut(self) -> None:
        """Take no more calls; end all helpers. What runs is told so."""
        self._closed = True
        while self._idle:
            self._drop(self._taken())
        for child in self._children:
            child.stop()

    async def close(self) -> None:
        """The same, and wait until no process is left."""
        self.shut()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def abandon(self) -> None:
        """End all helpers after the loop was closed."""
        for child in self._children:
            child.end_here()
        self._children.clear()
        self._idle.clear()

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _exchange(self, frame: bytes, timeout: float) -> _Outcome:
        """A failure is returned: nobody may be there any more to see it raised."""
        child = None
        try:
            child = self._living() or await self._started()
            answer = await child.ask(frame, timeout)
        except (JsFailure, MissingExtra) as error:
            if child is not None:
                self._drop(child)
            return error
        except BaseException:  # the loop is about to close: nothing can be left for later
            if child is not None:
                self._children.discard(child)
                child.end_here()
            raise
        self._keep(child)
        return answer

    def _living(self) -> Child | None:
        """An idle helper that has not died meanwhile."""
        while self._idle:
            child = self._taken()
            if child.alive:
                return child
            self._drop(child)
        return None

    async def _started(self) -> Child:
        try:
            child = Child()
        except OSError as error:
            raise JsInterrupted(f"The JavaScript helper process could not be started: {error}.") from error
        self._children.add(child)
        try:
            await child.ready()
        except JsFailure:
            self._drop(child)
            raise
        except BaseException:
            self._children.discard(child)
            child.end_here()
            raise
        return child

    def _keep(self, child: Child) -> None:
        if self._closed:
            self._drop(child)
            return
        self._idle.append(child)
        self._timers[child] = self.loop.call_later(self._idle_seconds, self._let_go, child)

    def _taken(self) -> Child:
        """The last of the idle helpers, idle no more."""
        child = self._idle.pop()
        self._timers.pop(child).cancel()
        return child

    def _let_go(self, child: Child) -> None:
        self._idle.remove(child)
        del self._timers[child]
        self._drop(child)

    def _drop(self, child: Child) -> None:
        child.kill()
        self._begin(self._buried(child))

    async def _buried(self, child: Child) -> None:
        await child.bury()
        self._children.discard(child)

    def _begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
