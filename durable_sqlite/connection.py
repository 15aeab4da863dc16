"""One connection in one thread of aiosqlite's: each call of the store is one function, run there in one hop.

What runs in that thread, and how it becomes a transaction, is here too, so that nothing else begins or commits one.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar, final

import aiosqlite
from aiosqlite import core as _core

from durable.clock import Clock
from durable.errors import StoreError
from durable_sqlite.failures import is_busy, translate

__all__ = ["Line", "Transactions"]

T = TypeVar("T")

BUSY_SECONDS_MAX: Final = 5.0
# Between two looks at a lock: at first about as long as a transaction takes, later a tenth of what was waited already.
_FIRST_SECONDS: Final = 0.0005
_LONGEST_SECONDS: Final = 0.05


@final
class _Slot:
    """Stands in for the future that aiosqlite answers to, and puts up with a loop that is closed or not there.

    aiosqlite calls ``future.get_loop().call_soon_threadsafe(set, future, value)`` in its thread; with a closed
    loop that raises, and the thread would be lost together with everything queued behind.
    """

    __slots__ = ("_done", "_future")

    def __init__(self, future: asyncio.Future[Any] | None = None, done: threading.Event | None = None) -> None:
        self._future = future
        self._done = done

    def get_loop(self) -> _Slot:
        return self

    def call_soon_threadsafe(self, set_it: Callable[[Any, Any], None], _: object, value: object) -> None:
        if self._done is not None:
            self._done.set()
        if self._future is None:
            return
        try:
            self._future.get_loop().call_soon_threadsafe(set_it, self._future, value)
        except RuntimeError:  # the loop is closed: nobody waits any more
            pass


@final
class Line:
    """A connection and its thread. Functions run in the order of their calls, whatever loop they came from.

    A cancelled call runs to its end all the same: a write is never left half done.

    Args:
        connector: Makes the connection; called in the thread.
        file: For messages.
    """

    def __init__(self, connector: Callable[[], sqlite3.Connection], file: str) -> None:
        self._file = file
        self._connection: Any = aiosqlite.Connection(connector, 64)
        self._connector = connector
        self._raw: sqlite3.Connection | None = None
        self._pid = os.getpid()
        self._closing = False
        thread = self._thread = (
            self._connection if isinstance(self._connection, threading.Thread) else (self._connection._thread)
        )
        thread.daemon = True  # it must never keep a process from exiting
        self._gone = threading.Event()

    async def open(self) -> None:
        """Start the thread and connect in it."""
        self._thread.start()
        try:
            await self._ask(self._connect)
        except BaseException:
            self.shut()
            raise

    def _connect(self) -> None:
        self._raw = self._connector()

    def require_open(self) -> sqlite3.Connection:
        """The connection, for its thread alone.

        Raises:
            StoreError: The store is closed, or this process is a fork of the one that opened it.
        """
        raw = self._raw
        if os.getpid() != self._pid:
            raise StoreError(
                f"This store was opened in process {self._pid} and cannot be used in its fork {os.getpid()}. "
                "Open a store of its own in each process."
            )
        if self._closing or raw is None:
            raise StoreError("This store is closed; open it again, or open another on the same URL.")
        return raw

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` in the connection's thread.

        Raises:
            StoreError: As ``require_open``.
        """
        raw = self.require_open()
        return await self._ask(lambda: work(raw))

    async def _ask(self, function: Callable[[], T]) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._connection._tx.put_nowait((_Slot(future), function))
        try:
            return await future
        except Exception as error:
            translated = translate(error, self._file)
            if translated is error:
                raise
            raise translated from error

    def shut(self, future: asyncio.Future[Any] | None = None) -> None:
        """Have the connection closed and the thread ended after what is queued. Needs no loop and waits for nothing.

        Args:
            future: Set once the file is let go of.
        """
        if self._closing:
            return
        self._closing = True
        if os.getpid() != self._pid or not self._thread.is_alive():
            self._gone.set()
            if future is not None:
                future.set_result(None)
            return
        put = self._connection._tx.put_nowait
        put((_Slot(future, self._gone), self._disconnect))
        # Up to aiosqlite 0.21 the thread ends at a bare mark in its queue, later on at a function that returns it.
        mark = _core._STOP_RUNNING_SENTINEL
        put(mark if isinstance(self._connection, threading.Thread) else (_Slot(), lambda: mark))

    def _disconnect(self) -> None:
        raw, self._raw = self._raw, None
        if raw is not None:
            raw.close()

    async def close(self) -> None:
        """Shut, and wait until the file is let go of."""
        loop = asyncio.get_running_loop()
        if not self._closing:
            future = loop.create_future()
            self.shut(future)
            await future
        elif not self._gone.is_set():
            await loop.run_in_executor(None, self._gone.wait)


