"""When a held run is to be looked at again: one local timer for the earliest of all instants asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, final

from durable._core.nobody import nobody
from durable._engine.services import StoreTime
from durable._model import defaults

__all__ = ["Alarm"]

_LONGEST_SECONDS: Final = 86_400.0


@final
class Alarm:
    """Of one held run.

    Args:
        rings: Called when the instant has come.

    Attributes:
        instant: Store time at which it rings; None if it is not set.
    """

    __slots__ = ("_handle", "_rings", "_time", "instant")

    def __init__(self, time: StoreTime, rings: Callable[[], None]) -> None:
        self.instant: float | None = None
        self._time = time
        self._rings = rings
        self._handle: asyncio.TimerHandle | None = None

    def set(self, instant: float | None) -> None:
        """Ring at this store time; the earliest instant asked for wins."""
        if instant is None or (self.instant is not None and self.instant <= instant):
            return
        self.cancel()
        self.instant = instant
        delay = min(max(0.0, instant - self._time.now()), _LONGEST_SECONDS)
        self._handle = asyncio.get_running_loop().call_later(delay + defaults.LATE_SECONDS, self._ring)

    def cancel(self) -> None:
        """Do not ring."""
        if self._handle is not None:
            self._handle.cancel()

    def close(self) -> None:
        """Never ring again; what would be called is let go of."""
        self.cancel()
        self._rings = nobody

    def _ring(self) -> None:
        self._handle = None
        self.instant = None
        self._rings()
