"""The demo from its first order to its proof."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from durable import connect
from durable.cli.demo.board import Board, Figures
from durable.cli.demo.chaos import chaos
from durable.cli.demo.crew import Crew
from durable.cli.demo.ledger import read_ledger
from durable.cli.demo.proof import Proof, prove
from durable.cli.demo.shop import Order
from durable.cli.demo.till import Till, rounds
from durable.clock import SystemClock

__all__ = ["Played", "Script", "play"]

_IN_FLIGHT_PER_WORKER: Final = 20
_FINISH_SECONDS: Final = 120.0
_LOOK_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Script:
    """What is asked for.

    Attributes:
        seconds: Start orders, round after round, for so long; None for one round.
        chaotic: Kill workers meanwhile.
    """

    orders: Sequence[Order]
    directory: Path
    url: str
    workers: int
    seconds: float | None
    chaotic: bool
    seed: int


@dataclass(frozen=True, slots=True)
class Played:
    """What came of it."""

    proof: Proof
    took: float
    steps: int
    kills: int
    resumed: int
    deaths: tuple[str, ...]


async def play(script: Script, board: Board) -> Played:
    """Start workers and orders, spread chaos if asked to, let everything finish, and prove it."""
    clock = SystemClock()
    crew = Crew(script.url, script.directory, script.workers, clock)
    async with connect(script.url) as client:
        till = Till(client)
        planned = None if script.seconds is not None else len(script.orders)
        ledger = script.directory / "ledger.jsonl"
        figures = Figures(till, crew, ledger, clock.now(), planned, script.seconds, chaotic=script.chaotic)
        try:
            crew.start()
            with board:
                await _trade(script, till, crew, figures, board, clock)
            took = clock.now() - figures.since
            await crew.stop()
        finally:
            crew.end()
        figures.read()
        lines, broken = read_ledger(ledger)
        proof = prove(till.plan, await till.evidence(), lines, broken, crew.lost)
        return Played(proof, took, figures.steps, len(crew.kills), till.resumed, tuple(crew.deaths))


async def _trade(script: Script, till: Till, crew: Crew, figures: Figures, board: Board, clock: SystemClock) -> None:
    killing: asyncio.Task[None] | None = None
    if script.chaotic:
        killing = asyncio.create_task(chaos(crew, Random(script.seed), clock, figures.killed))
    try:
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(_watch(till, crew, figures, board, clock))
            await _order_all(script, till, figures.since, clock)
            if killing is not None:
                killing.cancel()
            await _finish(till, clock)
            watching.cancel()
    finally:
        if killing is not None:
            killing.cancel()
            with suppress(asyncio.CancelledError):
                await killing
    figures.read()
    board.draw(figures, clock.now())


async def _watch(till: Till, crew: Crew, figures: Figures, board: Board, clock: SystemClock) -> None:
    while True:
        await till.look()
        crew.look_after()
        figures.read()
        board.draw(figures, clock.now())
        await clock.sleep(_LOOK_SECONDS)


async def _order_all(script: Script, till: Till, since: float, clock: SystemClock) -> None:
    """Start orders while there is room; with a time, until it is over."""
    room = script.workers * _IN_FLIGHT_PER_WORKER
    for run, order in rounds(script.orders, again=script.seconds is not None):
        while len(till.in_flight) >= room and not _over(script, since, clock):
            await clock.sleep(0.02)
        if _over(script, since, clock):
            return
        await till.start(run, order)


def _over(script: Script, since: float, clock: SystemClock) -> bool:
    return script.seconds is not None and clock.now() - since >= script.seconds


async def _finish(till: Till, clock: SystemClock) -> None:
    """Until every order has ended, or for two minutes: then the proof says which have not."""
    end = clock.monotonic() + _FINISH_SECONDS
    while till.in_flight and clock.monotonic() < end:
        await clock.sleep(_LOOK_SECONDS)
        await till.resume_blocked()
