"""``python -m benchmarks.hands ORDER``: a worker in a process of its own, which tells what its steps do.

It prints a JSON object for each thing that it has to tell: ``ready`` when everything is imported and the store is open;
after a line on its standard input it works, and tells each step (``step``, ``at``) if that was ordered, when the steps
that are wanted have run (``began``, ``ended``), and when the runs that are wanted have ended (``completed``). It ends
when its standard input does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks import programs
from benchmarks.passes import ROOT
from benchmarks.programs import WORKFLOWS, Meter, meters
from durable import Client, Worker, connect
from durable.cli.process import spare_the_collector


@dataclass(frozen=True, slots=True)
class Order:
    """What such a process does.

    Attributes:
        url: The store.
        wanted: Steps after which it says so.
        completed: Runs whose end it waits for once the steps have run; 0: it does not.
        concurrency: Of its worker.
        tell: Whether it tells each step.
        halt: Whether ``programs.halt`` never ends.
    """

    url: str
    wanted: int = 0
    completed: int = 0
    concurrency: int = 100
    tell: bool = False
    halt: bool = False


def tell(**event: object) -> None:
    """One line to the parent."""
    print(json.dumps(event), flush=True)


async def work(order: Order) -> None:
    """Until the parent has heard enough."""
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    programs.halting[0] = order.halt
    meter = meters[-1] = Meter(order.wanted, keep=True, told=_told if order.tell else None)
    async with connect(order.url) as client:
        tell(ready=time.perf_counter())
        if not await lines.readline():
            return
        async with Worker(client, workflows=WORKFLOWS, concurrency=order.concurrency, drain=0.1):
            watching = asyncio.create_task(_watch(order, client, meter))
            await lines.read()
            watching.cancel()


def _told(number: int, at: float) -> None:
    tell(step=number, at=at)


async def _watch(order: Order, client: Client, meter: Meter) -> None:
    if order.wanted == 0:
        return
    await meter.done.wait()
    if order.completed:
        while await client.count(status="completed") < order.completed:
            await asyncio.sleep(0.005)
        tell(completed=time.perf_counter())
    moments = [] if order.tell else sorted(meter.kept.values())
    tell(began=meter.began, ended=meter.ended, moments=moments)


class Hand:
    """The parent's end of such a process."""

    def __init__(self, process: asyncio.subprocess.Process, began: float) -> None:
        self._process = process
        self.began = began

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    async def go(self) -> None:
        """Let it work."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        await self._process.stdin.drain()

    async def hear(self, word: str, seconds: float = 120.0) -> dict[str, Any]:
        """The next thing it tells that has this word; what it tells before is passed over."""
        assert self._process.stdout is not None
        async with asyncio.timeout(seconds):
            while line := await self._process.stdout.readline():
                event: dict[str, Any] = json.loads(line)
                if word in event:
                    return event
        raise RuntimeError(f"A worker process ended before it told {word!r}.")

    async def kill(self) -> None:
        """SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


@contextlib.asynccontextmanager
async def hand(order: Order) -> AsyncIterator[Hand]:
    """Such a process, ended for certain at the end."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.hands", json.dumps(asdict(order))),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,
    )
    one = Hand(process, began)
    try:
        yield one
    finally:
        await one.kill()


if __name__ == "__main__":
    spare_the_collector()  # as ``durable worker`` does
    asyncio.run(work(Order(**json.loads(sys.argv[1]))))
