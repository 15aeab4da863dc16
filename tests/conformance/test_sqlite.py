"""``SqliteStore`` keeps the Store protocol."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from durable.store import Poll, Want, WorkerSession
from durable_sqlite import SqliteStore
from durable_testing.clock import ManualClock
from durable_testing.conformance import RepeatContract, ScheduleContract, StoreContract
from durable_testing.conformance.differential import DifferentialContract


class Files:
    """Each store in a file of its own."""

    options = ""

    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path) -> None:
        self.directory = tmp_path
        self.files = 0

    async def make_store(self, clock: ManualClock) -> SqliteStore:
        self.files += 1
        store = SqliteStore(f"sqlite:///{self.directory}/{self.files}.db{self.options}", clock=clock)
        await store.open()
        return store


class TestSqliteStore(Files, StoreContract):
    pass


class Hasty(Files):
    """Every poll is one that follows a write closely, and joins its transaction where it can."""

    options = "?durability=relaxed"

    async def make_store(self, clock: ManualClock) -> SqliteStore:
        store = await super().make_store(clock)
        poll = store.poll

        async def hasty(session: WorkerSession, want: Want) -> Poll:
            return await poll(session, replace(want, ahead=True))

        store.poll = hasty  # type: ignore[method-assign]
        return store


class TestPollsThatJoin(Hasty, StoreContract):
    pass


class TestSchedulesOfPollsThatJoin(Hasty, ScheduleContract):
    pass


class TestSqliteSchedules(Files, ScheduleContract):
    """Some thousands of scenes: not synced, which changes neither a lock nor a transaction."""

    options = "?durability=relaxed"


class TestSqliteRepeats(Files, RepeatContract):
    pass


class TestAgainstTheModel(Files, DifferentialContract):
    options = "?durability=relaxed"
