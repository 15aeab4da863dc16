"""Several processes on one file: claims, deaths, stalls, locks and hints."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlite_child import LANES, new_run, session

from durable.clock import SystemClock
from durable.errors import StoreError, Transient
from durable.store import Poll, RunId, Want
from durable_sqlite import SqliteStore, connection

Child = Callable[..., "subprocess.Popen[str]"]


async def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return (await asyncio.to_thread(process.stdout.readline)).strip()


def nudge(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


async def until_claimed(store: SqliteStore, runs: int, seconds: float) -> list[Poll]:
    """Poll as an engine does; the polls that claimed something."""
    polls: list[Poll] = []
    async with asyncio.timeout(seconds):
        for n in range(100_000):
            poll = await store.poll(session("survivor"), Want(f"s{n}", LANES, 10, held=held(polls)))
            polls += [poll] if poll.claims else []
            if sum(len(one.claims) for one in polls) == runs:
                break
            await asyncio.sleep(0.02)
    return polls


def held(polls: list[Poll]):
    from durable.store import Held

    return tuple(Held(claim.run.id, claim.run.epoch) for poll in polls for claim in poll.claims)


@pytest.mark.slow
async def test_the_runs_of_a_killed_process_are_claimable_at_once(store: SqliteStore, child: Child, path: Path) -> None:
    await store.create([new_run(f"r{n}") for n in range(3)])
    victim = child("hold", "3600")
    assert await line(victim) == "claimed 3"
    assert (await store.poll(session("survivor"), Want("before", LANES, 10))).claims == ()
    victim.kill()
    victim.wait()
    (poll,) = await until_claimed(store, 3, seconds=3)
    assert [claim.run.strikes for claim in poll.claims] == [2, 2, 2]
    (dead,) = [one for one in await store.sessions() if one.id == "child"]
    assert not dead.alive
    assert dead.held == 0
    assert len(list(Path(f"{path}-sessions").iterdir())) == 1  # the survivor's own


@pytest.mark.slow
async def test_a_dead_process_without_runs_is_seen_to_be_dead(store: SqliteStore, child: Child) -> None:
    victim = child("hold", "3600")
    assert await line(victim) == "claimed 0"
    assert [one.alive for one in await store.sessions()] == [True]
    victim.kill()
    victim.wait()
    assert [one.alive for one in await store.sessions()] == [False]


@pytest.mark.slow
async def test_what_a_dead_process_left_behind_is_swept_up_by_the_next(
    store: SqliteStore, child: Child, path: Path
) -> None:
    victim = child("hold", "0")
    assert await line(victim) == "claimed 0"
    directory = Path(f"{path}-sessions")
    (lock,) = directory.iterdir()
    victim.kill()
    victim.wait()
    await store.poll(session("next"), Want("p", LANES, 1))
    assert not lock.exists()
    assert len(list(directory.iterdir())) == 1


@pytest.mark.slow
async def test_a_stalled_process_keeps_its_runs_until_its_lease_ends(store: SqliteStore, child: Child) -> None:
    await store.create([new_run("r")])
    sleeper = child("hold", "2")
    assert await line(sleeper) == "claimed 1"
    claimed_at = (await store.sessions())[0].seen_at
    sleeper.send_signal(signal.SIGSTOP)
    try:
        (poll,) = await until_claimed(store, 1, seconds=8)
    finally:
        sleeper.send_signal(signal.SIGCONT)
    assert poll.now >= claimed_at + 2


@pytest.mark.slow
async def test_a_process_that_ends_without_leaving_keeps_its_lease(store: SqliteStore, child: Child) -> None:
    await store.create([new_run("r")])
    other = child("hold", "3600")
    assert await line(other) == "claimed 1"
    nudge(other)
    assert await line(other) == "over"
    assert other.wait(10) == 0
    with pytest.raises(TimeoutError):
        await until_claimed(store, 1, seconds=1.5)


@pytest.mark.slow
async def test_a_storm_of_claims_from_several_processes_gives_each_run_to_one(store: SqliteStore, child: Child) -> None:
    await store.create([new_run(f"r{n}") for n in range(200)])
    children = [child("storm", f"w{n}", "200") for n in range(4)]
    got = [claim for words in await asyncio.gather(*map(line, children)) for claim in words.split()]
    assert all(claim.endswith(":1") for claim in got)
    assert sorted(got) == sorted({f"r{n}:1" for n in range(200)})
    assert await store.check() == []


@pytest.mark.slow
async def test_many_processes_may_open_a_fresh_path_at_once(child: Child, path: Path) -> None:
    children = [child("opens") for _ in range(6)]
    assert [process.wait(30) for process in children] == [0] * 6
    assert path.stat().st_mode & 0o777 == 0o600
    assert {each.name for each in path.parent.iterdir()} == {path.name}


@pytest.mark.slow
async def test_many_processes_may_open_an_empty_file_at_once(child: Child, path: Path) -> None:
    path.touch()
    children = [child("opens") for _ in range(6)]
    assert [process.wait(30) for process in children] == [0] * 6


@pytest.mark.slow
async def test_another_processs_write_gives_a_hint_soon(store: SqliteStore, child: Child) -> None:
    other = child("create", "r")
    assert await line(other) == "ready"
    changes = store.changes()
    waiting = asyncio.ensure_future(anext(changes))  # type: ignore[arg-type]
    await asyncio.sleep(0.1)
    assert not waiting.done()
    nudge(other)
    assert await line(other) == "created"
    started = time.monotonic()
    await asyncio.wait_for(waiting, 5)
    assert time.monotonic() - started < 0.5


@pytest.mark.slow
async def test_who_holds_the_lock_is_waited_out(store: SqliteStore, path: Path) -> None:
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    writing = asyncio.ensure_future(store.create([new_run("r")]))
    reading = await asyncio.wait_for(store.get([RunId("r")]), 0.2)  # readers wait for nobody
    await asyncio.sleep(0.7)
    assert reading == [None]
    assert not writing.done()
    holder.execute("ROLLBACK")
    await asyncio.wait_for(writing, 2)
    holder.close()


class CountingClock:
    """The system's; counts how often it is asked for the time."""

    def __init__(self) -> None:
        self._right = SystemClock()
        self.asked = 0

    def now(self) -> float:
        self.asked += 1
        return self._right.now()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._right, name)


