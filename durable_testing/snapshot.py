"""A snapshot: everything that a store says of its runs, read through the public protocol, as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

from durable.store import (
    PAGE_SIZE_MAX,
    InboxMessage,
    JournalRow,
    RunId,
    RunQuery,
    RunRecord,
    SessionRecord,
    Store,
)

__all__ = ["Snapshot", "take_snapshot"]


@final
@dataclass(frozen=True, slots=True)
class Snapshot:
    """A store at one moment. Nobody writes meanwhile, or it is a picture of no moment.

    Attributes:
        now: Store time, seconds since the epoch.
        runs: Every row, by id.
        journals: By run and generation, every generation up to the current one; with the store's stamps.
        messages: Every message of each run's inbox, read and unread, in arrival order.
        outcomes: The encoded outcome of each ended run.
        values: What each run has published with ``ctx.set``; runs without any are left out.
        sessions: Every worker session that the store remembers.
    """

    now: float
    runs: Mapping[RunId, RunRecord] = field(default_factory=dict)
    journals: Mapping[tuple[RunId, int], tuple[JournalRow, ...]] = field(default_factory=dict)
    messages: Mapping[RunId, tuple[InboxMessage, ...]] = field(default_factory=dict)
    outcomes: Mapping[RunId, bytes] = field(default_factory=dict)
    values: Mapping[RunId, Mapping[str, bytes]] = field(default_factory=dict)
    sessions: tuple[SessionRecord, ...] = ()


async def take_snapshot(store: Store) -> Snapshot:
    """Read all of a store, page by page.

    Raises:
        StoreError: It cannot be read.
    """
    rows = await _rows(store)
    journals: dict[tuple[RunId, int], tuple[JournalRow, ...]] = {}
    messages: dict[RunId, tuple[InboxMessage, ...]] = {}
    outcomes: dict[RunId, bytes] = {}
    values: dict[RunId, Mapping[str, bytes]] = {}
    for row in rows:
        for generation in range(1, row.generation + 1):
            journals[row.id, generation] = await _journal(store, row.id, generation)
        messages[row.id] = await _messages(store, row.id)
        outcome = await store.outcome(row.id) if row.ended else None
        if outcome is not None:
            outcomes[row.id] = outcome
        published = await store.values(row.id)
        if published:
            values[row.id] = published
    sessions = tuple(await store.sessions())
    return Snapshot(await store.now(), {row.id: row for row in rows}, journals, messages, outcomes, values, sessions)


async def _rows(store: Store) -> list[RunRecord]:
    found: list[RunRecord] = []
    cursor: str | None = None
    while True:
        page = await store.list(RunQuery(), PAGE_SIZE_MAX, cursor)
        found += page.runs
        cursor = page.cursor
        if cursor is None:
            return found


async def _journal(store: Store, run: RunId, generation: int) -> tuple[JournalRow, ...]:
    found: list[JournalRow] = []
    start: int | None = 0
    while start is not None:
        page = await store.journal(run, generation, start)
        found += page.rows
        start = page.next
    return tuple(found)


async def _messages(store: Store, run: RunId) -> tuple[InboxMessage, ...]:
    found: list[InboxMessage] = []
    while True:
        page = await store.messages(run, found[-1].seq if found else 0, PAGE_SIZE_MAX, unread_only=False)
        found += page
        if len(page) < PAGE_SIZE_MAX:
            return tuple(found)
