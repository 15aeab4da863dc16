"""What another process has written is told to everybody who listens here, whoever of this process sees it first."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlite_child import LANES, new_run, session

from durable.clock import SystemClock
from durable.store import Commit, Emit, Ended, Message, MessageId, MessageKind, RunId, Running, RunStatus, Waiting, Want
from durable_sqlite import SqliteStore

FOREVER_SECONDS = 600.0


class StillClock:
    """The system's clock, on which a watch over other processes' writes never comes to its next look."""

    def __init__(self) -> None:
        self._real = SystemClock()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(FOREVER_SECONDS)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def elsewhere(path: Path) -> None:
    """Another process writes something that may matter."""
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("UPDATE tide SET level = level + 1")
    raw.close()


async def hinted(listener: Any) -> None:
    async with asyncio.timeout(5):
        await anext(listener)


async def test_a_store_that_is_opened_meanwhile_does_not_keep_what_it_sees_to_itself(path: Path) -> None:
    """A worker's heartbeat opens its own store some seconds after the start: one signal waited for the next poll."""
    store = SqliteStore(f"sqlite:///{path}")
    await store.open()
    listener = store.changes()
    elsewhere(path)
    beating = store.dedicated()
    await beating.open()
    await hinted(listener)
    await beating.close()
    await store.close()


async def test_a_store_that_is_closed_meanwhile_does_not_keep_what_it_sees_to_itself(path: Path) -> None:
    """Whoever looks tells the others in the thread that has looked: afterwards it may be too late."""
    clock: Any = StillClock()
    store, other = SqliteStore(f"sqlite:///{path}", clock=clock), SqliteStore(f"sqlite:///{path}", clock=clock)
    await store.open()
    await other.open()
    listener = store.changes()
    elsewhere(path)
    await other._database.run_reader(other._database._look_here)
    await other.close()
    await hinted(listener)
    await store.close()


async def test_each_write_of_another_process_is_seen_however_soon_it_follows_the_last(path: Path) -> None:
    """Files are dated to a few milliseconds: two writes may have one date."""
    store = SqliteStore(f"sqlite:///{path}")
    await store.open()
    listener = store.changes()
    raw = sqlite3.connect(path, isolation_level=None)
    for pause_seconds in (0.0, 0.001, 0.003, 0.005, 0.01, 0.02, 0.05) * 5:
        raw.execute("UPDATE tide SET level = level + 1")
        await hinted(listener)
        await asyncio.sleep(pause_seconds)
    raw.close()
    await store.close()


async def test_an_idle_store_asks_the_database_seldom(path: Path) -> None:
    asked = 0
    store = SqliteStore(f"sqlite:///{path}")
    await store.open()
    run_reader = store._database.run_reader

    async def counted(work: Any) -> Any:
        nonlocal asked
        asked += 1
        return await run_reader(work)

    store._database.run_reader = counted  # type: ignore[method-assign]
    listening = asyncio.ensure_future(hinted(store.changes()))
    await asyncio.sleep(0.5)
    asked = 0
    await asyncio.sleep(1.0)
    assert 1 <= asked <= 6
    listening.cancel()
    await asyncio.wait([listening])
    await store.close()


COMPLETED = RunStatus.COMPLETED
TOLD = Message(RunId("other"), MessageId("m"), MessageKind.SIGNAL, "go", b"", 1)


@pytest.mark.parametrize(
    ("says", "work"),
    [
        pytest.param({"then": Ended(COMPLETED, b"1")}, False, id="an end"),
        pytest.param({"then": Running(), "emits": (Emit("s", b"1"),)}, False, id="an item of a stream"),
        pytest.param({"then": Ended(COMPLETED, b"1", closing=True)}, True, id="an end with children to be closed"),
        pytest.param({"then": Ended(COMPLETED, b"1"), "messages": (TOLD,)}, True, id="an end that somebody is told of"),
        pytest.param({"then": Waiting(1.0, 0)}, True, id="a wait, which may be over first"),
        pytest.param({"then": Running(), "children": (new_run("child"),)}, True, id="a child"),
    ],
)
async def test_workers_are_hinted_at_what_may_give_them_work(path: Path, says: dict[str, Any], work: bool) -> None:
    store = SqliteStore(f"sqlite:///{path}")
    await store.open()
    await store.create([new_run("r"), new_run("other")])
    (claim, _) = (await store.poll(session("w"), Want("p", LANES, 2))).claims
    readers, workers = store.changes(), store.work()
    await store.commit([Commit(claim.run.id, claim.run.epoch, 0, 0, **says)])
    await hinted(readers)
    if work:
        await hinted(workers)
    else:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await anext(workers)
    await store.close()


async def test_another_process_is_heard_though_our_own_end_is_committed_before_anybody_has_looked(path: Path) -> None:
    """Found by a review: the end raised the tide beyond the other's write, and is itself no news to workers."""
    clock: Any = StillClock()
    store = SqliteStore(f"sqlite:///{path}", clock=clock)
    await store.open()
    await store.create([new_run("r")])
    (claim,) = (await store.poll(session("w"), Want("p", LANES, 1))).claims
    workers = store.work()
    elsewhere(path)
    await store.commit([Commit(claim.run.id, claim.run.epoch, 0, 0, then=Ended(COMPLETED, b"1"))])
    await hinted(workers)
    await store.close()
