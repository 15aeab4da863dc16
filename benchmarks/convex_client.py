"""Why a worker does not call Convex through the official WebSocket client: ``python -m benchmarks.convex_client``.

Against the stand-in, with answers that take 50 ms each way: how often another thread gets to run while calls are made,
how long it is stopped at a time, and how often a mutation runs whose answer is lost. First the official package's
WebSocket client, then this package's transport.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path

import convex

from durable_convex.transport import Access, Transport
from durable_convex.url import parse
from tests.convex.standin import ADMIN_KEY, StandIn, running

CALLS = 10
FUNCTIONS = """
import { mutationGeneric, queryGeneric } from "convex/server";
export const add = mutationGeneric({ args: {}, handler: async (ctx) => { await ctx.db.insert("rows", {}); } });
export const count = queryGeneric({ args: {}, handler: async (ctx) => (await ctx.db.query("rows").collect()).length });
"""


class Ticks:
    """A thread that wants to run each millisecond, as the others of a worker do now and then."""

    def __init__(self) -> None:
        self.count = 0
        self.longest = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        last = time.perf_counter()
        while not self._stop.wait(0.001):
            now = time.perf_counter()
            self.longest = max(self.longest, now - last)
            self.count += 1
            last = now

    def __enter__(self) -> Ticks:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def faults(server: StandIn, **settings: float) -> None:
    post(server.url, settings)


def calm(url: str) -> None:
    """No more faults."""
    post(url, {"latency": 0, "cutSockets": 0})


def post(url: str, settings: dict[str, float]) -> None:
    request = urllib.request.Request(
        f"{url}/api/development/faults",
        json.dumps(settings).encode(),
        {"Content-Type": "application/json", "Authorization": f"Convex {ADMIN_KEY}"},
    )
    urllib.request.urlopen(request, timeout=10).close()


def measured(what: str, calls: Callable[[], object]) -> None:
    with Ticks() as ticks:
        began = time.perf_counter()
        calls()
        took = time.perf_counter() - began
    possible = took / 0.00106
    print(
        f"{what:34} {CALLS} calls in {took:.2f} s; another thread ran {ticks.count} times of some {possible:.0f}, "
        f"and stood still for up to {ticks.longest * 1000:.0f} ms"
    )


async def with_transport(server: StandIn, call: Callable[[Transport], Awaitable[object]], times: int = 1) -> None:
    transport = Transport(parse(f"convex+{server.url}"), Access())
    transport.open()
    try:
        for _ in range(times):
            await call(transport)
    finally:
        await transport.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "convex").mkdir()
        (folder / "convex" / "rows.ts").write_text(FUNCTIONS)
        with running(folder / "convex", folder) as server:
            client = convex.ConvexClient(server.url)
            client.mutation("rows:add")
            faults(server, latency=50)
            measured("convex.ConvexClient (WebSocket)", lambda: [client.mutation("rows:add") for _ in range(CALLS)])
            measured(
                "durable_convex.transport (HTTP)",
                lambda: asyncio.run(with_transport(server, lambda t: t.call("rows:add", "mutation", "{}"), CALLS)),
            )
            faults(server, latency=0)
            lost_answer(server, client)


def lost_answer(server: StandIn, client: convex.ConvexClient) -> None:
    """What one mutation does whose answer is lost, with sockets cut now and then, as a bad network does."""
    before = server.call("query", "rows:count")
    faults(server, latency=300, cutSockets=0.45)
    later = f"from benchmarks.convex_client import *; time.sleep(2); calm({server.url!r})"
    helper = subprocess.Popen([sys.executable, "-c", later])  # a thread of ours would not get to run
    with Ticks() as ticks:
        client.mutation("rows:add")
    helper.wait()
    time.sleep(0.5)
    times = server.call("query", "rows:count") - before
    print(
        f"convex.ConvexClient, socket cut:   1 mutation ran {times:.0f} times, "
        f"while every other thread stood still for up to {ticks.longest * 1000:.0f} ms"
    )


if __name__ == "__main__":
    main()
