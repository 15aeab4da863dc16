"""Lists from the oldest on, over a store that lists the newest first.

A stretch of time with a bounded number of runs is found by counting, which stores do from an index; it is read, and
turned round. So a page costs some tens of counts, whatever its place.
"""

from __future__ import annotations

import base64
import binascii
import math
from dataclasses import replace
from typing import Final, final

from durable.errors import InvalidInput
from durable.store import PAGE_SIZE_MAX, RunQuery, RunRecord, Store
from durable_server.filters import LOOKED_AT_MAX, Filters, Scope

__all__ = ["found_from_oldest"]

_FEW: Final = PAGE_SIZE_MAX // 4
Place = tuple[float, str]
_START: Final[Place] = (-math.inf, "")
_AFTER_ALL_IDS: Final[str] = "\U0010ffff"


async def found_from_oldest(
    store: Store, filters: Filters, scope: Scope, limit: int, cursor: str | None
) -> tuple[list[RunRecord], str | None]:
    """One page, oldest first, and where the next begins; it may be short and yet have a next one.

    Raises:
        InvalidInput: The cursor is not one of these.
    """
    stretches = _Stretches(store, filters.query(scope), _START if cursor is None else _read(cursor))
    runs: list[RunRecord] = []
    looked = 0
    while True:
        stretch = await stretches.following()
        for number, run in enumerate(stretch):
            if not filters.admits(run, scope):
                continue
            runs.append(run)
            if len(runs) == limit:
                more = not stretches.over or number + 1 < len(stretch)
                return runs, _written(_place(run)) if more else None
        looked += len(stretch)
        if stretches.over:
            return runs, None
        if looked >= LOOKED_AT_MAX:
            return runs, _written(stretches.place)


@final
class _Stretches:
    """One stretch after the other.

    Attributes:
        place: Behind what has been read.
        over: Nothing follows.
    """

    def __init__(self, store: Store, query: RunQuery, place: Place) -> None:
        self._store = store
        self._query = query
        self.place = place
        self.over = False

    async def following(self) -> list[RunRecord]:
        """The runs of the next stretch, oldest first; it may have none."""
        asked = -math.inf if self._query.created_after is None else self._query.created_after
        at, id = self.place
        after = max(asked, at if id == _AFTER_ALL_IDS else math.nextafter(at, -math.inf))
        before = await self._end(after)
        rows = [run for run in await self._read(after, before) if _place(run) > self.place]
        self.over = before == self._last
        self.place = (math.nextafter(before, -math.inf), _AFTER_ALL_IDS)
        return rows

    @property
    def _last(self) -> float:
        return math.inf if self._query.created_before is None else self._query.created_before

    async def _end(self, after: float) -> float:
        """Up to where a stretch holds some runs and not too many; too many only if they are of one instant."""
        if await self._count(after, self._last) <= PAGE_SIZE_MAX:
            return self._last
        low, high = max(after, 0.0), await self._newest(after)
        while low < (middle := (low + high) / 2) < high:
            count = await self._count(after, middle)
            if count > PAGE_SIZE_MAX:
                high = middle
            elif count < _FEW:
                low = middle
            else:
                return middle
        return high

    async def _newest(self, after: float) -> float:
        """Behind the newest run."""
        page = await self._store.list(self._within(after, self._last), 1)
        return math.nextafter(page.runs[0].created_at, math.inf) if page.runs else after

    async def _count(self, after: float, before: float) -> int:
        return await self._store.count(self._within(after, before))

    async def _read(self, after: float, before: float) -> list[RunRecord]:
        rows: list[RunRecord] = []
        cursor: str | None = None
        while True:
            page = await self._store.list(self._within(after, before), PAGE_SIZE_MAX, cursor)
            rows += page.runs
            cursor = page.cursor
            if cursor is None:
                return rows[::-1]

    def _within(self, after: float, before: float) -> RunQuery:
        lower = None if math.isinf(after) else after
        return replace(self._query, created_after=lower, created_before=None if math.isinf(before) else before)


def _place(run: RunRecord) -> Place:
    return run.created_at, run.id


def _written(place: Place) -> str:
    return base64.urlsafe_b64encode(f"asc {place[0].hex()} {place[1]}".encode()).decode()


def _read(cursor: str) -> Place:
    try:
        word, at, id = base64.b64decode(cursor, b"-_", validate=True).decode().split(" ", 2)
        if word == "asc" and id and not math.isnan(float.fromhex(at)):
            return float.fromhex(at), id
    except (binascii.Error, ValueError, OverflowError):
        pass
    raise InvalidInput(f"The cursor {cursor[:40]!r} is not one of a list with order=asc; begin again without one.")
