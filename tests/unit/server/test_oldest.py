"""The oldest first, over a store that lists the newest first: nothing twice, nothing left out, whatever the moments."""

from __future__ import annotations

import random

import pytest

from durable import Client, Context, workflow
from durable.store import RunStatus
from durable_server.filters import Filters, Scope
from durable_server.oldest import found_from_oldest
from durable_testing import ManualClock
from durable_testing.memory import MemoryStore


@workflow
async def nothing(ctx: Context) -> None:
    pass


@pytest.mark.parametrize("seed", range(8))
async def test_pages_of_any_size_are_the_list_turned_round(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where more runs have begun in one instant than a stretch or a page is to hold."""
    dice = random.Random(seed)
    monkeypatch.setattr("durable_server.oldest.PAGE_SIZE_MAX", dice.choice((1, 3, 8)))
    monkeypatch.setattr("durable_server.oldest._FEW", 1)
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    async with Client(store, clock=clock) as client:
        for number in range(40):
            clock.advance(dice.choice((0, 0, 0, 0.001, 5, 86_400)))
            await client.start(nothing, id=f"r{dice.randrange(10**6)}-{number}", labels={"odd": str(number % 2)})
        rows = (await store.list(Filters().query(Scope()), 1000)).runs[::-1]
        middle = rows[20].created_at
        for filters in (
            Filters(),
            Filters(tags={"odd": "1"}),
            Filters(after=middle),
            Filters(before=middle),
            Filters(text="7"),
            Filters(statuses=("completed",)),
        ):
            wanted = [run.id for run in rows if filters.admits(run, Scope()) and _fits(run, filters)]
            for limit in (1, 3, 100):
                found: list[str] = []
                cursor: str | None = None
                for _ in range(60):
                    page, cursor = await found_from_oldest(store, filters, Scope(), limit, cursor)
                    assert len(page) <= limit
                    found += [run.id for run in page]
                    if cursor is None:
                        break
                assert found == wanted


def _fits(run: object, filters: Filters) -> bool:
    created, status = getattr(run, "created_at", 0.0), getattr(run, "status", None)
    return (
        (filters.after is None or created > filters.after)
        and (filters.before is None or created < filters.before)
        and (not filters.statuses or status is RunStatus.COMPLETED)
    )
