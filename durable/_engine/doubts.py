"""Attempts that a crash has cut: what became of them is asked before anything else is done about their calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import final

from durable._core.call import Call
from durable._core.nobody import nobody
from durable._engine.services import Services
from durable._engine.takeup import what_became_of
from durable._model.commits import Blocked
from durable._model.entries import Entry
from durable._model.ids import CallId

__all__ = ["Doubts"]


@final
class Doubts:
    """Of one held run; while there are any, it is held.

    Args:
        key: The idempotency key of a call.
        known: Called with the call and what became of its attempt.
    """

    def __init__(
        self, services: Services, key: Callable[[Call], str], known: Callable[[Call, Entry | Blocked], None]
    ) -> None:
        self._services = services
        self._key = key
        self._known = known
        self._asking: dict[CallId, asyncio.Task[None]] = {}

    def __bool__(self) -> bool:
        return bool(self._asking)

    def ask(self, call: Call) -> None:
        """Find out, once."""
        if call.id not in self._asking:
            self._asking[call.id] = asyncio.get_running_loop().create_task(self._learn(call))

    def close(self) -> None:
        """The run leaves this worker."""
        for asking in self._asking.values():
            asking.cancel()
        self._known = nobody

    async def _learn(self, call: Call) -> None:
        known = await what_became_of(call, self._key(call), self._services)
        self._asking.pop(call.id, None)
        self._known(call, known)
