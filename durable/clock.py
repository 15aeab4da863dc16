"""Clock and dice: the only door through which time, sleep and chance come into the engine."""

from __future__ import annotations

import asyncio
import math
import random
import secrets
import sys
import time
from collections.abc import Callable
from functools import partial
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

    def since_boot(self) -> float:
        """Seconds that never go back and also pass while the machine is suspended; for how long a lease holds."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait on the running event loop."""
        ...

    async def pause(self, seconds: float, due: float = math.inf) -> None:
        """Wait between two looks, the shorter of both; a simulator may leave out looks that are not due.

        Args:
            seconds: Until it is time for a look that usually finds nothing.
            due: Seconds until the look will find something.
        """
        ...

    def random(self) -> float:
        """A number in [0, 1), for jitter."""
        ...

    def token(self) -> str:
        """A fresh random id: 32 hexadecimal digits, 128 bits."""
        ...


def _since_boot() -> Callable[[], float]:
    """Python's monotonic clock stands still while a Linux or a macOS machine is suspended; others do not."""
    chosen = getattr(time, "CLOCK_BOOTTIME", None)
    if chosen is None and sys.platform == "darwin":
        chosen = time.CLOCK_MONOTONIC
    if chosen is None:
        return time.monotonic
    try:
        time.clock_gettime(chosen)
    except OSError:  # a sandbox without it
        return time.monotonic
    return partial(time.clock_gettime, chosen)


@final
class SystemClock:
    """The real clock and the operating system's randomness."""

    def now(self) -> float:
        return time.time()

    monotonic = staticmethod(time.monotonic)  # asked several times a step
    since_boot = staticmethod(_since_boot())

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def pause(self, seconds: float, due: float = math.inf) -> None:
        await asyncio.sleep(min(seconds, due))

    def random(self) -> float:
        return random.random()

    def token(self) -> str:
        return secrets.token_hex(16)
