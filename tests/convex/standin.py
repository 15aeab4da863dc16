"""The development server as a process, for tests: started on a free port, ended whatever happens."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from durable_convex.development import command
from tests.convex.packages import DEPLOYMENT, installed

T = TypeVar("T")
ADMIN_KEY = "development|test"
APPS = Path(__file__).parents[2] / "durable_convex" / "deployment" / "test" / "apps"
_START_SECONDS = 60.0
_REQUEST_SECONDS = 30.0


@dataclass(slots=True)
class StandIn:
    """A running server."""

    url: str
    process: subprocess.Popen[bytes]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def call(self, kind: str, path: str, args: dict[str, Any] | None = None) -> Any:
        """What a function returns; raises RuntimeError with the server's words if it fails."""
        answer = self.post(f"/api/{kind}", {"path": path, "args": args or {}, "format": "json"})
        if answer["status"] != "success":
            raise RuntimeError(answer["errorMessage"])
        return answer["value"]

    def faults(self, **settings: float) -> None:
        """Switch faults on or off."""
        self.post("/api/development/faults", settings)

    def post(self, path: str, body: Any) -> Any:
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        if path.startswith("/api/development"):
            request.add_header("Authorization", f"Convex {ADMIN_KEY}")
        with urllib.request.urlopen(request, timeout=_REQUEST_SECONDS) as response:
            return json.load(response)

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def running(app: Path, tmp_path: Path, *options: str, port: int = 0) -> Iterator[StandIn]:
    """A server on an app's folder; skips the test where Node is not installed."""
    installed(DEPLOYMENT)
    ready = tmp_path / f"ready-{time.monotonic_ns()}.json"
    arguments = ["--dir", str(app), "--port", str(port), "--admin-key", ADMIN_KEY, "--ready-file", str(ready), *options]
    log = tmp_path / f"{ready.stem}.log"
    with log.open("wb") as output, subprocess.Popen(command(arguments), stdout=output, stderr=output) as process:
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not ready.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"the development server did not start:\n{log.read_text()}")
                time.sleep(0.02)
            yield StandIn(json.loads(ready.read_text())["url"], process)
        finally:
            process.kill()


def eventually(ask: Callable[[], T], satisfied: Callable[[T], bool], seconds: float = 20.0) -> T:
    """Ask until the answer satisfies; the deadline is the last resort of a test that fails."""
    deadline = time.monotonic() + seconds
    while not satisfied(answer := ask()):
        assert time.monotonic() < deadline, f"still {answer!r}"
        time.sleep(0.02)
    return answer
