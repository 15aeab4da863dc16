"""Whether another process may have written, told by the log's date and length: it costs no statement and no thread."""

from __future__ import annotations

import os
from typing import Final, final

from durable.clock import Clock

__all__ = ["Watch"]

_BUSY_SECONDS: Final = 0.008
_QUIET_SECONDS: Final = 0.03
_BUSY_FOR_SECONDS: Final = 1.0
_OWN_SECONDS: Final = 0.03
# Where files are dated when they are closed, or by whole seconds, only the database itself can be asked.
_ANYWAY_SECONDS: Final = 0.25 if os.name == "posix" else 0.03
# A date has a grain of up to 10 ms: what is written soon after what was seen may have the same.
_LOOKS: Final = 3
_OWN_LOOKS: Final = 2

Signature = tuple[int, int]


@final
class Watch:
    """Of one open database; the log is never opened here, since closing it would drop SQLite's locks on it.

    Args:
        file: The database.

    Attributes:
        writing: Whether a transaction of this process is under way: what changes meanwhile is mostly its own.
    """

    def __init__(self, file: str, clock: Clock) -> None:
        self._log = f"{file}-wal"
        self._clock = clock
        self._seen: Signature | None = None
        self._own: Signature | None = None
        self._left = 0
        self._pause = 0.0
        self._looked_at = -_ANYWAY_SECONDS
        self._stirred_at = -_BUSY_FOR_SECONDS
        self.writing = False

    def seconds(self) -> float:
        """Until ``is_time`` is to be asked again: where something happens, more will, and an idle machine sleeps."""
        quiet = not 0.0 <= self._clock.monotonic() - self._stirred_at < _BUSY_FOR_SECONDS
        return _QUIET_SECONDS if quiet else _BUSY_SECONDS

    def stir(self) -> None:
        """Something has been written that may matter to others; heartbeats are not. Called from any thread."""
        self._stirred_at = self._clock.monotonic()

    def wrote(self) -> None:
        """A transaction of this process is over. Called in its thread."""
        self._own = self._signature()
        self.writing = False

    def is_time(self) -> bool:
        """Whether the database is to be asked now: at once after others' writes, a little later after our own."""
        signature, now = self._signature(), self._clock.monotonic()
        if signature != self._seen:
            ours = self.writing or signature == self._own
            self._seen = signature
            self._left = _OWN_LOOKS if ours else _LOOKS
            self._pause = _OWN_SECONDS if ours else 0.0
        pause = self._pause if self._left else _ANYWAY_SECONDS
        if 0.0 <= now - self._looked_at < pause:
            return False
        self._left = max(0, self._left - 1)
        self._looked_at = now
        return True

    def _signature(self) -> Signature | None:
        try:
            found = os.stat(self._log)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size
