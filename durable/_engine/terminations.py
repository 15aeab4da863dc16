"""Children to be closed because their parent's code has given up waiting for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, final

from durable._core.nobody import nobody
from durable._engine.endings import cancelled_outcome
from durable._engine.services import Services
from durable._model.commands import CloseChild
from durable._model.controls import Cancel, Control, Terminate, Verb
from durable._model.runs import NewRun

__all__ = ["Terminations"]

_REASON: Final = "its parent gave up waiting"


@final
class Terminations:
    """Closing is idempotent by its request id, so it comes before the commit that calls it done."""

    def __init__(self, services: Services, stir: Callable[[], None]) -> None:
        self._services = services
        self._stir = stir
        self._done: set[str] = set()
        self._work: asyncio.Task[None] | None = None

    def close(self) -> None:
        """The run leaves this worker; what is under way goes on."""
        self._stir = nobody

    def settled(self, closes: Sequence[CloseChild]) -> bool:
        """Whether these are carried out; if not, they are now being carried out, and ``stir`` tells when they are."""
        left = [close for close in closes if close.request_id not in self._done]
        if left and self._work is None:
            self._work = asyncio.get_running_loop().create_task(self._carry_out(left))
        return not left

    async def _carry_out(self, closes: Sequence[CloseChild]) -> None:
        store, weather = self._services.store, self._services.weather
        rows = await weather.through(partial(store.get, [close.child.id for close in closes]))
        controls = [
            Control(close.child.id, close.request_id, self._verb(close.child))
            for close, row in zip(closes, rows, strict=True)
            if row is not None and row.parent == close.child.parent  # a stranger with the same id is left alone
        ]
        if controls:
            await weather.through(partial(store.control, controls))
        self._done.update(close.request_id for close in closes)
        self._work = None
        self._stir()

    def _verb(self, child: NewRun) -> Verb:
        codec = self._services.codec
        outcome = cancelled_outcome(codec, _REASON)
        if child.parent is not None and child.parent.on_close == "terminate":
            return Terminate(_REASON, outcome)
        return Cancel(_REASON, codec.seal(b'"its parent gave up waiting"', "cancel reason"), outcome)
