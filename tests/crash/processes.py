"""Worker processes that tests may kill, and the ledger that they leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

APP = Path(__file__).with_name("app.py")


@dataclass
class Line:
    """One line of the ledger."""

    at: float
    pid: int
    key: str
    name: str
    phase: str


class Site:
    """A directory with a store, a ledger and worker processes."""

    def __init__(self, folder: Path, lease: float = 3.0) -> None:
        self.folder = folder
        self.store = f"sqlite:///{folder / 'test.db'}"
        self.ledger = folder / "ledger.txt"
        self.lease = lease
        self.workers: list[subprocess.Popen[str]] = []

    def start_worker(self) -> subprocess.Popen[str]:
        """Start one and wait until it works."""
        environment = {**os.environ, "STORE": self.store, "LEDGER": str(self.ledger), "LEASE": str(self.lease)}
        worker = subprocess.Popen([sys.executable, str(APP)], env=environment, stdout=subprocess.PIPE, text=True)
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        self.workers.append(worker)
        return worker

    def kill(self, worker: subprocess.Popen[str]) -> None:
        """SIGKILL, and wait until it is gone."""
        worker.kill()
        worker.wait()

    def close(self) -> None:
        """No process is left behind."""
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
                worker.kill()
            worker.wait()
            if worker.stdout is not None:
                worker.stdout.close()

    def lines(self) -> list[Line]:
        """The ledger."""
        return list(self._read())

    def _read(self) -> Iterator[Line]:
        if not self.ledger.exists():
            return
        for text in self.ledger.read_text().splitlines():
            at, pid, key, name, phase = text.split(" ")
            yield Line(float(at), int(pid), key, name, phase)

    def count(self, phase: str) -> Counter[str]:
        """How often each name has begun, or ended."""
        return Counter(line.name for line in self.lines() if line.phase == phase)
