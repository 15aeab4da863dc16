"""A virtual environment for each peer, and its driver run in it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.beds import directory
from benchmarks.passes import Figures, Plan, Skipped

ANSWER_SECONDS: Final = 240.0


@dataclass(frozen=True, slots=True)
class Peer:
    """Another engine.

    Attributes:
        name: As people know it.
        packages: What pip installs.
        driver: The module beside this one that speaks to it; run as a file, for it imports nothing of ours.
    """

    name: str
    packages: tuple[str, ...]
    driver: str

    def home(self, plan: Plan) -> Path:
        """Where its environment is."""
        return Path(plan.peers or Path(tempfile.gettempdir()) / "durable-benchmark-peers") / self.driver

    def python(self, plan: Plan) -> str:
        """Its interpreter.

        Raises:
            Skipped: It is not installed.
        """
        path = self.home(plan) / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        if not (self.home(plan) / "installed").exists():
            raise Skipped(f"{self.name} is not installed in {self.home(plan)}; --peers installs it.")
        return str(path)

    def install(self, plan: Plan) -> str:
        """Make the environment if it is not there yet; the version that it has."""
        home = self.home(plan)
        if not (home / "installed").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
            pip = next(path for path in (home / "bin/python", home / "Scripts/python.exe") if path.exists())
            subprocess.run([str(pip), "-m", "pip", "install", "-q", *self.packages], check=True)
            (home / "installed").touch()
        ask = f"import importlib.metadata as m; print(m.version({self.packages[0]!r}))"
        told = subprocess.run([self.python(plan), "-c", ask], check=True, capture_output=True, text=True)
        return told.stdout.strip()


class Driven:
    """A driver's process."""

    def __init__(self, peer: Peer, process: asyncio.subprocess.Process) -> None:
        self._peer = peer
        self._process = process

    async def hear(self, word: str) -> Any:
        """What it tells next under this word; what it tells before is passed over.

        Raises:
            RuntimeError: It ended without.
        """
        assert self._process.stdout is not None
        async with asyncio.timeout(ANSWER_SECONDS):
            while line := await self._process.stdout.readline():
                if not line.startswith(b"{"):
                    continue  # the peer's own words
                told = json.loads(line)
                if word in told:
                    return told[word]
        raise RuntimeError(f"The driver of {self._peer.name} ended before it told {word!r}.")

    async def kill(self) -> None:
        """SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


@contextlib.asynccontextmanager
async def driven(peer: Peer, plan: Plan, folder: Path, job: str, **order: object) -> AsyncIterator[Driven]:
    """Its driver at work on one job, in a directory."""
    driver = Path(__file__).with_name(f"{peer.driver}.py")
    process = await asyncio.create_subprocess_exec(
        *(peer.python(plan), "-E", str(driver), job, json.dumps(order)), cwd=folder, stdout=asyncio.subprocess.PIPE
    )
    one = Driven(peer, process)
    try:
        yield one
    finally:
        await one.kill()


async def figures(peer: Peer, plan: Plan, job: str, **order: object) -> Figures:
    """What its driver measures in a fresh directory."""
    with directory(plan) as folder:
        async with driven(peer, plan, folder, job, **order) as one:
            told = await one.hear("figures")
            return {str(name): float(value) for name, value in told.items()}
