"""A storm over Convex: workers and clients are killed, and so is the deployment, while the network loses answers.

The processes, the ledger and the claims are those of ``tests.storm``; what is new is the server between them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final, final

from durable import connect
from durable_convex.install import install
from tests.convex.deployments import TOKEN
from tests.convex.standin import StandIn, running
from tests.storm.client import Acks
from tests.storm.crew import Crew
from tests.storm.evidence import Evidence, read_ledger, read_runs, reference
from tests.storm.proof import (
    an_epoch_belongs_to_one_process,
    every_call_is_committed_once,
    every_run_ends_as_without_faults,
    nothing_comes_early,
    signals_come_once_and_in_order,
    the_store_is_sound,
    what_was_acknowledged_is_there,
)
from tests.storm.storm import _all_at_work, _beside, _come_to_rest, _operate, _Watch

__all__ = ["Weather", "against", "storm"]

# Without those about the epoch of an entry: only SQLite's file tells it.
CLAIMS: Final = (
    every_run_ends_as_without_faults,
    what_was_acknowledged_is_there,
    signals_come_once_and_in_order,
    every_call_is_committed_once,
    an_epoch_belongs_to_one_process,
    nothing_comes_early,
    the_store_is_sound,
)
_EXIT_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Weather:
    """How bad it gets; a pair are the ends of uniform draws, in seconds.

    Attributes:
        faults: Options of the stand-in.
    """

    seconds: float
    runs: int = 40
    seed: int = 1
    lease: float = 3.0
    kill: tuple[float, float] = (0.3, 1.2)
    server_every: float = 5.0
    client_every: float = 4.0
    quiet_seconds: float = 180.0
    faults: tuple[str, ...] = (
        "--chaos-occ", "0.3", "--shuffle", "--lose-responses", "0.1", "--unavailable", "0.05", "--latency", "20",
        "--cut-sockets", "3",
    )  # fmt: skip


@final
@dataclass(slots=True)
class Deployment:
    """The stand-in, which keeps its data on disk and is killed and started again at its address."""

    folder: Path
    faults: tuple[str, ...]
    kills: int = 0
    _server: StandIn | None = None
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _whole: threading.Lock = field(default_factory=threading.Lock)  # a kill that has begun ends with a server

    def start(self) -> str:
        """Begin; its address."""
        install(self.folder / "convex")
        self._begin(0)
        assert self._server is not None
        return self._server.url

    def _begin(self, port: int) -> None:
        options = ("--data", str(self.folder / "data"), "--env", f"DURABLE_TOKEN={TOKEN}", *self.faults)
        self._server = self._stack.enter_context(running(self.folder / "convex", self.folder, *options, port=port))

    def kill(self) -> None:
        """SIGKILL, and again at the same address. Called from another thread."""
        with self._whole:
            assert self._server is not None
            port = self._server.port
            self._server.kill()
            self._stack.close()
            self.kills += 1
            self._begin(port)

    def calm(self) -> None:
        """No more faults."""
        names = ("chaosOcc", "loseResponses", "unavailable", "latency", "cutSockets", "shuffle")
        with self._whole:
            assert self._server is not None
            self._server.faults(**dict.fromkeys(names, 0))

    def close(self) -> None:
        with self._whole:
            self._stack.close()


@final
@dataclass(slots=True)
class Told:
    """What it was like."""

    evidence: Evidence
    crew: Crew
    server_kills: int
    quiet_took: float

    def __str__(self) -> str:
        begins = sum(line.phase == "begin" for line in self.evidence.ledger)
        return (
            f"{len(self.evidence.runs)} runs, {self.crew.kills} workers, {self.crew.client_kills} clients and "
            f"{self.server_kills} servers killed; {begins} attempts begun; quiet after {self.quiet_took:.1f} s"
        )


async def storm(folder: Path, weather: Weather) -> Told:
    """Have it, and see what is left."""
    os.environ["DURABLE_TOKEN"] = TOKEN
    deployment = Deployment(folder, weather.faults)
    try:
        crew = Crew(folder, weather.lease, weather.runs, store=f"convex+{deployment.start()}")
        watch = _Watch()
        async with connect(crew.url) as client:
            crew.start()
            try:
                async with _bad(crew, deployment, weather), _beside(_operate(client, watch)):
                    await asyncio.sleep(weather.seconds)
                deployment.calm()
                began = time.monotonic()
                async with _beside(_operate(client, watch)):
                    (folder / "enough").touch()
                    await crew.client_ends(weather.quiet_seconds)
                    await _come_to_rest(client, weather.quiet_seconds, watch)
                quiet_took = time.monotonic() - began
                await _all_at_work(client, crew)
                await crew.drain(_EXIT_SECONDS)
            finally:
                crew.end()
            acks = Acks(folder / "acks")
            expected = await reference(sorted(acks.started))
            runs = await read_runs(client, {}, expected)
            evidence = Evidence(runs, expected, read_ledger(folder / "ledger"), acks, crew.stalls, weather.lease)
            evidence.said += watch.odd + crew.deaths
            evidence.said += [f"store.check(): {line}" for line in await client.store.check()]
        return Told(evidence, crew, deployment.kills, quiet_took)
    finally:
        deployment.close()


@contextlib.asynccontextmanager
async def _bad(crew: Crew, deployment: Deployment, weather: Weather) -> AsyncIterator[None]:
    dice = Random(weather.seed)

    async def kills() -> None:
        while True:
            await asyncio.sleep(dice.uniform(*weather.kill))
            crew.kill_worker(dice)

    async def clients() -> None:
        while True:
            await asyncio.sleep(weather.client_every * dice.uniform(0.5, 1.5))
            crew.kill_client()

    async def servers() -> None:
        while True:
            await asyncio.sleep(weather.server_every * dice.uniform(0.5, 1.5))
            await asyncio.to_thread(deployment.kill)

    async with _beside(kills(), clients(), servers()):
        yield


def against(told: Told) -> list[str]:
    """Everything that speaks against any claim."""
    return [f"{claim.__name__}: {what}" for claim in CLAIMS for what in claim(told.evidence)]
