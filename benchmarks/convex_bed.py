"""What ``benchmarks.convex`` measures on: workflows that note when they run, and a stand-in that counts its calls."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from durable import Client, Context, connect, step, workflow
from durable_convex.install import install
from tests.convex.standin import ADMIN_KEY, StandIn, running

TOKEN: Final = "benchmark"
STEPS: Final = 10

# ── the workflows ────────────────────────────────────────────────────────────────────────────────────────────────────


class Meter:
    """Notes when the first and the last of so many steps ran, and when each run had one for the first time."""

    def __init__(self, steps: int) -> None:
        self.left = steps
        self.began = self.ended = 0.0
        self.first: dict[int, float] = {}
        self.done = asyncio.Event()

    def tick(self, run: int) -> None:
        """One step of this run runs."""
        now = time.perf_counter()
        self.began = self.began or now
        self.first.setdefault(run, now)
        self.left -= 1
        if self.left == 0:
            self.ended = now
            self.done.set()


meters: list[Meter] = [Meter(0)]


@step
async def trivial(run: int) -> int:
    meters[-1].tick(run)
    return run


@workflow
async def chain(ctx: Context, run: int) -> None:
    for _ in range(STEPS):
        await ctx.step(trivial, run)


@workflow
async def resumed(ctx: Context, run: int) -> None:
    await ctx.wait_for_signal("go")
    await ctx.step(trivial, run)


@step
async def endless() -> None:
    meters[-1].tick(0)
    await asyncio.Event().wait()


@workflow
async def holding(ctx: Context) -> None:
    await ctx.step(endless)


@step
async def slow(path: str) -> None:
    """In the first process it never ends; in the one after it the run goes on."""
    place = Path(path)
    if not place.exists():
        place.touch()
        await asyncio.Event().wait()
    meters[-1].tick(int(place.name))


@workflow
async def recovered(ctx: Context, path: str) -> None:
    await ctx.step(slow, path)


WORKFLOWS: Final = (chain, resumed, holding, recovered)


# ── the deployment ───────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Deployment:
    """A stand-in with the component."""

    server: StandIn

    @property
    def url(self) -> str:
        return f"convex+{self.server.url}"

    def calls(self) -> dict[str, int]:
        """Function calls so far, by kind."""
        request = urllib.request.Request(
            f"{self.server.url}/api/development/stats", headers={"Authorization": f"Convex {ADMIN_KEY}"}
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            calls: dict[str, int] = json.load(response)["calls"]
            return calls

    async def total(self) -> int:
        """Function calls so far."""
        return sum((await asyncio.to_thread(self.calls)).values())


@contextlib.contextmanager
def deployment(latency: float) -> Iterator[Deployment]:
    """A fresh one, as ``durable-convex init`` and ``durable-convex dev`` make it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        install(folder / "convex")
        options = ("--data", str(folder / "data"), "--latency", f"{latency:g}", "--env", f"DURABLE_TOKEN={TOKEN}")
        with running(folder / "convex", folder, *options) as server:
            yield Deployment(server)


@contextlib.asynccontextmanager
async def hinted(url: str) -> AsyncIterator[Client]:
    """A client that hears of changes."""
    async with connect(url) as client:
        async with asyncio.timeout(20):
            while not client.store.hinted:
                await asyncio.sleep(0.01)
        yield client
