"""Reads of one run."""

from __future__ import annotations

from durable.store import Emit, JournalPage, JournalRow, RunId, RunQuery, StreamPage
from durable_testing.conformance.bench import Bench

__all__ = ["Reads"]

NOBODY = RunId("nobody")


class Reads(Bench):
    """``now``, ``get``, ``input``, ``outcome``, ``journal``, ``values``, ``stream``, ``parts``, ``stats``."""

    async def test_now_is_the_stores_clock(self) -> None:
        assert await self.store.now() == self.clock.now()
        self.clock.advance(1.5)
        assert await self.store.now() == self.clock.now()

    async def test_get_answers_in_order_with_none_for_who_is_not_there(self) -> None:
        await self.create("a")
        await self.create("b")
        rows = await self.store.get([RunId("b"), NOBODY, RunId("a"), RunId("b")])
        assert [None if row is None else row.id for row in rows] == ["b", None, "a", "b"]
        assert list(await self.store.get([])) == []

    async def test_who_is_not_there_has_nothing(self) -> None:
        assert await self.store.input(NOBODY) is None
        assert await self.store.outcome(NOBODY) is None
        assert await self.store.journal(NOBODY, 1) == JournalPage((), None)
        assert dict(await self.store.values(NOBODY)) == {}
        assert dict(await self.store.parts(NOBODY, ["h"])) == {}
        assert (await self.store.stream(NOBODY, "s")).items == ()
        assert list(await self.store.messages(NOBODY, unread_only=False)) == []

    async def test_a_journal_is_read_page_by_page(self) -> None:
        grip = await self.grip()
        await grip.commit(*(b"%d" % n for n in range(5)))
        read: list[JournalRow] = []
        start = 0
        while True:
            page = await self.store.journal(RunId("r"), 1, start, limit=2)
            assert len(page.rows) <= 2
            read.extend(page.rows)
            if page.next is None:
                break
            assert page.next == start + 2
            start = page.next
        assert [(row.position, row.data) for row in read] == [(n, b"%d" % n) for n in range(5)]
        assert (await self.store.journal(RunId("r"), 1, 4)).next is None
        assert await self.store.journal(RunId("r"), 1, 5) == JournalPage((), None)
        assert await self.store.journal(RunId("r"), 2) == JournalPage((), None)

    async def test_a_journal_longer_than_a_page_is_cut_at_a_thousand(self) -> None:
        grip = await self.grip()
        for _ in range(11):
            await grip.commit(*(b"e" for _ in range(100)))
        page = await self.store.journal(RunId("r"), 1)
        assert (len(page.rows), page.next) == (1_000, 1_000)
        rest = await self.store.journal(RunId("r"), 1, 1_000)
        assert (len(rest.rows), rest.next) == (100, None)

    async def test_a_stream_is_read_from_an_offset(self) -> None:
        grip = await self.grip()
        await grip.commit(emits=tuple(Emit("s", b"%d" % n) for n in range(4)))
        assert await self.store.stream(RunId("r"), "s", 1, 2) == StreamPage((b"1", b"2"), 3, False)
        assert await self.store.stream(RunId("r"), "s", 3, 2) == StreamPage((b"3",), 4, False)
        assert await self.store.stream(RunId("r"), "s", 4) == StreamPage((), 4, False)

    async def test_what_is_read_is_a_copy(self) -> None:
        grip = await self.grip(labels={"a": "1"})
        await grip.commit(values=(("k", b"v"),))
        labels, values = (await self.row()).labels, await self.store.values(RunId("r"))
        for mapping in (labels, values):
            if isinstance(mapping, dict):
                mapping.clear()
        assert dict((await self.row()).labels) == {"a": "1"}
        assert dict(await self.store.values(RunId("r"))) == {"k": b"v"}

    async def test_a_sound_store_has_no_problems(self) -> None:
        await self.end()
        assert list(await self.store.check()) == []

    async def test_stats_count_runs_by_status_and_rows(self) -> None:
        grip = await self.grip()
        await grip.commit(b"a", b"b")
        await self.create("pending")
        await self.send("m")
        stats = await self.store.stats()
        assert (stats["runs.running"], stats["runs.pending"], stats.get("runs.waiting", 0)) == (1, 1, 0)
        assert (stats["entries"], stats["messages"]) == (2, 1)
        assert stats["bytes"] > 0
        assert await self.store.count(RunQuery()) == 2
