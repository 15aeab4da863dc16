"""Files of older releases: brought up to date with everything in them, by one of many, or by nobody."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from durable import Context, Signal, Worker, connect, step, workflow
from durable.errors import Corrupt
from durable_sqlite import SqliteStore, schema

ROOT = Path(__file__).parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
SQLITE_TESTS = ROOT / "tests" / "unit" / "sqlite"
go = Signal("go", int)
FIRST = schema._MIGRATIONS[:1]


@step
async def double(number: int) -> int:
    return 2 * number


@workflow
async def halfway(ctx: Context, number: int) -> int:
    first = await ctx.step(double, number)
    return first + await ctx.wait_for_signal(go)


async def journals(url: str, runs: int) -> list[list[object]]:
    async with connect(url) as client:
        return [list(await client.handle(f"r{n}").history()) for n in range(runs)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "old.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


async def write_version_1(path: Path, runs: int) -> None:
    """A file as the first release wrote it: its statements, and the rows of runs that wait half-way."""
    now = path.with_name("now.db")
    async with connect(f"sqlite:///{now}") as client, Worker(client, workflows=[halfway]):
        handles = [await client.start(halfway, n, id=f"r{n}") for n in range(runs)]
        for handle in handles:
            while (await handle.status()).state != "waiting":
                await asyncio.sleep(0.01)
        await handles[0].signal(go, 1)
        assert await handles[0].result(timeout=10) == 1
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("BEGIN")
    for statement in FIRST[0]:
        raw.execute(statement)
    raw.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    raw.execute("PRAGMA user_version = 1")
    raw.execute("COMMIT")
    raw.execute("ATTACH ? AS now", (str(now),))
    raw.execute("DELETE FROM tide")
    tables = [name for (name,) in raw.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")]
    for table in tables:
        columns = ", ".join(name for _, name, *_ in raw.execute(f"PRAGMA main.table_info({table})"))
        raw.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM now.{table}")
    raw.execute("DETACH now")
    raw.execute("PRAGMA journal_mode = WAL")
    raw.close()


def version(path: Path) -> int:
    raw = sqlite3.connect(path)
    try:
        return int(raw.execute("PRAGMA user_version").fetchone()[0])
    finally:
        raw.close()


def columns_of_tide(path: Path) -> list[str]:
    raw = sqlite3.connect(path)
    try:
        return [name for _, name, *_ in raw.execute("PRAGMA table_info(tide)")]
    finally:
        raw.close()


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Everything in the file but the tide, which has a column more."""
    raw = sqlite3.connect(path)
    try:
        tables = [name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {t: sorted(raw.execute(f"SELECT * FROM {t}"), key=repr) for t in tables if t != "tide"}
    finally:
        raw.close()


def opener(url: str) -> subprocess.Popen[str]:
    words = [sys.executable, str(SQLITE_TESTS / "sqlite_child.py"), url, "opens"]
    return subprocess.Popen(words, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def openers(url: str) -> Iterator[list[subprocess.Popen[str]]]:
    made: list[subprocess.Popen[str]] = []
    yield made
    for process in made:
        process.kill()
        process.communicate()


@pytest.mark.slow
async def test_a_file_of_the_first_version_is_upgraded_and_its_runs_go_on(url: str, path: Path) -> None:
    await write_version_1(path, 5)
    assert version(path) == 1
    before = rows(path)
    store = SqliteStore(url)
    await store.open()
    assert await store.check() == []
    await store.close()
    assert version(path) == schema.VERSION
    assert columns_of_tide(path) == ["one", "level", "epochs_purged"]
    assert rows(path) == before
    assert await journals(url, 5) == await journals(f"sqlite:///{path.with_name('now.db')}", 5)
    async with connect(url) as client, Worker(client, workflows=[halfway]):
        for n in range(1, 5):
            await client.handle(f"r{n}").signal(go, n)
            assert await client.handle(f"r{n}").result(timeout=10) == 3 * n
        assert await client.handle("r0", halfway).result(timeout=10) == 1


@pytest.mark.slow
async def test_of_many_processes_that_upgrade_at_once_one_does_and_all_go_on(
    url: str, path: Path, openers: list[subprocess.Popen[str]]
) -> None:
    await write_version_1(path, 3)
    before = rows(path)
    openers += [opener(url) for _ in range(4)]
    assert [await asyncio.to_thread(process.wait, 30) for process in openers] == [0] * 4
    assert version(path) == schema.VERSION
    assert columns_of_tide(path) == ["one", "level", "epochs_purged"]
    assert rows(path) == before


@pytest.mark.slow
async def test_an_upgrade_that_is_killed_before_its_commit_leaves_the_old_file(url: str, path: Path) -> None:
    await write_version_1(path, 3)
    before = rows(path)
    words = [sys.executable, str(SQLITE_TESTS / "disk_child.py"), "die_upgrading", url]
    ended = await asyncio.to_thread(subprocess.run, words, cwd=ROOT, env=ENVIRONMENT, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert version(path) == 1
    assert columns_of_tide(path) == ["one", "level"]
    assert rows(path) == before
    store = SqliteStore(url)
    await store.open()
    assert await store.check() == []
    await store.close()
    assert version(path) == schema.VERSION


@pytest.mark.slow
async def test_a_program_of_the_first_version_refuses_a_newer_file(
    url: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteStore(url)
    await store.open()
    await store.close()
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(schema, "VERSION", 1)
    monkeypatch.setattr(schema, "_MIGRATIONS", FIRST)
    store = SqliteStore(url)
    with pytest.raises(Corrupt) as caught:
        await store.open()
    await store.close()
    assert str(path) in str(caught.value)
    assert "newer release" in str(caught.value)
    assert "Upgrade this installation" in str(caught.value)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before


@pytest.mark.slow
async def test_an_older_program_that_has_the_file_open_goes_on_beside_the_upgrade(url: str, path: Path) -> None:
    """The columns that were added have defaults, so what the old code says is still understood."""
    await write_version_1(path, 2)
    old = sqlite3.connect(path, isolation_level=None)
    store = SqliteStore(url)
    await store.open()
    old.execute("UPDATE tide SET level = level + 1 WHERE one = 1")
    old.execute("UPDATE runs SET priority = 3 WHERE id = 'r1'")
    old.close()
    assert await store.check() == []
    await store.close()
