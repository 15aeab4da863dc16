"""One locked file per worker session: the operating system lets go of it when, and only when, the process is gone."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
from collections.abc import Iterable
from typing import Final, final

from durable.store import SessionId

if sys.platform != "win32":
    import fcntl

__all__ = ["SessionLocks", "forget", "is_dead", "probe", "sweep"]

_FLAGS: Final = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def _file(directory: str, session: SessionId) -> str:
    # Session ids are any text, so the name is a digest.
    return os.path.join(directory, hashlib.sha256(session.encode()).hexdigest()[:32] + ".lock")


def _lock(fd: int) -> bool:
    """Lock without waiting; False if somebody has it, or if this file system cannot tell."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_ours(directory: str) -> bool:
    """Whether a directory of locks is one that nobody else can have put there: what lies in it proves deaths."""
    try:
        status = os.lstat(directory)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and (sys.platform == "win32" or os.geteuid() in (0, status.st_uid))


def _is_at(fd: int, path: str) -> bool:
    """Whether the file at this path is still the one that was opened."""
    try:
        there, ours = os.lstat(path), os.fstat(fd)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def probe(directory: str, session: SessionId) -> int | None:
    """The descriptor of a dead session's lock, now ours: proof that its process is gone. None: no proof.

    A file that is missing proves nothing: a store that is closed takes its files away and leaves the lease standing.
    The caller keeps the descriptor until it has acted on the proof, then hands it to ``forget``.
    """
    return _proof(_file(directory, session)) if _is_ours(directory) else None


def _proof(path: str) -> int | None:
    try:
        fd = os.open(path, _FLAGS)
    except OSError:
        return None
    if _lock(fd) and _is_at(fd, path):
        return fd
    os.close(fd)
    return None


def is_dead(directory: str, session: SessionId) -> bool:
    """Whether the session's process is proven dead, without acting on it."""
    fd = probe(directory, session)
    if fd is not None:
        os.close(fd)
    return fd is not None


def forget(directory: str, session: SessionId, fd: int) -> None:
    """Take a lock file away. Unlinked first, so that nobody who opened it meanwhile takes its freedom for a death."""
    _remove(_file(directory, session), fd)


def _remove(path: str, fd: int) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
    with contextlib.suppress(OSError):
        os.close(fd)


def sweep(directory: str, keep: Iterable[SessionId]) -> None:
    """Take away lock files that nobody holds and nobody asks for: those of processes that died with empty hands.

    Args:
        keep: Sessions whose death is still to be proven.
    """
    kept = {_file(directory, session) for session in keep}
    if not _is_ours(directory):
        return  # the locks behind a planted link are those of others
    try:
        paths = [entry.path for entry in os.scandir(directory) if entry.name.endswith(".lock")]
    except OSError:
        return
    for path in paths:
        fd = None if path in kept else _proof(path)
        if fd is not None:
            _remove(path, fd)


@final
class SessionLocks:
    """The locks that this process holds in one directory. Whoever calls holds the hub's lock.

    Where a lock cannot be had (a network file system, no rights), the session lives by its lease alone.
    """

    def __init__(self, directory: str | None) -> None:
        self._directory = directory
        self._held: dict[SessionId, int | None] = {}

    def __contains__(self, session: SessionId) -> bool:
        return session in self._held

    def hold(self, session: SessionId) -> bool:
        """Take the session's lock, if this process does not have it yet; whether it is new here."""
        if session in self._held:
            return False
        self._held[session] = None if self._directory is None else self._take(self._directory, session)
        return True

    def _take(self, directory: str, session: SessionId) -> int | None:
        path = _file(directory, session)
        try:
            os.makedirs(directory, mode=0o700, exist_ok=True)
            if not _is_ours(directory):
                return None
            if stat.S_IMODE(os.stat(directory).st_mode) & 0o077:
                os.chmod(directory, 0o700)
            fd = os.open(path, _FLAGS | os.O_CREAT, 0o600)
        except OSError:
            return None
        if _lock(fd) and _is_at(fd, path):
            return fd
        os.close(fd)
        return None

    def drop(self, session: SessionId) -> None:
        """The session left."""
        fd = self._held.pop(session, None)
        if fd is not None and self._directory is not None:
            forget(self._directory, session, fd)

    def drop_all(self) -> None:
        """Every store of this process on this file is closed."""
        for session in list(self._held):
            self.drop(session)

    def after_fork(self) -> None:
        """In a forked child: close the copies, which alone would keep a dead parent's locks. It unlocks nothing."""
        for fd in self._held.values():
            if fd is not None:
                with contextlib.suppress(OSError):
                    os.close(fd)
        self._held.clear()
