"""The storm's processes: three workers, a client and lock holders, which are killed, stopped and started again."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final, final

__all__ = ["Crew", "Stall"]

ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Stall:
    """A worker stood still from one moment to another, in wall-clock seconds."""

    pid: int
    began: float
    ended: float


@final
@dataclass(slots=True)
class Crew:
    """Everybody who works on the file.

    Attributes:
        kills: How many workers were killed.
        deaths: What anybody died of without being asked to, which should be nothing.
        store: The URL of another store than the file in ``folder``.
    """

    folder: Path
    lease: float
    at_once: int
    places: int = 3
    kills: int = 0
    client_kills: int = 0
    holds: int = 0
    stalls: list[Stall] = field(default_factory=list)
    deaths: list[str] = field(default_factory=list)
    store: str = ""
    _workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _stalled: set[int] = field(default_factory=set)
    _client: subprocess.Popen[bytes] | None = None

    @property
    def database(self) -> Path:
        return self.folder / "storm.db"

    @property
    def url(self) -> str:
        return self.store or f"sqlite:///{self.database}"

    @property
    def workers(self) -> set[int]:
        """Their process ids."""
        return {worker.pid for worker in self._workers}

    def _spawn(self, log: str, *words: str) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "STORM_STORE": self.url,
            "STORM_LEDGER": str(self.folder / "ledger"),
            "STORM_LEASE": str(self.lease),
        }
        with (self.folder / log).open("ab") as file:
            return subprocess.Popen(
                [sys.executable, "-m", *words], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=file,
                stderr=file,
            )  # fmt: skip

    def start(self) -> None:
        """Everybody to their places."""
        self._workers = [self._spawn("workers.log", "tests.storm.app") for _ in range(self.places)]
        self._start_client()

    def _start_client(self) -> None:
        self._client = self._spawn("client.log", "tests.storm.client", self.url, str(self.folder), str(self.at_once))

    def kill_worker(self, dice: Random) -> None:
        """SIGKILL for one that does not stand still, and a new one at once in its place."""
        places = [place for place, worker in enumerate(self._workers) if worker.pid not in self._stalled]
        place = dice.choice(places)
        worker = self._workers[place]
        self._note_death(worker)
        worker.kill()
        worker.wait()
        self.kills += 1
        self._workers[place] = self._spawn("workers.log", "tests.storm.app")

    def kill_client(self) -> None:
        """The same for the client, unless it has finished."""
        assert self._client is not None
        if self._client.poll() is None:
            self._client.kill()
            self._client.wait()
            self.client_kills += 1
            self._start_client()

    async def stall_worker(self, dice: Random, seconds: float) -> None:
        """SIGSTOP, a while, SIGCONT."""
        worker = dice.choice(self._workers)
        began = time.time()
        worker.send_signal(signal.SIGSTOP)
        self._stalled.add(worker.pid)
        try:
            await asyncio.sleep(seconds)
        finally:
            worker.send_signal(signal.SIGCONT)
            self.stalls.append(Stall(worker.pid, began, time.time()))
            self._stalled.discard(worker.pid)

    async def hold_lock(self, seconds: float) -> None:
        """A process of its own holds the write lock."""
        holder = self._spawn("holder.log", "tests.storm.holder", str(self.database), str(seconds))
        try:
            if await _ended(holder, seconds + 30) == 0:
                self.holds += 1
            else:
                self.deaths.append(f"the lock holder ended with {holder.returncode}")
        finally:
            if holder.poll() is None:
                holder.kill()
                holder.wait()

    async def client_ends(self, seconds: float) -> None:
        """The client has nothing more to say, and says so by ending."""
        assert self._client is not None
        code = await _ended(self._client, seconds)
        if code != 0:
            self.deaths.append(f"the client ended with {code} (None: not at all in {seconds:g} s)")

    async def drain(self, seconds: float) -> float:
        """SIGTERM for all workers; returns how long the slowest took. Who does not end by itself is a death."""
        began = time.monotonic()
        for worker in self._workers:
            self._note_death(worker)
            worker.send_signal(signal.SIGTERM)
        for worker in self._workers:
            code = await _ended(worker, max(began + seconds - time.monotonic(), 0.01))
            if code != 0:
                self.deaths.append(f"worker {worker.pid} answered SIGTERM with {code} (None: not in {seconds:g} s)")
        return time.monotonic() - began

    def _note_death(self, worker: subprocess.Popen[bytes]) -> None:
        if worker.poll() is not None:
            self.deaths.append(f"worker {worker.pid} ended by itself: {worker.returncode}")

    def end(self) -> None:
        """Whatever is left is killed."""
        for process in (*self._workers, *([] if self._client is None else [self._client])):
            if process.poll() is None:
                process.kill()
            process.wait()

    def orphans(self) -> list[int]:
        """Processes of ours that still live: those whose environment names our ledger. Only Linux can tell."""
        mark = f"STORM_LEDGER={self.folder / 'ledger'}\0".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in entry.read_bytes():
                    found.append(int(entry.parent.name))
            except OSError:
                continue
        return found


async def _ended(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Its exit code; None if it has not ended in time."""
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        await asyncio.sleep(0.02)
    return process.poll()
