"""The closing lane: ended runs whose children are still to be closed (rule 19)."""

from __future__ import annotations

from durable.store import CLOSING_LANE, Closed, Ended, Released, Retry, RunStatus, Verdict, Waiting
from durable_testing.conformance.bench import LANE, Bench, new_run, signal

__all__ = ["Closing"]


class Closing(Bench):
    """``closing``, from ``Ended`` to ``Closed``."""

    async def test_an_end_that_is_closing_is_due_in_the_closing_lane(self) -> None:
        await self.end(closing=True)
        row = await self.row()
        assert (row.status, row.closing, row.owner) == (RunStatus.COMPLETED, True, None)
        assert row.due_at == self.clock.now()
        assert await self.worker("w2").claim(lanes=(LANE,)) == []
        grip = await self.worker("w2").one(lanes=(CLOSING_LANE,))
        claim = grip.claim
        assert (claim.run.status, claim.run.epoch, claim.run.owner) == (RunStatus.COMPLETED, 2, "w2")
        assert (claim.run.closing, claim.run.strikes, claim.lonely) == (True, 0, False)
        assert claim.run.version == "1"

    async def test_a_closing_claim_hands_on_complete_back(self) -> None:
        grip = await self.grip(on_complete=b"")
        await grip.commit(then=Ended(RunStatus.FAILED, b"", "why", closing=True))
        assert (await self.worker("w2").one()).claim.run.on_complete == b""

    async def test_closing_goes_page_by_page_and_is_given_up_with_closed(self) -> None:
        await self.end(closing=True)
        grip = await self.worker("w2").one()
        await grip.commit(children=(new_run("after"),), messages=(signal("m", "after"),))
        assert (await self.row()).owner == "w2"
        await grip.commit(then=Closed())
        row = await self.row()
        assert (row.status, row.closing, row.owner, row.due_at) == (RunStatus.COMPLETED, False, None, None)
        assert len(await self.unread("after")) == 1
        assert (await grip.tried()).verdict is Verdict.LEASE_LOST

    async def test_a_closing_claim_can_be_given_back_unfinished(self) -> None:
        await self.end(closing=True)
        grip = await self.worker("w2").one()
        await grip.commit(then=Released())
        row = await self.row()
        assert (row.status, row.closing, row.owner, row.due_at) == (RunStatus.COMPLETED, True, None, self.clock.now())

    async def test_a_closing_claim_cannot_bring_the_run_back_to_life(self) -> None:
        await self.end(closing=True)
        grip = await self.worker("w2").one()
        for then in (Waiting(None, 0), Ended(RunStatus.FAILED, b"")):
            assert (await grip.tried(then=then)).verdict is not Verdict.APPLIED
        assert (await self.row()).status is RunStatus.COMPLETED

    async def test_crashes_while_closing_count_no_strikes_and_never_block(self) -> None:
        await self.end(closing=True)
        for n in range(8):
            claim = (await self.worker(f"c{n}").one(lonely_after=1, crash_budget=1)).claim
            assert (claim.run.status, claim.run.strikes, claim.lonely) == (RunStatus.COMPLETED, 0, False)
            self.expire()

    async def test_many_closing_runs_may_be_claimed_by_one_poll(self) -> None:
        for id in ("a", "b"):
            grip = await self.grip(id, self.worker(id))
            await grip.commit(then=Ended(RunStatus.COMPLETED, b"", closing=True))
            await self.worker("w2").poll(0)
            if id == "a":
                await self.worker("hold").claim(lanes=(CLOSING_LANE,))
        self.expire()
        assert sorted(grip.run for grip in await self.worker("w3").claim()) == ["a", "b"]

    async def test_closed_on_a_live_run_goes_on_as_running(self) -> None:
        await self.end()
        await self.control(Retry(b"order"))
        assert (await self.row()).closing is True
        grip = await self.worker("w2").one()
        await grip.commit(then=Closed())
        row = await self.row()
        assert (row.status, row.owner, row.closing, row.due_at) == (RunStatus.RUNNING, "w2", False, None)

    async def test_a_run_that_ends_while_it_is_still_closing_goes_to_the_closing_lane(self) -> None:
        await self.end()
        await self.control(Retry(b"order"))
        grip = await self.worker("w2").one()
        await grip.commit(then=Ended(RunStatus.COMPLETED, b"", closing=False))
        row = await self.row()
        assert (row.closing, row.due_at) == (True, self.clock.now())
