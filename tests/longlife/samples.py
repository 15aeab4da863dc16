"""What is measured of a process and of its store, at one moment when nothing is under way."""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import sys
import threading
import weakref
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Base", "FileSample", "ProcessSample", "base", "file_sample", "process_sample", "rows_of"]

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Base:
    """What a process has to come back to.

    Attributes:
        tasks: Names of the asyncio tasks, sorted.
    """

    fds: int
    threads: int
    tasks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """One process after so many runs; memory after a full collection.

    Attributes:
        rss: Resident bytes.
        blocks: Blocks that Python's allocator has handed out: nearly one per small object, so that one object per run
            that is never let go of shows after a thousand runs.
    """

    process: str
    runs: int
    rss: int
    blocks: int
    base: Base


@dataclass(frozen=True, slots=True)
class FileSample:
    """The store's files after so many runs, in bytes and rows."""

    runs: int
    file: int
    free: int
    wal: int
    rows: int


def base() -> Base:
    """Descriptors, threads and tasks now."""
    names = Counter(_name(task) for task in asyncio.all_tasks() if task is not asyncio.current_task())
    # Listing the directory takes a descriptor of its own, the same one each time.
    return Base(len(os.listdir("/proc/self/fd")), threading.active_count(), tuple(sorted(names.elements())))


def _name(task: asyncio.Task[object]) -> str:
    name = task.get_name()
    return name if name.startswith("durable") else getattr(task.get_coro(), "__qualname__", name)


def process_sample(process: str, runs: int, at: Base) -> ProcessSample:
    """Memory now, beside what the process has come to rest at."""
    gc.collect()
    with open("/proc/self/statm") as file:
        rss = int(file.read().split()[1]) * _PAGE_BYTES
    return ProcessSample(process, runs, rss, sys.getallocatedblocks() - _dead_references(), at)


def _dead_references() -> int:
    """Python's driver keeps up to 200 of them for each connection, to cursors that are gone, before it clears away."""
    return sum(type(one) is weakref.ref and one() is None for one in gc.get_objects())


def file_sample(path: Path, runs: int) -> FileSample:
    """The files as they lie there; the connection for it is closed again."""
    raw = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        (pages,) = raw.execute("PRAGMA page_count").fetchone()
        (free,) = raw.execute("PRAGMA freelist_count").fetchone()
        (size,) = raw.execute("PRAGMA page_size").fetchone()
        rows = sum(_rows(raw).values())
    finally:
        raw.close()
    return FileSample(runs, pages * size, free * size, wal_bytes(path), rows)


def wal_bytes(path: Path) -> int:
    """The length of the write-ahead log."""
    try:
        return os.stat(f"{path}-wal").st_size
    except FileNotFoundError:
        return 0


def rows_of(path: Path) -> dict[str, int]:
    """Rows per table, of those that hold what belongs to runs."""
    raw = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return _rows(raw)
    finally:
        raw.close()


def _rows(raw: sqlite3.Connection) -> dict[str, int]:
    tables = {name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    tables -= {"tide", "sessions", "records"}  # they belong to no run
    return {name: raw.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}
