"""The write-ahead log is begun anew in time, also where readers never leave a gap.

SQLite folds the log into the database after every 2,000 pages, but it begins again at the log's head only when a
commit finds nobody reading. Several processes that read by turns may never let that happen, and the log would grow for
as long as they do. So whoever writes looks at the log's length now and then, and once it is half of what it may be,
asks for an empty one: SQLite then lets no writer in, waits for the readers that are under way, and lets new ones read
the database alone.
"""

from __future__ import annotations

import os
import sqlite3
from typing import Final, final

from durable.clock import Clock

__all__ = ["BYTES_MAX", "Log"]

BYTES_MAX: Final = 64 * 1024 * 1024
_LOOK_SECONDS: Final = 0.05
_WAIT_SECONDS: Final = 0.5  # for readers; other writers wait as long
_TRIES: Final = 10
_AGAIN_SECONDS_MAX: Final = 10.0


@final
class Log:
    """One per writing connection, used in its thread.

    Args:
        file: The database.
        bytes_max: From half of it on an empty log is asked for.
        wait_seconds: For readers.
    """

    def __init__(
        self, file: str, clock: Clock, bytes_max: int = BYTES_MAX, wait_seconds: float = _WAIT_SECONDS
    ) -> None:
        self._file = f"{file}-wal"
        self._clock = clock
        self._long_bytes = bytes_max // 2
        self._wait_seconds = wait_seconds
        self._look_at = 0.0
        self._pause = _LOOK_SECONDS
        self._tries = _TRIES

    def look(self, raw: sqlite3.Connection) -> None:
        """After a transaction: see whether the log is long, and have it begun anew if it is.

        A reader that stays for long is waited for in vain; then the next try comes later and later, up to 10 seconds,
        and is shorter each time, so that the writers are not held up by it: there may be many processes that try.
        """
        now = self._clock.monotonic()
        if 0.0 <= self._look_at - now <= _AGAIN_SECONDS_MAX:
            return
        if self._bytes() <= self._long_bytes or self._empty(raw):
            self._pause, self._tries = _LOOK_SECONDS, _TRIES
        else:
            self._tries = max(1, self._tries // 2)
            self._pause = min(max(self._pause, _WAIT_SECONDS) * 2, _AGAIN_SECONDS_MAX)
        self._look_at = self._clock.monotonic() + self._pause

    def _bytes(self) -> int:
        try:
            return os.stat(self._file).st_size
        except OSError:
            return 0

    def _empty(self, raw: sqlite3.Connection) -> bool:
        """Whether the log is empty now.

        SQLite waits for the places of the readers that it found at first, though later readers, who are in nobody's
        way, may take these places over from them without a gap. So it is asked again and again, for a short time each.
        """
        raw.execute(f"PRAGMA busy_timeout = {int(self._wait_seconds / _TRIES * 1000):d}")
        try:
            return any(self._try(raw) for _ in range(self._tries))
        except sqlite3.Error:  # the disk, perhaps: whoever writes next is told
            return False
        finally:
            raw.execute("PRAGMA busy_timeout = 0")

    def _try(self, raw: sqlite3.Connection) -> bool:
        (busy, _, _) = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy
