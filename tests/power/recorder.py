"""Records what the real store does to its directory: through SQLite's VFS, and through ``os`` where it does so itself.

Syncs of the directory are seen where SQLite's own Unix VFS opens it to that end (its system call "openDirectory"), so
that nothing has to be believed about when it does. The log's index (``-shm``) is shared memory, which a power cut
takes; it is never recorded. Nor are the lock files of sessions, whose content and names say nothing after one.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, final
from unittest import mock

import apsw

from durable_sqlite import files
from tests.power.apsw_sqlite3 import connector
from tests.power.disk import Image
from tests.power.events import Cut, Event, NamesSynced, Renamed, Synced, Wrote

__all__ = ["Recorder", "recording"]

_VFS: Final = "durable-power"
_OpenDirectory: Final = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(ctypes.c_int))


@final
class Recorder:
    """The log of one directory.

    Attributes:
        base: What was there before.
        log: What has happened since.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = str(directory)
        self.base: Image = {entry.name: entry.read_bytes() for entry in directory.iterdir()}
        self.log: list[Event] = []
        self._names: dict[str, int] = {name: number for number, name in enumerate(sorted(self.base))}
        self._count = len(self._names)

    def note(self, event: Event) -> None:
        self.log.append(event)

    def number(self, path: str) -> int | None:
        """The file that a path stands for now; None if there is none."""
        return self._names.get(os.path.basename(path))

    def made(self, path: str) -> int:
        """A new file has this name."""
        self._count += 1
        self.rename((path, self._count))
        return self._count

    def rename(self, *names: tuple[str, int | None]) -> None:
        """One operation on names."""
        self.note(Renamed(tuple((os.path.basename(path), file) for path, file in names)))
        for path, file in names:
            if file is None:
                self._names.pop(os.path.basename(path), None)
            else:
                self._names[os.path.basename(path)] = file

    def directory_synced(self, path: str) -> None:
        """The directory of this path, or at this path, is being synced."""
        if self.directory in (path, os.path.dirname(path)):
            self.note(NamesSynced())


@contextlib.contextmanager
def recording(directory: Path) -> Iterator[Recorder]:
    """Whatever the SQLite store does in this directory meanwhile is recorded. One directory at a time."""
    recorder = Recorder(directory)
    vfs = _Vfs(recorder)
    address = vfs.xGetSystemCall("openDirectory")
    assert address is not None, "SQLite's VFS syncs no directories here"
    original = _OpenDirectory(address)

    def open_directory(path: bytes, descriptor: Any) -> int:
        recorder.directory_synced(os.fsdecode(path))
        return int(original(path, descriptor))

    hook = _OpenDirectory(open_directory)
    vfs.xSetSystemCall("openDirectory", ctypes.cast(hook, ctypes.c_void_p).value or 0)
    try:
        with mock.patch.object(sqlite3, "connect", connector(_VFS)), mock.patch.object(files, "os", _Os(recorder)):
            yield recorder
    finally:
        vfs.xSetSystemCall("openDirectory", 0)
        vfs.unregister()


class _Vfs(apsw.VFS):
    """SQLite's own VFS, with an ear at it."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(_VFS, "")
        self._recorder = recorder

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        assert path is not None  # temporary files are kept in memory
        number = self._recorder.number(path)
        opened = _File(name, flags, self._recorder)
        opened.number = self._recorder.made(path) if number is None else number
        return opened

    def xDelete(self, filename: str, syncdir: bool) -> None:
        # Noted before, since the sync of the directory that belongs to it is seen inside.
        if self._recorder.number(filename) is not None:
            self._recorder.rename((filename, None))
        super().xDelete(filename, syncdir)


class _File(apsw.VFSFile):
    """A file of SQLite's own VFS. A write is noted when it has been done; a sync as of its begin, which is all that it
    promises if somebody writes meanwhile.
    """

    number: int

    def __init__(self, name: Any, flags: list[int], recorder: Recorder) -> None:
        super().__init__("", name, flags)
        self._recorder = recorder
        self._may_write = bool(flags[1] & apsw.SQLITE_OPEN_READWRITE)

    def xLock(self, level: int) -> None:
        # A connection that only reads asks for the file for itself when it closes, and does without if it is told no.
        # SQLite's own VFS says no with an I/O error, which APSW would raise from close(); busy means the same.
        if level == apsw.SQLITE_LOCK_EXCLUSIVE and not self._may_write:
            raise apsw.BusyError("read only")
        super().xLock(level)

    def xWrite(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._recorder.note(Wrote(self.number, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:
        super().xTruncate(newsize)
        self._recorder.note(Cut(self.number, newsize))

    def xSync(self, flags: int) -> None:
        self._recorder.note(Synced(self.number))
        super().xSync(flags)


@final
class _Os:
    """The module ``os`` for ``durable_sqlite.files``, which makes and links a fresh database itself."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._paths: dict[int, str] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        descriptor = os.open(path, flags, mode)
        if flags & os.O_CREAT:
            assert flags & os.O_EXCL
            self._recorder.made(path)
        self._paths[descriptor] = path
        return descriptor

    def link(self, source: str, target: str) -> None:
        os.link(source, target)
        self._recorder.rename((target, self._recorder.number(source)))

    def rename(self, source: str, target: str) -> None:
        os.rename(source, target)
        self._recorder.rename((target, self._recorder.number(source)), (source, None))

    def unlink(self, path: str) -> None:
        os.unlink(path)
        self._recorder.rename((path, None))

    def fsync(self, descriptor: int) -> None:
        os.fsync(descriptor)
        self._recorder.directory_synced(self._paths[descriptor])
