"""Clocks that are not the world's: the mirror of ``durable.clock`` for tests and for simulated processes."""

from __future__ import annotations

import asyncio
import heapq
import math
import random
from typing import final

from durable_testing.loop import SimLoop

__all__ = ["ActorClock", "ManualClock"]


@final
class ManualClock:
    """Time and chance by hand; implements ``durable.clock.Clock``.

    Args:
        start: The wall clock at first, seconds since the epoch.
        seed: Of the dice; the same seed throws the same numbers and tokens.
    """

    def __init__(self, start: float = 1_700_000_000.0, seed: int = 0) -> None:
        self._now = start
        self._monotonic = 0.0
        self._dice = random.Random(seed)
        self._count = 0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def since_boot(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        """Wait until ``advance`` has moved the monotonic clock by ``seconds``."""
        self._count += 1
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic + seconds, self._count, woken))
        await woken

    async def pause(self, seconds: float, due: float = math.inf) -> None:
        await self.sleep(min(seconds, due))

    def random(self) -> float:
        return self._dice.random()

    def token(self) -> str:
        return f"{self._dice.getrandbits(128):032x}"

    def advance(self, seconds: float) -> None:
        """Move both clocks on, and wake who has slept long enough, in the order of their instants."""
        assert seconds >= 0
        self._now += seconds
        self._monotonic += seconds
        while self._sleepers and self._sleepers[0][0] <= self._monotonic:
            woken = heapq.heappop(self._sleepers)[2]
            if not woken.done():
                woken.set_result(None)

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an administrator or NTP would; nobody wakes from that."""
        self._now += seconds


@final
class ActorClock:
    """The clock and dice of one simulated process: the world's time as that process believes it to be.

    Args:
        loop: Whose time passes.
        start: The wall clock at loop time 0, seconds since the epoch.
        seed: Of the dice.

    Attributes:
        skew: Its wall clock is ahead by so many seconds.
        lost: Seconds that its monotonic clock has not counted (the machine was suspended).
    """

    def __init__(self, loop: SimLoop, start: float, seed: str) -> None:
        self.skew = 0.0
        self.lost = 0.0
        self.pause = loop.pause
        self._loop = loop
        self._start = start
        self._dice = random.Random(seed)

    def now(self) -> float:
        return self._start + self.skew + self._loop.time()

    def monotonic(self) -> float:
        return self._loop.time() - self.lost

    def since_boot(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)  # noqa: TID251 -- on the simulated loop

    def random(self) -> float:
        return self._dice.random()

    def token(self) -> str:
        return f"{self._dice.getrandbits(128):032x}"
