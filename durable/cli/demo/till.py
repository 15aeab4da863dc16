"""Starting orders and seeing them to their end."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from durable import Client
from durable._author import outcomes
from durable._engine.rewinder import read_journal
from durable.cli.demo.orders import Expected, expected
from durable.cli.demo.proof import Evidence
from durable.cli.demo.shop import Order, shop_order
from durable.store import RunId, RunRecord, RunStatus

__all__ = ["Ending", "Till", "rounds"]

_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Ending:
    """An order that has come to its end."""

    at: float
    order: str
    state: str


def rounds(orders: Sequence[Order], *, again: bool) -> Iterator[tuple[str, Order]]:
    """(run id, order), each order once; with ``again`` round after round, for ever."""
    number = 1
    while True:
        for order in orders:
            if number == 1:
                yield f"order-{order.id}", order
            else:
                yield f"order-{order.id}-r{number}", order.model_copy(update={"id": f"{order.id}-r{number}"})
        if not again:
            return
        number += 1


@dataclass(slots=True)
class Till:
    """What was ordered and what came of it.

    Attributes:
        plan: Run id → what must come of it; every order that was started.
        in_flight: Run ids that have not ended yet, as last seen.
        resumed: Runs that were blocked, since they had lost too many workers in a row, and were resumed.
    """

    client: Client
    plan: dict[str, Expected] = field(default_factory=dict)
    in_flight: set[str] = field(default_factory=set)
    states: dict[str, int] = field(default_factory=lambda: {"completed": 0, "refused": 0, "other": 0})
    resumed: int = 0
    endings: deque[Ending] = field(default_factory=lambda: deque(maxlen=50))

    async def start(self, run: str, order: Order) -> None:
        """Start one order; said twice, it is one order."""
        self.plan[run] = expected(order)
        self.in_flight.add(run)
        await self.client.start(shop_order, order, id=run, labels={"city": order.city[:80]})

    async def look(self) -> None:
        """See which have ended since."""
        asked = sorted(self.in_flight)
        for begin in range(0, len(asked), _PAGE):
            page = [RunId(run) for run in asked[begin : begin + _PAGE]]
            for record in await self.client.store.get(page):
                if record is not None and record.ended:
                    await self._ended(record)

    async def _ended(self, record: RunRecord) -> None:
        state = await self._state(record) or record.status.value
        self.in_flight.discard(record.id)
        self.states[state if state in self.states else "other"] += 1
        self.endings.append(Ending(record.ended_at or 0.0, record.id, state))

    async def resume_blocked(self) -> None:
        """Whoever lost worker after worker is blocked by its crash budget; a person would resume it, and so do we."""
        for run in sorted(self.in_flight):
            record = (await self.client.store.get([RunId(run)]))[0]
            if record is not None and record.status is RunStatus.BLOCKED and record.blocked_kind == "crash_budget":
                await self.client.handle(run).resume()
                self.resumed += 1

    async def evidence(self) -> dict[str, Evidence]:
        """What the store holds about every run in it, ours or not."""
        found: dict[str, Evidence] = {}
        cursor: str | None = None
        while True:
            page = await self.client.list(limit=_PAGE, cursor=cursor)
            for record in await self.client.store.get([RunId(run.id) for run in page]):
                assert record is not None
                journal = await read_journal(self.client.store, record.id, record.generation)
                state = await self._state(record)
                found[record.id] = Evidence(record.status.value, state, record.generation, journal)
            cursor = page.cursor
            if cursor is None:
                return found

    async def _state(self, record: RunRecord) -> str | None:
        sealed = await self.client.store.outcome(record.id)
        if sealed is None:
            return None
        kind, rest = outcomes.read(self.client.link.codec.open(sealed))
        result: Any = json.loads(rest) if kind == "completed" else None
        return str(result["state"]) if isinstance(result, dict) and "state" in result else None
