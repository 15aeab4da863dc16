"""Connections, their threads, and what is shared within one process."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from sqlite_child import LANES, new_run, session

from durable.errors import StoreError
from durable.store import Commit, Held, Lane, RunId, Running, Verdict, Waiting, Want
from durable_sqlite import SqliteStore
from durable_testing import ManualClock


async def gone(threads: set[threading.Thread]) -> bool:
    for _ in range(200):
        if not any(thread.is_alive() for thread in threads):
            return True
        await asyncio.sleep(0.01)
    return False


async def test_closing_ends_the_threads(url: str) -> None:
    before = set(threading.enumerate())
    store = SqliteStore(url)
    await store.open()
    mine = set(threading.enumerate()) - before
    assert len(mine) == 2
    assert all(thread.daemon for thread in mine)
    await store.close()
    assert await gone(mine)


@pytest.mark.parametrize("turns", range(8))
async def test_opening_can_be_cancelled_at_any_moment(url: str, turns: int) -> None:
    before = set(threading.enumerate())
    store = SqliteStore(url)
    opening = asyncio.ensure_future(store.open())
    for _ in range(turns):
        await asyncio.sleep(0.002 if turns > 4 else 0)
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    await store.close()
    assert await gone(set(threading.enumerate()) - before)
    await store.open()
    assert await store.check() == []
    await store.close()


@pytest.mark.parametrize("turns", range(4))
async def test_closing_can_be_cancelled_at_any_moment(url: str, turns: int) -> None:
    before = set(threading.enumerate())
    store = SqliteStore(url)
    await store.open()
    closing = asyncio.ensure_future(store.close())
    for _ in range(turns):
        await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    await store.close()
    assert await gone(set(threading.enumerate()) - before)


async def test_a_cancelled_write_is_written_whole(store: SqliteStore) -> None:
    writing = asyncio.ensure_future(store.create([new_run(f"r{n}") for n in range(100)]))
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await store.put_record("k", "a", b"")
    assert (await store.stats())["runs.pending"] in (0, 100)


async def test_a_store_that_is_not_open_says_so(url: str) -> None:
    store = SqliteStore(url)
    with pytest.raises(StoreError, match="not open"):
        await store.get([RunId("r")])
    await store.open()
    await store.close()
    with pytest.raises(StoreError, match="not open"):
        await store.create([new_run("r")])


async def test_a_store_can_be_opened_again(url: str) -> None:
    store = SqliteStore(url)
    for n in range(3):
        await store.open()
        await store.create([new_run(f"r{n}")])
        await store.close()
    await store.open()
    assert (await store.stats())["runs.pending"] == 3
    await store.close()


async def test_memory_is_shared_with_the_dedicated_and_with_nobody_else() -> None:
    one, other = SqliteStore("sqlite:///:memory:"), SqliteStore("sqlite:///:memory:")
    await one.open()
    await other.open()
    twin = one.dedicated()
    await twin.open()
    await one.create([new_run("r")])
    assert await twin.input(RunId("r")) == b"input"
    assert await other.input(RunId("r")) is None
    await one.close()
    assert await twin.input(RunId("r")) == b"input"
    await twin.close()
    await other.close()


async def test_two_stores_on_one_file_hint_each_other(url: str, store: SqliteStore) -> None:
    other = SqliteStore(url, clock=ManualClock())  # whose clock stands still, so that it does not look for itself
    await other.open()
    waiting = asyncio.ensure_future(anext(other.changes()))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    await store.create([new_run("r")])
    await asyncio.wait_for(waiting, 5)
    await other.close()


@pytest.mark.slow
async def test_plain_commits_and_heartbeats_give_no_hint(store: SqliteStore) -> None:
    await store.create([new_run("r")])
    poll = await store.poll(session("s"), Want("p", LANES, 1))
    twin = store.dedicated()
    await twin.open()
    waiting = asyncio.ensure_future(anext(store.changes()))  # type: ignore[arg-type]
    await asyncio.sleep(0.05)
    if waiting.done():
        waiting = asyncio.ensure_future(anext(store.changes()))  # type: ignore[arg-type]
    for n in range(3):
        (answer,) = await twin.commit([Commit(RunId("r"), poll.claims[0].run.epoch, n, n, (b"e",), Running())])
        assert answer.verdict is Verdict.APPLIED
        assert await twin.renew(session("s"))
        await asyncio.sleep(0.05)
    assert not waiting.done()
    await twin.commit([Commit(RunId("r"), poll.claims[0].run.epoch, 3, 3, (b"e",), Waiting(None, 0))])
    await asyncio.wait_for(waiting, 5)
    await twin.close()


async def test_an_idle_poll_writes_nothing(store: SqliteStore, path: Path) -> None:
    await store.create([new_run("r")])
    poll = await store.poll(session("s"), Want("p", LANES, 1))
    held = (Held(RunId("r"), poll.claims[0].run.epoch),)
    before = Path(f"{path}-wal").read_bytes()
    for n in range(5):
        poll = await store.poll(session("s"), Want(f"idle{n}", (*LANES, Lane("other", "work", None)), 10, held))
        assert poll.claims == ()
        assert poll.lost == ()
    assert Path(f"{path}-wal").read_bytes() == before


async def test_an_idle_poll_renews_once_a_third_of_the_lease_is_used(url: str) -> None:
    clock = ManualClock()
    store = SqliteStore(url, clock=clock)
    await store.open()

    async def stored() -> float:
        return (
            await store._database.run_writer(lambda raw: raw.execute("SELECT expires_at FROM sessions").fetchone())
        )[0]

    await store.poll(session("s"), Want("p", LANES, 1))
    first = await stored()
    clock.advance(4.9)
    await store.poll(session("s"), Want("q", LANES, 1))
    assert await stored() == first
    assert (await store.sessions())[0].expires_at == clock.now() + 15
    clock.advance(0.2)
    await store.poll(session("s"), Want("r", LANES, 1))
    assert await stored() == clock.now() + 15
    await store.close()


async def test_a_dedicated_store_stays_on_its_file_when_the_working_directory_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = SqliteStore("sqlite:///runs.db")
    await store.open()
    await store.create([new_run("r")])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    twin = store.dedicated()
    await twin.open()
    assert await twin.input(RunId("r")) == b"input"
    await twin.close()
    await store.close()
