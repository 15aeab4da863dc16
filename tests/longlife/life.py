"""One long life: runs are started in waves, and after each wave everybody is measured at rest."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, final

from durable import Client, Worker, connect
from tests.longlife import app
from tests.longlife.samples import (
    Base,
    FileSample,
    ProcessSample,
    base,
    file_sample,
    process_sample,
    rows_of,
    wal_bytes,
)

__all__ = ["Life", "Mate", "Plan", "as_answer", "live_long", "rested", "warm", "worker_of"]

ROOT: Final = Path(__file__).parents[2]
_REST_SECONDS: Final = 10.0
_LEASE_SECONDS: Final = 4.5  # the heart beats three times in it
_PURGED_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How long a life.

    Attributes:
        at_once: Runs in flight at a time.
        wave: Runs between two measurements.
        processes: That work on them; the client is in the first.
    """

    runs: int
    at_once: int = 100
    wave: int = 1000
    processes: int = 1
    durability: str = "full"


@dataclass(slots=True)
class Life:
    """What was seen.

    Attributes:
        bases: What each process has to come back to, taken after the first wave.
        wal_max: The longest log at any moment, in bytes.
        odd: Runs that did not end as they should.
        left: Rows of runs, by table, when all of them should have been purged.
    """

    plan: Plan
    samples: list[ProcessSample] = field(default_factory=list)
    files: list[FileSample] = field(default_factory=list)
    bases: dict[str, Base] = field(default_factory=dict)
    wal_max: int = 0
    odd: list[str] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


def worker_of(client: Client) -> Worker:
    """As both processes run it."""
    return Worker(
        client,
        workflows=app.WORKFLOWS,
        steps=app.STEPS,
        queues=app.QUEUES,
        threads=app.THREADS,
        cache=50,
        lease=_LEASE_SECONDS,
    )


async def warm(client: Client) -> None:
    """Every thread of the steps is there, and the heartbeat has connected: that is the base to come back to."""
    await app.warm(client)
    await asyncio.sleep(_LEASE_SECONDS / 3 + 0.5)


async def rested(wanted: Base | None) -> Base:
    """What is there when nothing is under way: the wanted, as soon as it is met, else what lasts."""
    began, last = time.monotonic(), base()
    same = 0
    while time.monotonic() - began < _REST_SECONDS:
        await asyncio.sleep(0.02)
        now = base()
        if now == wanted:
            return now
        same, last = (same + 1 if now == last else 0), now
        if (
            wanted is None and same >= 60
        ):  # longer than the second for which a watch over runs outlives the last of them
            break
    return last


@final
class Mate:
    """The second process, from the first one's side: it works, and measures itself when it is asked to."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self._process = process

    @classmethod
    async def start(cls, name: str, url: str) -> Mate:
        """It is warm when this returns."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.longlife.mate", url, cwd=ROOT, env=environment,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        mate = cls(name, process)
        await mate._answer()
        return mate

    async def sample(self, runs: int) -> ProcessSample:
        assert self._process.stdin is not None
        self._process.stdin.write(b"measure\n")
        told = await self._answer()
        at = Base(told["base"]["fds"], told["base"]["threads"], tuple(told["base"]["tasks"]))
        return ProcessSample(self.name, runs, told["rss"], told["blocks"], at)

    async def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} has died")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def end(self) -> None:
        """It drains and leaves."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        if await self._process.wait() != 0:
            raise RuntimeError(f"{self.name} ended with {self._process.returncode}")


async def live_long(folder: Path, plan: Plan, tell: Callable[[Life], None] = lambda life: None) -> Life:
    """Live it.

    Args:
        tell: Called after each measurement.
    """
    path, life, began = folder / "longlife.db", Life(plan), time.monotonic()
    url = f"sqlite:///{path}?durability={plan.durability}"
    async with connect(url) as client:
        async with worker_of(client) as worker:
            await warm(client)
            mates = [await Mate.start(f"worker {n + 2}", url) for n in range(plan.processes - 1)]
            watch = asyncio.create_task(_watch_log(path, life), name="the log's watch")
            done = 0
            while done < plan.runs:
                count = min(plan.wave, plan.runs - done)
                await _wave(client, range(done, done + count), plan.at_once, life)
                done += count
                worker.evict()  # how many states it keeps for runs that others have taken, differs each time
                await _measure(life, path, done, mates)
                tell(life)
            await _until_purged(path, life)
            watch.cancel()
            for mate in mates:
                await mate.end()
    life.seconds = time.monotonic() - began
    return life


async def _wave(client: Client, numbers: range, at_once: int, life: Life) -> None:
    waiting = iter(numbers)

    async def one_after_the_other() -> None:
        for number in waiting:
            odd = await app.live(client, number)
            if odd is not None:
                life.odd.append(odd)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(one_after_the_other())


async def _measure(life: Life, path: Path, runs: int, mates: list[Mate]) -> None:
    at = await rested(life.bases.get("worker 1"))
    taken = [process_sample("worker 1", runs, at), *[await mate.sample(runs) for mate in mates]]
    for sample in taken:
        life.bases.setdefault(sample.process, sample.base)
    life.samples += taken
    life.files.append(file_sample(path, runs))


async def _watch_log(path: Path, life: Life) -> None:
    while True:
        life.wal_max = max(life.wal_max, wal_bytes(path))
        await asyncio.sleep(0.1)


async def _until_purged(path: Path, life: Life) -> None:
    """Everything that belongs to runs goes by itself."""
    began = time.monotonic()
    while True:
        life.left = {table: rows for table, rows in rows_of(path).items() if rows}
        if not life.left or time.monotonic() - began > _PURGED_SECONDS:
            return
        await asyncio.sleep(0.2)


def as_answer(sample: ProcessSample) -> bytes:
    """A sample as a mate says it."""
    return json.dumps(asdict(sample)).encode() + b"\n"
