"""Clock and dice: the only door through which time, sleep and chance come into the engine."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from typing import Protocol, final

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """What the engine may know of time and chance. A simulator hands in its own."""

    def now(self) -> float:
        """Wall-clock time in seconds since the epoch. Only stores stamp with it."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; for local waits and watchdogs."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait on the running event loop."""
        ...

    def random(self) -> float:
        """A number in [0, 1), for jitter."""
        ...

    def token(self) -> str:
        """A fresh random id: 32 hexadecimal digits, 128 bits."""
        ...


@final
class SystemClock:
    """The real clock and the operating system's randomness."""

    def now(self) -> float:
        return time.time()

    monotonic = staticmethod(time.monotonic)  # asked several times a step

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def random(self) -> float:
        return random.random()

    def token(self) -> str:
        return secrets.token_hex(16)
