"""``JsRuntime`` with the engine in helper processes, which can be killed."""

from __future__ import annotations

import asyncio
import math
import os
import threading
from collections.abc import Mapping
from typing import Final, Self, final

from durable.errors import InvalidInput
from durable_dag.js.errors import JsInterrupted, JsSyntaxError
from durable_dag.js.pool import Pool
from durable_dag.js.runtime import MEMORY_BYTES, TIMEOUT_SECONDS, JsonValue, Kind, SyntaxProblem
from durable_dag.js.wire import Request, value_of

__all__ = ["ProcessJs"]

_HELPERS_MAX: Final = 64


@final
class ProcessJs:
    """QuickJS in helper processes: memory and time are bounded even where the engine forgets to look.

    A helper is started by the first call, serves one call at a time, each in a fresh context, and is let go after a
    while without calls. It has no environment, no files and no children, and ends when this process does. A program may
    use one runtime from several event loops and after a fork: each loop of each process has helpers of its own.

    Args:
        helpers: Processes at most, for each event loop; further calls wait in order.
        idle: Seconds without a call after which a helper is let go.

    Raises:
        InvalidInput: There cannot be so many, or not for so long.
    """

    def __init__(self, *, helpers: int = 1, idle: float = 60.0) -> None:
        if not 1 <= helpers <= _HELPERS_MAX:
            raise InvalidInput(f"A JavaScript runtime has from 1 to {_HELPERS_MAX} helpers, not {helpers!r}.")
        if not (idle > 0 and math.isfinite(idle)):
            raise InvalidInput(f"Helpers are let go after more than 0 seconds, not {idle!r}.")
        self._helpers = helpers
        self._idle = idle
        self._lock = threading.Lock()
        self._pools: dict[asyncio.AbstractEventLoop, Pool] = {}
        self._owner = os.getpid()
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.close()

    async def evaluate(
        self,
        expression: str,
        variables: Mapping[str, JsonValue] | None = None,
        *,
        timeout: float = TIMEOUT_SECONDS,
        memory: int = MEMORY_BYTES,
    ) -> JsonValue:
        return await self._value(Request("run", "expression", expression, variables or {}, timeout, memory))

    async def call(
        self,
        body: str,
        variables: Mapping[str, JsonValue] | None = None,
        *,
        timeout: float = TIMEOUT_SECONDS,
        memory: int = MEMORY_BYTES,
    ) -> JsonValue:
        return await self._value(Request("run", "body", body, variables or {}, timeout, memory))

    async def check(self, source: str, kind: Kind, names: tuple[str, ...] = ()) -> SyntaxProblem | None:
        request = Request("check", kind, source, dict.fromkeys(names), TIMEOUT_SECONDS, MEMORY_BYTES)
        try:
            await self._value(request)
        except JsSyntaxError as error:
            return SyntaxProblem(error.message, error.line, error.column)
        return None

    async def close(self) -> None:
        """End all helpers. Calls under way are interrupted, later ones refused; said twice, it does nothing."""
        self._closed = True
        self._belong_here()
        with self._lock:
            pools = dict(self._pools)
        here = pools.pop(asyncio.get_running_loop(), None)
        for loop, pool in pools.items():
            try:
                loop.call_soon_threadsafe(pool.shut)
            except RuntimeError:  # the loop is closed, perhaps just now
                pool.abandon()
        if here is not None:
            await here.close()

    @property
    def pids(self) -> list[int]:
        """Process ids of the helpers of all loops, for those who watch processes."""
        with self._lock:
            return [pid for pool in self._pools.values() for pid in pool.pids]

    async def _value(self, request: Request) -> JsonValue:
        frame = request.encode()
        return value_of(request, await self._pool().ask(frame, request.timeout))

    def _pool(self) -> Pool:
        """The running loop's own helpers."""
        if self._closed:
            raise JsInterrupted("The JavaScript runtime was closed.")
        self._belong_here()
        loop = asyncio.get_running_loop()
        with self._lock:
            pool = self._pools.get(loop)
            if pool is None:
                for gone in [other for other in self._pools if other.is_closed()]:
                    self._pools.pop(gone).abandon()
                pool = self._pools[loop] = Pool(self._helpers, self._idle)
        return pool

    def _belong_here(self) -> None:
        """After a fork, begin anew: the helpers are the parent's, and the lock may be held by a thread of its own."""
        if self._owner != os.getpid():
            self._lock = threading.Lock()
            self._pools = {}
            self._owner = os.getpid()
