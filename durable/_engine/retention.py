"""Ended runs past their workflow's ``retention`` are purged, a little at a time, by whichever worker comes first."""

from __future__ import annotations

import logging
from typing import Final, final

from durable._model.reads import PurgeQuery
from durable.clock import Clock
from durable.errors import StoreError
from durable.store import Store

__all__ = ["Retention"]

_log = logging.getLogger("durable.worker")
_EVERY_SECONDS: Final = 60.0


@final
class Retention:
    """A worker's housekeeping."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._clock.pause(_EVERY_SECONDS)
            try:
                while await self._store.purge(PurgeQuery(expired=True, limit=100)):
                    await self._clock.sleep(0.1)
            except StoreError as error:
                _log.debug("Purging waits: %s", error)
