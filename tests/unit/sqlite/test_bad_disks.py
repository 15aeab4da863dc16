"""Disks that are full, locked, read-only or damaged: waited out or refused, and nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from disk_child import BYTES, RUNS, hoard
from sqlite_child import LANES, new_run, session

from durable import Client, Context, Signal, Worker, connect, workflow
from durable.errors import Corrupt, StoreError, StoreFull
from durable.store import Lane, Want
from durable_sqlite import SqliteStore

CHILD = Path(__file__).with_name("disk_child.py")
ROOT = Path(__file__).parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
go = Signal("go", int)
LONG = [pytest.mark.nightly, pytest.mark.skipif("not config.getoption('-m')", reason="long: ask by -m nightly")]


@workflow
async def patient(ctx: Context) -> int:
    return await ctx.wait_for_signal(go) + await ctx.wait_for_signal(go)


def run_child(deed: str, url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(CHILD), deed, url],
        cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def told(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if words in record.getMessage()]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def refusal(path: Path, url: str, kind: type[StoreError] = Corrupt) -> str:
    """What the store says; it has changed neither the file nor anything of substance beside it."""

    def content() -> dict[str, str]:
        return {each.name: digest(each) for each in path.parent.iterdir() if each.is_file() and each.stat().st_size}

    before = content()
    store = SqliteStore(url)
    with pytest.raises(kind) as caught:
        await store.open()
    await store.close()
    after = {name: found for name, found in content().items() if not name.endswith("-shm")}
    assert after == {name: found for name, found in before.items() if not name.endswith("-shm")}
    assert str(path) in str(caught.value)
    return str(caught.value)


# ── full ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
async def test_a_full_disk_is_said_once_and_runs_go_on_when_there_is_room(
    store: SqliteStore, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def limited(raw: sqlite3.Connection, pages: int) -> None:
        raw.execute(f"PRAGMA max_page_count = {pages}").fetchone()

    async with Client(store) as client, Worker(client, workflows=[hoard, patient]):
        waiting = await client.start(patient, id="waiting")
        await waiting.signal(go, 1, id="before")
        (pages,) = await store._database.run_writer(lambda raw: raw.execute("PRAGMA page_count").fetchone())
        with caplog.at_level(logging.WARNING, "durable.store"):
            await store._database.run_writer(lambda raw: limited(raw, pages + 4))
            hoarding = await client.start(hoard, 1, id="h")
            while not told(caplog, "is full"):
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.5)
            assert (await hoarding.status()).state == "running"  # I23: the disk is not the run's fault
            with pytest.raises(StoreFull, match="Free some space"):
                await store.put_record("k", "a", bytes(BYTES))
            assert str(path) in told(caplog, "is full")[0]
            await store._database.run_writer(lambda raw: limited(raw, 1_000_000))
            assert await hoarding.result(timeout=20) == 2 * BYTES
            assert len(told(caplog, "trying on")) == 1
            assert len(told(caplog, "works again")) == 1
        await waiting.signal(go, 2, id="after")
        assert await waiting.result(timeout=10) == 3
        assert await store.check() == []


@pytest.mark.slow
async def test_nothing_acknowledged_is_lost_when_files_may_not_grow(url: str) -> None:
    """RLIMIT_FSIZE: writes end in the middle with an input-output error, the commit's own included."""
    ended = await asyncio.to_thread(run_child, "full", url)
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    acknowledged = [line.split()[1] for line in lines if line.startswith("acknowledged")]
    said = [line for line in lines if line.startswith("said") and "trying on" in line]
    assert "refused no-room" in lines
    assert acknowledged == [f"r{n}" for n in range(RUNS)]
    assert 1 <= len(said) <= 4, said  # once for each voice and kind of trouble, not once for each try
    assert all("Check the disk" in line for line in said)
    store = SqliteStore(url)
    await store.open()
    assert await store.check() == []
    assert (await store.stats())["runs.completed"] >= RUNS
    await store.close()


