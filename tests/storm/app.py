"""What the storm's workers run: a workflow with six steps, a gather, a timer and a signal wait, and a ledger."""

from __future__ import annotations

import asyncio
import logging
import os
import time
import zlib
from contextvars import ContextVar
from typing import Any, Final

from durable import Context, Retry, Signal, Worker, connect, step, workflow
from durable._engine.attempts import current_attempt
from durable._engine.executor import Executor
from durable._engine.steps import Steps

__all__ = ["PAUSE_SECONDS", "RETRY_SECONDS", "SIGNALS", "journey", "news"]

SIGNALS: Final = 3  # each run waits for so many of them, in order
PAUSE_SECONDS: Final = 0.2
RETRY_SECONDS: Final = 0.05

news = Signal("news", int)
_epoch: ContextVar[int] = ContextVar("epoch", default=0)


def write(phase: str) -> None:
    """One line, one write, one fsync: ``at pid epoch key attempt phase``; the key is run / generation / call."""
    path = os.environ.get("STORM_LEDGER")
    attempt = current_attempt.get()
    if path is None or attempt is None:  # the reference run keeps no ledger
        return
    line = f"{time.time():.6f} {os.getpid()} {_epoch.get()} {attempt.key} {attempt.number} {phase}\n".encode()
    ledger = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        assert os.write(ledger, line) == len(line)
        os.fsync(ledger)
    finally:
        os.close(ledger)


def takes() -> float:
    """Seconds that this attempt works for: 2 to 42 ms, by its key; nothing in the reference run."""
    attempt = current_attempt.get()
    if "STORM_LEDGER" not in os.environ or attempt is None:
        return 0.0
    return 0.002 + zlib.crc32(attempt.key.encode()) % 41 / 1000


@step(retry=Retry(5, initial=RETRY_SECONDS))
async def walk(number: int, place: str) -> str:
    write("begin")
    await asyncio.sleep(takes())
    write("end")
    return f"{place}{number}"


@step(retry=Retry(5, initial=RETRY_SECONDS))
def carry(number: int) -> int:
    write("begin")
    time.sleep(takes())
    write("end")
    return number * 7


@step(retry=Retry(5, initial=RETRY_SECONDS, jitter=0.0))
async def stumble(number: int) -> int:
    write("begin")
    attempt = current_attempt.get()
    assert attempt is not None
    if attempt.number == 1:
        raise ConnectionError("the first attempt always fails")
    write("end")
    return number + 1


@workflow
async def journey(ctx: Context, number: int) -> list[Any]:
    first = await ctx.step(walk, number, "a")
    second = await ctx.step(stumble, number)
    pair = await asyncio.gather(ctx.step(walk, number, "b"), ctx.step(carry, number))
    await ctx.sleep(PAUSE_SECONDS)
    heard = [await ctx.wait_for_signal(news) for _ in range(SIGNALS)]
    third = await ctx.step(carry, sum(heard))
    last = await ctx.step(walk, number, "c")
    return [first, second, *pair, heard, third, last]


def note_epochs() -> None:
    """Let the ledger know under which epoch an attempt began: its task inherits what is set here."""
    begin = Executor.begin

    def noted(self: Executor, sink: Steps, *rest: Any) -> Any:
        token = _epoch.set(sink._run.epoch)
        try:
            return begin(self, sink, *rest)
        finally:
            _epoch.reset(token)

    Executor.begin = noted  # type: ignore[assignment,method-assign]


async def main() -> None:
    note_epochs()
    async with connect(os.environ["STORM_STORE"]) as client:
        await Worker(client, workflows=[journey], lease=float(os.environ["STORM_LEASE"]), drain=10).run()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(process)d %(levelname)s %(message)s")
    from tests.storm import app  # the workflow's home is this module's real name

    asyncio.run(app.main())
