"""What the store is asked for while it is recorded: every verb that writes, in a random order, on two connections.

The steps are those of the conformance kit's differential test, with checkpoints and closing in between. Each operation
is marked in the log where it begins and where it is answered, and the whole content of the store is read after it.
"""

from __future__ import annotations

import hashlib
import random
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from durable.store import (
    Commit,
    Control,
    Message,
    MessageId,
    MessageKind,
    NewRun,
    Pause,
    PurgeQuery,
    RunId,
    Want,
)
from durable_sqlite import SqliteStore
from durable_testing import ManualClock
from durable_testing.conformance.race import LANES, Race
from durable_testing.conformance.steps import RUNS, Step
from tests.power.disk import Image
from tests.power.events import Acked, Began, Event
from tests.power.recorder import Recorder, recording

__all__ = ["FILE", "UNPROMISED", "VERBS", "Operation", "Recording", "content", "record"]

FILE: Final = "store.db"
UNPROMISED: Final = frozenset({"poll", "renew", "checkpoint", "close"})
"""Operations whose answer promises nothing about a power cut: claims end with one anyway (rule 8)."""

VERBS: Final = frozenset(
    {"create", "poll", "renew", "leave", "commit", "send", "control", "purge", "put_record", "delete_record"}
)
_KINDS: Final = (
    *("create", "record", "renew", "leave", "purge", "crash", "repeat", "create_again", "commit_all"),
    *("send", "control", "advance") * 2,
    *("poll",) * 6,
    *("commit",) * 12,
)
_CHECKPOINTS: Final = ("PASSIVE", "FULL", "RESTART", "TRUNCATE")


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation that was acknowledged.

    Attributes:
        state: Everything that was in the store then.
    """

    kind: str
    state: str


@dataclass(frozen=True, slots=True)
class Recording:
    """All that the proof needs.

    Attributes:
        options: Of the URL: how the store was asked to keep its data.
    """

    options: str
    base: Image
    log: tuple[Event, ...]
    operations: tuple[Operation, ...]


def content(raw: sqlite3.Connection) -> str:
    """A digest of every row of every table; equal for equal contents, however they lie in the file."""
    digest = hashlib.sha256()
    tables = raw.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    for (table,) in tables:
        rows = sorted(map(repr, raw.execute(f'SELECT * FROM "{table}"').fetchall()))
        digest.update(repr((table, rows)).encode())
    return digest.hexdigest()


async def record(directory: Path, seed: int, steps: int, options: str = "", pages: int | None = None) -> Recording:
    """Carry out a workload in this directory, and return what happened to its files.

    Args:
        directory: Holds what was there before: nothing, an empty file, or a store.
        seed: Of the workload; the same seed asks for the same.
        steps: How many operations, about.
        options: Of the store's URL, with its question mark.
        pages: How long the log grows before a commit carries a checkpoint out; drawn if not given, and always small,
            so that checkpoints fall into commits of every kind.
    """
    dice = random.Random(seed)
    drawn = dice.choice((6, 20, 60))
    with recording(directory) as recorder:
        workload = _Workload(recorder, directory, dice, options, drawn if pages is None else pages)
        await workload.open()
        try:
            await workload.run(steps)
        finally:
            await workload.close()
    return Recording(options, recorder.base, tuple(recorder.log), tuple(workload.operations))


@final
class _Marked:
    """A store whose writing verbs are marked in the log; everything else goes straight through."""

    def __init__(self, store: SqliteStore, mark: Callable[[str, Callable[[], Awaitable[Any]]], Awaitable[Any]]) -> None:
        self._store = store
        self._mark = mark

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._store, name)
        if name not in VERBS:
            return verb

        async def marked(*given: Any, **named: Any) -> Any:
            return await self._mark(name, lambda: verb(*given, **named))

        return marked


@final
class _Workload:
    def __init__(self, recorder: Recorder, directory: Path, dice: random.Random, options: str, pages: int) -> None:
        self._recorder = recorder
        self._dice = dice
        self._pages = pages
        self._clock = ManualClock()
        url = f"sqlite:///{directory / FILE}{options}"
        self._stores = (SqliteStore(url, clock=self._clock), SqliteStore(url, clock=self._clock))
        self.operations: list[Operation] = []
        first, second = (_Marked(store, self._mark) for store in self._stores)
        model: Any = self._stores[0]
        pair: Any = (first, second)
        self._race = Race(self._clock, model, pair)
        self._race.both = self._ask  # type: ignore[method-assign]  # there is no model here: the disk is judged

    async def _ask(self, worker: int, ask: Any) -> Any:
        return await ask(self._race.stores[worker])

    async def _mark(self, kind: str, work: Callable[[], Awaitable[Any]]) -> Any:
        number = len(self.operations)
        self._recorder.note(Began(number))
        answer = await work()
        self._recorder.note(Acked(number))
        opened = kind != "close"
        state = await self._stores[0]._database.read(content) if opened else self.operations[-1].state
        self.operations.append(Operation(kind, state))
        return answer

    async def open(self) -> None:
        await self._mark("open", self._open)

    async def _open(self) -> None:
        for store in self._stores:
            await store.open()
            await store._database.run_writer(lambda raw: raw.execute(f"PRAGMA wal_autocheckpoint = {self._pages}"))

    async def close(self) -> None:
        await self._mark("close", self._close)

    async def _close(self) -> None:
        for store in self._stores:
            await store.close()

    async def run(self, steps: int) -> None:
        await self._race.begin()
        for _ in range(steps):
            chance = self._dice.random()
            if chance < 0.04:
                await self._mark("checkpoint", self._checkpoint)
            elif chance < 0.06:
                await self.close()
                await self.open()
            else:
                await self._race.take(self._step())
        await self._every_verb()

    async def _every_verb(self) -> None:
        """What a short draw may have left out."""
        first, second = self._race.stores
        self._clock.advance(1.0)
        await first.create([NewRun(RunId("last"), "w", "1", "q", b"input", "digest", "seed")])
        claims = (await first.poll(self._race.session(0), Want("last", LANES, 9, (), crash_budget=1))).claims
        await first.commit([Commit(one.run.id, one.run.epoch, 0, one.run.position, (b"entry",)) for one in claims])
        await first.control([Control(RunId("last"), "last", Pause())])
        await first.put_record("kind", "key", b"value")
        await second.send([Message(RunId(RUNS[0]), MessageId("last"), MessageKind.SIGNAL, "n", b"p", 0)])
        await second.renew(self._race.session(1))
        await second.poll(self._race.session(1), Want("last", LANES, 2, (), crash_budget=1, lonely_after=1))
        await second.leave(self._race.session(1).id)
        await self._mark("checkpoint", self._checkpoint)
        await first.purge(PurgeQuery(runs=tuple(map(RunId, RUNS))))
        await second.delete_record("kind", "key")
        await self.close()
        await self.open()

    async def _checkpoint(self) -> None:
        mode = self._dice.choice(_CHECKPOINTS)
        store = self._dice.choice(self._stores)
        await store._database.run_writer(lambda raw: raw.execute(f"PRAGMA wal_checkpoint({mode})").fetchall())

    def _step(self) -> Step:
        draw = self._dice.randrange
        kind = self._dice.choice(_KINDS)
        return Step(kind, draw(len(RUNS)), draw(2), draw(12), draw(12), draw(12))
