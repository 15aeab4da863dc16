"""A site whose workers run the harmful workflows, and who starts another when one has died."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from tests.crash.processes import Site

ROOT = Path(__file__).parents[3]


class Scene(Site):
    """Processes of ``tests.crash.real.app``.

    Attributes:
        died: Exit codes of the workers that somebody was started in place of.
    """

    def __init__(self, folder: Path, lease: float = 3.0) -> None:
        super().__init__(folder, lease)
        self.died: list[int] = []

    def environment(self, **more: str) -> dict[str, str]:
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        return {
            **os.environ, "PYTHONPATH": path, "STORE": self.store, "LEDGER": str(self.ledger),
            "LEASE": str(self.lease), **more,
        }  # fmt: skip

    def start_worker(self, **more: str) -> subprocess.Popen[str]:
        worker = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.real.app"], cwd=ROOT, env=self.environment(**more),
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self.workers.append(worker)
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        return worker

    @contextlib.asynccontextmanager
    async def tended(self) -> AsyncIterator[None]:
        """One worker, and another whenever it has died."""

        async def tend() -> None:
            worker = self.start_worker()
            while True:
                if worker.poll() is not None:
                    self.died.append(worker.returncode)
                    worker = await asyncio.to_thread(self.start_worker)
                await asyncio.sleep(0.02)

        tending = asyncio.ensure_future(tend())
        try:
            yield
        finally:
            tending.cancel()
            await asyncio.wait([tending])


def lives(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for a moment by name."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to pass"
        await asyncio.sleep(0.01)
