"""S13: what lies on the disk is its owner's alone, and nothing that somebody else has put there is written through."""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import secured_app

from durable import InvalidInput, Worker, connect
from durable.errors import StoreError
from durable.store import Lane, SessionId, Want, WorkerSession
from durable_sqlite import SqliteStore
from durable_sqlite.locks import _file, is_dead, sweep
from durable_testing.conformance.bench import new_run

LANES = (Lane("default", "work", "1"),)
HERE = Path(__file__).parent
APP = str(HERE / "secured_app.py")


def session(id: str) -> WorkerSession:
    return WorkerSession(SessionId(id), id)


# ── rights ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def umask() -> Iterator[None]:
    """As a careless service manager would have it."""
    before = os.umask(0)
    yield
    os.umask(before)


def too_open(directory: Path) -> list[str]:
    """Files that others may read, and directories that others may enter."""
    found = []
    for path in directory.rglob("*"):
        wanted = 0o700 if path.is_dir() else 0o600
        if stat.S_IMODE(path.lstat().st_mode) != wanted:
            found.append(f"{path.name}: {stat.S_IMODE(path.lstat().st_mode):o}")
    return found


COMMANDS = (
    ("run", f"{APP}:done", "-i", '"tea"', "--id", "one"),
    ("start", f"{APP}:caught", "-i", '"tea"', "--id", "two"),
    ("runs", "list"),
    ("runs", "show", "one"),
    ("runs", "history", "one"),
    ("runs", "why", "two"),
    ("runs", "signal", "two", "go", "-p", '"now"'),
    ("runs", "pause", "two"),
    ("runs", "cancel", "two"),
    ("runs", "retry", "one"),
    ("plan", APP),
    ("replay", APP),
    ("db", "check"),
    ("db", "stats"),
    ("doctor",),
    ("db", "gc", "--older-than", "0s", "-y"),
)


@pytest.mark.slow
def test_every_command_leaves_files_for_the_owner_alone(umask: None, tmp_path: Path) -> None:
    where = tmp_path / "store"
    where.mkdir(mode=0o700)
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    for words in COMMANDS:
        program = [sys.executable, "-m", "durable", "--store", f"sqlite:///{where}/runs.db", *words]
        done = subprocess.run(program, capture_output=True, text=True, cwd=tmp_path, env=env, timeout=60)
        assert done.returncode in (0, 1, 4), (words, done.stderr)
        assert too_open(where) == [], words
    assert (where / "runs.db").exists()


async def test_a_worker_at_work_leaves_files_for_the_owner_alone(umask: None, tmp_path: Path) -> None:
    where = tmp_path / "store"
    where.mkdir(mode=0o700)
    async with connect(f"sqlite:///{where}/runs.db") as client, Worker(client, workflows=secured_app.ALL):
        handle = await client.start(secured_app.done, "tea")
        await handle.result()
        names = {path.name for path in where.rglob("*")}
        assert {"runs.db", "runs.db-wal", "runs.db-shm", "runs.db-sessions"} <= names
        assert any(name.endswith(".lock") for name in names)
        assert too_open(where) == []


async def test_a_directory_of_locks_that_others_can_enter_is_shut(tmp_path: Path) -> None:
    directory = tmp_path / "runs.db-sessions"
    store = SqliteStore(f"sqlite:///{tmp_path}/runs.db")
    await store.open()
    directory.mkdir()
    directory.chmod(0o777)
    await store.poll(session("s"), Want("p", LANES, 1))
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    await store.close()


# ── what somebody else has put there ─────────────────────────────────────────────────────────────────────────────────

OTHER = b"somebody's file, which is long enough to be looked at " * 100


@pytest.fixture
def goal(tmp_path: Path) -> Path:
    """What an attacker would like to have overwritten."""
    path = tmp_path / "goal"
    path.write_bytes(OTHER)
    path.chmod(0o644)
    return path


def untouched(goal: Path) -> bool:
    return goal.read_bytes() == OTHER and stat.S_IMODE(goal.stat().st_mode) == 0o644


async def refused(path: Path, said: str) -> None:
    store = SqliteStore(f"sqlite:///{path}")
    with pytest.raises((InvalidInput, StoreError), match=said):
        await store.open()
    await store.close()


def link(kind: str, goal: Path, path: Path) -> None:
    os.symlink(goal, path) if kind == "symbolic" else os.link(goal, path)


@pytest.mark.parametrize("kind", ["symbolic", "hard"])
@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
@pytest.mark.parametrize("is_there", [False, True])
async def test_a_link_in_the_place_of_sqlites_own_files_is_refused(
    kind: str, suffix: str, is_there: bool, tmp_path: Path, goal: Path
) -> None:
    path = tmp_path / "runs.db"
    if is_there:
        store = SqliteStore(f"sqlite:///{path}")
        await store.open()
        await store.close()
    link(kind, goal, Path(f"{path}{suffix}"))
    await refused(path, "is a link to another file")
    assert untouched(goal)
    assert path.exists() == is_there


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
async def test_a_link_to_nothing_is_refused_there_too(suffix: str, tmp_path: Path) -> None:
    path, nothing = tmp_path / "runs.db", tmp_path / "nothing"
    os.symlink(nothing, f"{path}{suffix}")
    await refused(path, "is a link to another file")
    assert not nothing.exists()


