"""Lists: filters, order, cursors."""

from __future__ import annotations

from typing import Any

from durable.errors import InvalidInput
from durable.store import Continued, Parent, RunId, RunQuery, RunStatus
from durable_testing.conformance.bench import Bench, new_run

__all__ = ["Lists"]


class Lists(Bench):
    """``Store.list`` and ``Store.count``."""

    async def found(self, **given: Any) -> list[str]:
        """Ids that match, newest first; the count must agree, and so must pages of one."""
        query = RunQuery(**given)
        page = await self.store.list(query, limit=1_000)
        ids = [str(run.id) for run in page.runs]
        assert await self.store.count(query) == len(ids)
        assert await self.paged(query, 1) == ids
        return ids

    async def paged(self, query: RunQuery, limit: int) -> list[str]:
        ids: list[str] = []
        cursor = None
        while True:
            page = await self.store.list(query, limit, cursor)
            assert len(page.runs) <= limit
            ids.extend(page_run.id for page_run in page.runs)
            cursor = page.cursor
            if cursor is None:
                return ids

    async def test_newest_first_by_creation_then_id(self) -> None:
        await self.store.create([new_run("b"), new_run("c"), new_run("a")])
        self.clock.advance(1)
        await self.create("0")
        assert await self.found() == ["0", "c", "b", "a"]

    async def test_rows_are_those_of_get(self) -> None:
        await self.grip()
        page = await self.store.list(RunQuery())
        assert (page.runs, page.cursor) == ((await self.row(),), None)

    async def test_nothing_found_is_an_empty_page(self) -> None:
        page = await self.store.list(RunQuery())
        assert (page.runs, page.cursor) == ((), None)

    async def test_filters_by_workflow_queue_and_status(self) -> None:
        await self.create("a")
        await self.worker().one()
        await self.create("b", workflow="other")
        await self.create("c", queue="other")
        assert await self.found(workflow="other") == ["b"]
        assert await self.found(workflow="othe") == []
        assert await self.found(queue="other") == ["c"]
        assert await self.found(statuses=(RunStatus.RUNNING,)) == ["a"]
        assert await self.found(statuses=(RunStatus.RUNNING, RunStatus.PENDING)) == ["c", "b", "a"]
        assert await self.found(statuses=(RunStatus.FAILED,)) == []
        assert await self.found(workflow="work", queue="other") == ["c"]

    async def test_filters_by_each_label(self) -> None:
        await self.create("a", labels={"team": "x", "env": "prod"})
        await self.create("b", labels={"team": "x"})
        await self.create("c", labels={"team": ""})
        assert await self.found(labels={"team": "x"}) == ["b", "a"]
        assert await self.found(labels={"team": "x", "env": "prod"}) == ["a"]
        assert await self.found(labels={"team": ""}) == ["c"]
        assert await self.found(labels={"x": "team"}) == []

    async def test_filters_by_labels_that_look_like_syntax(self) -> None:
        hostile = {'"': "'", "$.a": "%", "a.b": "_", "a'b": '{"x":1}', "ünï": "🦊", "[0]": "\\"}
        await self.create("a", labels=hostile)
        await self.create("b", labels={"other": "%"})
        for name, value in hostile.items():
            assert await self.found(labels={name: value}) == ["a"]
        assert await self.found(labels=hostile) == ["a"]
        assert dict((await self.row("a")).labels) == hostile

    async def test_filters_by_creation_strictly(self) -> None:
        start = self.clock.now()
        for id in ("a", "b", "c"):
            await self.create(id)
            self.clock.advance(1)
        assert await self.found(created_after=start) == ["c", "b"]
        assert await self.found(created_before=start + 2) == ["b", "a"]
        assert await self.found(created_after=start, created_before=start + 2) == ["b"]

    async def test_filters_by_parent(self) -> None:
        await self.create("p")
        for n in range(3):
            await self.create(f"c{n}", parent=Parent(RunId("p"), f"call {n}", 1, "cancel"))
        await self.create("other", parent=Parent(RunId("p2"), "call", 1, "cancel"))
        assert await self.found(parent=RunId("p")) == ["c2", "c1", "c0"]
        assert await self.found(parent=RunId("c0")) == []

    async def test_an_id_prefix_is_text_and_never_a_pattern(self) -> None:
        ids = ["a%b", "a_b", "axb", "A_b", "a'b", 'a"b', "a\\b", "a*b", "a?b", "a[b", "é1", "e1", "🦊1", "\uffff1", "a"]
        await self.store.create([new_run(id) for id in ids])
        for prefix in ("a%", "a_", "%", "_", "a'", 'a"', "a\\", "a*", "a?", "a[", "A", "é", "🦊", "\uffff", "a", ""):
            expected = sorted((id for id in ids if id.startswith(prefix)), reverse=True)
            assert await self.found(id_prefix=prefix) == expected, prefix

    async def test_pages_hold_each_run_once_at_every_page_size(self) -> None:
        for n in range(7):
            await self.create(f"r{n}")
            if n % 2:
                self.clock.advance(1)
        for limit in (1, 2, 3, 6, 7, 8, 1_000):
            assert await self.paged(RunQuery(), limit) == [f"r{n}" for n in reversed(range(7))]

    async def test_runs_created_while_paging_do_not_disturb_the_pages_that_follow(self) -> None:
        await self.store.create([new_run(f"r{n}") for n in range(4)])
        page = await self.store.list(RunQuery(), 2)
        self.clock.advance(1)
        await self.create("new")
        rest = await self.store.list(RunQuery(), 10, page.cursor)
        assert [run.id for run in (*page.runs, *rest.runs)] == ["r3", "r2", "r1", "r0"]

    async def test_runs_created_at_an_earlier_time_by_a_clock_that_went_back_are_listed(self) -> None:
        await self.create("first")
        self.turn_back(100)
        await self.create("second")
        assert await self.found() == ["first", "second"]

    async def test_a_cursor_of_somebody_else_is_refused(self) -> None:
        for cursor in ("", "garbage", "🦊", "0", "bm90IG91cnM=", "'; DROP TABLE runs; --"):
            await self.list_refuses(10, cursor)

    async def test_a_limit_out_of_range_is_refused(self) -> None:
        for limit in (0, -1, 1_001):
            await self.list_refuses(limit, None)

    async def list_refuses(self, limit: int, cursor: str | None) -> None:
        try:
            await self.store.list(RunQuery(), limit, cursor)
        except InvalidInput:
            return
        raise AssertionError(f"list took limit {limit} and cursor {cursor!r}")

    async def test_a_continued_run_is_listed_under_its_new_workflow(self) -> None:
        grip = await self.grip()
        await grip.commit(then=Continued("next", "1", b"", "d", "s"))
        assert await self.found(workflow="next") == ["r"]
        assert await self.found(workflow="work") == []
