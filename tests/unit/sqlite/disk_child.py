"""What a process of its own does to a bad disk: ``python disk_child.py <deed> <url>``, talking in lines."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import sqlite3
import sys
from pathlib import Path

from durable import Context, Worker, connect, step, workflow
from durable.errors import StoreError
from durable.store import NewRun, RunId
from durable_sqlite import SqliteStore

BYTES = 30_000
RUNS = 40


class Said(logging.Handler):
    """Keeps what the logger of the store says."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@step
async def much(number: int) -> str:
    return f"{number:0{BYTES}}"


@workflow
async def hoard(ctx: Context, number: int) -> int:
    return len(await ctx.step(much, number)) + len(await ctx.step(much, number + 1))


def say(*words: object) -> None:
    print(*words, flush=True)


def log_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///") + "-wal")


def limit_file_size(size: int) -> None:
    """No file of this process may grow beyond; Python ignores the signal, so writes fail with EFBIG."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


async def full(url: str) -> None:
    """Work while files may not grow, say what was acknowledged meanwhile, then have room again and finish."""
    said = Said()
    logging.getLogger("durable.store").addHandler(said)
    async with connect(url) as client, Worker(client, workflows=[hoard], lease=3):
        handles = [await client.start(hoard, n, id=f"r{n}") for n in range(RUNS // 2)]
        limit_file_size(log_of(url).stat().st_size + 1000)
        while not said.lines:
            await asyncio.sleep(0.01)
        await asyncio.sleep(1.0)
        try:
            await asyncio.wait_for(client.start(hoard, 0, id="no-room"), 0.5)
            say("acknowledged no-room")
        except (StoreError, TimeoutError):
            say("refused no-room")
        limit_file_size(resource.RLIM_INFINITY)
        handles += [await client.start(hoard, n, id=f"r{n}") for n in range(RUNS // 2, RUNS)]
        for handle in handles:
            say("acknowledged", handle.id, await handle.result(timeout=30))
    for line in said.lines:
        say("said", line)


async def shut_out(url: str) -> None:
    """As somebody without special rights: try to open and to write, say what comes of it."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    store = SqliteStore(url)
    try:
        await store.open()
        await store.create([NewRun(RunId(f"by-{os.getpid()}"), "work", "1", "default", b"", "", "")])
        say("written")
    except StoreError as error:
        say(type(error).__name__, error)
    finally:
        await store.close()


async def die_upgrading(url: str) -> None:
    """Be killed at the last statement of a migration, before its commit."""
    from durable_sqlite import files

    opened = files._open

    def fatal(path: str, mode: str) -> sqlite3.Connection:
        def look(statement: str) -> None:
            if statement.startswith("PRAGMA user_version = "):
                os.kill(os.getpid(), signal.SIGKILL)

        raw = opened(path, mode)
        raw.set_trace_callback(look)
        return raw

    files._open = fatal
    await SqliteStore(url).open()


if __name__ == "__main__":
    deeds = {"full": full, "shut_out": shut_out, "die_upgrading": die_upgrading}
    asyncio.run(deeds[sys.argv[1]](sys.argv[2]))
