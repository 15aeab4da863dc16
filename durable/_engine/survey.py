"""Every open run of a store, rehearsed against the code as it is now. Reads only; live workers are not disturbed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar, final

from durable._author.registry import Registry
from durable._engine.rehearsal import Fit, Rehearsal, Row, rehearse
from durable._engine.rewinder import Order
from durable._engine.weather import Weather
from durable._model.entries import Settled, decode_entry
from durable._model.ids import CallId, RunId
from durable._model.reads import RunQuery
from durable._model.runs import ENDED, RunRecord, RunStatus
from durable.clock import Clock
from durable.codec import Codec
from durable.errors import Corrupt
from durable.store import Store

T = TypeVar("T")

__all__ = ["OPEN", "Copy", "Survey"]

OPEN: Final = tuple(status for status in RunStatus if status not in ENDED)
_PAGE: Final = 100
_ATTEMPTS: Final = 12  # some seconds of bad weather are waited out, then said
_TRIES: Final = 5  # readings of a run that begins generation after generation meanwhile


@dataclass(frozen=True, slots=True)
class Copy:
    """A run as it was at one moment.

    Attributes:
        sealed: Its input.
        rows: Its journal; of a retry or fork that no worker has carried out, what that will keep.
    """

    run: RunRecord
    sealed: bytes
    rows: Sequence[Row]


@final
class Survey:
    """Rehearses runs of one store.

    Args:
        store: Open.
        registry: The code as it is now.
        codec: With the payload hook of the store's users.
    """

    def __init__(self, store: Store, registry: Registry, codec: Codec, clock: Clock) -> None:
        self._store = store
        self._registry = registry
        self._codec = codec
        self._clock = clock
        self._weather = Weather(clock)

    def names(self) -> list[str]:
        """Workflows of which some version is known; those that carry steps out for others, too."""
        return [name for name, _ in self._registry.pairs()]

    async def runs(self, query: RunQuery | None = None) -> AsyncIterator[Rehearsal]:
        """Each open run that matches, newest first; in memory are one page of rows and one journal at a time.

        A run that is created meanwhile is not seen; one that ends or is purged meanwhile is left out.

        Raises:
            StoreError: The store cannot be read for some seconds.
        """
        wanted = replace(RunQuery() if query is None else query, statuses=OPEN)
        cursor: str | None = None
        while True:
            page = await self._reach(lambda cursor=cursor: self._store.list(wanted, _PAGE, cursor))  # type: ignore[misc]
            for row in page.runs:
                found = await self.run(row)
                if found is not None:
                    yield found
            cursor = page.cursor
            if cursor is None:
                return

    async def run(self, row: RunRecord, *, ended: bool = False) -> Rehearsal | None:
        """One run; None if it is open no longer.

        Args:
            ended: One that has ended is replayed, too.
        """
        if self._registry.get(row.workflow, row.version) is None:
            return _without_code(row)
        try:
            copy = await self.copy(row)
        except Corrupt as error:
            return replace(_without_code(row), fit=Fit.UNREADABLE, kind="payload", reason=str(error))
        if copy is None or (copy.run.ended and not ended):
            return None
        workflow = self._registry.get(copy.run.workflow, copy.run.version)
        if workflow is None:
            return _without_code(copy.run)
        rewound = copy.run.rewind is not None
        acts = rehearse(copy.run, workflow, self._codec, copy.sealed, copy.rows, rewound=rewound)
        while True:
            try:
                next(acts)
            except StopIteration as end:
                result: Rehearsal = end.value
                return result
            await self._clock.sleep(0)

    async def copy(self, row: RunRecord) -> Copy | None:
        """A run's row, input and journal as of one moment; None if it is gone.

        Raises:
            Corrupt: It cannot be had: what it is to be made of was purged, or it never stands still.
        """
        for _ in range(_TRIES):
            sealed = await self._reach(lambda id=row.id: self._store.input(id))  # type: ignore[misc]
            # The row is read anew behind the input: with the same generation on both sides of it, the input is of that
            # generation, and what the row says of position and waits is of one moment.
            after = (await self._reach(lambda id=row.id: self._store.get([id])))[0]  # type: ignore[misc]
            if after is None or sealed is None:
                return None
            if after.generation == row.generation:
                rows = await (self._journal(after) if after.rewind is None else self._kept(after.rewind))
                if rows is not None:
                    return Copy(after, sealed, rows)
            row = after
        raise Corrupt(f"Run {row.id} begins a new generation, or is purged, faster than it can be read; look again.")

    async def _journal(self, run: RunRecord) -> list[Row] | None:
        rows = await self._rows(run.id, run.generation, run.position)
        return rows if len(rows) == run.position else None

    async def _kept(self, rewind: bytes) -> list[Row]:
        """What a retry or fork that no worker has carried out yet will keep of its source's journal before the cut."""
        order = Order.unpack(rewind)
        rows = await self._rows(RunId(order.source), order.generation, order.cut + 1)
        if len(rows) < order.cut:
            raise Corrupt(f"The journal of {order.source} that it is to be made of is gone; was it purged?")
        cut = _call_of(rows[order.cut][0])[0] if order.cut < len(rows) else None
        kept: list[Row] = []
        for row in rows[: order.cut]:
            call, settled = _call_of(row[0])
            if cut is None or settled or call != cut:
                kept.append(row)
        return kept

    async def _rows(self, run: RunId, generation: int, length: int) -> list[Row]:
        """At most so many entries from the begin: what live workers append meanwhile is not of this moment."""
        rows: list[Row] = []
        start: int | None = 0
        while start is not None and len(rows) < length:
            page = await self._reach(lambda start=start: self._store.journal(run, generation, start))  # type: ignore[misc]
            rows += [(row.data, row.at) for row in page.rows]
            start = page.next
        return rows[:length]

    async def _reach(self, call: Callable[[], Awaitable[T]]) -> T:
        return await self._weather.through(call, attempts=_ATTEMPTS)


def _call_of(data: bytes) -> tuple[CallId | None, bool]:
    """(call, whether it is settled by this entry)."""
    entry = decode_entry(data)
    return getattr(entry, "call", None), isinstance(entry, Settled)


def _without_code(run: RunRecord) -> Rehearsal:
    reason = f"No workflow {run.workflow!r}" + (f" version {run.version!r}" if run.version is not None else "")
    return Rehearsal(
        run.id, run.workflow, run.version, run.generation, run.status.value, Fit.NO_CODE, reason=f"{reason} was given."
    )
