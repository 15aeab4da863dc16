"""Lanes: a worker is handed only what it can run."""

from __future__ import annotations

from durable.store import CLOSING_LANE, Continued, Lane
from durable_testing.conformance.bench import LANE, Bench, new_run

__all__ = ["Lanes"]


class Lanes(Bench):
    """Queue / workflow / version, and pinning."""

    async def test_due_runs_of_code_that_nobody_has_do_not_block_others(self) -> None:
        await self.store.create([new_run(f"ghost {n}", workflow="ghost", priority=100) for n in range(50)])
        await self.create("mine")
        assert [grip.run for grip in await self.worker().claim(1)] == ["mine"]
        assert (await self.row("ghost 0")).epoch == 0

    async def test_a_lane_is_queue_and_workflow_and_version(self) -> None:
        await self.create("queue", queue="other")
        await self.create("workflow", workflow="other")
        await self.create("version", version="2")
        await self.create("none", version=None)
        assert await self.worker().claim() == []
        for id, lane in {
            "queue": Lane("other", "work", "1"),
            "workflow": Lane("default", "other", "1"),
            "version": Lane("default", "work", "2"),
            "none": Lane("default", "work", None),
        }.items():
            assert [grip.run for grip in await self.worker(id).claim(lanes=(lane,))] == [id]

    async def test_several_lanes_are_read_as_one(self) -> None:
        await self.create("a", version="1")
        await self.create("b", version="2", priority=1)
        await self.create("c", version="1", priority=2)
        lanes = (LANE, Lane("default", "work", "2"), CLOSING_LANE)
        assert [grip.run for grip in await self.worker().claim(lanes=lanes)] == ["c", "b", "a"]

    async def test_the_earliest_due_comes_first_whatever_its_lane(self) -> None:
        await self.create("second", delay_seconds=2.0)
        await self.create("first", version="2", delay_seconds=1.0)
        await self.create("third", queue="other", delay_seconds=3.0)
        self.clock.advance(5)
        lanes = (Lane("other", "work", "1"), LANE, Lane("default", "work", "2"))
        assert [grip.run for grip in await self.worker().claim(2, lanes=lanes)] == ["first", "second"]

    async def test_no_lanes_no_claims(self) -> None:
        await self.create()
        poll = await self.worker().poll(lanes=())
        assert (poll.claims, poll.next_due_at) == ((), None)

    async def test_the_first_claim_of_an_unversioned_run_pins_its_version(self) -> None:
        await self.create(version=None)
        grip = await self.worker().one(lanes=(Lane("default", "work", None, pin="7"),))
        assert grip.claim.run.version == "7"
        assert (await self.row()).version == "7"

    async def test_a_pinned_run_stays_in_the_lane_of_its_version(self) -> None:
        await self.create(version=None)
        await self.worker("w1").one(lanes=(Lane("default", "work", None, pin="7"),))
        self.expire()
        unversioned = (Lane("default", "work", None, pin="8"), Lane("default", "work", "8"))
        assert await self.worker("w2").claim(lanes=unversioned) == []
        again = await self.worker("w3").one(lanes=(Lane("default", "work", "7"),))
        assert again.claim.run.version == "7"

    async def test_a_versioned_run_is_not_pinned_anew(self) -> None:
        await self.create()
        grip = await self.worker().one(lanes=(Lane("default", "work", "1", pin="9"),))
        assert grip.claim.run.version == "1"

    async def test_continue_as_moves_to_the_lane_of_the_new_workflow_and_version(self) -> None:
        grip = await self.grip()
        await grip.commit(then=Continued("next", "3", b"", "d", "s"))
        assert await self.worker("w2").claim() == []
        again = await self.worker("w3").one(lanes=(Lane("default", "next", "3"),))
        assert (again.claim.run.workflow, again.claim.run.version, again.claim.run.queue) == ("next", "3", "default")

    async def test_names_that_hold_one_another_are_different_lanes(self) -> None:
        await self.create("a", queue="q/w", workflow="x")
        await self.create("b", queue="q", workflow="w/x")
        assert [grip.run for grip in await self.worker().claim(lanes=(Lane("q", "w/x", "1"),))] == ["b"]
