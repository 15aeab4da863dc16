"""As much of ``sqlite3`` as the store uses, on APSW: its code runs unchanged, on files that a VFS of ours writes.

Errors are those of ``sqlite3``, with their codes, so that the store's own table of failures is what reads them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, final

import apsw

__all__ = ["Connection", "connector"]

_DATABASE_ERRORS: Final[Mapping[int, type[sqlite3.Error]]] = {
    apsw.SQLITE_CORRUPT: sqlite3.DatabaseError,
    apsw.SQLITE_NOTADB: sqlite3.DatabaseError,
    apsw.SQLITE_TOOBIG: sqlite3.DataError,
    apsw.SQLITE_CONSTRAINT: sqlite3.IntegrityError,
    apsw.SQLITE_MISMATCH: sqlite3.IntegrityError,
    apsw.SQLITE_MISUSE: sqlite3.ProgrammingError,
    apsw.SQLITE_RANGE: sqlite3.InterfaceError,
    apsw.SQLITE_INTERNAL: sqlite3.InternalError,
    apsw.SQLITE_NOTFOUND: sqlite3.InternalError,
}


def _translated(error: apsw.Error) -> sqlite3.Error:
    code = getattr(error, "result", apsw.SQLITE_ERROR)
    translated = _DATABASE_ERRORS.get(code, sqlite3.OperationalError)(str(error))
    translated.sqlite_errorcode = getattr(error, "extendedresult", code)
    return translated


@final
class Cursor:
    """The whole result of one statement.

    Attributes:
        rowcount: Rows that the statement changed; -1 for one that only reads.
        lastrowid: The key of the row that was inserted last.
    """

    def __init__(self, rows: list[Any], rowcount: int, lastrowid: int) -> None:
        self._rows: Iterator[Any] = iter(rows)
        self.rowcount = rowcount
        self.lastrowid = lastrowid

    def __iter__(self) -> Iterator[Any]:
        return self._rows

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        return list(self._rows)


@final
class Connection:
    """A connection as ``sqlite3`` has it with ``isolation_level=None``: it begins nothing and commits nothing."""

    def __init__(self, uri: str, vfs: str) -> None:
        try:
            flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI
            self._raw = apsw.Connection(uri, flags=flags, vfs=vfs)
        except apsw.Error as error:
            raise _translated(error) from error

    def execute(self, statement: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Cursor:
        return self._run(lambda cursor: cursor.execute(statement, parameters), statement)

    def executemany(self, statement: str, parameters: Iterable[Sequence[Any]]) -> Cursor:
        return self._run(lambda cursor: cursor.executemany(statement, parameters), statement)

    def _run(self, ask: Any, statement: str) -> Cursor:
        before = self._raw.total_changes()
        try:
            rows = ask(self._raw.cursor()).fetchall()
        except apsw.Error as error:
            raise _translated(error) from error
        changes = statement.lstrip()[:6].upper() in ("INSERT", "UPDATE", "DELETE")
        return Cursor(rows, self._raw.total_changes() - before if changes else -1, self._raw.last_insert_rowid())

    @property
    def in_transaction(self) -> bool:
        return bool(self._raw.in_transaction)

    @property
    def total_changes(self) -> int:
        return int(self._raw.total_changes())

    def close(self) -> None:
        self._raw.close()


def connector(vfs: str) -> Any:
    """What stands in for ``sqlite3.connect``; of its options only the URI's own matter here."""

    def connect(database: str, **options: object) -> Connection:
        assert options["uri"] is True
        assert options["isolation_level"] is None
        return Connection(database, vfs)

    return connect
