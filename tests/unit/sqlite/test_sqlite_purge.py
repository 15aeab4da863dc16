"""What a purge leaves of a file: no row, and as few bytes as are wanted."""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlite_child import LANES, new_run, session

from durable.store import Commit, Ended, PurgeQuery, RunId, RunStatus, Want
from durable_sqlite import SqliteStore, files
from durable_testing import ManualClock

RUNS = 60
POLLS = itertools.count()
ENTRY = b"x" * 40_000


async def ended_runs(store: SqliteStore) -> None:
    await store.create([new_run(f"r{n}") for n in range(RUNS)])
    poll = await store.poll(session("w"), Want(f"p{next(POLLS)}", LANES, RUNS))
    await store.commit(
        [
            Commit(claim.run.id, claim.run.epoch, 0, 0, append=(ENTRY,), then=Ended(RunStatus.COMPLETED, b""))
            for claim in poll.claims
        ]
    )


def rows(path: Path) -> dict[str, int]:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as raw:
        tables = [name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: raw.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}


async def until_none(store: SqliteStore) -> AsyncIterator[int]:
    while deleted := await store.purge(PurgeQuery()):
        yield deleted


async def shrunk(store: SqliteStore, piece: int) -> list[int]:
    pieces: list[int] = []
    while given := await store.shrink(piece):
        pieces.append(given)
    return pieces


async def test_what_is_purged_can_be_given_back_to_the_file_system(store: SqliteStore, path: Path) -> None:
    empty = rows(path)
    await ended_runs(store)
    while await store.purge(PurgeQuery()):
        pass
    assert {**rows(path), "sessions": 0} == empty
    await store.put_record("k", "a", b"")  # folds what the purge has written
    large = os.stat(path).st_size
    pieces = await shrunk(store, 400_000)
    assert sum(pieces) > RUNS * len(ENTRY) * 0.9
    assert len(pieces) >= 5
    assert max(pieces) <= 400_000
    assert os.stat(path).st_size < RUNS * len(ENTRY) / 4 < large
    assert list(await store.check()) == []


async def test_a_purge_of_large_runs_takes_few_at_a_time(store: SqliteStore) -> None:
    """Writers wait for it, other workers' heartbeats among them: a gigabyte at once would cost them their leases."""
    await store.create([new_run(f"r{n}") for n in range(12)])
    poll = await store.poll(session("w"), Want(f"p{next(POLLS)}", LANES, 12))
    for claim in poll.claims:
        ended = Ended(RunStatus.COMPLETED, b"")
        await store.commit([Commit(claim.run.id, claim.run.epoch, 0, 0, append=(b"x" * 4_000_000,), then=ended)])
    batches = [deleted async for deleted in until_none(store)]
    assert sum(batches) == 12
    assert max(batches) <= 5


async def test_it_is_given_back_while_others_write(store: SqliteStore, path: Path) -> None:
    await ended_runs(store)
    while await store.purge(PurgeQuery()):
        pass
    other = SqliteStore(f"sqlite:///{path}")
    await other.open()
    over = False

    async def write() -> int:
        count = 0
        while not over:
            await other.create([new_run(f"new{count}")])
            count += 1
        return count

    writing = asyncio.create_task(write())
    pieces = await shrunk(store, 100_000)
    over = True
    written = await writing
    assert len(pieces) >= 10
    assert written >= 5
    assert (await other.stats())["runs.pending"] == written
    assert list(await other.check()) == []
    await other.close()


async def test_a_file_of_an_earlier_release_has_nothing_to_give_back_until_it_is_rewritten_once(
    url: str, path: Path
) -> None:
    store = SqliteStore(url)
    await store.open()
    await store.close()
    raw = files.connect(str(path))
    raw.execute("PRAGMA auto_vacuum = NONE")
    raw.execute("VACUUM")
    raw.close()
    await store.open()
    await ended_runs(store)
    assert await store.purge(PurgeQuery(limit=RUNS)) == RUNS
    assert await shrunk(store, 1_000_000) == []
    await store.close()
    with sqlite3.connect(path) as raw:  # what docs/howto/operate.md says
        raw.execute("PRAGMA auto_vacuum = INCREMENTAL")
        raw.execute("VACUUM")
    raw.close()
    assert os.stat(path).st_size < 1_000_000
    await store.open()
    await ended_runs(store)
    assert await store.purge(PurgeQuery(limit=RUNS)) == RUNS
    assert sum(await shrunk(store, 1_000_000)) > RUNS * len(ENTRY) * 0.9
    await store.close()


@pytest.mark.slow
async def test_without_shrinking_the_room_is_used_again(store: SqliteStore, path: Path) -> None:
    sizes: list[int] = []
    for _ in range(6):
        await ended_runs(store)
        assert await store.purge(PurgeQuery(limit=RUNS)) == RUNS
        sizes.append((await store.stats())["bytes"])
    assert max(sizes) < sizes[0] * 1.1
    assert await store.get([RunId("r0")]) == [None]


async def test_workers_that_lived_for_a_moment_are_not_remembered_for_ever(url: str) -> None:
    clock = ManualClock()
    store = SqliteStore(url, clock=clock)
    await store.open()
    most = 0
    for hour in range(24 * 10):
        await store.poll(session(f"w{hour}"), Want(f"p{hour}", LANES, 1))
        await store.leave(session(f"w{hour}").id)
        clock.advance(3600)
        most = max(most, len(await store.sessions()))
    assert 24 <= most <= 49  # those of the last two days
    await store.close()
