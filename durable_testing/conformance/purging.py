"""Purging: ended runs go with everything of theirs, and nothing else goes."""

from __future__ import annotations

import unittest
from typing import Any

from durable.store import (
    CLOSING_LANE,
    Blocked,
    Closed,
    Creation,
    Emit,
    Ended,
    JournalPage,
    MessageKind,
    Parent,
    Part,
    Paused,
    PurgeQuery,
    Retry,
    RunId,
    Running,
    RunQuery,
    RunStatus,
    Sent,
    Terminate,
    Then,
    Upkeep,
    Verdict,
    Waiting,
)
from durable_testing.conformance.bench import Bench, new_run, signal

__all__ = ["Purging"]


class Purging(Bench):
    """``Store.purge``, and ``Upkeep``."""

    async def purge(self, **given: Any) -> int:
        return await self.store.purge(PurgeQuery(**given))

    async def left(self) -> set[str]:
        return {str(run.id) for run in (await self.store.list(RunQuery(), 1_000)).runs}

    async def test_a_worker_of_a_purged_run_cannot_write_into_a_new_run_of_the_same_id(self) -> None:
        """Found by the simulator: epochs began anew with the id, so the fence let the stranger in (I4)."""
        old = await self.grip()
        await old.commit(then=Ended(RunStatus.COMPLETED, b""))
        assert await self.purge() == 1
        new = await self.grip()
        assert new.epoch > old.epoch
        answer = await old.tried(b"stranger", seq=0, position=0)
        assert answer.verdict is Verdict.LEASE_LOST
        assert (await self.row()).position == 0
        await new.commit(b"own")

    async def test_a_purged_run_goes_with_everything_of_its_own(self) -> None:
        grip = await self.grip()
        await self.send("m")
        await grip.commit(b"e", values=(("k", b"v"),), emits=(Emit("s", b"0"),), parts=(Part("h", b"p"),))
        await grip.commit(then=Ended(RunStatus.COMPLETED, b""))
        assert await self.purge() == 1
        run = RunId("r")
        assert await self.store.get([run]) == [None]
        assert await self.store.input(run) is None
        assert await self.store.outcome(run) is None
        assert await self.store.journal(run, 1) == JournalPage((), None)
        assert list(await self.store.messages(run, unread_only=False)) == []
        assert dict(await self.store.values(run)) == {}
        assert (await self.store.stream(run, "s")).items == ()
        assert dict(await self.store.parts(run, ["h"])) == {}
        assert (await self.store.stats())["entries"] == 0
        assert await self.send("m") is Sent.NOT_FOUND
        assert (await grip.tried()).verdict is Verdict.LEASE_LOST
        assert await self.purge() == 0

    async def test_an_id_can_be_used_again_after_purge_and_starts_from_nothing(self) -> None:
        grip = await self.grip()
        await self.send("m")
        await grip.commit(b"e", emits=(Emit("s", b"0"),), then=Ended(RunStatus.COMPLETED, b""))
        await self.purge()
        assert (await self.create()).outcome is Creation.CREATED
        assert (await self.row()).generation == 1
        assert await self.entries() == []
        assert await self.send("m") is Sent.ACCEPTED
        assert [one.seq for one in await self.unread()] == [1]

    async def test_live_runs_are_never_purged(self) -> None:
        thens: dict[str, Then] = {
            "waiting": Waiting(None, 0),
            "paused": Paused(),
            "blocked": Blocked("engine", "why"),
            "running": Running(),
        }
        for id, then in thens.items():
            await (await self.grip(id, self.worker(id))).commit(then=then)
        await self.create("pending")
        assert await self.purge() == 0
        assert await self.purge(runs=(RunId("paused"),)) == 0
        assert await self.left() == {"waiting", "paused", "blocked", "running", "pending"}

    async def test_a_run_that_is_still_closing_is_not_purged(self) -> None:
        await self.end(closing=True)
        assert await self.purge() == 0
        grip = await self.worker("w2").one()
        assert await self.purge() == 0
        await grip.commit(then=Closed())
        assert await self.purge() == 1

    async def test_ended_before_is_strict(self) -> None:
        await self.end("a")
        ended_at = (await self.row("a")).ended_at
        assert ended_at is not None
        assert await self.purge(ended_before=ended_at) == 0
        assert await self.purge(ended_before=ended_at + 0.001) == 1

    async def test_expired_runs_are_those_past_their_own_keep(self) -> None:
        await self.end("kept")
        await self.end("0", keep_seconds=0.0)
        await self.end("10", keep_seconds=10.0)
        assert await self.purge(expired=True) == 1
        self.clock.advance(9.5)
        assert await self.purge(expired=True) == 0
        self.clock.advance(0.5)
        assert await self.purge(expired=True) == 1
        self.clock.advance(1e9)
        assert await self.purge(expired=True) == 0
        assert await self.left() == {"kept"}

    async def test_only_what_the_query_names_goes(self) -> None:
        for id, status in {"a": RunStatus.COMPLETED, "b": RunStatus.FAILED, "c": RunStatus.CANCELLED}.items():
            await (await self.grip(id)).commit(then=Ended(status, b""))
        assert await self.purge(workflow="other") == 0
        assert await self.purge(runs=(RunId("a"), RunId("nobody"))) == 1
        assert await self.left() == {"b", "c"}
        assert await self.purge(statuses=(RunStatus.FAILED,), workflow="work") == 1
        assert await self.left() == {"c"}
        assert await self.purge(runs=(RunId("c"),), statuses=(RunStatus.FAILED,)) == 0

    async def test_purge_goes_by_its_limit_until_it_is_0(self) -> None:
        for n in range(5):
            await self.end(f"r{n}")
        assert [await self.purge(limit=2) for _ in range(4)] == [2, 2, 1, 0]

    async def test_children_of_a_purged_run_stay(self) -> None:
        grip = await self.grip()
        child = new_run("child", parent=Parent(RunId("r"), "call", 1, "abandon"))
        await grip.commit(b"e", children=(child,), then=Ended(RunStatus.COMPLETED, b""))
        assert await self.purge() == 1
        assert (await self.row("child")).parent == child.parent
        assert [run.id for run in (await self.store.list(RunQuery(parent=RunId("r")))).runs] == ["child"]

    async def test_neighbours_of_a_purged_run_keep_what_is_theirs(self) -> None:
        grip = await self.grip("r1")
        await grip.commit(b"stays", values=(("k", b"v"),), then=Waiting(None, 0))
        await self.end("r")
        await self.send("m", "r1")
        assert await self.purge() == 1
        assert await self.entries("r1") == [b"stays"]
        assert dict(await self.store.values(RunId("r1"))) == {"k": b"v"}
        assert len(await self.unread("r1")) == 1

    async def test_a_child_whose_parent_is_purged_ends_all_the_same(self) -> None:
        parent = await self.grip()
        child = new_run("child", parent=Parent(RunId("r"), "call", 1, "abandon", notify=True))
        await parent.commit(b"e", children=(child,), then=Ended(RunStatus.COMPLETED, b""))
        assert await self.purge() == 1
        grip = await self.worker("w2").one()
        news = signal("result/child/1", "r", kind=MessageKind.RESULT)
        answer = await grip.commit(b"e", messages=(news,), then=Ended(RunStatus.COMPLETED, b"", keep_seconds=0.0))
        assert answer.verdict is Verdict.APPLIED
        assert await self.purge(expired=True) == 1
        assert await self.left() == set()

    async def test_every_condition_of_a_query_must_hold(self) -> None:
        await self.end("old", keep_seconds=1.0)
        await (await self.grip("failed")).commit(then=Ended(RunStatus.FAILED, b"", "why", keep_seconds=1.0))
        self.clock.advance(5.0)
        edge = self.clock.now()
        await self.end("young", keep_seconds=0.0)
        assert await self.purge(expired=True, statuses=(RunStatus.CANCELLED,)) == 0
        assert await self.purge(expired=True, workflow="other") == 0
        assert await self.purge(expired=True, ended_before=edge, statuses=(RunStatus.FAILED,)) == 1
        assert await self.purge(expired=True, ended_before=edge, workflow="work") == 1
        assert await self.left() == {"young"}

    async def test_a_run_that_the_store_has_ended_is_kept_as_its_closing_says(self) -> None:
        """A terminate knows no retention; only the worker that closes the run has its workflow."""
        await self.grip()
        await self.control(Terminate("why", b"outcome"))
        ended_at = self.clock.now()
        self.clock.advance(3.0)
        await (await self.worker("w2").one(lanes=(CLOSING_LANE,))).commit(then=Closed(5.0))
        assert (await self.row()).ended_at == ended_at
        assert await self.purge(expired=True) == 0
        self.clock.advance(2.0)
        assert await self.purge(expired=True) == 1

    async def test_what_the_end_has_said_of_its_keep_stands_whatever_the_closing_says(self) -> None:
        await self.end(keep_seconds=5.0, closing=True)
        await (await self.worker("w2").one()).commit(then=Closed(1.0))
        self.clock.advance(4.0)
        assert await self.purge(expired=True) == 0
        self.clock.advance(1.0)
        assert await self.purge(expired=True) == 1

    async def test_closed_keeps_nothing_for_the_end_of_a_live_run(self) -> None:
        await self.end()
        await self.control(Retry(b"order"))
        grip = await self.worker("w2").one()
        await grip.commit(then=Closed(0.0))
        await grip.commit(then=Ended(RunStatus.COMPLETED, b""))
        self.clock.advance(1e6)
        assert await self.purge(expired=True) == 0
        assert await self.left() == {"r"}

    async def test_the_keep_of_an_earlier_end_does_not_outlive_a_retry(self) -> None:
        await self.end(keep_seconds=1.0)
        await self.control(Retry(b"order"))
        await self.control(Terminate("why", b"outcome"), request="another")
        await (await self.worker("w2").one(lanes=(CLOSING_LANE,))).commit(then=Closed())
        self.clock.advance(1e6)
        assert await self.purge(expired=True) == 0
        assert await self.left() == {"r"}

    # ── Upkeep, of stores that have it ───────────────────────────────────────────────────────────────────────────

    def upkeep(self) -> Upkeep:
        if not isinstance(self.store, Upkeep):
            raise unittest.SkipTest("this store has no Upkeep")
        return self.store

    async def test_what_is_counted_is_what_is_purged(self) -> None:
        upkeep = self.upkeep()
        for n, status in enumerate((RunStatus.COMPLETED, RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED)):
            await (await self.grip(f"r{n}")).commit(then=Ended(status, b"", keep_seconds=10.0 * n))
        await self.grip("alive", self.worker("busy"))
        await self.end("closing", closing=True, keep_seconds=0.0)
        self.clock.advance(20.0)
        queries: list[dict[str, Any]] = [
            {"expired": True},
            {"expired": True, "statuses": (RunStatus.FAILED,)},
            {"runs": (RunId("r0"), RunId("r3"), RunId("alive"), RunId("nobody"))},
            {"statuses": (RunStatus.COMPLETED,), "ended_before": self.clock.now()},
            {"workflow": "other"},
            {},
        ]
        counts = [dict(await upkeep.purgeable(PurgeQuery(**query, limit=1))) for query in queries]
        assert counts == [
            {RunStatus.COMPLETED: 2, RunStatus.FAILED: 1},
            {RunStatus.FAILED: 1},
            {RunStatus.COMPLETED: 1, RunStatus.CANCELLED: 1},
            {RunStatus.COMPLETED: 2},
            {},
            {RunStatus.COMPLETED: 2, RunStatus.FAILED: 1, RunStatus.CANCELLED: 1},
        ]
        assert len(await self.left()) == 6
        assert [await self.purge(limit=1) for _ in range(5)] == [1, 1, 1, 1, 0]
        assert dict(await upkeep.purgeable(PurgeQuery())) == {}

    async def test_shrinking_comes_to_an_end_and_costs_nothing_that_is_kept(self) -> None:
        upkeep = self.upkeep()
        kept = await self.grip("kept")
        for n in range(30):
            grip = await self.grip(f"r{n}", self.worker(f"other{n}"))
            await grip.commit(b"x" * 20_000, then=Ended(RunStatus.COMPLETED, b""))
            await kept.commit(b"y" * 2_000)
        while await self.purge():
            pass
        given = [await upkeep.shrink(100_000) for _ in range(50)]
        assert all(0 <= one <= 200_000 for one in given)
        assert given[-1] == 0
        assert await self.entries("kept") == [b"y" * 2_000] * 30
        await kept.commit(b"z")
