"""Chaos: one worker after the other is killed, at random, until it is enough."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from durable.cli.demo.crew import Crew, Kill
from durable.clock import Clock

__all__ = ["chaos"]

_SHORTEST_SECONDS = 0.2
_LONGEST_SECONDS = 0.6


async def chaos(crew: Crew, dice: Random, clock: Clock, told: Callable[[Kill], None]) -> None:
    """Kill and restart, every 200 to 600 ms, until cancelled."""
    while True:
        await clock.sleep(dice.uniform(_SHORTEST_SECONDS, _LONGEST_SECONDS))
        kill = crew.kill_one(dice)
        if kill is not None:
            told(kill)
