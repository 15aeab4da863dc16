"""When a worker looks for expired runs, and how a purge goes by its batches."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from durable import connect
from durable._engine.retention import Purger, purging
from durable.errors import Transient
from durable.store import Commit, Ended, Lane, NewRun, PurgeQuery, RunId, RunStatus, SessionId, Want, WorkerSession
from durable_testing import ManualClock


class Shelf:
    """A store of which only ``purge`` is asked; what it answers is said beforehand."""

    def __init__(self, clock: ManualClock, answers: Any) -> None:
        self.looks: list[float] = []
        self._clock = clock
        self._answers = answers

    async def purge(self, query: PurgeQuery) -> int:
        assert query.expired
        now = self._clock.monotonic()
        answer = self._answers(now)
        self.looks.append(now)
        if answer is None:
            raise Transient("busy")
        return int(answer)


async def looks(answers: Any, seconds: float) -> list[float]:
    clock = ManualClock()
    shelf: Any = Shelf(clock, answers)
    task = asyncio.create_task(Purger(shelf, clock).run())
    for _ in range(int(seconds * 2)):
        for _ in range(5):
            await asyncio.sleep(0)
        clock.advance(0.5)
    task.cancel()
    return sorted({round(look, 1) for look in shelf.looks})


async def test_where_nothing_expires_looks_become_rare() -> None:
    assert await looks(lambda now: 0, 300) == [1, 3, 7, 15, 31, 63, 123, 183, 243]


async def test_where_runs_expire_all_the_time_looks_become_frequent() -> None:
    batches = itertools.cycle([7, 0])  # each look finds a batch, and that it was the last one
    found = await looks(lambda now: next(batches) if now > 60 else 0, 160)
    assert found[:6] == [1, 3, 7, 15, 31, 63]
    pauses = [after - before for before, after in itertools.pairwise(found[5::2])]
    assert pauses[:5] == pytest.approx([16.5, 8.5, 4.5, 2.5, 1.5], abs=0.5)  # halved, and a breath
    assert max(pauses[6:]) <= 2.0


async def test_a_store_in_trouble_is_asked_again_later() -> None:
    assert await looks(lambda now: None if now < 5 else 0, 40) == [1, 3, 7, 15, 31]


async def test_a_purge_that_is_given_up_leaves_whole_batches_deleted() -> None:
    async with connect("memory://") as client:
        for number in range(7):
            await client.link.store.create([_new(number)])
        await _end_all(client)
        query = PurgeQuery(limit=3)
        batches: list[int] = []
        async for deleted in purging(client.link, query):
            batches.append(deleted)
            if len(batches) == 2:
                break
        assert (batches, await client.count()) == ([3, 3], 1)
        assert [deleted async for deleted in purging(client.link, query)] == [1]


def _new(number: int) -> Any:
    return NewRun(RunId(f"r{number}"), "work", "1", "default", b"", "digest", "seed")


async def _end_all(client: Any) -> None:
    session = WorkerSession(SessionId("s"), "s", 15.0)
    poll = await client.store.poll(session, Want("p", (Lane("default", "work", "1"),), 100))
    for claim in poll.claims:
        await client.store.commit([Commit(claim.run.id, claim.run.epoch, 0, 0, then=Ended(RunStatus.COMPLETED, b""))])
