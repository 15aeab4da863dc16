"""A run's events: its journal under numbers that go on over its generations.

An event's number is made of the generation and the position in its journal, so it never changes, and whoever has seen
one can go on behind it, whatever has died in between.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from durable import Client, HistoryEntry
from durable._engine.history import history_of
from durable._model.entries import decode_entry
from durable._model.privacy import masked
from durable.errors import Corrupt
from durable.store import RunRecord
from durable_server.answers import millis
from durable_server.statuses import status_of

Json = Any

__all__ = ["FIRST", "events_after"]

_STRIDE: Final = 1_000_000
"""Numbers of one generation; a journal has at most 50,000 entries."""
_LAST: Final = _STRIDE - 1
FIRST: Final = 1
_DEFINITIONS: Final = "dag"
"""The workflow that carries definitions out; its runs say in a label which one."""
_DEFINITION: Final = "dag.workflow"


async def events_after(client: Client, run: RunRecord, after: int, limit: int) -> list[Json]:
    """Events with higher numbers, in order.

    Of earlier generations only the current one's journal is told: it begins with what was kept of them.
    """
    base = (run.generation - 1) * _STRIDE
    events: list[Json] = []
    if after < base + FIRST:
        about = {"workflowId": _workflow_of(run), "attempt": run.generation}
        events.append(_event(base + FIRST, run.created_at, "execution.created", about))
    position = max(after - base - FIRST, 0)
    while len(events) < limit and position < run.position:
        size = min(limit - len(events), 1000)
        page = await client.link.reach(partial(client.store.journal, run.id, run.generation, position, size))
        for row in page.rows:
            events.append(_told(base + FIRST + 1 + row.position, row.position, row.data, row.at, client))
        if page.next is None:
            break
        position = page.next
    if run.ended and len(events) < limit and after < base + _LAST:
        about = {"status": status_of(run), "error": run.error}
        at = run.at if run.ended_at is None else run.ended_at
        events.append(_event(base + _LAST, at, f"execution.{run.status.value}", about))
    return events[:limit]


def _workflow_of(run: RunRecord) -> str:
    """As everywhere else in the API, of a definition's run the definition's id."""
    return run.labels.get(_DEFINITION, run.workflow) if run.workflow == _DEFINITIONS else run.workflow


def _told(number: int, position: int, data: bytes, at: float, client: Client) -> Json:
    try:
        entry = history_of([(decode_entry(data), at)], client.link.codec)[0]
    except Corrupt:
        return _event(number, at, "unreadable", None)
    return _of_entry(number, replace(entry, position=position))


def _of_entry(number: int, entry: HistoryEntry) -> Json:
    data = {"call": entry.call, "value": masked(entry.value), "error": entry.error}
    event = _event(number, entry.at.timestamp(), entry.event.replace("_", "."), data)
    return {**event, "stepId": entry.name or None, "attempt": entry.attempt}


def _event(number: int, at: float, kind: str, data: Json) -> Json:
    time = millis(datetime.fromtimestamp(at, UTC))
    return {"seq": number, "time": time, "type": kind, "stepId": None, "attempt": 0, "data": data}