# ── read-only ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def common() -> Iterator[Path]:
    """A directory that everybody may reach, since root ignores what chmod says: the child becomes nobody."""
    with tempfile.TemporaryDirectory(prefix="durable-shut-out-") as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder
        folder.chmod(0o777)


async def filled(folder: Path) -> str:
    """A closed store in that directory, with a run in it."""
    url = f"sqlite:///{folder / 'runs.db'}"
    store = SqliteStore(url)
    await store.open()
    await store.create([new_run("r")])
    await store.close()
    (folder / "runs.db").chmod(0o666)
    return url


@pytest.mark.slow
@pytest.mark.parametrize("shut", ["file that may not be written", "file that may not be read", "directory"])
async def test_who_may_not_write_is_told_where_to_look(common: Path, shut: str) -> None:
    url = await filled(common)
    file = common / "runs.db"
    assert (await asyncio.to_thread(run_child, "shut_out", url)).stdout == "written\n"  # as long as nothing is shut
    before = digest(file)
    if shut == "directory":
        common.chmod(0o555)
    else:
        file.chmod(0o444 if "written" in shut else 0o000)
    said = (await asyncio.to_thread(run_child, "shut_out", url)).stdout
    assert said.startswith("ReadOnly "), said
    assert str(file) in said
    assert "permissions" in said or "rights" in said
    assert digest(file) == before
    common.chmod(0o777)
    store = SqliteStore(url)
    await store.open()
    assert await store.check() == []
    assert (await store.stats())["runs.pending"] == 2
    await store.close()


