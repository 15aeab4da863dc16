"""Pages: whatever is read page by page is read whole, at every page size, also while others write."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from durable.store import (
    Emit,
    JournalRow,
    NewRun,
    Parent,
    PurgeQuery,
    RunId,
    RunQuery,
    RunRecord,
    RunStatus,
    Store,
    Terminate,
    Waiting,
)
from durable_testing.conformance.bench import Bench, Grip, new_run, signal

__all__ = ["Pages"]

T = TypeVar("T")
Between = Callable[[int], Awaitable[object]]
"""What somebody else does after the n-th page, counted from 1."""

LIMITS: Final = (1, 2, 3, 7, 1_000)
R: Final = RunId("r")
PAGES_MAX: Final = 100  # more than any of these walks takes


async def _nothing(page: int) -> None:
    """Nobody else is there."""


class Pages(Bench):
    """``list``, ``journal``, ``messages``, ``stream``, ``list_records`` with small pages."""

    # ── walks ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def walked_list(self, query: RunQuery, limit: int, between: Between = _nothing) -> list[RunRecord]:
        found: list[RunRecord] = []
        cursor = None
        for page in range(1, PAGES_MAX):
            answer = await self.store.list(query, limit, cursor)
            assert len(answer.runs) <= limit
            assert answer.runs or answer.cursor is None, "an empty page that goes on"
            found.extend(answer.runs)
            cursor = answer.cursor
            if cursor is None:
                return found
            await between(page)
        raise AssertionError("these pages have no end")

    async def walked_journal(self, limit: int, between: Between = _nothing) -> list[JournalRow]:
        found: list[JournalRow] = []
        start: int | None = 0
        for page in range(1, PAGES_MAX):
            assert start is not None
            answer = await self.store.journal(R, 1, start, limit)
            assert len(answer.rows) <= limit
            found.extend(answer.rows)
            assert answer.next in (None, len(found))
            start = answer.next
            if start is None:
                return found
            await between(page)
        raise AssertionError("these pages have no end")

    async def walked(
        self, read: Callable[[T], Awaitable[tuple[Sequence[str], T]]], start: T, limit: int, between: Between = _nothing
    ) -> list[str]:
        """Pages that end with an empty one; ``read`` answers what it found and where to go on."""
        found: list[str] = []
        for page in range(1, PAGES_MAX):
            answer, start = await read(start)
            assert len(answer) <= limit
            if not answer:
                return found
            found.extend(answer)
            await between(page)
        raise AssertionError("these pages have no end")

    async def walked_messages(self, limit: int, unread_only: bool, between: Between = _nothing) -> list[str]:
        async def read(after: int) -> tuple[Sequence[str], int]:
            rows = await self.store.messages(R, after, limit, unread_only)
            return [row.message.id for row in rows], rows[-1].seq if rows else after

        return await self.walked(read, 0, limit, between)

    async def walked_stream(self, limit: int, between: Between = _nothing) -> list[str]:
        async def read(start: int) -> tuple[Sequence[str], int]:
            answer = await self.store.stream(R, "s", start, limit)
            assert answer.next == start + len(answer.items)
            return [item.decode() for item in answer.items], answer.next

        return await self.walked(read, 0, limit, between)

    async def walked_records(self, limit: int, between: Between = _nothing) -> list[str]:
        async def read(after: str) -> tuple[Sequence[str], str]:
            rows = await self.store.list_records("kind", after, limit)
            return [row.key for row in rows], rows[-1].key if rows else after

        return await self.walked(read, "", limit, between)

    # ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def many_runs(self) -> None:
        """Some of one instant, some of one workflow, some with a parent, some ended."""
        for n in range(9):
            parent = Parent(RunId("p"), f"call {n}", 1, "cancel") if n % 2 else None
            await self.create(f"r{n}", labels={"odd": str(n % 2)}, parent=parent, workflow=f"w{n % 3 == 0}")
            if n % 3:
                self.clock.advance(1)
        for n in (2, 5, 6):
            await self.control(Terminate("enough", b""), f"r{n}")

    async def test_a_list_in_small_pages_is_the_list_whatever_is_asked_for(self) -> None:
        await self.many_runs()
        start = self.clock.now()
        queries = (
            RunQuery(),
            RunQuery(workflow="wTrue"),
            RunQuery(queue="default"),
            RunQuery(statuses=(RunStatus.CANCELLED,)),
            RunQuery(statuses=(RunStatus.PENDING, RunStatus.CANCELLED), labels={"odd": "1"}),
            RunQuery(labels={"odd": "0"}),
            RunQuery(parent=RunId("p")),
            RunQuery(id_prefix="r"),
            RunQuery(created_after=start - 5, created_before=start),
        )
        for query in queries:
            whole = list((await self.store.list(query, 1_000)).runs)
            assert len(whole) > 1, query
            for limit in LIMITS:
                assert await self.walked_list(query, limit) == whole, (query, limit)

    async def test_runs_that_come_and_change_between_pages_disturb_none_of_the_pages_that_follow(self) -> None:
        for limit in (1, 2):
            await self.many_runs()
            expected = [run.id for run in (await self.store.list(RunQuery(), 1_000)).runs]

            async def between(page: int, limit: int = limit, expected: list[RunId] = expected) -> None:
                self.clock.advance(1)
                await self.create(f"new {limit} {page}")
                await self.control(Terminate("later", b""), expected[-1], f"request {limit} {page}")
                await self.send(f"m {limit} {page}", expected[-2])

            assert [run.id for run in await self.walked_list(RunQuery(), limit, between)] == expected

    async def test_a_run_purged_between_pages_is_missed_and_no_other(self) -> None:
        for n in range(9):
            await self.end(f"r{n}")

        async def between(page: int) -> None:
            """The run that the cursor stands on goes, and one that is still to come."""
            if page == 1:
                assert await self.store.purge(PurgeQuery(runs=(RunId("r8"), RunId("r3")))) == 2

        ids = [run.id for run in await self.walked_list(RunQuery(), 1, between)]
        assert ids == [f"r{n}" for n in reversed(range(9)) if n != 3]

    async def test_a_cursor_may_be_used_by_another_session_and_again(self) -> None:
        await self.many_runs()
        other = await self.twin()
        first = await self.store.list(RunQuery(), 4)
        rest = await self.store.list(RunQuery(), 1_000, first.cursor)
        assert await other.list(RunQuery(), 1_000, first.cursor) == rest
        assert await self.store.list(RunQuery(), 1_000, first.cursor) == rest
        assert len(first.runs) + len(rest.runs) == await self.store.count(RunQuery())

    # ── one run's ────────────────────────────────────────────────────────────────────────────────────────────────

    async def a_full_run(self, count: int = 9) -> Grip:
        grip = await self.grip()
        for n in range(count):
            await self.send(f"m{n}")
        await grip.commit(*(b"e%d" % n for n in range(count)), emits=tuple(Emit("s", b"%d" % n) for n in range(count)))
        await grip.commit(consumed=("m1", "m4", f"m{count - 1}"))
        for n in range(count):
            await self.store.put_record("kind", f"k{n}", b"")
        return grip

    async def test_journal_inbox_stream_and_records_in_small_pages_are_what_they_are(self) -> None:
        await self.a_full_run()
        rows = await self.rows()
        assert len(rows) == 9
        for limit in LIMITS:
            assert tuple(await self.walked_journal(limit)) == rows
            assert await self.walked_messages(limit, False) == [f"m{n}" for n in range(9)]
            assert await self.walked_messages(limit, True) == ["m0", "m2", "m3", "m5", "m6", "m7"]
            assert await self.walked_stream(limit) == [str(n) for n in range(9)]
            assert await self.walked_records(limit) == [f"k{n}" for n in range(9)]

    async def test_inbox_stream_and_records_grow_while_they_are_read(self) -> None:
        grip = await self.a_full_run(3)

        def growing(what: Callable[[str], Awaitable[object]]) -> Between:
            async def between(page: int) -> None:
                if page <= 4:
                    await what(f"new {page}")

            return between

        async def emit(text: str) -> None:
            await grip.commit(emits=(Emit("s", text.encode()),))

        news = [f"new {n}" for n in range(1, 5)]
        sends = growing(lambda text: self.send(text))
        assert await self.walked_messages(1, False, sends) == ["m0", "m1", "m2", *news]
        assert await self.walked_stream(1, growing(emit)) == ["0", "1", "2", *news]
        puts = growing(lambda text: self.store.put_record("kind", text, b""))
        assert await self.walked_records(1, puts) == ["k0", "k1", "k2", *news]

    async def test_a_journal_read_page_by_page_while_it_grows_has_no_gap_and_no_entry_twice(self) -> None:
        grip = await self.a_full_run(3)

        async def between(page: int) -> None:
            if page <= 4:
                await grip.commit(b"new %d" % page)

        rows = await self.walked_journal(1, between)
        assert [row.position for row in rows] == list(range(len(rows)))
        assert [row.data for row in rows] == [b"e0", b"e1", b"e2", *(b"new %d" % n for n in range(1, 5))]

    async def test_messages_consumed_between_pages_are_passed_over_and_no_other(self) -> None:
        grip = await self.grip()
        await self.store.send([signal(f"m{n}") for n in range(6)])

        async def between(page: int) -> None:
            if page == 1:
                await grip.commit(consumed=("m0", "m2"))

        assert await self.walked_messages(1, True, between) == ["m0", "m1", "m3", "m4", "m5"]

    async def test_records_that_go_or_come_behind_the_reader_do_not_disturb_it(self) -> None:
        for key in ("b", "c", "d", "e"):
            await self.store.put_record("kind", key, b"")

        async def between(page: int) -> None:
            if page == 2:
                await self.store.delete_record("kind", "c")  # where the reader stands
                await self.store.delete_record("kind", "d")
                await self.store.put_record("kind", "a", b"")

        assert await self.walked_records(1, between) == ["b", "c", "e"]

    async def test_every_page_read_while_another_session_writes_fits_the_others(self) -> None:
        other = await self.twin()
        grip = await self.grip()
        await grip.commit(b"0", emits=(Emit("s", b"0"),))

        async def write() -> None:
            for n in range(1, 30):
                await grip.commit(b"%d" % n, emits=(Emit("s", b"%d" % n),), then=Waiting(None, 0) if n == 29 else None)

        async def read(store: Store) -> None:
            texts: list[bytes] = []
            items: list[bytes] = []
            while len(texts) < 30 or len(items) < 30:
                page = await store.journal(R, 1, len(texts), 1)
                texts.extend(row.data for row in page.rows)
                items.extend((await store.stream(R, "s", len(items), 1)).items)
            assert texts == items == [b"%d" % n for n in range(30)]

        await asyncio.wait_for(asyncio.gather(write(), read(other), read(self.store)), 30)

    async def test_a_batch_of_any_size_is_answered_in_its_order(self) -> None:
        news: list[NewRun] = [new_run(f"r{n:03}") for n in range(150)]
        await self.store.create(news)
        rows = await self.store.get([new.id for new in reversed(news)])
        assert [row.id if row is not None else None for row in rows] == [new.id for new in reversed(news)]