async def test_links_beside_the_file_that_a_link_leads_to_are_refused(tmp_path: Path, goal: Path) -> None:
    """SQLite puts its own files beside the database itself, so that is where they are looked for."""
    path, alias = tmp_path / "runs.db", tmp_path / "alias.db"
    store = SqliteStore(f"sqlite:///{path}")
    await store.open()
    await store.close()
    alias.symlink_to(path)
    os.symlink(goal, f"{path}-wal")
    await refused(alias, "is a link to another file")
    assert untouched(goal)


@pytest.mark.parametrize("kind", ["symbolic", "hard"])
async def test_a_link_to_somebodys_file_in_the_place_of_the_store_is_refused(
    kind: str, tmp_path: Path, goal: Path
) -> None:
    path = tmp_path / "runs.db"
    link(kind, goal, path)
    await refused(path, "not a SQLite database")
    assert untouched(goal)


@pytest.mark.parametrize("kind", ["symbolic", "hard"])
async def test_a_link_to_an_empty_file_is_not_filled(kind: str, tmp_path: Path) -> None:
    path, empty = tmp_path / "runs.db", tmp_path / "empty"
    empty.touch(mode=0o644)
    link(kind, empty, path)
    await refused(path, "symbolic link" if kind == "symbolic" else "has another name")
    assert empty.read_bytes() == b""
    assert stat.S_IMODE(empty.stat().st_mode) == 0o644


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a file away")
async def test_an_empty_file_of_somebody_else_is_not_filled(tmp_path: Path) -> None:
    """Its owner could read all that is stored, whatever its mode."""
    path = tmp_path / "runs.db"
    path.touch(mode=0o666)
    os.chown(path, 12345, 12345)
    await refused(path, "belongs to another user")
    assert path.read_bytes() == b""


async def test_a_link_that_is_planted_while_the_store_is_made_is_not_followed(
    tmp_path: Path, goal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the making: the store is linked into place, which never replaces and never follows."""
    from durable_sqlite import files

    path, real = tmp_path / "runs.db", files._into_place

    def late(fresh: str, there: str) -> None:
        os.symlink(goal, there)
        real(fresh, there)

    monkeypatch.setattr(files, "_into_place", late)
    await refused(path, "not a SQLite database")
    assert untouched(goal)
    assert [each.name for each in tmp_path.iterdir() if each.name.endswith(".new")] == []


# ── locks ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_locks_behind_a_planted_directory_are_left_alone(tmp_path: Path) -> None:
    """Sweeping takes away locks that nobody holds: behind a link these are those of another program."""
    others = tmp_path / "others"
    others.mkdir()
    (others / "cargo.lock").touch()
    (others / "0123456789abcdef0123456789abcdef.lock").touch()
    os.symlink(others, tmp_path / "runs.db-sessions")
    store = SqliteStore(f"sqlite:///{tmp_path}/runs.db")
    await store.open()
    await store.create([new_run("r")])
    assert len((await store.poll(session("s"), Want("p", LANES, 1))).claims) == 1  # by its lease alone
    await store.poll(session("t"), Want("p", LANES, 1))
    sweep(str(tmp_path / "runs.db-sessions"), [])
    await store.close()
    assert len(list(others.iterdir())) == 2


async def test_a_death_is_not_proven_by_a_lock_behind_a_planted_directory(tmp_path: Path) -> None:
    others = tmp_path / "others"
    others.mkdir()
    planted = tmp_path / "runs.db-sessions"
    os.symlink(others, planted)
    Path(_file(str(others), session("s").id)).touch()
    assert not is_dead(str(planted), session("s").id)
    assert is_dead(str(others), session("s").id)  # that it would be otherwise


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root trusts every directory")
def test_a_death_is_not_proven_in_a_directory_of_somebody_else() -> None:
    assert not is_dead("/", session("s").id)


def test_a_hard_link_in_the_place_of_a_lock_costs_its_goal_nothing(tmp_path: Path, goal: Path) -> None:
    async def main() -> None:
        store = SqliteStore(f"sqlite:///{tmp_path}/runs.db")
        await store.open()
        directory = tmp_path / "runs.db-sessions"
        directory.mkdir(mode=0o700)
        os.link(goal, _file(str(directory), session("s").id))
        await store.poll(session("s"), Want("p", LANES, 1))
        await store.leave(session("s").id)
        await store.close()

    asyncio.run(main())
    assert untouched(goal)


# ── what was purged ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_was_purged_is_in_no_file_any_more(tmp_path: Path) -> None:
    """Neither in free pages of the database nor in what is left of the log, while the store is open."""
    text, path = "private-payload-of-an-ordinary-run ", tmp_path / "runs.db"
    async with connect(f"sqlite:///{path}") as client:
        async with Worker(client, workflows=secured_app.ALL):
            for number in range(30):
                await (await client.start(secured_app.done, text * (number * 20 + 1), id=f"r{number}")).result()
        assert text.encode() in contents(path)
        assert await client.purge(older_than="0s") == 30
        assert text.encode() not in contents(path)
    assert text.encode() not in contents(path)


def contents(path: Path) -> bytes:
    """Every byte of the store, its log included."""
    return b"".join(each.read_bytes() for each in path.parent.glob(f"{path.name}*") if each.is_file())


async def test_every_connection_overwrites_what_it_deletes(tmp_path: Path) -> None:
    store = SqliteStore(f"sqlite:///{tmp_path}/runs.db")
    await store.open()
    for ask in (store._database.run_writer, store._database.run_reader):
        assert await ask(lambda raw: raw.execute("PRAGMA secure_delete").fetchone()) == (1,)
    await store.close()
    assert sqlite3.sqlite_version_info >= (3, 35)