# ── locked ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.parametrize(
    "seconds",
    [
        1.0,
        10.0,
        pytest.param(60.0, marks=LONG),
    ],
)
async def test_who_holds_the_lock_is_waited_out_by_clients_and_workers(
    url: str, path: Path, seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect(url) as client, Worker(client, workflows=[patient], lease=3):
        handle = await client.start(patient, id="r")
        await handle.signal(go, 1)
        with caplog.at_level(logging.WARNING, "durable.store"):
            holder = subprocess.Popen(
                [sys.executable, "-m", "tests.storm.holder", str(path), str(seconds)],
                cwd=ROOT, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            assert holder.stdout is not None
            assert await asyncio.to_thread(holder.stdout.readline) == "held\n"
            assert (await asyncio.wait_for(handle.status(), 1)).state in ("running", "waiting")  # readers do not wait
            sending = asyncio.ensure_future(handle.signal(go, 2))
            assert await asyncio.to_thread(holder.wait, seconds + 10) == 0
            holder.stdout.close()
            if seconds < 60:  # a client waits for as long as that, and then says so
                await asyncio.wait_for(sending, 10)
            elif isinstance((await asyncio.gather(sending, return_exceptions=True))[0], StoreError):
                await handle.signal(go, 2)
            assert await handle.result(timeout=20) == 3
        assert len(told(caplog, "trying on")) <= 2  # the worker once, the client once
        assert (len(told(caplog, "another process")) > 0) is (seconds > 5)
        assert await client.store.check() == []


# ── damaged ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def closed(url: str, path: Path) -> AsyncIterator[Path]:
    """A store with five hundred runs, closed."""
    store = SqliteStore(url)
    await store.open()
    await store.create([new_run(f"r{n}") for n in range(500)])
    await store.close()
    yield path


@pytest.mark.parametrize("left", [1, 15, 99, 100, 511, 4095, 4096, 5000])
async def test_a_stump_of_a_file_is_refused_as_it_is(url: str, closed: Path, left: int) -> None:
    os.truncate(closed, left)
    said = await refusal(closed, url)
    # SQLite takes a file of one byte for an empty database, so it passes for somebody else's.
    assert ("something else" in said) if left == 1 else ("backup" in said or "not a SQLite database" in said)
    assert closed.stat().st_size == left


async def test_a_file_of_zeros_is_refused_as_it_is(url: str, closed: Path) -> None:
    closed.write_bytes(bytes(closed.stat().st_size))
    assert "backup" in await refusal(closed, url)


async def test_a_damaged_page_ends_the_worker_with_words_that_name_the_file(url: str, closed: Path) -> None:
    content = bytearray(closed.read_bytes())
    for page in range(1, len(content) // 4096):
        content[page * 4096 : page * 4096 + 64] = b"\xa5" * 64
    closed.write_bytes(content)
    with pytest.raises(Corrupt) as caught:
        async with connect(url) as client:
            await asyncio.wait_for(Worker(client, workflows=[patient]).run(), 10)
    assert str(closed) in str(caught.value)
    assert "backup" in str(caught.value)


async def test_another_programs_database_in_wal_mode_keeps_its_file_and_its_log(url: str, path: Path) -> None:
    program = (
        "import os, sqlite3, sys; raw = sqlite3.connect(sys.argv[1]); raw.execute('PRAGMA journal_mode = WAL'); "
        "raw.execute('CREATE TABLE customers (id)'); raw.execute('INSERT INTO customers VALUES (1)'); raw.commit(); "
        "os._exit(0)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(path)], check=True).returncode == 0
    assert Path(f"{path}-wal").stat().st_size > 0
    assert "something else" in await refusal(path, url)
    raw = sqlite3.connect(path)
    assert raw.execute("SELECT id FROM customers").fetchall() == [(1,)]
    raw.close()


async def test_an_empty_file_in_the_place_of_a_store_with_runs_is_refused(url: str, path: Path) -> None:
    store = SqliteStore(url)
    await store.open()
    await store.create([new_run("r")])
    await store.poll(session("s"), Want("p", LANES, 1))
    await store.close()
    os.truncate(path, 0)
    assert "Restore it from a backup" in await refusal(path, url)


# ── a log that is lost or damaged ────────────────────────────────────────────────────────────────────────────────────


def left_by_a_killed_process(url: str, path: Path) -> Path:
    """A store with 20 runs in the log alone; returns the log."""
    program = (
        "import asyncio, os, sys; sys.path.insert(0, sys.argv[2]); from sqlite_child import new_run\n"
        "from durable_sqlite import SqliteStore\n"
        "async def main():\n"
        "    store = SqliteStore(sys.argv[1]); await store.open()\n"
        "    for n in range(20): await store.create([new_run(f'r{n}')])\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())"
    )
    ended = subprocess.run([sys.executable, "-c", program, url, str(CHILD.parent)], env=ENVIRONMENT, check=False)
    assert ended.returncode == -signal.SIGKILL
    return Path(f"{path}-wal")


async def found(url: str) -> list[str]:
    """Ids of the runs in the store, which is sound."""
    store = SqliteStore(url)
    await store.open()
    try:
        assert await store.check() == []
        polled = await store.poll(session("s"), Want("p", (Lane("default", "work", "1"),), 100))
        return sorted((claim.run.id for claim in polled.claims), key=lambda id: int(id[1:]))
    finally:
        await store.close()


@pytest.mark.slow
async def test_a_log_that_a_killed_process_left_is_read(url: str, path: Path) -> None:
    left_by_a_killed_process(url, path)
    assert await found(url) == [f"r{n}" for n in range(20)]


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["deleted", "cut", "garbled"])
async def test_without_its_log_a_store_is_whole_as_of_an_earlier_moment(url: str, path: Path, damage: str) -> None:
    """Nobody can tell that a log is gone or cut short; what is left is a beginning of what was, never a mixture."""
    log = left_by_a_killed_process(url, path)
    if damage == "deleted":
        log.unlink()
    elif damage == "cut":
        os.truncate(log, log.stat().st_size // 2)
    else:
        content = bytearray(log.read_bytes())
        content[len(content) // 2 : len(content) // 2 + 100] = b"\x5a" * 100
        log.write_bytes(content)
    left = await found(url)
    assert left == [f"r{n}" for n in range(len(left))]
    assert len(left) < 20
    assert (len(left) > 0) is (damage != "deleted")
