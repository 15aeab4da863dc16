"""The store's small side table, as programs that stand on a client see it."""

from __future__ import annotations

from durable._engine.link import Link
from durable._model.duration import Duration, seconds_of
from durable._model.ids import check_name
from durable._model.reads import RecordRow

__all__ = ["Records"]


class Records:
    """Bytes by kind and key, with a version that each put raises. They belong to no run."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def put(
        self, kind: str, key: str, value: bytes, *, expect: int | None = None, keep: Duration | None = None
    ) -> RecordRow | None:
        """Write a record; it is durable when this returns.

        Args:
            expect: Only if its version is that (0: only if there is none).
            keep: It is gone after this long.

        Returns:
            It, or None if ``expect`` was not so.
        """
        seconds = None if keep is None else seconds_of(keep, "keep")
        kind, key = check_name("record kind", kind), check_name("record key", key)
        store = self._link.store
        return await self._link.reach(lambda: store.put_record(kind, key, value, expect=expect, keep_seconds=seconds))

    async def get(self, kind: str, key: str) -> RecordRow | None:
        """One record; None if it is not there."""
        return await self._link.reach(lambda: self._link.store.get_record(kind, check_name("record key", key)))

    async def list(self, kind: str, *, after: str = "", limit: int = 100) -> list[RecordRow]:
        """Records of a kind by key, from behind ``after`` on."""
        return list(await self._link.reach(lambda: self._link.store.list_records(kind, after, limit)))

    async def delete(self, kind: str, key: str) -> bool:
        """Delete one; whether it was there."""
        return await self._link.reach(lambda: self._link.store.delete_record(kind, check_name("record key", key)))

    async def now(self) -> float:
        """Store time, seconds since the epoch: what ``updated_at`` is stamped with."""
        return await self._link.reach(self._link.store.now)
