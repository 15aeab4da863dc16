"""The write-ahead log comes back to its bound, whoever reads."""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from durable_sqlite import SqliteStore, files
from durable_sqlite.log import BYTES_MAX, Log
from durable_testing import ManualClock

pytestmark = pytest.mark.slow

BLOB = b"x" * 500_000  # a record that is put again and again: the file stays small, and the log does not


def log_bytes(path: Path) -> int:
    return os.stat(f"{path}-wal").st_size


async def write_until(store: SqliteStore, done: Callable[[], bool], most: int = 2_000) -> int:
    """Put records until then; how many were put."""
    for count in range(most):
        if done():
            return count
        await store.put_record("log", f"{count % 4}", BLOB)
    return most


@contextmanager
def taking_turns(path: Path, readers: int = 3) -> Iterator[None]:
    """Readers of whom at every moment at least one is reading: each lets go only when the next one has begun."""
    over, reading = threading.Event(), [threading.Event() for _ in range(readers)]
    reading[0].set()

    def read(place: int) -> None:
        raw = files.connect(str(path))
        following = reading[(place + 1) % readers]
        while True:
            reading[place].wait()
            reading[place].clear()
            raw.execute("BEGIN")
            raw.execute("SELECT count(*) FROM runs").fetchone()
            following.set()
            over.wait(0.01)
            raw.execute("ROLLBACK")
            if over.is_set():
                break
        raw.close()

    threads = [threading.Thread(target=read, args=(place,)) for place in range(readers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for event in reading:
            event.set()
        for thread in threads:
            thread.join()


async def test_readers_that_never_leave_a_gap_do_not_keep_the_log_from_beginning_anew(
    store: SqliteStore, path: Path
) -> None:
    """Found by thinking of it: with such readers SQLite alone let the log grow by gigabytes."""
    longest = 0
    with taking_turns(path):
        for count in range(500):  # 250 MB
            await store.put_record("log", f"{count % 4}", BLOB)
            longest = max(longest, log_bytes(path))
    assert BYTES_MAX / 4 < longest < BYTES_MAX, longest


async def test_after_a_reader_that_stayed_the_log_is_short_again(store: SqliteStore, path: Path) -> None:
    reader = files.connect(str(path))
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM runs").fetchone()
    await write_until(store, lambda: log_bytes(path) > BYTES_MAX * 5 / 4)
    assert log_bytes(path) > BYTES_MAX  # nobody can help it: the reader may still want what lies there
    reader.execute("ROLLBACK")
    reader.close()
    assert await write_until(store, lambda: log_bytes(path) < BYTES_MAX / 4) < 2_000
    assert list(await store.check()) == []


async def test_a_reader_that_stays_holds_writers_up_less_and_less(path: Path, store: SqliteStore) -> None:
    await write_until(store, lambda: log_bytes(path) > 100_000)
    clock = ManualClock()
    clock.advance(1.0)
    reader, writer = files.connect(str(path)), files.connect(str(path))
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM runs").fetchone()
    writer.execute("UPDATE tide SET level = level + 1")
    log = Log(str(path), clock, bytes_max=1_000, wait_seconds=0.01)
    asked: list[float] = []
    tries: list[float] = []

    def hear(said: str) -> None:
        if said.endswith("busy_timeout = 0"):
            asked.append(clock.monotonic())
        elif "wal_checkpoint" in said:
            tries.append(clock.monotonic())

    writer.set_trace_callback(hear)
    for _ in range(240):  # a minute
        log.look(writer)
        clock.advance(0.25)
    pauses = [after - before for before, after in itertools.pairwise(asked)]
    assert pauses == pytest.approx([1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0, 10.0], abs=0.25)
    assert [tries.count(moment) for moment in asked] == [10, 5, 2, 1, 1, 1, 1, 1, 1]
    reader.execute("ROLLBACK")
    clock.advance(10.0)
    log.look(writer)
    assert log_bytes(path) == 0
    for raw in (reader, writer):
        raw.close()


async def test_a_log_that_is_short_is_left_alone(store: SqliteStore, path: Path) -> None:
    await store.put_record("log", "one", BLOB)
    length = log_bytes(path)
    await asyncio.gather(*(store.put_record("log", "one", b"small") for _ in range(50)))
    assert log_bytes(path) >= length
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as raw:
        assert raw.execute("PRAGMA auto_vacuum").fetchone() == (2,)
