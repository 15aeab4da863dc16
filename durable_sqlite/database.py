"""One open database: a line that writes, a line that reads, and what this process knows about the file."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, final

from durable.clock import Clock
from durable.errors import ReadOnly, StoreError
from durable_sqlite import batches, files, hub, schema
from durable_sqlite.connection import Line, Transactions
from durable_sqlite.failures import is_weather
from durable_sqlite.log import Log
from durable_sqlite.together import Body, Hints, Part, Together, Write
from durable_sqlite.url import Target
from durable_sqlite.watch import Watch

__all__ = ["Database"]

T = TypeVar("T")
Item = TypeVar("Item")
Answer = TypeVar("Answer")
Batch = Callable[[sqlite3.Connection, Sequence[Item], float], list[Answer]]

_LOOK_SECONDS: Final = 0.03
_RAISE_TIDE: Final = "UPDATE tide SET level = level + 1 WHERE one = 1 RETURNING level"


@final
class Database:
    """What ``SqliteStore`` puts its verbs on. In memory both lines are one, shared with the dedicated stores."""

    def __init__(self, target: Target, clock: Clock) -> None:
        self._target = target
        # Made absolute here: the working directory may be another one when a dedicated store is opened.
        self._file = ":memory:" if target.path is None else os.path.abspath(target.path)
        self._clock = clock
        self._writer: Line | None = None
        self._reader: Line | None = None
        self._users = 0
        self._version = -1  # of the data, as the reading line last saw it
        self._log: Log | None = None
        self._watch: Watch | None = None
        self._together = Together(self._transaction)
        self.hub: hub.Hub | None = None

    @property
    def in_memory(self) -> bool:
        return self._target.path is None

    @property
    def is_writing(self) -> bool:
        """Whether a transaction of the writing line is under way at the moment."""
        return self._watch is not None and self._watch.writing

    def twin(self) -> Database:
        """Connections of its own to the same file; in memory there is but one."""
        if self.in_memory:
            return self
        twin = Database(self._target, self._clock)
        twin._file = self._file
        return twin

    # ── open and close ───────────────────────────────────────────────────────────────────────────────────────────

    async def open(self) -> None:
        """Connect; one more user if that has happened."""
        schema.require_sqlite()
        self._users += 1
        if self._users > 1:
            return
        self._halt = threading.Event()
        try:
            await self._connect()
        except BaseException:
            self._users = 0
            for line in self._let_go():
                line.shut()
            raise

    async def _connect(self) -> None:
        synced = self._target.durability == "full"
        if self._target.path is None:
            self._writes = self._reads = Transactions(self._file, self._clock, synced, self._halt)
            self.hub = hub.join(f":memory:{id(self)}", None)
            self._writer = self._reader = Line(files.connect_memory, self._file)
            await self._writer.open()
            return
        path = self._file
        self._writes = Transactions(path, self._clock, synced, self._halt)
        self._reads = Transactions(path, self._clock, synced, self._halt)
        self._log = Log(path, self._clock)
        self._watch = Watch(path, self._clock)
        self._writer = Line(lambda: self._prepare(path), path)
        await self._writer.open()
        key = os.path.realpath(path)
        self.hub = hub.join(key, files.sessions_directory(key))
        self._reader = Line(lambda: self._reads.patiently(lambda: files.connect(path)), path)
        await self._reader.open()
        await self._reader.run(self._look_here)

    def _prepare(self, path: str) -> sqlite3.Connection:
        def attempt() -> sqlite3.Connection:
            files.prepare(path, self._clock.token(), create=self._target.create)
            return files.connect(path)

        try:
            return self._writes.patiently(attempt)
        except OSError as error:
            raise ReadOnly(
                f"The store {path} cannot be opened ({error.strerror}). Check its path and rights."
            ) from error

    async def close(self) -> None:
        """Let go; the last user closes the file. Safe at any time, and more than once."""
        if self._users == 0:
            return
        self._users -= 1
        if self._users > 0:
            return
        lines = self._let_go()
        try:
            for line in lines:
                await line.close()
        finally:
            for line in lines:
                line.shut()

    def _let_go(self) -> list[Line]:
        """Nobody waits for a lock any longer, and no verb finds a line; returns those that are to be closed.

        One after the other: the last to close puts the log into the database, which two at once leave to each other.
        """
        self._halt.set()
        lines = [line for line in (self._reader, self._writer) if line is not None]
        if self._reader is self._writer:
            lines = lines[:1]
        self._writer = self._reader = None
        if self.hub is not None:
            hub.leave(self.hub)
            self.hub = None
        return lines

    # ── transactions ─────────────────────────────────────────────────────────────────────────────────────────────

    async def read(self, body: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``body`` on one view of the data."""
        return await self.run_reader(lambda raw: self.read_here(raw, body))

    async def write(self, body: Body[T], *, synced: bool = True, hints: Hints = False) -> T:
        """Run ``body``, given store time, in a write transaction.

        Args:
            synced: Whether a power loss may not undo it.
            hints: Whether somebody may have something to do if anything was changed.
        """

        def alone(raw: sqlite3.Connection) -> T:
            return self.write_here(raw, body, synced=synced, hints=hints)

        return await self.join(Write(body, alone, synced, hints))

    async def write_batch(
        self,
        items: Sequence[Item],
        apply: Callable[[sqlite3.Connection, Item, float], Answer],
        *,
        hints: bool,
        work: bool = True,
        whole: Batch[Item, Answer] | None = None,
    ) -> list[Answer]:
        """Apply each item, in one transaction.

        Args:
            apply: One item.
            hints: Whether somebody may have something to do.
            work: Whether that may be a worker; else it is readers alone.
            whole: All of them, where there is a faster way.

        Raises:
            Exception: What one of the items caused. Nothing of this one was written; all the others were.
        """
        if not items:
            return []

        def at_once(raw: sqlite3.Connection, now: float) -> list[Answer]:
            return [apply(raw, item, now) for item in items] if whole is None else whole(raw, items, now)

        def each(raw: sqlite3.Connection, now: float) -> tuple[list[Answer], Exception | None]:
            return batches.apply_each(raw, items, apply, now)

        def alone(raw: sqlite3.Connection) -> list[Answer]:
            try:
                return self.write_here(raw, at_once, hints=hints, work=work)
            except Exception as error:
                if len(items) == 1 or isinstance(error, StoreError) or is_weather(error):
                    raise
            answers, first = self.write_here(raw, each, hints=hints, work=work)
            if first is not None:
                raise first
            return answers

        return await self.join(Write(at_once, alone, True, hints, work))

    async def join(self, write: Write[T]) -> T:
        """Have it carried out, in the same transaction as others that wait by then."""
        line = self._line(self._writer)
        self._together.add(write)
        return await line.run(lambda raw: self._together.carry_out(raw, write))

    def write_here(
        self,
        raw: sqlite3.Connection,
        body: Body[T],
        *,
        synced: bool = True,
        hints: Hints = False,
        work: bool = True,
    ) -> T:
        """The same as ``write``, for a function that runs in the writing line's thread already."""
        result: T
        (result,) = self._transaction(raw, [(body, hints, work)], synced)
        return result

    def _transaction(self, raw: sqlite3.Connection, parts: Sequence[Part], synced: bool) -> list[Any]:
        """Several bodies, one after the other, in one transaction."""

        def whole(raw: sqlite3.Connection) -> tuple[list[Any], int | None, bool]:
            results: list[Any] = []
            hinted = worked = False
            for body, hints, work in parts:
                changes = raw.total_changes
                # Store time is read while the write lock is held: later transactions have later times, whoever writes.
                results.append(body(raw, float(self._clock.now())))
                if raw.total_changes != changes and (hints() if callable(hints) else hints):
                    hinted, worked = True, worked or work
            if not hinted:
                return results, None, False
            (tide,) = raw.execute(_RAISE_TIDE).fetchone()
            return results, tide, worked

        watch = self._watch
        if watch is not None:
            watch.writing = True
        try:
            results, tide, worked = self._writes.write(raw, whole, synced=synced)
        finally:
            if watch is not None:
                watch.wrote()
        if tide is not None:
            self._give(tide, worked)
        if self._log is not None:
            self._log.look(raw)
        return results

    def read_here(self, raw: sqlite3.Connection, body: Callable[[sqlite3.Connection], T]) -> T:
        """The same as ``read``, for a function that runs in the reading line's thread already."""
        return self._reads.read(raw, body)

    async def run_writer(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """One hop to the writing line."""
        return await self._run(self._writer, work)

    async def run_reader(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """One hop to the reading line."""
        return await self._run(self._reader, work)

    async def _run(self, line: Line | None, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._line(line).run(work)

    @staticmethod
    def _line(line: Line | None) -> Line:
        if line is None:
            raise StoreError("This store is not open.")
        line.require_open()
        return line

    # ── what other processes write ───────────────────────────────────────────────────────────────────────────────

    def look_seconds(self) -> float:
        """Until ``look`` is to be called again."""
        return _LOOK_SECONDS if self._watch is None else self._watch.seconds()

    async def look(self) -> None:
        """Hint everybody here if anybody else may have written something that matters since this was asked last."""
        if self._watch is None or self._watch.is_time():
            await self.run_reader(self._look_here)

    def _look_here(self, raw: sqlite3.Connection) -> None:
        """Whoever finds the tide risen tells all of this process at once: for any of them it is news only once."""
        (version,) = raw.execute("PRAGMA data_version").fetchone()
        if version == self._version or self.hub is None:
            return
        (level,) = self._reads.patiently(lambda: raw.execute("SELECT level FROM tide").fetchone())
        self._version = version
        if self.hub.rise(level):
            self._give(None, work=True)

    def _give(self, tide: int | None, work: bool) -> None:
        if self._watch is not None:
            self._watch.stir()
        if self.hub is not None:
            self.hub.give(tide, work=work)
