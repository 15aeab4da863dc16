"""Fences: who may write, and what is answered to who may not."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from durable.store import (
    Blocked,
    Closed,
    Committed,
    Continued,
    Creation,
    Ended,
    Paused,
    Released,
    RunId,
    RunStatus,
    Terminate,
    Verdict,
    Waiting,
)
from durable_testing.conformance.bench import Bench, Grip, new_run, signal

__all__ = ["Fences"]


class Fences(Bench):
    """``Store.commit``: (epoch, seq, position), ``not_before`` and the stamp (invariants I1, I2, I4, I8; rule 2)."""

    async def refused(self, grip: Grip, verdict: Verdict = Verdict.LEASE_LOST, **fence: object) -> None:
        """A commit that asks for everything is refused, and nothing of it is written."""
        before = await self.row()
        answer = await grip.tried(
            b"refused",
            values=(("refused", b"1"),),
            messages=(signal("refused", "other"),),
            children=(new_run("refused"),),
            **fence,
        )
        assert answer == Committed(verdict, 0.0, self.clock.now(), ())
        assert await self.row() == before
        assert await self.store.get([RunId("refused")]) == [None]
        assert "refused" not in await self.store.values(RunId("r"))

    async def test_a_stale_epoch_is_refused(self) -> None:
        grip = await self.grip()
        self.expire()
        await self.worker("w2").one()
        await self.refused(grip)

    async def test_a_future_epoch_is_refused(self) -> None:
        grip = await self.grip()
        await self.refused(grip, epoch=grip.epoch + 1)

    async def test_a_future_seq_is_refused(self) -> None:
        grip = await self.grip()
        await self.refused(grip, seq=1)

    async def test_a_wrong_position_is_refused_on_either_side(self) -> None:
        grip = await self.grip()
        await grip.commit(b"one")
        await self.refused(grip, position=0)
        await self.refused(grip, position=2)

    async def test_a_run_without_owner_takes_no_commit(self) -> None:
        for then in (Waiting(None, 0), Released(), Paused(), Blocked("engine", "why")):
            await self.create("r", replace=f"{then}")
            grip = await self.worker().one()
            await grip.commit(then=then)
            await self.refused(grip)

    async def test_a_run_that_never_had_an_owner_takes_no_commit(self) -> None:
        grip = await self.grip("other")
        await self.create()
        grip.run = RunId("r")
        await self.refused(grip)

    async def test_an_unknown_run_takes_no_commit(self) -> None:
        grip = await self.grip()
        (answer,) = await self.store.commit([replace(grip.asked(b"e"), run=RunId("nobody"))])
        assert answer == Committed(Verdict.LEASE_LOST, 0.0, self.clock.now())

    async def test_a_terminated_run_takes_no_commit(self) -> None:
        grip = await self.grip()
        await self.control(Terminate("enough", b""))
        await self.refused(grip)

    async def test_an_ended_run_takes_no_commit(self) -> None:
        grip = await self.grip()
        await grip.commit(b"last", then=Ended(RunStatus.COMPLETED, b""))
        await self.refused(grip)

    async def test_nothing_is_appended_to_an_ended_run_by_its_closing_claim(self) -> None:
        await self.end(closing=True)
        grip = await self.worker("w2").one()
        assert (await grip.tried(b"after the end")).verdict is not Verdict.APPLIED
        assert await self.entries() == []

    # ── said again ───────────────────────────────────────────────────────────────────────────────────────────────

    async def test_a_repeat_is_answered_as_the_first_time_and_applied_once(self) -> None:
        await self.create("other")
        worker = self.worker()
        await worker.one()
        grip = await self.grip(worker=worker)
        asked = grip.asked(b"e1", b"e2", messages=(signal("m", "other"),), values=(("k", b"v"),))
        (first,) = await self.store.commit([asked])
        before = await self.row()
        self.clock.advance(7)
        (again,) = await self.store.commit([asked])
        assert first.verdict is Verdict.APPLIED
        assert again == Committed(Verdict.ALREADY_APPLIED, first.at, self.clock.now())
        assert again.at == first.at
        assert await self.row() == before
        assert await self.entries() == [b"e1", b"e2"]
        assert len(await self.unread("other")) == 1

    async def test_an_older_commit_of_the_epoch_is_answered_with_its_own_stamp(self) -> None:
        grip = await self.grip()
        asked, stamps = [], []
        for n in range(3):
            self.clock.advance(1)
            asked.append(grip.asked(b"e%d" % n))
            stamps.append((await grip.commit(b"e%d" % n)).at)
        answers = await self.store.commit(asked)
        assert [answer.verdict for answer in answers] == [Verdict.ALREADY_APPLIED] * 3
        assert [answer.at for answer in answers] == stamps

    async def test_the_commit_that_gave_the_run_up_is_answered_again(self) -> None:
        ends = (
            Waiting(None, 0),
            Released(),
            Paused(),
            Blocked("engine", "why"),
            Continued("work", "1", b"", "d", "s"),
            Ended(RunStatus.COMPLETED, b""),
        )
        for n, then in enumerate(ends):
            grip = await self.grip(f"r{n}", self.worker(f"w{n}"))
            asked = grip.asked(b"e", then=then)
            (first,) = await self.store.commit([asked])
            before = await self.row(f"r{n}")
            self.clock.advance(1)
            (again,) = await self.store.commit([asked])
            assert (first.verdict, again.verdict) == (Verdict.APPLIED, Verdict.ALREADY_APPLIED), then
            assert again.at == first.at
            assert await self.row(f"r{n}") == before
            await self.control(Terminate("out of the way", b""), f"r{n}")
            for closing in await self.worker(f"closer {n}").claim():
                await closing.commit(then=Closed())

    async def test_a_repeat_after_another_claim_is_refused(self) -> None:
        grip = await self.grip()
        asked = grip.asked(b"e", then=Released())
        await self.store.commit([asked])
        await self.worker("w2").one()
        (answer,) = await self.store.commit([asked])
        assert answer.verdict is Verdict.LEASE_LOST

    async def test_the_same_commit_twice_in_one_batch_is_applied_once(self) -> None:
        grip = await self.grip()
        asked = grip.asked(b"e")
        first, second = await self.store.commit([asked, asked])
        assert (first.verdict, second.verdict) == (Verdict.APPLIED, Verdict.ALREADY_APPLIED)
        assert await self.entries() == [b"e"]

    async def test_the_same_commit_from_two_sessions_at_once_is_applied_once(self) -> None:
        other = await self.twin()
        grip = await self.grip()
        asked = grip.asked(b"e")
        answers = await asyncio.gather(*(store.commit([asked]) for store in [self.store, other] * 3))
        verdicts = sorted(answer.verdict for (answer,) in answers)
        assert verdicts == [Verdict.ALREADY_APPLIED] * 5 + [Verdict.APPLIED]
        assert len({answer.at for (answer,) in answers}) == 1

    async def test_seq_begins_at_0_with_each_claim(self) -> None:
        grip = await self.grip()
        await grip.commit(b"one")
        await grip.commit(b"two", then=Released())
        again = await self.worker("w2").one()
        assert (again.seq, again.position) == (0, 2)
        await again.commit(b"three")
        assert await self.entries() == [b"one", b"two", b"three"]

    async def test_a_repeat_reports_the_children_too(self) -> None:
        grip = await self.grip()
        asked = grip.asked(b"e", children=(new_run("c"),))
        (first,) = await self.store.commit([asked])
        (again,) = await self.store.commit([asked])
        assert [child.outcome for child in first.children] == [Creation.CREATED]
        assert [child.digest for child in again.children] == ["digest of c"]

    # ── neighbours ───────────────────────────────────────────────────────────────────────────────────────────────

    async def test_a_refused_commit_does_not_touch_its_neighbours(self) -> None:
        await self.store.create([new_run("a"), new_run("b"), new_run("c")])
        a, b, c = await self.worker().claim()
        answers = await self.store.commit([a.asked(b"a"), b.asked(b"b", seq=5), c.asked(b"c")])
        assert [answer.verdict for answer in answers] == [Verdict.APPLIED, Verdict.LEASE_LOST, Verdict.APPLIED]
        assert (await self.entries("a"), await self.entries("b"), await self.entries("c")) == ([b"a"], [], [b"c"])

    async def test_commits_of_one_run_in_one_batch_are_applied_in_order(self) -> None:
        grip = await self.grip()
        batch = [grip.asked(b"%d" % n, seq=n, position=n) for n in range(5)]
        assert {answer.verdict for answer in await self.store.commit(batch)} == {Verdict.APPLIED}
        assert await self.entries() == [b"0", b"1", b"2", b"3", b"4"]

    async def test_an_empty_batch_of_commits_is_no_error(self) -> None:
        assert list(await self.store.commit([])) == []

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def test_before_not_before_nothing_is_written(self) -> None:
        grip = await self.grip()
        due = self.clock.now() + 10
        self.clock.advance(9.5)
        await self.refused(grip, Verdict.NOT_DUE, not_before=due)
        self.clock.advance(0.5 - 2**-10)
        await self.refused(grip, Verdict.NOT_DUE, not_before=due)
        assert (await grip.tried(b"e", not_before=due)).verdict is Verdict.NOT_DUE
        assert await self.entries() == []
        self.clock.advance(2**-10)
        assert (await grip.commit(b"e", not_before=due)).at == due

    async def test_a_refused_commit_with_not_before_is_refused_for_its_fence(self) -> None:
        grip = await self.grip()
        await self.refused(grip, not_before=self.clock.now() + 10, seq=3)

    async def test_a_commit_is_stamped_with_store_time_in_its_entries_and_its_row(self) -> None:
        grip = await self.grip()
        self.clock.advance(2.25)
        answer = await grip.commit(b"a", b"b")
        assert answer.at == answer.now == self.clock.now()
        assert [row.at for row in await self.rows()] == [answer.at] * 2
        assert (await self.row()).at == answer.at

    async def test_the_stamp_never_goes_back_even_if_the_clock_does(self) -> None:
        grip = await self.grip()
        self.clock.advance(100)
        first = await grip.commit(b"a")
        self.turn_back(50)
        second = await grip.commit(b"b")
        assert second.at == first.at
        assert second.now == self.clock.now() < first.at
        self.clock.advance(60)
        third = await grip.commit(b"c")
        assert third.at == self.clock.now() > second.at
        assert [row.at for row in await self.rows()] == [first.at, second.at, third.at]
