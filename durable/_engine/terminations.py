"""Children to be terminated because their parent's code has given up waiting for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, final

from durable._engine.endings import cancelled_outcome
from durable._engine.services import Services
from durable._model.commands import CloseChild
from durable._model.controls import Control, Terminate
from durable._model.ids import RunId

__all__ = ["Terminations"]

_REASON: Final = "its parent gave up waiting"


@final
class Terminations:
    """Terminating is idempotent by its request id, so it comes before the commit that calls it done."""

    def __init__(self, services: Services, stir: Callable[[], None]) -> None:
        self._services = services
        self._stir = stir
        self._done: set[str] = set()
        self._work: asyncio.Task[None] | None = None

    def settled(self, closes: Sequence[CloseChild]) -> bool:
        """Whether these are carried out; if not, they are now being carried out, and ``stir`` tells when they are."""
        left = [close for close in closes if close.request_id not in self._done]
        if left and self._work is None:
            self._work = asyncio.get_running_loop().create_task(self._carry_out(left))
        return not left

    async def _carry_out(self, closes: Sequence[CloseChild]) -> None:
        verb = Terminate(_REASON, cancelled_outcome(self._services.codec, _REASON))
        controls = [Control(RunId(close.run), close.request_id, verb) for close in closes]
        await self._services.weather.through(partial(self._services.store.control, controls))
        self._done.update(close.request_id for close in closes)
        self._work = None
        self._stir()
