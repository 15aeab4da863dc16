"""The workflows that are measured, and the meter in which their steps note when they ran."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from durable import Context, step, workflow

STEPS: Final = 10


class Meter:
    """Notes when steps ran, on the clock that all processes of a machine share.

    Attributes:
        wanted: Steps after which ``done`` is set.
        began: When the first ran.
        ended: When the last that was wanted ran.
        kept: When each ran, by the number that it was given; only where ``keep`` is set.
        told: Called with the number and the moment of each step, if anybody wants to know.
    """

    def __init__(
        self, wanted: int = 0, *, keep: bool = False, told: Callable[[int, float], None] | None = None
    ) -> None:
        self.wanted = wanted
        self.count = 0
        self.began = self.ended = 0.0
        self.kept: dict[int, float] = {}
        self.keep = keep
        self.told = told
        self.done = asyncio.Event()

    def tick(self, number: int) -> None:
        """A step runs."""
        now = time.perf_counter()
        self.count += 1
        self.began = self.began or now
        if self.keep:
            self.kept[number] = now
        if self.told is not None:
            self.told(number, now)
        if self.count == self.wanted:
            self.ended = now
            self.done.set()

    @property
    def rate(self) -> float:
        """Steps a second, from the first to the last."""
        return (self.wanted - 1) / max(self.ended - self.began, 1e-9)


meters: Final[list[Meter]] = [Meter()]  # steps know nobody, so this is where they find the meter
lateness: Final[list[float]] = []
halting: Final[list[bool]] = [False]  # in the first life of a process that is to be killed


@step
async def trivial(number: int) -> int:
    """A step that costs nothing, so that the engine is what is measured."""
    meters[-1].tick(number)
    return number


@step
async def halt(number: int) -> int:
    """In the life that is to end here it never ends."""
    meters[-1].tick(number)
    if halting[0]:
        await asyncio.Event().wait()
    return number


@step
async def woken(due: float) -> None:
    """Notes how late it is, in seconds."""
    lateness.append(time.time() - due)
    meters[-1].tick(0)


@workflow
async def hello(ctx: Context) -> int:
    """The shortest."""
    return await ctx.step(trivial, 1)


@workflow
async def chain(ctx: Context, steps: int) -> int:
    """One step after the other."""
    total = 0
    for number in range(steps):
        total += await ctx.step(trivial, number)
    return total


@workflow
async def fanout(ctx: Context, width: int) -> int:
    """All steps at once."""
    return sum(await asyncio.gather(*(ctx.step(trivial, number) for number in range(width))))


@workflow
async def parked(ctx: Context, number: int) -> None:
    """Waits until it is spoken to."""
    await ctx.wait_for_signal("go")
    await ctx.step(trivial, number)


@workflow
async def sleeper(ctx: Context, seconds: float) -> None:
    """Sleeps, and notes how late it woke."""
    due = ctx.now().timestamp() + seconds
    await ctx.sleep(seconds)
    await ctx.step(woken, due)


@workflow
async def interrupted(ctx: Context, before: int, after: int) -> int:
    """A chain with a place in the middle where a process can be killed."""
    total = 0
    for number in range(before):
        total += await ctx.step(trivial, number)
    total += await ctx.step(halt, before)
    for number in range(before + 1, before + 1 + after):
        total += await ctx.step(trivial, number)
    return total


WORKFLOWS: Final = (hello, chain, fanout, parked, sleeper, interrupted)
