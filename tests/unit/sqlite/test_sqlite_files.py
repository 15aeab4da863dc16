"""The file: made with care, and left alone if it is not ours."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from pathlib import Path

import pytest
from sqlite_child import LANES, new_run, session

from durable.errors import Corrupt, InvalidInput, ReadOnly, StoreError
from durable.store import Commit, RunId, Verdict, Want
from durable_sqlite import SqliteStore, schema


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


async def refused(url: str, path: Path, kind: type[StoreError] = Corrupt) -> str:
    """The store does not open, says why, and has changed nothing."""
    before = path.read_bytes()
    store = SqliteStore(url)
    with pytest.raises(kind) as caught:
        await store.open()
    await store.close()
    assert path.read_bytes() == before
    assert str(path) in str(caught.value)
    return str(caught.value)


async def test_everything_is_for_the_owner_alone_whatever_the_umask(url: str, path: Path) -> None:
    mask = os.umask(0)
    try:
        store = SqliteStore(url)
        await store.open()
        await store.create([new_run("r")])
        await store.poll(session("s"), Want("p", LANES, 1))
        directory = Path(f"{path}-sessions")
        assert mode(path) == 0o600
        assert mode(Path(f"{path}-wal")) == 0o600
        assert mode(Path(f"{path}-shm")) == 0o600
        assert mode(directory) == 0o700
        assert [mode(lock) for lock in directory.iterdir()] == [0o600]
        await store.leave(session("s").id)
        assert list(directory.iterdir()) == []
        await store.close()
    finally:
        os.umask(mask)


async def test_nothing_is_left_beside_the_file(url: str, path: Path) -> None:
    store = SqliteStore(url)
    await store.open()
    await store.close()
    assert [each.name for each in path.parent.iterdir()] == ["runs.db"]


async def test_closing_without_leaving_takes_the_lock_away_and_proves_nothing(url: str, path: Path) -> None:
    store = SqliteStore(url)
    await store.open()
    await store.create([new_run("r")])
    assert len((await store.poll(session("s"), Want("p", LANES, 1))).claims) == 1
    await store.close()
    assert list(Path(f"{path}-sessions").iterdir()) == []
    await store.open()
    assert (await store.poll(session("other"), Want("p", LANES, 1))).claims == ()
    await store.close()


async def test_another_programs_database_is_refused(url: str, path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE customers (id)")
    other.close()
    assert "something else" in await refused(url, path)


async def test_another_programs_empty_database_is_refused(url: str, path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("PRAGMA application_id = 7")
    other.close()
    await refused(url, path)


async def test_a_text_file_is_refused(url: str, path: Path) -> None:
    path.write_text("This is not a database, and it is long enough to be looked at. " * 40)
    assert "not a SQLite database" in await refused(url, path)


async def test_a_newer_store_is_refused(url: str, path: Path, store: SqliteStore) -> None:
    await store.close()
    other = sqlite3.connect(path)
    other.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    other.close()
    assert "newer release" in await refused(url, path)


async def test_a_store_without_one_of_its_tables_is_refused(url: str, path: Path, store: SqliteStore) -> None:
    await store.close()
    other = sqlite3.connect(path)
    other.execute("DROP TABLE parts")
    other.close()
    assert "parts" in await refused(url, path)


async def test_a_store_with_a_planted_trigger_is_refused(url: str, path: Path, store: SqliteStore) -> None:
    await store.close()
    other = sqlite3.connect(path)
    other.execute("CREATE TRIGGER evil AFTER INSERT ON runs BEGIN DELETE FROM journal; END")
    other.close()
    assert "evil" in await refused(url, path)


@pytest.mark.parametrize("place", [0, 16, 20, 100])
async def test_a_damaged_head_is_refused(url: str, path: Path, store: SqliteStore, place: int) -> None:
    await store.close()
    content = bytearray(path.read_bytes())
    content[place : place + 16] = bytes(16) if place == 0 else b"\xff" * 16
    path.write_bytes(content)
    await refused(url, path)


async def test_a_truncated_file_is_found_at_the_latest_when_it_is_read(
    url: str, path: Path, store: SqliteStore
) -> None:
    await store.create([new_run(f"r{n}") for n in range(500)])
    await store.close()
    os.truncate(path, path.stat().st_size // 2)
    store = SqliteStore(url)
    with pytest.raises(Corrupt, match="backup"):
        await store.open()
        assert await store.check() == []
    await store.close()


async def test_a_damaged_page_inside_is_found_by_check(url: str, path: Path, store: SqliteStore) -> None:
    await store.create([new_run(f"r{n}") for n in range(500)])
    await store.close()
    content = bytearray(path.read_bytes())
    for page in range(40, len(content) // 4096):
        content[page * 4096 : page * 4096 + 64] = b"\xa5" * 64
    path.write_bytes(content)
    store = SqliteStore(url)
    await store.open()
    try:
        found = list(await store.check())
    except Corrupt as error:
        found = [str(error)]
    assert found
    await store.close()


async def test_an_empty_file_becomes_a_store(url: str, path: Path) -> None:
    path.touch()
    store = SqliteStore(url)
    await store.open()
    assert mode(path) == 0o600
    assert await store.check() == []
    await store.close()


async def test_an_empty_file_is_refused_where_a_store_is_expected(url: str, path: Path) -> None:
    path.touch()
    assert "is empty" in await refused(url + "?create=false", path)
    Path(f"{path}-sessions").mkdir()
    assert "is empty" in await refused(url, path)
    Path(f"{path}-sessions").rmdir()
    Path(f"{path}-wal").write_bytes(b"frames")
    assert "is empty" in await refused(url, path)


async def test_a_log_without_its_database_is_not_thrown_away(url: str, path: Path) -> None:
    log = Path(f"{path}-wal")
    log.write_bytes(b"frames")
    store = SqliteStore(url)
    with pytest.raises(Corrupt, match="write-ahead log"):
        await store.open()
    assert log.read_bytes() == b"frames"
    assert not path.exists()


async def test_a_missing_store_is_not_created_against_ones_will(url: str, path: Path) -> None:
    store = SqliteStore(url + "?create=false")
    with pytest.raises(InvalidInput, match="create=false"):
        await store.open()
    assert not path.exists()


async def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    store = SqliteStore(f"sqlite:///{tmp_path}/nowhere/runs.db")
    with pytest.raises(InvalidInput, match="nowhere"):
        await store.open()


async def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is not a file"):
        await SqliteStore(f"sqlite:///{tmp_path}").open()


async def test_no_store_is_created_through_a_link(url: str, path: Path, tmp_path: Path) -> None:
    goal = tmp_path / "goal"
    path.symlink_to(goal)
    with pytest.raises(InvalidInput, match="symbolic link"):
        await SqliteStore(url).open()
    assert not goal.exists()
    goal.touch()
    with pytest.raises(InvalidInput, match="symbolic link"):
        await SqliteStore(url).open()
    assert goal.read_bytes() == b""


async def test_a_store_that_is_there_may_be_reached_through_a_link(
    tmp_path: Path, path: Path, store: SqliteStore
) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(path)
    other = SqliteStore(f"sqlite:///{link}")
    await other.open()
    changes = other.changes()
    await store.create([new_run("r")])
    await asyncio.wait_for(anext(changes), 5)
    assert await other.input(RunId("r")) == b"input"
    await other.close()


async def test_a_planted_link_in_the_place_of_a_lock_is_not_followed(
    path: Path, store: SqliteStore, tmp_path: Path
) -> None:
    from durable_sqlite.locks import _file

    directory = Path(f"{path}-sessions")
    directory.mkdir(mode=0o700)
    goal = tmp_path / "goal"
    Path(_file(str(directory), session("s").id)).symlink_to(goal)
    await store.create([new_run("r")])
    assert len((await store.poll(session("s"), Want("p", LANES, 1))).claims) == 1  # by its lease alone
    assert not goal.exists()


async def test_a_planted_link_in_the_place_of_the_lock_directory_is_not_followed(
    path: Path, store: SqliteStore, tmp_path: Path
) -> None:
    goal = tmp_path / "goal"
    goal.mkdir()
    Path(f"{path}-sessions").symlink_to(goal)
    await store.create([new_run("r")])
    assert len((await store.poll(session("s"), Want("p", LANES, 1))).claims) == 1
    assert list(goal.iterdir()) == []


async def test_the_options_reach_the_connection(url: str) -> None:
    for option, level in (("", 2), ("?durability=relaxed", 1)):
        store = SqliteStore(url + option)
        await store.open()
        await store.create([new_run(f"r{level}")])
        (found,) = await store._database.run_writer(lambda raw: raw.execute("PRAGMA synchronous").fetchone())
        assert found == level
        (found,) = await store._database.run_writer(lambda raw: raw.execute("PRAGMA journal_mode").fetchone())
        assert found == "wal"
        await store.close()


async def test_polls_and_heartbeats_are_not_synced_and_everything_acknowledged_is(store: SqliteStore) -> None:
    async def level() -> int:
        return (await store._database.run_writer(lambda raw: raw.execute("PRAGMA synchronous").fetchone()))[0]

    await store.create([new_run("r")])
    assert await level() == 2
    await store.poll(session("s"), Want("p", LANES, 1))
    assert await level() == 1
    await store.put_record("k", "a", b"")
    assert await level() == 2
    await store.renew(session("s"))
    assert await level() == 1


async def test_a_full_disk_is_weather(store: SqliteStore) -> None:
    from durable.errors import StoreFull

    await store.create([new_run("r")])
    (pages,) = await store._database.run_writer(lambda raw: raw.execute("PRAGMA page_count").fetchone())
    await store._database.run_writer(lambda raw: raw.execute(f"PRAGMA max_page_count = {pages}").fetchone())
    with pytest.raises(StoreFull, match="Free some space"):
        await store.put_record("k", "a", bytes(100_000))
    assert await store.get_record("k", "a") is None
    await store._database.run_writer(lambda raw: raw.execute("PRAGMA max_page_count = 1000000").fetchone())
    assert await store.put_record("k", "a", bytes(100_000)) is not None


async def test_a_file_that_may_not_be_written_is_weather(url: str, path: Path, store: SqliteStore) -> None:
    await store._database.run_writer(lambda raw: raw.execute("PRAGMA query_only = ON"))
    with pytest.raises(ReadOnly, match="permissions"):
        await store.put_record("k", "a", b"")


async def test_one_bad_item_does_not_spoil_its_neighbours(store: SqliteStore) -> None:
    good, bad = new_run("good"), new_run("bad\ud800")
    with pytest.raises(InvalidInput, match="Nothing of this item was written"):
        await store.create([new_run("first"), bad, good])
    assert [row is not None for row in await store.get([RunId("first"), RunId("good")])] == [True, True]
    with pytest.raises(InvalidInput):
        await store.create([bad])
    assert (await store.stats())["runs.pending"] == 2


async def test_a_url_is_printed_shortened() -> None:
    with pytest.raises(InvalidInput) as caught:
        SqliteStore("sqlite:///" + "x" * 1000 + "?vfs=y")
    assert len(str(caught.value)) < 400


async def test_a_commit_that_cannot_be_written_leaves_nothing_of_itself(store: SqliteStore) -> None:
    run = RunId("r")
    await store.create([new_run("r")])
    (claim,) = (await store.poll(session("s"), Want("p", LANES, 1))).claims
    with pytest.raises(InvalidInput, match="Nothing of this item was written"):
        await store.commit([Commit(run, claim.run.epoch, 0, 0, (b"entry",), values=(("key\ud800", b""),))])
    assert (await store.journal(run, 1)).rows == ()
    assert (await store.commit([Commit(run, claim.run.epoch, 0, 0, (b"entry",))]))[0].verdict is Verdict.APPLIED
    assert await store.check() == []
