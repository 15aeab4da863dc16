"""Driver errors become store errors: one table, from SQLite's result codes to what the engine does about them."""

from __future__ import annotations

import sqlite3
from typing import Final

from durable.errors import Corrupt, InvalidInput, OutcomeUnknown, ReadOnly, StoreError, StoreFull, Transient

__all__ = ["is_busy", "is_weather", "translate"]

# Primary result codes (the low byte of an extended one), as sqlite3.h numbers them.
_ERROR: Final = 1
_PERM: Final = 3
_BUSY: Final = 5
_LOCKED: Final = 6
_READONLY: Final = 8
_IOERR: Final = 10
_CORRUPT: Final = 11
_FULL: Final = 13
_CANTOPEN: Final = 14
_PROTOCOL: Final = 15
_SCHEMA: Final = 17
_AUTH: Final = 23
_NOTADB: Final = 26

_TABLE: Final[dict[int, tuple[type[StoreError], str]]] = {
    _BUSY: (Transient, "is locked by another process; trying again helps once that one has finished"),
    _LOCKED: (Transient, "is locked by another connection; trying again helps once that one has finished"),
    _PROTOCOL: (Transient, "could not be locked; trying again helps"),
    _SCHEMA: (Transient, "was changed by another process meanwhile; trying again helps"),
    _FULL: (StoreFull, "cannot grow: the disk or the quota is full. Free some space"),
    _READONLY: (ReadOnly, "cannot be written. Check the permissions of the file and of its directory"),
    _CANTOPEN: (ReadOnly, "cannot be opened. Check that the directory exists, and its permissions"),
    _IOERR: (Transient, "had an input-output error, and nothing was written. Check the disk"),
    _PERM: (ReadOnly, "cannot be accessed. Check the permissions of the file and of its directory"),
    _AUTH: (ReadOnly, "cannot be accessed. Check the permissions of the file and of its directory"),
    _CORRUPT: (Corrupt, "is damaged. Stop the workers, keep a copy, and restore the file from a backup"),
    _NOTADB: (Corrupt, "is not a SQLite database, or is damaged. Name another file, or restore it from a backup"),
}


def translate(error: Exception, file: str, *, committing: bool = False) -> Exception:
    """What to raise instead of a driver's error; anything else comes back as it is.

    Args:
        file: The database, for the message.
        committing: The error came from COMMIT, so an input-output error leaves open whether it was written.
    """
    if isinstance(error, OverflowError | UnicodeEncodeError) or (
        isinstance(error, sqlite3.Error) and not is_weather(error)
    ):
        return InvalidInput(f"A value cannot be stored: {error}. Nothing of this item was written.")
    if not isinstance(error, sqlite3.Error):
        return error
    code = _code(error)
    if code == _IOERR and committing:
        return OutcomeUnknown(f"The write to {file} failed half-way ({error}); say it again. Check the disk.")
    kind, words = _TABLE.get(code, (StoreError, "could not be used"))
    return kind(f"The store {file} {words} ({error}).")


def is_weather(error: BaseException) -> bool:
    """Whether the fault is the store's, not that of one item (too large a value, a broken constraint)."""
    if isinstance(error, sqlite3.DataError | sqlite3.IntegrityError | sqlite3.ProgrammingError):
        return False
    if isinstance(error, sqlite3.InterfaceError):  # a value that cannot be bound
        return False
    return isinstance(error, sqlite3.Error)


def is_busy(error: BaseException) -> bool:
    """Whether waiting a little is all that is needed."""
    return isinstance(error, sqlite3.OperationalError) and _code(error) in (_BUSY, _LOCKED, _PROTOCOL, _SCHEMA)


def _code(error: sqlite3.Error) -> int:
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else _ERROR
