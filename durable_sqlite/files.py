"""The file before it is a database: where it lies, whether it may be used, and how a fresh one comes to be."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from typing import Final
from urllib.parse import quote

from durable.errors import Corrupt, InvalidInput, ReadOnly, StoreError
from durable_sqlite import schema
from durable_sqlite.log import BYTES_MAX

__all__ = ["connect", "connect_memory", "prepare", "sessions_directory"]

_STATEMENTS_CACHED: Final = 512
# What a connection that may only read is told when a transaction was cut and has to be rolled back first.
_READONLY_ROLLBACK: Final = 776
_JOURNAL_MAGIC: Final = bytes.fromhex("d9d505f920a163d7")
_HEAD_BYTES: Final = 100
_EXCLUSIVE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def sessions_directory(path: str) -> str:
    """Where the lock files of worker sessions lie."""
    return path + "-sessions"


def connect(path: str) -> sqlite3.Connection:
    """Open a database that ``prepare`` has found good."""
    raw = _open(path, "rw")
    try:
        mode = raw.execute("PRAGMA journal_mode").fetchone()
        if mode != ("wal",):
            mode = raw.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != ("wal",):
            raise StoreError(
                f"{path} lies on a file system that cannot share memory between processes, which the store needs "
                "(SQLite's write-ahead log). Put it on a local disk."
            )
        _settle(raw)
    except BaseException:
        raw.close()
        raise
    return raw


def connect_memory() -> sqlite3.Connection:
    """A database of its own in memory."""
    raw = sqlite3.connect(
        ":memory:", isolation_level=None, check_same_thread=False, cached_statements=_STATEMENTS_CACHED, timeout=0
    )
    schema.migrate(raw, ":memory:")
    _settle(raw)
    return raw


def _open(path: str, mode: str) -> sqlite3.Connection:
    # The mode makes sure that SQLite itself never creates a file; the rest of the URI is ours alone.
    return sqlite3.connect(
        f"file:{quote(path)}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_STATEMENTS_CACHED,
        timeout=0,
    )


def _settle(raw: sqlite3.Connection) -> None:
    """What every connection of ours runs with."""
    raw.execute("PRAGMA trusted_schema = OFF")
    raw.execute("PRAGMA cell_size_check = ON")
    raw.execute("PRAGMA secure_delete = ON")  # what is purged is gone from the file, too
    raw.execute("PRAGMA temp_store = MEMORY")
    raw.execute("PRAGMA cache_size = -16384")
    raw.execute("PRAGMA wal_autocheckpoint = 2000")
    raw.execute(f"PRAGMA journal_size_limit = {BYTES_MAX:d}")


def prepare(path: str, token: str, *, create: bool) -> None:
    """Make sure that there is a database of ours at this absolute path, and touch nothing else.

    Args:
        token: Random text, for the name under which a fresh file is built.

    Raises:
        Corrupt: What is there is foreign, damaged or newer, or it is empty although it should not be.
        InvalidInput: There is nothing and ``create`` is not given, or it is no file, or a link to be created through.
        sqlite3.Error, OSError: It is busy or out of reach.
    """
    _refuse_planted(os.path.realpath(path))
    while (version := _version(path, token, create)) is None:
        _roll_back(path)  # it is empty again, or the store without its last touch
    if version == 0:
        _fill(path, create)
    elif version < schema.VERSION:
        _migrate(path)


def _version(path: str, token: str, create: bool) -> int | None:
    """The schema version of what is at the path, made if need be; None if a fill of it was cut half-way.

    A database with nothing in it is of version 0: an empty file of which a fill was cut when it had just begun.
    """
    if not os.path.lexists(path):
        _create(path, token, create)
    if _status(path).st_size == 0:
        _fill(path, create)
    raw = _open(path, "ro")  # so that a file which is refused stays as it is, byte for byte
    try:
        return _look(raw, path)
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", None) == _READONLY_ROLLBACK and _was_being_filled(path):
            return None
        raise
    finally:
        raw.close()


def _refuse_planted(path: str) -> None:
    """SQLite follows what it finds in the place of its own files, and overwrites it: that must be no other file."""
    for name in (f"{path}-wal", f"{path}-shm", f"{path}-journal"):
        try:
            status = os.lstat(name)
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise InvalidInput(
                f"{name} is a link to another file, or no file; SQLite would write there. Find out who put it there, "
                "and remove it."
            )


def _status(path: str) -> os.stat_result:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise InvalidInput(
            f"{path} is a symbolic link to nothing. Remove the link, or give the store another path."
        ) from None
    if not stat.S_ISREG(status.st_mode):
        raise InvalidInput(f"{path} is not a file. Give the store another path.")
    return status


def _look(raw: sqlite3.Connection, path: str) -> int:
    try:
        return 0 if _is_blank(raw) else schema.inspect(raw, path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        raise Corrupt(
            f"{path} is not a SQLite database, or is damaged ({error}); it was left as it is. "
            "Give the store another file name, or restore the file from a backup."
        ) from error


def _is_blank(raw: sqlite3.Connection) -> bool:
    """Whether it is the first page of a store and nothing more: what ``_migrate`` writes before the tables.

    Other people's databases are not made for incremental vacuum before anything is in them; the stump of one has no
    page at all.
    """
    if not schema.is_empty(raw):
        return False
    said = [raw.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "user_version", "auto_vacuum")]
    return said == [1, 0, 2]


def _create(path: str, token: str, create: bool) -> None:
    """Build a store beside the path and link it into place: nobody ever sees a half-made one."""
    if not create:
        raise InvalidInput(f"There is no store at {path}, and the URL says create=false. Check the path.")
    if _is_filled(path + "-wal"):
        raise Corrupt(
            f"{path} is missing, but its write-ahead log {path}-wal is there. "
            "Put the database back from where it went, or move the log away too."
        )
    fresh = f"{path}.{token[:16]}.new"
    try:
        os.close(os.open(fresh, _EXCLUSIVE, 0o600))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InvalidInput(f"No store can be made at {path}: there is no such directory. Make it first.") from error
    except OSError as error:
        raise ReadOnly(
            f"No store can be made at {path} ({error.strerror}). Check that the directory exists and can be written."
        ) from error
    try:
        _migrate(fresh)
        _into_place(fresh, path)
    finally:
        for name in (fresh, fresh + "-wal", fresh + "-shm", fresh + "-journal"):
            with contextlib.suppress(OSError):
                os.unlink(name)


def _into_place(fresh: str, path: str) -> None:
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass  # another process was faster; its store is as good, but its name may not be safe yet
    except OSError:  # a file system without links: the same, a little less atomically
        if not os.path.lexists(path):
            os.rename(fresh, path)
    _sync_directory(path)


def _sync_directory(path: str) -> None:
    """Make sure that a power loss undoes nothing of what happened to names beside this one."""
    directory = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(directory)
    finally:
        os.close(directory)


def _fill(path: str, create: bool) -> None:
    """Take over an empty file that somebody has made, unless a store was there once."""
    expected = not create or _is_filled(path + "-wal") or os.path.exists(sessions_directory(path))
    if expected:
        raise Corrupt(
            f"{path} is empty, but a store is expected there. Restore it from a backup; to begin with an empty one, "
            f"remove {path}, {path}-wal and {sessions_directory(path)}, and allow create."
        )
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        raise InvalidInput(f"{path} is a symbolic link; no store is created through one. Give the path itself.")
    if status.st_nlink > 1 or (hasattr(os, "geteuid") and status.st_uid != os.geteuid()):
        raise InvalidInput(
            f"{path} is an empty file that has another name too, or belongs to another user, who could read what is "
            "stored. Remove it, or give the store another path."
        )
    os.chmod(path, 0o600)
    _migrate(path)


def _was_being_filled(path: str) -> bool:
    """Whether a rollback journal beside the file belongs to a fill of ours, rather than to somebody's own database.

    It does if the database is ours already, since a store of ours has such a journal at no other time; and if there was
    nothing in the database before: it had no page, or the first alone, and a table takes a second one.
    """
    try:
        with open(path, "rb") as database, open(path + "-journal", "rb") as journal:
            head, before = database.read(_HEAD_BYTES), journal.read(_HEAD_BYTES)
            size = os.fstat(database.fileno()).st_size
    except OSError:
        return False
    if head[68:72] == schema.APPLICATION_ID.to_bytes(4, "big"):
        return True
    if before[:8] == _JOURNAL_MAGIC:
        return int.from_bytes(before[16:20], "big") <= 1
    return size == int.from_bytes(head[16:18], "big")  # a journal that was never begun: the file is as it was before


def _roll_back(path: str) -> None:
    """Have SQLite take back what was cut: it does so for whoever reads and may write."""
    raw = _open(path, "rw")
    try:
        raw.execute("PRAGMA schema_version").fetchone()
    finally:
        raw.close()


def _migrate(path: str) -> None:
    raw = _open(path, "rw")
    try:
        raw.execute("PRAGMA synchronous = FULL")
        raw.execute("PRAGMA auto_vacuum = INCREMENTAL")  # heard in a fresh file only: what is purged can be given back
        schema.migrate(raw, path)
        raw.execute("PRAGMA journal_mode = WAL")
    finally:
        raw.close()


def _is_filled(path: str) -> bool:
    try:
        return os.stat(path).st_size > 0
    except OSError:
        return False
