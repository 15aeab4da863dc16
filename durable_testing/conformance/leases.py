"""Sessions and their leases: who holds what, for how long."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from durable.store import CLOSING_LANE, Ended, RunStatus, SessionId, Verdict
from durable_testing.conformance.bench import LANES, LEASE_SECONDS, Bench, Worker

__all__ = ["Leases"]


class Leases(Bench):
    """``poll``, ``renew``, ``leave`` and ``sessions`` as far as they are about leases."""

    async def test_a_run_is_kept_until_its_lease_ends_and_not_longer(self) -> None:
        await self.grip(worker=self.worker("w1"))
        self.clock.advance(LEASE_SECONDS - 0.5)
        assert await self.worker("w2").claim() == []
        self.clock.advance(0.5)
        again = await self.worker("w2").one()
        assert again.epoch == 2
        assert again.claim.run.owner == "w2"

    async def test_a_poll_renews_the_lease(self) -> None:
        worker = self.worker("w1")
        await self.grip(worker=worker)
        self.clock.advance(10)
        await worker.poll(0)
        self.clock.advance(10)
        assert await self.worker("w2").claim() == []

    async def test_a_heartbeat_renews_the_lease(self) -> None:
        worker = self.worker("w1")
        await self.grip(worker=worker)
        self.clock.advance(10)
        assert await self.store.renew(worker.session) is True
        self.clock.advance(10)
        assert await self.worker("w2").claim() == []
        self.clock.advance(5)
        assert len(await self.worker("w2").claim()) == 1

    async def test_a_heartbeat_from_another_thread_on_a_dedicated_store_counts(self) -> None:
        worker = self.worker("w1")
        await self.grip(worker=worker)
        self.clock.advance(10)
        heartbeat = self.store.dedicated()

        async def beat() -> bool:
            await heartbeat.open()
            try:
                return await heartbeat.renew(worker.session)
            finally:
                await heartbeat.close()

        assert await asyncio.to_thread(lambda: asyncio.run(beat())) is True
        self.clock.advance(10)
        assert await self.worker("w2").claim() == []

    async def test_a_heartbeat_says_so_if_runs_were_lost(self) -> None:
        worker = self.worker("w1")
        await self.grip(worker=worker)
        self.expire()
        assert len(await self.worker("w2").claim()) == 1
        assert await self.store.renew(worker.session) is False
        poll = await worker.poll(0)
        assert poll.lost == ("r",)
        assert await self.store.renew(worker.session) is False  # that poll's answer may be late, or lost
        assert (await worker.poll(0)).lost == ()  # it does not name the run any more, so it has heard
        assert await self.store.renew(worker.session) is True

    async def test_a_session_that_expired_unnoticed_goes_on(self) -> None:
        worker = self.worker("w1")
        grip = await self.grip(worker=worker)
        self.clock.advance(LEASE_SECONDS * 3)
        poll = await worker.poll()
        assert (poll.lost, poll.claims) == ((), ())
        await grip.commit(b"still mine")

    async def test_the_old_owner_cannot_write_after_its_run_was_taken(self) -> None:
        grip = await self.grip(worker=self.worker("w1"))
        self.expire()
        again = await self.worker("w2").one()
        assert (await grip.tried(b"zombie")).verdict is Verdict.LEASE_LOST
        await again.commit(b"mine")
        assert await self.entries() == [b"mine"]

    async def test_the_old_owner_cannot_write_after_its_run_was_released_though_nobody_took_it(self) -> None:
        grip = await self.grip(worker=self.worker("w1"))
        self.expire()
        await self.worker("w2").poll(0)
        assert (await self.row()).owner is None
        assert (await grip.tried(b"zombie")).verdict is Verdict.LEASE_LOST
        assert await self.entries() == []

    async def test_a_released_run_keeps_its_status_and_is_due_at_once(self) -> None:
        await self.grip(worker=self.worker("w1"))
        self.expire()
        await self.worker("w2").poll(0)
        row = await self.row()
        assert (row.status, row.due_at, row.strikes) == (RunStatus.RUNNING, self.clock.now(), 1)

    async def test_expired_sessions_lose_runs_of_every_lane(self) -> None:
        await self.grip(worker=self.worker("w1"))
        self.expire()
        await self.worker("w2").poll(0, lanes=())
        assert (await self.row()).owner is None

    async def test_one_heartbeat_renews_every_run_of_the_session(self) -> None:
        worker = self.worker("w1")
        await self.create("a")
        await self.create("b")
        await worker.claim()
        self.clock.advance(14)
        await self.store.renew(worker.session)
        self.clock.advance(14)
        assert await self.worker("w2").claim() == []

    async def test_a_heartbeat_of_one_session_renews_no_other(self) -> None:
        await self.grip(worker=self.worker("w1"))
        self.clock.advance(10)
        other = self.worker("w2")
        assert await self.store.renew(other.session) is True
        self.clock.advance(LEASE_SECONDS - 10)
        assert len(await other.claim()) == 1

    async def test_sessions_have_leases_of_their_own_length(self) -> None:
        await self.create()
        short = Worker(self.store, "short")
        short.session = type(short.session)(SessionId("short"), "short", lease_seconds=2.0)
        await short.one()
        self.clock.advance(2)
        assert len(await self.worker("w2").claim()) == 1

    # ── leaving ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def test_who_leaves_gives_its_runs_back_without_a_strike(self) -> None:
        worker = self.worker("w1")
        grip = await self.grip(worker=worker)
        await self.store.leave(worker.session.id)
        row = await self.row()
        assert (row.owner, row.strikes, row.due_at) == (None, 0, self.clock.now())
        assert (await grip.tried(b"gone")).verdict is Verdict.LEASE_LOST
        assert (await self.worker("w2").one()).epoch == 2

    async def test_a_session_that_left_stays_recorded_as_dead(self) -> None:
        worker = self.worker("w1")
        await worker.poll()
        await self.store.leave(worker.session.id)
        await self.store.leave(worker.session.id)
        (record,) = await self.store.sessions()
        assert (record.id, record.alive, record.held) == ("w1", False, 0)

    async def test_leaving_unknown_is_no_error(self) -> None:
        await self.store.leave(SessionId("nobody"))
        assert list(await self.store.sessions()) == []

    async def test_a_closing_claim_is_given_back_by_leave_and_by_expiry(self) -> None:
        await self.end(closing=True)
        worker = self.worker("w2")
        await worker.one()
        await self.store.leave(worker.session.id)
        again = await self.worker("w3").one()
        assert again.claim.run.status is RunStatus.COMPLETED
        self.expire()
        last = await self.worker("w4").one(lanes=(CLOSING_LANE,))
        assert (last.epoch, last.claim.run.strikes) == (4, 0)

    # ── the record ───────────────────────────────────────────────────────────────────────────────────────────────

    async def test_sessions_tells_who_is_there_newest_first(self) -> None:
        first = self.clock.now()
        await self.grip(worker=self.worker("w1"))
        self.clock.advance(4)
        await self.worker("w2", await self.twin()).poll()
        newer, older = await self.store.sessions()
        assert (newer.id, older.id) == ("w2", "w1")
        assert (older.name, older.registered, older.queues) == ("host:w1", (("work", "1"),), ("default",))
        assert (older.started_at, older.seen_at, older.expires_at) == (first, first, first + LEASE_SECONDS)
        assert (older.alive, older.held, newer.held) == (True, 1, 0)
        assert newer.started_at == first + 4

    async def test_what_a_session_says_of_itself_is_known_from_its_next_poll(self) -> None:
        worker = self.worker("w1")
        await worker.poll(0)
        worker.session = replace(worker.session, registered=(("other", "2"),), queues=("mail",))
        await worker.poll(0)
        (record,) = await self.store.sessions()
        assert (record.registered, record.queues) == ((("other", "2"),), ("mail",))

    async def test_a_dead_session_is_remembered_for_a_day(self) -> None:
        await self.worker("w1").poll()
        self.clock.advance(86_400 - 60)
        await self.worker("w2").poll()
        records = {record.id: record.alive for record in await self.store.sessions()}
        assert records == {SessionId("w1"): False, SessionId("w2"): True}

    async def test_a_session_is_dead_from_the_instant_its_lease_ends(self) -> None:
        worker = self.worker("w1")
        await worker.poll()
        self.clock.advance(LEASE_SECONDS - 0.5)
        assert [record.alive for record in await self.store.sessions()] == [True]
        self.clock.advance(0.5)
        assert [record.alive for record in await self.store.sessions()] == [False]

    async def test_a_clock_that_jumps_back_takes_nobodys_run_away(self) -> None:
        worker = self.worker("w1")
        grip = await self.grip(worker=worker)
        self.turn_back(3600)
        assert await self.worker("w2").claim(lanes=LANES) == []
        assert (await worker.poll()).lost == ()
        await grip.commit(b"e", then=Ended(RunStatus.COMPLETED, b""))
