"""Where a SQLite store lies: its file, its directory, and what room there is. Nothing is opened or written."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from durable.cli.verdicts import Verdict

__all__ = ["bytes_text", "look_around", "schema_of", "sqlite_file"]

_FREE_BYTES_MIN: Final = 256_000_000
_LOG_BYTES_MAX: Final = 64 * 1024 * 1024  # the store keeps its log shorter, unless a reader stays
_SCHEMA_OFFSET: Final = 60  # in the header of a SQLite file: PRAGMA user_version, four bytes, big-endian


def sqlite_file(url: str) -> Path | None:
    """The file of a ``sqlite:///`` URL; None for other stores, and in memory."""
    scheme, _, rest = url.partition(":///")
    path = rest.partition("?")[0]
    return Path(path).absolute() if scheme == "sqlite" and path and not path.startswith(":") else None


def look_around(file: Path) -> Iterator[Verdict]:
    """What can be said of a store's file without opening it."""
    yield _permissions(file)
    yield _room(file)
    yield _log(file)


def schema_of(file: Path) -> int | None:
    """The schema version that its header tells; None if it cannot be read."""
    try:
        with file.open("rb") as opened:
            header = opened.read(100)
    except OSError:
        return None
    return int.from_bytes(header[_SCHEMA_OFFSET : _SCHEMA_OFFSET + 4]) if len(header) == 100 else None


def _permissions(file: Path) -> Verdict:
    items: list[str] = []
    places = [file, Path(f"{file}-wal"), Path(f"{file}-shm"), Path(f"{file}-sessions"), file.parent]
    for place in places:
        try:
            mode = place.stat().st_mode
        except FileNotFoundError:
            continue
        except OSError as error:
            items.append(f"{place} cannot be looked at: {error.strerror}")
            continue
        needed = os.R_OK | os.W_OK | (os.X_OK if stat.S_ISDIR(mode) else 0)
        if not os.access(place, needed):
            items.append(f"{place} ({mode & 0o7777:04o}) cannot be read and written by this user")
        if place != file.parent and mode & 0o077 and not stat.S_ISDIR(mode):
            items.append(f"{place} ({mode & 0o7777:04o}) is open to other users, and payloads are readable: chmod 600")
        if place == file.parent and mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            items.append(f"{place} ({mode & 0o7777:04o}) can be written by everybody: chmod o-w")
    return Verdict("files", not items, str(file), tuple(items))


def _room(file: Path) -> Verdict:
    free = shutil.disk_usage(file.parent).free
    size = file.stat().st_size
    said = f"{bytes_text(free)} free beside {bytes_text(size)} of store"
    if free >= max(_FREE_BYTES_MIN, size):
        return Verdict("room", True, said)
    return Verdict("room", False, said, ("The disk is nearly full, or too full for a backup: make room.",))


def _log(file: Path) -> Verdict:
    try:
        size = Path(f"{file}-wal").stat().st_size
    except OSError:
        size = 0
    said = f"write-ahead log of {bytes_text(size)}"
    if size <= _LOG_BYTES_MAX:
        return Verdict("log", True, said)
    todo = "A reader that never ends keeps it from being folded into the file: find other programs that have it open."
    return Verdict("log", False, said, (todo,))


def bytes_text(count: int) -> str:
    """A number of bytes in few characters."""
    size, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
