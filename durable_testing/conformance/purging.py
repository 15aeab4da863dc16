"""Purging: ended runs go with everything of theirs, and nothing else goes."""

from __future__ import annotations

from typing import Any

from durable.store import (
    Blocked,
    Closed,
    Creation,
    Emit,
    Ended,
    JournalPage,
    Parent,
    Part,
    Paused,
    PurgeQuery,
    RunId,
    Running,
    RunQuery,
    RunStatus,
    Sent,
    Then,
    Verdict,
    Waiting,
)
from durable_testing.conformance.bench import Bench, new_run

__all__ = ["Purging"]


class Purging(Bench):
    """``Store.purge``."""

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
