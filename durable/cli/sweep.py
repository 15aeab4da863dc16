"""What ``durable db gc`` does: delete in batches, give room back in pieces, and say how far it has come."""

from __future__ import annotations

import asyncio
from typing import Final, final

from durable import Client
from durable._engine.retention import purging
from durable.cli.output import Printer
from durable.cli.text import many
from durable.store import PurgeQuery, Upkeep

__all__ = ["Sweep"]

_SAY_SECONDS: Final = 1.0
_PIECE_BYTES: Final = 4 * 1024 * 1024  # moved in one write: some hundredths of a second
_BREATH_SECONDS: Final = 0.02


@final
class Sweep:
    """One call of the command."""

    def __init__(self, client: Client, printer: Printer) -> None:
        self._client = client
        self._printer = printer
        self._clock = client.link.clock
        self._deleted = 0
        self._said_at = self._clock.monotonic()

    async def purge(self, query: PurgeQuery) -> int:
        """Delete what the query names; how many runs that were."""
        before = self._deleted
        try:
            async for deleted in purging(self._client.link, query):
                self._deleted += deleted
                self._say(f"{many(self._deleted, 'run')} deleted so far")
        except asyncio.CancelledError:
            self._printer.say(f"Interrupted: {many(self._deleted, 'run')} deleted, the others are as they were.")
            raise
        return self._deleted - before

    async def shrink(self) -> int:
        """Give back what is free, while others may write between two pieces; how many bytes that were."""
        store, freed = self._client.store, 0
        if not isinstance(store, Upkeep):
            return 0
        while piece := await self._client.link.reach(lambda: store.shrink(_PIECE_BYTES)):
            freed += piece
            self._say(f"{freed:,} bytes given back so far")
            await self._clock.sleep(_BREATH_SECONDS)
        return freed

    def _say(self, progress: str) -> None:
        now = self._clock.monotonic()
        if now - self._said_at >= _SAY_SECONDS:
            self._said_at = now
            self._printer.say(progress)
