"""Following one run: a look at the store at every change, each with what is new."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from durable import Client, RunNotFound
from durable._model.entries import Entry, decode_entry
from durable.store import RunId, RunRecord

__all__ = ["Look", "follow"]

_PAUSE_SECONDS: Final = 0.05


@dataclass(slots=True)
class Look:
    """A run as it was a moment ago.

    Attributes:
        journal: All entries of its generation with their times.
        fresh: How many of them this follower has not been shown before, at the end.
        now: Store time.
    """

    run: RunRecord
    now: float
    journal: list[tuple[Entry, float]] = field(default_factory=list)
    fresh: int = 0


async def follow(client: Client, run: str, *, every: float) -> AsyncIterator[Look]:
    """Look at once, at every change and at least every so many seconds; the last look shows the run's end.

    Raises:
        RunNotFound: There is no such run (any more).
    """
    store, look = client.store, None
    while True:
        change = client.link.changes.future()
        record = (await store.get([RunId(run)]))[0]
        if record is None:
            raise RunNotFound(f"There is no run {run!r} in this store.", run)
        begun_anew = look is not None and look.run.generation != record.generation
        known: list[tuple[Entry, float]] = [] if look is None or begun_anew else look.journal
        fresh = await _entries_after(client, record, len(known))
        look = Look(record, await store.now(), [*known, *fresh], len(fresh))
        yield look
        if record.ended:
            change.cancel()
            return
        await client.link.clock.sleep(_PAUSE_SECONDS)  # a busy store hints hundreds of times a second
        await client.link.changes.wait(change, every)


async def _entries_after(client: Client, record: RunRecord, known: int) -> list[tuple[Entry, float]]:
    if record.position <= known:
        return []
    found: list[tuple[Entry, float]] = []
    start: int | None = known
    while start is not None:
        page = await client.store.journal(record.id, record.generation, start)
        found += [(decode_entry(row.data), row.at) for row in page.rows]
        start = page.next
    return found