@final
class Transactions:
    """How functions become transactions on one connection; everything here runs in the connection's thread.

    Args:
        file: For messages.
        synced: Whether this store syncs at all; without, a power loss may cost the last commits.
        halt: Set when the store closes; then nobody waits for a lock any longer.
    """

    def __init__(self, file: str, clock: Clock, synced: bool, halt: threading.Event) -> None:
        self._file = file
        self._clock = clock
        self._synced = synced
        self._halt = halt
        self._level: bool | None = None

    def write(self, raw: sqlite3.Connection, body: Callable[[sqlite3.Connection], T], *, synced: bool = True) -> T:
        """Run ``body`` in a write transaction, again while the database is busy.

        Args:
            body: Decides by what it reads in the transaction, and may be run again from the start.
            synced: Whether a power loss may not undo it.

        Raises:
            sqlite3.Error: Nothing was written.
            OutcomeUnknown: The commit itself failed.
        """
        return self.patiently(lambda: self._write(raw, body, synced and self._synced))

    def read(self, raw: sqlite3.Connection, body: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``body`` on one unchanging view of the data."""
        return self.patiently(lambda: self._read(raw, body))

    def _set_level(self, raw: sqlite3.Connection, synced: bool) -> None:
        # In WAL mode FULL syncs at each commit, and everything before it too; NORMAL syncs at checkpoints only.
        if self._level is not synced:
            raw.execute("PRAGMA synchronous = FULL" if synced else "PRAGMA synchronous = NORMAL")
            self._level = synced

    def _write(self, raw: sqlite3.Connection, body: Callable[[sqlite3.Connection], T], synced: bool) -> T:
        self._set_level(raw, synced)
        raw.execute("BEGIN IMMEDIATE")
        try:
            result = body(raw)
        except BaseException:
            _roll_back(raw)
            raise
        try:
            raw.execute("COMMIT")
        except sqlite3.Error as error:
            _roll_back(raw)
            if is_busy(error):
                raise
            raise translate(error, self._file, committing=True) from error
        return result

    def _read(self, raw: sqlite3.Connection, body: Callable[[sqlite3.Connection], T]) -> T:
        raw.execute("BEGIN")
        try:
            return body(raw)
        finally:
            _roll_back(raw)

    def patiently(self, attempt: Callable[[], T]) -> T:
        """Make an attempt, again while the database is busy, with pauses that grow, and jitter.

        Args:
            attempt: Leaves nothing behind when it fails as busy.

        Raises:
            sqlite3.Error: It was busy for ``BUSY_SECONDS_MAX``, or failed otherwise.
        """
        waited = 0.0
        while True:
            try:
                return attempt()
            except sqlite3.Error as error:
                if not is_busy(error) or waited >= BUSY_SECONDS_MAX or self._halt.is_set():
                    raise
            pause = min(max(_FIRST_SECONDS, waited / 10), _LONGEST_SECONDS)
            seconds = pause * (0.5 + self._clock.random())
            self._halt.wait(seconds)
            waited += seconds


def _roll_back(raw: sqlite3.Connection) -> None:
    if raw.in_transaction:
        raw.execute("ROLLBACK")
