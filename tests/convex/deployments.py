"""Servers for tests of the adapter: the stand-in with many deployments in one process, and the second engine."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from durable_convex import ConvexStore
from durable_convex.install import install
from durable_testing.clock import ManualClock
from tests.convex.packages import DEPLOYMENT, installed

TOKEN = "the-tests-token"
ENTRY = Path(__file__).parent / "many" / "many.ts"
SECOND_ENGINE = Path(__file__).parent / "component"
_START_SECONDS = 60.0


@dataclass(slots=True)
class Deployments:
    """A server below whose address each name is a deployment of its own.

    Attributes:
        live: Whether it speaks the sync protocol.
    """

    url: str
    live: bool = True
    names: list[str] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    async def fresh(self, clock: ManualClock) -> ConvexStore:
        """A store on a deployment that nobody has used."""
        name = f"t{next(self._numbers)}"
        self.names.append(name)
        options = "" if self.live else "?live=false"
        store = ConvexStore(f"convex+{self.url}/d/{name}{options}", auth=TOKEN, clock=clock)
        await store.open()
        return store

    def sweep(self) -> None:
        """Drop what the last test used."""
        for name in self.names:
            request = urllib.request.Request(f"{self.url}/d/{name}", method="DELETE")
            with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=10):
                pass
        self.names.clear()


@contextlib.contextmanager
def stand_in(tmp_path: Path, *options: str) -> Iterator[Deployments]:
    """The project's stand-in for Convex, with the component as ``durable-convex init`` writes it."""
    if shutil.which("node") is None:
        pytest.skip("Node is not installed")
    app = tmp_path / "convex"
    install(app)
    ready = tmp_path / "ready.json"
    arguments = [
        "--dir",
        str(app),
        "--port",
        "0",
        "--env",
        f"DURABLE_TOKEN={TOKEN}",
        "--ready-file",
        str(ready),
        *options,
    ]
    with _process(["node", str(_compiled()), *arguments], tmp_path / "server.log") as process:
        deadline = time.monotonic() + _START_SECONDS
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the stand-in did not start:\n{(tmp_path / 'server.log').read_text()}")
            time.sleep(0.02)
        yield Deployments(json.loads(ready.read_text())["url"])


@contextlib.contextmanager
def second_engine(tmp_path: Path) -> Iterator[Deployments]:
    """The component on ``convex-test``: another engine, by the makers of Convex; no sockets, one call at a time."""
    runner = installed(SECOND_ENGINE) / "node_modules" / ".bin" / "vite-node"
    arguments = [str(runner), "--config", "vitest.config.ts", "serve.ts", "--port", "0"]
    log = tmp_path / "engine.log"
    with _process(arguments, log, cwd=SECOND_ENGINE) as process:
        deadline = time.monotonic() + _START_SECONDS
        while not (said := log.read_text()).startswith("http"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the second engine did not start:\n{said}")
            time.sleep(0.02)
        yield Deployments(said.splitlines()[0].strip(), live=False)


@contextlib.contextmanager
def _process(command: list[str], log: Path, cwd: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "DURABLE_TOKEN": TOKEN, "DURABLE_DEPLOYMENT_HOME": str(installed(DEPLOYMENT))}
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, cwd=cwd, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, env=environment
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def _compiled() -> Path:
    """The server of many deployments, compiled once for each state of its sources."""
    home = installed(DEPLOYMENT)
    digest = hashlib.sha256(ENTRY.read_bytes())
    for source in sorted((home / "src").glob("*.ts")):
        digest.update(source.read_bytes())
    output = home / "node_modules" / ".cache" / "durable-deployment-tests" / f"many-{digest.hexdigest()[:16]}.mjs"
    if not output.exists():
        output.parent.mkdir(parents=True, exist_ok=True)
        draft = output.with_name(f"draft-{os.getpid()}.mjs")
        build = ["--bundle", "--platform=node", "--target=node20", "--format=esm", "--packages=external"]
        compiler = home / "node_modules" / "esbuild" / "bin" / "esbuild"
        subprocess.run([str(compiler), str(ENTRY), *build, "--log-level=error", f"--outfile={draft}"], check=True)
        draft.replace(output)
    return output
