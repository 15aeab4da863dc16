"""Polls: who is claimed, in what order, and what a claim brings."""

from __future__ import annotations

import asyncio

from durable.store import Ended, Held, Lane, RunId, RunStatus, Waiting
from durable_testing.conformance.bench import ALL_BYTES, Bench, new_run, signal

__all__ = ["Claiming"]


class Claiming(Bench):
    """``Store.poll``: claims, their order, their repetition."""

    async def test_a_claim_raises_the_epoch_and_hands_over_the_run(self) -> None:
        await self.create(input=ALL_BYTES)
        await self.send("m1", payload=b"")
        await self.send("m2", payload=ALL_BYTES)
        self.clock.advance(3)
        poll = await self.worker().poll()
        (claim,) = poll.claims
        now = self.clock.now()
        assert poll.now == now
        assert claim.run == await self.row()
        assert (claim.run.status, claim.run.epoch, claim.run.strikes) == (RunStatus.RUNNING, 1, 1)
        assert (claim.run.owner, claim.run.due_at) == ("w1", None)
        assert (claim.run.started_at, claim.run.at) == (now, now)
        assert claim.input == ALL_BYTES
        assert [(one.message.id, one.message.payload) for one in claim.messages] == [("m1", b""), ("m2", ALL_BYTES)]
        assert claim.lonely is False

    async def test_an_empty_input_is_an_input(self) -> None:
        assert (await self.grip(input=b"")).claim.input == b""

    async def test_started_at_is_stamped_by_the_first_claim_only(self) -> None:
        grip = await self.grip()
        started_at = grip.claim.run.started_at
        await grip.commit(b"e", then=Waiting(None, 0))
        self.clock.advance(5)
        await self.send("m")
        again = await self.worker("w2").one()
        assert again.claim.run.started_at == started_at
        assert again.claim.run.at == started_at
        assert again.claim.run.position == 1

    async def test_an_owned_run_is_not_claimed_again(self) -> None:
        worker = self.worker()
        await self.grip(worker=worker)
        assert await worker.claim() == []
        assert await self.worker("w2", await self.twin()).claim() == []

    async def test_two_sessions_polling_at_once_share_the_runs_without_overlap(self) -> None:
        other = await self.twin()
        await self.store.create([new_run(f"r{n}") for n in range(20)])
        workers = [self.worker("w1"), self.worker("w2", other), self.worker("w3"), self.worker("w4", other)]
        claims = await asyncio.gather(*(worker.claim(8) for worker in workers))
        claimed = [grip.run for some in claims for grip in some]
        assert len(claimed) == len(set(claimed)) == 20

    async def test_a_poll_that_follows_a_start_closely_finds_the_run_at_once_or_the_next_one_does(self) -> None:
        worker = self.worker()
        await worker.poll()
        claims: list[str] = []
        for n in range(5):
            _, poll = await asyncio.gather(self.store.create([new_run(f"r{n}")]), worker.poll(ahead=True))
            claims += [claim.run.id for claim in (*poll.claims, *(await worker.poll()).claims)]
        assert claims == [f"r{n}" for n in range(5)]
        assert [(await self.row(f"r{n}")).epoch for n in range(5)] == [1] * 5

    async def test_limit_bounds_new_claims(self) -> None:
        await self.store.create([new_run(f"r{n}") for n in range(5)])
        worker = self.worker()
        assert len(await worker.claim(2)) == 2
        assert len(await worker.claim(2)) == 2
        assert len(await worker.claim(2)) == 1
        assert len(worker.grips) == 5

    async def test_one_poll_takes_as_many_as_it_asks_for(self) -> None:
        await self.store.create([new_run(f"r{n}") for n in range(200)])
        assert len(await self.worker().claim(limit=190)) == 190

    async def test_limit_0_only_reconciles(self) -> None:
        await self.create()
        poll = await self.worker().poll(0)
        assert poll.claims == ()
        assert (await self.row()).status is RunStatus.PENDING
        assert (await self.row()).epoch == 0

    async def test_higher_priority_comes_first_then_earlier_due(self) -> None:
        await self.create("low", priority=-1)
        self.clock.advance(1)
        await self.create("early")
        self.clock.advance(1)
        await self.create("late")
        await self.create("high", priority=5)
        assert [grip.run for grip in await self.worker().claim()] == ["high", "early", "late", "low"]

    async def test_runs_of_one_priority_due_at_one_instant_come_in_the_order_of_creation(self) -> None:
        names = ["m", "b", "z", "a"]
        await self.store.create([new_run(name) for name in names])
        assert [grip.run for grip in await self.worker().claim()] == names

    async def test_a_run_due_for_more_than_a_minute_comes_before_higher_priorities(self) -> None:
        await self.create("aged", priority=-100)
        self.clock.advance(60.5)
        await self.create("urgent", priority=100)
        assert [grip.run for grip in await self.worker().claim()] == ["aged", "urgent"]

    async def test_a_run_due_for_a_minute_is_not_aged_yet(self) -> None:
        await self.create("younger", priority=-100)
        self.clock.advance(60.0)
        await self.create("urgent", priority=100)
        assert [grip.run for grip in await self.worker().claim()] == ["urgent", "younger"]

    async def test_aged_runs_come_by_priority_too(self) -> None:
        await self.create("older", priority=0)
        self.clock.advance(1)
        await self.create("higher", priority=1)
        self.clock.advance(61)
        assert [grip.run for grip in await self.worker().claim()] == ["higher", "older"]

    async def test_paused_blocked_and_ended_runs_are_not_claimed(self) -> None:
        await self.end()
        self.clock.advance(1000)
        assert await self.worker("w2").claim() == []

    async def test_two_thousand_waiting_runs_are_in_nobodys_way(self) -> None:
        runs = [new_run(f"waiting {n}", delay_seconds=1000.0 + n) for n in range(2_000)]
        await self.store.create(runs)
        await self.create("due")
        poll = await self.worker().poll()
        assert [claim.run.id for claim in poll.claims] == ["due"]
        assert poll.next_due_at == self.clock.now() + 1000

    # ── saying a poll again ──────────────────────────────────────────────────────────────────────────────────────

    async def test_the_same_poll_id_returns_the_same_claims_and_no_others(self) -> None:
        await self.create("a")
        worker = self.worker()
        first = await worker.poll(poll_id="p")
        await self.create("b")
        worker.forget()
        second = await worker.poll(poll_id="p")
        assert [claim.run.id for claim in second.claims] == ["a"]
        assert second.claims == first.claims
        assert (await self.row("a")).strikes == 1
        assert [grip.run for grip in await worker.claim(poll_id="q")] == ["b"]

    async def test_a_repeated_poll_returns_its_claims_as_they_now_stand(self) -> None:
        await self.create()
        worker = self.worker()
        await worker.poll(poll_id="p")
        await self.send("m")
        worker.forget()
        (claim,) = (await worker.poll(poll_id="p")).claims
        assert [one.message.id for one in claim.messages] == ["m"]

    async def test_a_repeated_poll_does_not_return_what_was_lost_meanwhile(self) -> None:
        await self.create()
        worker = self.worker()
        await worker.poll(poll_id="p")
        self.expire()
        assert len(await self.worker("w2").claim()) == 1
        assert (await worker.poll(poll_id="p")).claims == ()

    async def test_an_empty_poll_said_again_claims_nothing(self) -> None:
        worker = self.worker()
        await worker.poll(poll_id="p")
        await self.create()
        assert (await worker.poll(poll_id="p")).claims == ()
        assert len(await worker.claim(poll_id="q")) == 1

    async def test_poll_ids_of_two_sessions_have_nothing_to_do_with_each_other(self) -> None:
        await self.create("a")
        assert len(await self.worker("w1").claim(poll_id="p")) == 1
        await self.create("b")
        assert [grip.run for grip in await self.worker("w2").claim(poll_id="p")] == ["b"]

    # ── what the session holds ───────────────────────────────────────────────────────────────────────────────────

    async def test_a_claim_that_the_next_poll_does_not_name_is_released_without_a_strike(self) -> None:
        worker = self.worker()
        await self.grip(worker=worker)
        worker.forget()
        await worker.poll(0)
        row = await self.row()
        assert (row.owner, row.strikes, row.due_at) == (None, 0, self.clock.now())
        again = await worker.one()
        assert again.epoch == 2

    async def test_a_held_run_that_is_named_with_an_old_epoch_is_lost_and_released(self) -> None:
        worker = self.worker()
        grip = await self.grip(worker=worker)
        poll = await worker.poll(0, held=(Held(grip.run, grip.epoch - 1),))
        assert poll.lost == ("r",)
        assert (await self.row()).owner is None

    async def test_what_is_named_stays(self) -> None:
        worker = self.worker()
        await self.grip(worker=worker)
        for _ in range(3):
            self.clock.advance(10)
            poll = await worker.poll()
            assert (poll.lost, poll.claims) == ((), ())
        assert (await self.row()).owner == "w1"

    async def test_runs_that_are_not_the_sessions_are_reported_lost(self) -> None:
        await self.create()
        await self.worker("w1").claim()
        poll = await self.worker("w2").poll(held=(Held(RunId("r"), 1), Held(RunId("nobody"), 1)))
        assert set(poll.lost) == {"r", "nobody"}
        assert (await self.row()).owner == "w1"

    async def test_a_run_that_was_given_up_is_reported_lost_if_it_is_still_named(self) -> None:
        worker = self.worker()
        grip = await self.grip(worker=worker)
        await grip.commit(then=Ended(RunStatus.COMPLETED, b""))
        assert (await worker.poll()).lost == ("r",)

    async def test_a_poll_brings_unread_messages_of_held_runs_that_were_not_seen(self) -> None:
        worker = self.worker()
        grip = await self.grip(worker=worker)
        for n in range(1, 5):
            await self.send(f"m{n}")
        await grip.commit(b"e", consumed=("m3",))
        poll = await worker.poll(held=(Held(RunId("r"), 1, seen=1),))
        assert [(one.message.id, one.seq) for one in poll.messages] == [("m2", 2), ("m4", 4)]

    async def test_lost_runs_bring_no_messages(self) -> None:
        await self.grip(worker=self.worker("w1"))
        await self.send("m")
        poll = await self.worker("w2").poll(held=(Held(RunId("r"), 1),))
        assert poll.messages == ()

    async def test_a_claim_brings_at_most_a_thousand_messages_and_polls_bring_the_rest(self) -> None:
        await self.create()
        await self.store.send([signal(f"m{n}") for n in range(1, 1_003)])
        worker = self.worker()
        (claim,) = (await worker.poll()).claims
        assert [one.seq for one in claim.messages] == list(range(1, 1_001))
        poll = await worker.poll(held=(Held(RunId("r"), 1, seen=1_000),))
        assert [one.seq for one in poll.messages] == [1_001, 1_002]

    # ── the next instant ─────────────────────────────────────────────────────────────────────────────────────────

    async def test_next_due_at_is_none_when_nothing_will_happen_by_itself(self) -> None:
        grip = await self.grip()
        await grip.commit(b"e", then=Waiting(None, 0))
        assert (await self.worker().poll()).next_due_at is None

    async def test_next_due_at_is_the_earliest_due_time_in_the_lanes(self) -> None:
        now = self.clock.now()
        await self.create("later", delay_seconds=50.0)
        await self.create("sooner", delay_seconds=20.0, priority=-5)
        await self.create("elsewhere", delay_seconds=1.0, workflow="other")
        assert (await self.worker().poll()).next_due_at == now + 20

    async def test_next_due_at_is_not_after_now_if_more_is_claimable(self) -> None:
        await self.store.create([new_run("a"), new_run("b")])
        poll = await self.worker().poll(1)
        assert poll.next_due_at is not None
        assert poll.next_due_at <= poll.now

    async def test_next_due_at_tells_when_another_sessions_lease_ends(self) -> None:
        await self.grip(worker=self.worker("w1"))
        self.clock.advance(4)
        poll = await self.worker("w2").poll()
        assert poll.next_due_at == self.clock.now() + 11
        elsewhere = await self.worker("w3").poll(lanes=(Lane("default", "other", "1"),))
        assert elsewhere.next_due_at is None
