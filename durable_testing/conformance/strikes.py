"""Claims without progress: back-off, loneliness, the crash budget (rule 10)."""

from __future__ import annotations

from durable.store import Paused, Released, Resume, RunStatus, Then, VerbOutcome, Waiting
from durable_testing.conformance.bench import Bench, Grip, new_run

__all__ = ["Strikes"]


class Strikes(Bench):
    """A run that kills its workers is claimed with back-off, then alone, then not at all."""

    async def crash(self, times: int, **want: int) -> None:
        """Claim ``r`` and die, that many times, each time waiting as long as it takes."""
        for n in range(times):
            grip = await self.next_claim(**want)
            assert grip.claim.run.strikes == n + 1
            self.expire()

    async def next_claim(self, **want: int) -> Grip:
        self.count = getattr(self, "count", 0) + 1
        worker = self.worker(f"victim {self.count}")
        for _ in range(3):
            claims = await worker.claim(**want)
            if claims:
                return claims[0]
            self.clock.advance(61)
        raise AssertionError("the run is not claimable")

    async def test_the_first_claims_come_at_once_and_in_company(self) -> None:
        await self.create()
        for n in range(1, 4):
            claim = (await self.worker(f"w{n}").one()).claim
            assert (claim.run.strikes, claim.lonely) == (n, False)
            self.expire()

    async def test_after_three_claims_without_progress_a_run_backs_off_and_is_claimed_lonely(self) -> None:
        await self.create()
        await self.crash(3)
        now = self.clock.now()
        poll = await self.worker("w").poll()
        assert poll.claims == ()
        assert poll.next_due_at == (await self.row()).due_at == now + 1  # 2 ** 0
        self.clock.advance(1)
        claim = (await self.worker("w").one()).claim
        assert (claim.run.strikes, claim.lonely) == (4, True)

    async def test_the_back_off_doubles_up_to_a_minute(self) -> None:
        await self.create()
        await self.crash(3)
        for wait in (1, 2, 4, 8, 16, 32, 60, 60):
            now = self.clock.now()
            await self.worker("observer").poll(0)
            assert (await self.row()).due_at == now + wait
            self.clock.advance(wait)
            assert (await self.worker(f"after {wait} {now}").one()).claim.lonely is True
            self.expire()

    async def test_of_lonely_claims_there_is_one_per_poll(self) -> None:
        await self.store.create([new_run("a"), new_run("b")])
        await self.worker("w1").claim()
        self.expire()
        worker = self.worker("w2")
        await worker.poll(0)
        await self.create("c")
        self.clock.advance(5)
        poll = await worker.poll(lonely_after=1)
        assert [(claim.run.id, claim.lonely) for claim in poll.claims] == [("a", True), ("c", False)]
        assert poll.next_due_at is not None
        assert poll.next_due_at <= poll.now
        later = await worker.poll(lonely_after=1)
        assert [(claim.run.id, claim.lonely) for claim in later.claims] == [("b", True)]

    async def test_a_run_that_spent_its_crash_budget_is_blocked_instead_of_claimed(self) -> None:
        await self.create()
        await self.crash(4, lonely_after=2, crash_budget=2)
        worker = self.worker("w")
        await worker.poll(0)
        self.clock.advance(60)
        await self.create("other")
        assert [grip.run for grip in await worker.claim(lonely_after=2, crash_budget=2)] == ["other"]
        row = await self.row()
        assert (row.status, row.blocked_kind, row.blocked_call) == (RunStatus.BLOCKED, "crash_budget", None)
        assert row.blocked
        assert (row.owner, row.due_at, row.epoch) == (None, None, 4)

    async def test_by_default_thirteen_claims_are_the_end(self) -> None:
        await self.create()
        await self.crash(13)
        await self.worker("w").poll(0)
        self.clock.advance(60)
        assert await self.worker("w").claim() == []
        assert (await self.row()).status is RunStatus.BLOCKED

    async def test_resume_forgives(self) -> None:
        await self.create()
        await self.crash(2, lonely_after=1, crash_budget=1)
        await self.worker("w").poll(0)
        self.clock.advance(60)
        await self.worker("w").poll(lonely_after=1, crash_budget=1)
        assert (await self.control(Resume())).outcome is VerbOutcome.DONE
        claim = (await self.worker("w").one()).claim
        assert (claim.run.strikes, claim.lonely, claim.run.blocked_kind) == (1, False, None)

    async def test_an_entry_is_progress(self) -> None:
        await self.create()
        await self.crash(2)
        grip = await self.next_claim()
        await grip.commit(b"e")
        assert (await self.row()).strikes == 0
        self.expire()
        assert (await self.next_claim()).claim.run.strikes == 1

    async def test_a_commit_without_entries_that_goes_on_running_is_not_progress(self) -> None:
        grip = await self.grip()
        await grip.commit(values=(("k", b"v"),))
        assert (await self.row()).strikes == 1

    async def test_coming_to_rest_is_progress(self) -> None:
        rests: dict[str, Then] = {"waiting": Waiting(None, 0), "paused": Paused()}
        for id, then in rests.items():
            grip = await self.grip(id)
            await grip.commit(then=then)
            assert (await self.row(id)).strikes == 0

    async def test_a_drained_run_takes_back_its_claims_strike_and_no_other(self) -> None:
        await self.create()
        await self.crash(2)
        grip = await self.next_claim()
        assert grip.claim.run.strikes == 3
        await grip.commit(then=Released())
        row = await self.row()
        assert (row.strikes, row.status, row.owner, row.due_at) == (2, RunStatus.WAITING, None, self.clock.now())

    async def test_a_drained_run_that_made_progress_has_no_strikes(self) -> None:
        await self.create()
        await self.crash(2)
        grip = await self.next_claim()
        await grip.commit(b"e", then=Released())
        assert (await self.row()).strikes == 0

    async def test_releases_never_bring_strikes_below_0(self) -> None:
        grip = await self.grip()
        await grip.commit(b"e")
        await self.store.leave((await self.row()).owner or self.worker().session.id)
        assert (await self.row()).strikes == 0

    async def test_an_unnamed_claim_counts_no_strike_however_often(self) -> None:
        await self.create()
        worker = self.worker()
        for _ in range(20):
            assert (await worker.one()).claim.lonely is False
            worker.forget()
        assert (await self.row()).strikes == 1
