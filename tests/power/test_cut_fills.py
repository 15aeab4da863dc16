"""A process or a power cut that ends the filling of an empty file half-way."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from durable.errors import Corrupt, StoreError
from durable_sqlite import SqliteStore

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="There is no SIGKILL.")

_FILL = """
import os, signal, sqlite3, sys
from durable_sqlite import schema
raw = sqlite3.connect(sys.argv[1], isolation_level=None)
raw.execute("PRAGMA cache_size = 1")  # so that pages are written before the transaction ends, as at its end
raw.execute("BEGIN EXCLUSIVE")
if sys.argv[2] == "ours":
    for statement in schema._TABLES:
        raw.execute(statement)
else:
    raw.execute("UPDATE theirs SET what = hex(randomblob(20000))")
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_in_a_transaction(path: Path, whose: str) -> None:
    done = subprocess.run([sys.executable, "-c", _FILL, str(path), whose], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.stat().st_size > 0
    assert path.with_name(path.name + "-journal").stat().st_size > 0


@pytest.mark.slow
async def test_an_empty_file_whose_filling_was_cut_is_filled_by_whoever_opens_it_next(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.touch()
    killed_in_a_transaction(path, "ours")
    store = SqliteStore(f"sqlite:///{path}")
    await store.open()
    assert list(await store.check()) == []
    assert await store.put_record("kind", "key", b"value") is not None
    await store.close()
    assert not path.with_name("store.db-journal").exists()


async def test_a_fill_that_was_cut_before_the_first_table_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    raw = sqlite3.connect(path)
    raw.execute("PRAGMA auto_vacuum = INCREMENTAL")
    raw.close()
    assert path.stat().st_size == 4096
    store = SqliteStore(f"sqlite:///{path}")
    await store.open()
    assert list(await store.check()) == []
    await store.close()


@pytest.mark.parametrize("made", ["auto_vacuum = FULL", "user_version = 7"])
async def test_another_programs_database_without_tables_is_refused_as_it_is(tmp_path: Path, made: str) -> None:
    path = tmp_path / "theirs.db"
    raw = sqlite3.connect(path)
    raw.execute(f"PRAGMA {made}")
    raw.close()
    before = path.read_bytes()
    store = SqliteStore(f"sqlite:///{path}")
    with pytest.raises(Corrupt):
        await store.open()
    await store.close()
    assert path.read_bytes() == before


@pytest.mark.slow
async def test_another_programs_cut_transaction_is_left_to_that_program(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("CREATE TABLE theirs (what TEXT)")
    raw.execute("INSERT INTO theirs (what) SELECT hex(randomblob(20000)) FROM (VALUES (1), (2), (3))")
    raw.close()
    killed_in_a_transaction(path, "theirs")
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    store = SqliteStore(f"sqlite:///{path}")
    with pytest.raises(StoreError):
        await store.open()
    await store.close()
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == before
