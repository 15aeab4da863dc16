"""Looks at a store and its model: random ones while a sequence goes on, and at everything at its end."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import final

from durable.store import RunId, RunPage, RunQuery, RunRecord, RunStatus, Store
from durable_testing.clock import ManualClock
from durable_testing.conformance.plain import plain
from durable_testing.conformance.steps import RUNS, Ask, Both, Step
from durable_testing.memory import MemoryStore

__all__ = ["Looks"]

IDS = tuple(map(RunId, (*RUNS, "fork")))

QUERIES = (
    RunQuery(),
    RunQuery(workflow="w", queue="q"),
    RunQuery(statuses=(RunStatus.WAITING, RunStatus.CANCELLED)),
    RunQuery(labels={"l": "1"}),
    RunQuery(parent=RunId("b")),
    RunQuery(id_prefix="a%"),
    RunQuery(created_after=1_700_000_001.0),
)


@dataclass
class _Walk:
    """A list that is being read page by page: cursors are opaque, so each store has its own."""

    query: RunQuery
    models: str | None = None
    theirs: str | None = None


@final
class Looks:
    """What of a store can be read, compared with the model's."""

    def __init__(self, clock: ManualClock, model: MemoryStore, both: Both) -> None:
        self.clock = clock
        self.model = model
        self.both = both
        self.walks: dict[int, _Walk] = {}

    # ── now and then ─────────────────────────────────────────────────────────────────────────────────────────────

    async def read(self, step: Step) -> None:
        """One read of one run, or of what belongs to none."""
        run, start, limit = IDS[step.mood % len(IDS)], step.twist % 5, 1 + step.twist % 3
        records = ("", "k0", "k1", "z")[step.mood % 4]
        asks: list[Ask] = [
            lambda store: store.input(run),
            lambda store: store.outcome(run),
            lambda store: store.messages(run, start, limit, step.mood % 2 == 0),
            lambda store: store.values(run),
            lambda store: store.parts(run, ["h0", "h1"]),
            lambda store: store.stream(run, "s", start, limit),
            lambda store: store.journal(run, 1 + step.run, start, limit),
            lambda store: store.sessions(),
            lambda store: store.list_records("k", records, limit),
            lambda store: store.get_record("k", f"k{step.run}"),
            _figures,
            lambda store: store.now(),
        ]
        await self.both(step.worker, asks[step.pick])

    async def page(self, step: Step) -> None:
        """The next page of a walk that goes on while everything changes; a new walk after the last page."""
        which = step.run
        walk = self.walks.pop(which, None) or _Walk(QUERIES[step.pick % len(QUERIES)])
        limit = 1 + step.mood % 2

        async def ask(store: Store) -> tuple[list[object], bool]:
            """The page without its cursor, which is nobody's to look at, and whether it was the last."""
            is_model = store is self.model
            page: RunPage = await store.list(walk.query, limit, walk.models if is_model else walk.theirs)
            if is_model:
                walk.models = page.cursor
            else:
                walk.theirs = page.cursor
            return [plain(run) for run in page.runs], page.cursor is None

        _, last = await self.both(step.worker, ask)
        if not last:
            self.walks[which] = walk

    # ── at the end ───────────────────────────────────────────────────────────────────────────────────────────────

    async def compare_everything(self) -> None:
        await self.compare_lists()
        for worker, id in enumerate(IDS):
            await self.compare_run(worker % 2, id)

    async def compare_run(self, worker: int, run: RunId) -> None:
        (row,) = await self.model.get([run])
        generations = 1 if row is None else row.generation
        asks: list[Ask] = [
            lambda store: store.input(run),
            lambda store: store.outcome(run),
            lambda store: store.messages(run),
            lambda store: store.messages(run, after=1, limit=2, unread_only=False),
            lambda store: store.messages(run, unread_only=False),
            lambda store: store.values(run),
            lambda store: store.parts(run, ["h0", "h1", "h2"]),
            lambda store: store.stream(run, "s"),
            lambda store: store.stream(run, "t", 1, 1),
        ]
        for ask in asks:
            await self.both(worker, ask)
        for generation in range(1, generations + 2):
            await self.both(worker, partial(_journal, run, generation))

    async def compare_lists(self) -> None:
        for query in QUERIES:
            await self.both(0, partial(_count, query))
            await self.both(1, partial(_all_pages, query))
        await self.both(0, lambda store: store.sessions())
        await self.both(1, lambda store: store.list_records("k"))
        await self.both(0, lambda store: store.list_records("k", "k1", 1))
        await self.both(1, _figures)


async def _figures(store: Store) -> dict[str, int]:
    """Rows by kind; how many bytes a store takes for them is its own affair, and a figure of 0 may be left out."""
    return {name: count for name, count in (await store.stats()).items() if name != "bytes" and count}


async def _journal(run: RunId, generation: int, store: Store) -> object:
    """Whole, and by pages of one entry."""
    found: list[object] = []
    start: int | None = 0
    while start is not None:
        page = await store.journal(run, generation, start, 1)
        found.extend(page.rows)
        start = page.next
    return await store.journal(run, generation), found


async def _count(query: RunQuery, store: Store) -> int:
    return await store.count(query)


async def _all_pages(query: RunQuery, store: Store) -> list[RunRecord]:
    found: list[RunRecord] = []
    cursor = None
    while True:
        page = await store.list(query, 1, cursor)
        found.extend(page.runs)
        cursor = page.cursor
        if cursor is None:
            return found