async def test_store_time_is_read_once_the_lock_is_held(url: str, path: Path) -> None:
    """B101: a write takes the lock before it reads anything; who read first would decide by what was then."""
    clock: Any = CountingClock()
    store = SqliteStore(url, clock=clock)
    await store.open()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    asked = clock.asked
    writing = asyncio.ensure_future(store.create([new_run("r")]))
    await asyncio.sleep(0.1)
    assert clock.asked == asked
    holder.execute("ROLLBACK")
    holder.close()
    await writing
    assert clock.asked == asked + 1
    await store.close()


@pytest.mark.slow
async def test_who_holds_the_lock_for_long_is_weather(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BUSY_SECONDS_MAX", 0.3)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(Transient, match="another process"):
        await store.create([new_run("r")])
    holder.execute("ROLLBACK")
    holder.close()
    await store.create([new_run("r")])


@pytest.mark.slow
async def test_close_does_not_wait_for_who_holds_the_lock(store: SqliteStore, path: Path) -> None:
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    writing = asyncio.ensure_future(store.create([new_run("r")]))
    await asyncio.sleep(0.1)
    started = time.monotonic()
    await store.close()
    assert time.monotonic() - started < 1
    with pytest.raises(StoreError):
        await writing
    holder.close()


EXITS = {
    "closed": "await store.close()",
    "never closed": "pass",
    "closed while a call is under way": "asyncio.ensure_future(store.create([run])); await asyncio.sleep(0); "
    "await store.close()",
    "left in the middle of a call": "asyncio.ensure_future(store.create([run])); await asyncio.sleep(0)",
    "listening": "asyncio.ensure_future(anext(store.changes())); await asyncio.sleep(0.1)",
    "cancelled while opening": "task = asyncio.ensure_future(SqliteStore(url + '2').open()); await asyncio.sleep(0); "
    "task.cancel(); await asyncio.sleep(0)",
}


@pytest.mark.slow
@pytest.mark.parametrize("ending", EXITS)
async def test_a_process_exits_by_itself(url: str, ending: str) -> None:
    program = f"""
import asyncio
from durable_sqlite import SqliteStore
from durable.store import NewRun, RunId
run = NewRun(RunId("r"), "work", "1", "default", b"", "", "")
url = {url!r}
async def main():
    store = SqliteStore(url)
    await store.open()
    {EXITS[ending]}
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stderr=asyncio.subprocess.PIPE)
    _, said = await asyncio.wait_for(process.communicate(), 5)
    assert process.returncode == 0
    assert b"Traceback" not in said


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_forked_process_may_not_use_its_parents_store(store: SqliteStore, path: Path) -> None:
    await store.create([new_run("r")])
    assert len((await store.poll(session("parent"), Want("p", LANES, 1))).claims) == 1
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(5)  # who uses the parent's line waits for a thread that is not there
        said = b"nothing"
        try:
            try:
                asyncio.events._set_running_loop(None)
                asyncio.run(store.get([RunId("r")]))  # type: ignore[arg-type]
            except StoreError as error:
                said = str(error).encode()
            asyncio.run(store.close())
        finally:
            os.write(writing, said)
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    assert b"fork" in os.read(reading, 1000)
    os.close(reading)
    # The child has taken nothing from its parent: not the lock, and not its file.
    assert len(list(Path(f"{path}-sessions").iterdir())) == 1
    assert (await store.get([RunId("r")]))[0] is not None
    await store.create([new_run("s")])


@pytest.mark.slow
def test_a_store_outlives_the_loop_that_it_was_opened_in(url: str) -> None:
    store = SqliteStore(url)

    async def first() -> None:
        await store.open()
        asyncio.ensure_future(store.create([new_run("r")]))
        await asyncio.sleep(0)

    async def second() -> None:
        await store.put_record("k", "a", b"")  # behind what the first loop has asked for
        assert (await store.get([RunId("r")]))[0] is not None
        await store.close()

    asyncio.run(first())
    asyncio.run(second())
