"""Ended runs are deleted a little at a time: by workers when their ``retention`` is over, or because somebody asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, final

from durable._author.logs import logger
from durable._engine.link import Link
from durable._model.reads import PurgeQuery
from durable.clock import Clock
from durable.errors import StoreError
from durable.store import Store

__all__ = ["Purger", "purging"]

_log = logger("durable.worker")
_FIRST_SECONDS: Final = 1.0
_EVERY_SECONDS: Final = 60.0
_AT_ONCE: Final = 100
_BREATH_SECONDS: Final = 0.1  # between two batches, for whoever else wants to write
_SHORT_BREATH_SECONDS: Final = 0.02  # the same, while somebody waits for the end of it


@final
class Purger:
    """A worker's housekeeping.

    It looks soon after its start, since a worker may not live for long; more and more seldom, up to once a minute,
    while there is nothing to purge; and more often while there is, so that it takes a few runs at a time.
    """

    def __init__(self, store: Store, clock: Clock, longest_seconds: float | None = None) -> None:
        self._store = store
        self._clock = clock
        self._longest_seconds = _EVERY_SECONDS if longest_seconds is None else longest_seconds

    async def run(self) -> None:
        """Until cancelled."""
        pause = shortest = min(_FIRST_SECONDS, _EVERY_SECONDS)
        while True:
            await self._clock.pause(pause)
            try:
                found = await self._purge()
            except StoreError as error:
                _log.debug("Purging waits: %s", error)
                found = False
            pause = max(pause / 2, shortest) if found else min(pause * 2, self._longest_seconds)

    async def _purge(self) -> bool:
        """All that has expired by now; whether there was anything."""
        found = False
        while await self._store.purge(PurgeQuery(expired=True, limit=_AT_ONCE)):
            found = True
            await self._clock.sleep(_BREATH_SECONDS)
        return found


async def purging(link: Link, query: PurgeQuery) -> AsyncIterator[int]:
    """Delete what the query names, batch by batch; yields how many runs each has deleted.

    Whoever stops asking, or is interrupted, leaves whole batches deleted and all other runs as they were.
    """
    began = link.clock.monotonic()
    while deleted := await link.reach(lambda: link.store.purge(query)):
        took = link.clock.monotonic() - began  # fewer runs than asked for, if they are large, and for longer
        yield deleted
        if deleted >= query.limit or took > _SHORT_BREATH_SECONDS:
            await link.clock.sleep(max(took, _SHORT_BREATH_SECONDS))
        began = link.clock.monotonic()
