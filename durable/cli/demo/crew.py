"""The demo's workers: real processes of ``durable worker``, started, killed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from durable.cli.demo.ledger import ENVIRONMENT
from durable.clock import Clock

__all__ = ["Crew", "Kill"]

APP: Final = "durable.cli.demo.shop"
_STOP_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill -9."""

    at: float
    place: int
    pid: int
    lived: float


class Crew:
    """So many places, each with a worker process.

    Attributes:
        kills: What was done to them.
        lost: Process ids of all that died by SIGKILL.
        deaths: What they died of without being asked to, which should be nothing.
    """

    def __init__(self, url: str, directory: Path, places: int, clock: Clock) -> None:
        self.kills: list[Kill] = []
        self.lost: set[int] = set()
        self.deaths: list[str] = []
        self._url = url
        self._directory = directory
        self._clock = clock
        self._workers: list[subprocess.Popen[bytes] | None] = [None] * places
        self._since = [0.0] * places

    def __len__(self) -> int:
        return sum(worker is not None and worker.poll() is None for worker in self._workers)

    def start(self) -> None:
        """Fill every place."""
        for place in range(len(self._workers)):
            self._start(place)

    def _start(self, place: int) -> None:
        log = (self._directory / f"worker-{place + 1}.log").open("ab")
        with log:
            self._workers[place] = subprocess.Popen(
                [sys.executable, "-m", "durable", "worker", APP, "--store", self._url, "--drain", "10s", "-q"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, ENVIRONMENT: str(self._directory / "ledger.jsonl")},
                start_new_session=True,  # a Ctrl-C in the terminal is ours to pass on
            )
        self._since[place] = self._clock.now()

    def kill_one(self, dice: Random) -> Kill | None:
        """SIGKILL for one of them, chosen by the dice, and a new process in its place."""
        living = [place for place, worker in enumerate(self._workers) if worker is not None and worker.poll() is None]
        if not living:
            return None
        place = dice.choice(living)
        worker = self._workers[place]
        assert worker is not None
        worker.kill()
        worker.wait()
        now = self._clock.now()
        kill = Kill(now, place + 1, worker.pid, now - self._since[place])
        self.kills.append(kill)
        self.lost.add(worker.pid)
        self._start(place)
        return kill

    def look_after(self) -> None:
        """Replace whatever has died by itself, and keep the reason."""
        for place, worker in enumerate(self._workers):
            if worker is not None and worker.poll() is not None:
                self.deaths.append(f"worker {place + 1} (process {worker.pid}) ended by itself: {worker.returncode}")
                self._start(place)

    async def stop(self) -> None:
        """SIGTERM; whoever has not drained in time is killed."""
        workers = [worker for worker in self._workers if worker is not None]
        for worker in workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGTERM)
        end = self._clock.monotonic() + _STOP_SECONDS
        while any(worker.poll() is None for worker in workers) and self._clock.monotonic() < end:
            await self._clock.sleep(0.02)
        self.end()

    def end(self) -> None:
        """SIGKILL for all that are left."""
        for place, worker in enumerate(self._workers):
            if worker is not None:
                if worker.poll() is None:
                    worker.kill()
                    worker.wait()
                    self.lost.add(worker.pid)
                self._workers[place] = None
