"""Operator verbs, one by one."""

from __future__ import annotations

import asyncio

from durable.store import (
    Blocked,
    Cancel,
    Control,
    Controlled,
    Ended,
    Fork,
    MessageKind,
    Parent,
    Pause,
    Paused,
    Resume,
    Retry,
    RunId,
    RunStatus,
    Settle,
    Terminate,
    VerbOutcome,
    Verdict,
    Waiting,
)
from durable_testing.conformance.bench import ALL_BYTES, Bench, new_run

__all__ = ["Verbs"]

CANCEL = Cancel("no longer wanted", b"reason", b"cancelled")
TERMINATE = Terminate("enough", b"terminated")


class Verbs(Bench):
    """``Store.control``: what each verb does. Which is allowed when stands in ``verb_table``."""

    async def waiting_parent(self, notify: bool = True) -> Parent:
        """Run ``p``, waiting in generation 1 for its child's result."""
        grip = await self.grip("p")
        await grip.commit(b"e", then=Waiting(None, 0))
        return Parent(RunId("p"), "the call", 1, "cancel", notify)

    async def told(self, outcome: bytes) -> None:
        """The parent was told the end of its child ``r``."""
        (one,) = await self.unread("p")
        message = one.message
        assert (message.id, message.kind, message.name) == ("result/r/1", MessageKind.RESULT, "the call")
        assert (message.payload, message.generation) == (outcome, 1)
        assert (await self.row("p")).due_at == self.clock.now()

    # ── cancel ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def test_cancel_of_a_never_claimed_run_ends_it_at_once_and_tells_its_parent(self) -> None:
        await self.create(parent=await self.waiting_parent())
        self.clock.advance(1)
        assert await self.control(CANCEL) == Controlled(VerbOutcome.DONE, RunStatus.CANCELLED, 1)
        row = await self.row()
        assert (row.status, row.ended_at, row.terminated) == (RunStatus.CANCELLED, self.clock.now(), False)
        assert (row.closing, row.due_at, row.error) == (True, self.clock.now(), "no longer wanted")
        assert await self.store.outcome(RunId("r")) == b"cancelled"
        await self.told(b"cancelled")

    async def test_a_cancelled_run_is_closed_by_a_closing_claim(self) -> None:
        await self.create(on_complete=b"then")
        await self.control(CANCEL)
        claim = (await self.worker().one()).claim
        assert (claim.run.status, claim.run.started_at) == (RunStatus.CANCELLED, None)

    async def test_a_parent_that_does_not_wait_is_not_told(self) -> None:
        await self.create(parent=await self.waiting_parent(notify=False))
        await self.control(CANCEL)
        assert list(await self.unread("p")) == []

    async def test_cancel_of_a_blocked_run_ends_it_at_once(self) -> None:
        parent = await self.waiting_parent()
        grip = await self.grip(parent=parent)
        await grip.commit(then=Blocked("engine", "why", "call"))
        assert (await self.control(CANCEL)).outcome is VerbOutcome.DONE
        row = await self.row()
        assert (row.status, row.blocked, row.blocked_kind, row.blocked_call) == (RunStatus.CANCELLED, None, None, None)
        await self.told(b"cancelled")

    async def test_cancel_of_a_running_run_is_a_message_once(self) -> None:
        await self.grip()
        assert await self.control(CANCEL) == Controlled(VerbOutcome.ASKED, RunStatus.RUNNING, 1)
        (one,) = await self.unread()
        assert (one.message.kind, one.message.payload) == (MessageKind.CANCEL, b"reason")
        assert (await self.control(CANCEL, request="another")).outcome is VerbOutcome.ALREADY
        assert len(await self.unread()) == 1

    async def test_a_second_cancel_is_already_even_when_the_first_was_consumed(self) -> None:
        grip = await self.grip()
        await self.control(CANCEL)
        (one,) = await self.unread()
        await grip.commit(b"e", consumed=(one.message.id,))
        assert (await self.control(CANCEL, request="another")).outcome is VerbOutcome.ALREADY
        assert list(await self.unread()) == []

    async def test_cancel_wakes_a_waiting_run(self) -> None:
        grip = await self.grip()
        await grip.commit(b"e", then=Waiting(None, 0))
        assert (await self.control(CANCEL)).outcome is VerbOutcome.ASKED
        assert (await self.row()).due_at == self.clock.now()

    async def test_cancel_of_a_paused_run_makes_it_waiting_and_due(self) -> None:
        grip = await self.grip()
        await grip.commit(b"e", then=Paused())
        assert await self.control(CANCEL) == Controlled(VerbOutcome.ASKED, RunStatus.WAITING, 1)
        assert (await self.row()).due_at == self.clock.now()
        claim = (await self.worker("w2").one()).claim
        assert [one.message.kind for one in claim.messages] == [MessageKind.CANCEL]

    async def test_each_generation_can_be_cancelled(self) -> None:
        grip = await self.grip()
        await self.control(CANCEL, request="1")
        (one,) = await self.unread()
        await grip.commit(b"e", consumed=(one.message.id,), then=Ended(RunStatus.CANCELLED, b""))
        await self.control(Retry(b""), request="2")
        await self.worker("w2").one()
        assert (await self.control(CANCEL, request="3")).outcome is VerbOutcome.ASKED
        assert [one.message.kind for one in await self.unread()] == [MessageKind.CANCEL]

    # ── terminate ────────────────────────────────────────────────────────────────────────────────────────────────

    async def test_terminate_fences_the_owner_and_tells_the_parent(self) -> None:
        parent = await self.waiting_parent()
        worker = self.worker()
        grip = await self.grip(parent=parent, worker=worker)
        self.clock.advance(1)
        assert await self.control(TERMINATE) == Controlled(VerbOutcome.DONE, RunStatus.CANCELLED, 1)
        row = await self.row()
        assert (row.status, row.terminated, row.error) == (RunStatus.CANCELLED, True, "enough")
        assert (row.epoch, row.owner, row.ended_at) == (grip.epoch + 1, None, self.clock.now())
        assert await self.store.outcome(RunId("r")) == b"terminated"
        assert (await grip.tried(b"zombie")).verdict is Verdict.LEASE_LOST
        assert (await worker.poll(0)).lost == ("r",)
        await self.told(b"terminated")

    async def test_a_terminated_run_with_children_or_on_complete_is_closing(self) -> None:
        grip = await self.grip()
        await grip.commit(b"e", children=(new_run("c", parent=Parent(RunId("r"), "c", 1, "cancel")),))
        await self.create("o", on_complete=b"")
        for id in ("r", "o"):
            await self.control(TERMINATE, id)
            row = await self.row(id)
            assert (row.closing, row.due_at) == (True, self.clock.now())

    async def test_a_terminated_run_is_never_executed_again(self) -> None:
        await self.create()
        await self.control(TERMINATE)
        for grip in await self.worker().claim():
            assert grip.claim.run.status is RunStatus.CANCELLED

    # ── pause, resume ────────────────────────────────────────────────────────────────────────────────────────────

    async def test_pause_of_an_owned_run_is_a_message(self) -> None:
        await self.grip()
        assert await self.control(Pause()) == Controlled(VerbOutcome.ASKED, RunStatus.RUNNING, 1)
        assert [one.message.kind for one in await self.unread()] == [MessageKind.PAUSE]
        assert (await self.row()).owner == "w1"

    async def test_pause_of_any_other_live_run_is_done_at_once(self) -> None:
        await self.create("pending", delay_seconds=100.0)
        grip = await self.grip("waiting")
        await grip.commit(b"e", then=Waiting(self.clock.now() + 100, 0))
        for id in ("pending", "waiting"):
            assert await self.control(Pause(), id) == Controlled(VerbOutcome.DONE, RunStatus.PAUSED, 1)
            assert (await self.row(id)).due_at is None
        self.clock.advance(1000)
        assert await self.worker().claim() == []

    async def test_resume_of_a_paused_run_makes_it_due_now(self) -> None:
        await self.create("never claimed", delay_seconds=100.0)
        grip = await self.grip("claimed")
        await grip.commit(b"e", then=Waiting(self.clock.now() + 100, 0))
        for id, status in {"never claimed": RunStatus.PENDING, "claimed": RunStatus.WAITING}.items():
            await self.control(Pause(), id)
            assert await self.control(Resume(), id, "resume") == Controlled(VerbOutcome.DONE, status, 1)
            assert (await self.row(id)).due_at == self.clock.now()

    async def test_resume_of_a_blocked_run_clears_why(self) -> None:
        grip = await self.grip()
        await grip.commit(then=Blocked("engine", "why", "call"))
        assert (await self.control(Resume())).outcome is VerbOutcome.DONE
        row = await self.row()
        assert (row.status, row.blocked, row.blocked_kind, row.blocked_call) == (RunStatus.WAITING, None, None, None)
        assert (row.strikes, row.due_at) == (0, self.clock.now())

    async def test_resume_takes_back_a_pause_that_was_not_carried_out(self) -> None:
        await self.grip()
        await self.control(Pause(), request="1")
        assert await self.control(Resume(), request="2") == Controlled(VerbOutcome.DONE, RunStatus.RUNNING, 1)
        assert list(await self.unread()) == []
        assert (await self.control(Resume(), request="3")).outcome is VerbOutcome.ALREADY

    async def test_a_run_can_be_paused_again_after_resume(self) -> None:
        await self.grip()
        for n in range(3):
            assert (await self.control(Pause(), request=f"pause {n}")).outcome is VerbOutcome.ASKED
            assert (await self.control(Resume(), request=f"resume {n}")).outcome is VerbOutcome.DONE

    async def test_two_pauses_are_taken_back_by_one_resume(self) -> None:
        await self.grip()
        await self.control(Pause(), request="1")
        await self.control(Pause(), request="2")
        await self.control(Resume(), request="3")
        assert list(await self.unread()) == []

    # ── retry, fork, settle ──────────────────────────────────────────────────────────────────────────────────────

    async def test_retry_begins_the_next_generation_with_an_order(self) -> None:
        grip = await self.grip(input=ALL_BYTES)
        await grip.commit(b"e", flushed=(1, 1))
        await grip.commit(then=Ended(RunStatus.FAILED, b"", "why", keep_seconds=0.0))
        started_at = (await self.row()).started_at
        self.clock.advance(1)
        assert await self.control(Retry(b"")) == Controlled(VerbOutcome.DONE, RunStatus.PENDING, 2)
        row = await self.row()
        assert (row.status, row.generation, row.position, row.flushed) == (RunStatus.PENDING, 2, 0, (0, 0))
        assert (row.due_at, row.rewind, row.closing) == (self.clock.now(), b"", True)
        assert (row.started_at, row.error, row.ended_at, row.seed) == (started_at, None, None, "seed of r")
        assert await self.store.outcome(RunId("r")) is None
        assert await self.store.input(RunId("r")) == ALL_BYTES
        again = await self.worker("w2").one()
        assert again.claim.run.started_at == started_at

    async def test_retry_of_a_terminated_run_clears_the_mark(self) -> None:
        await self.create()
        await self.control(TERMINATE, request="1")
        await self.control(Retry(b""), request="2")
        assert (await self.row()).terminated is False

    async def test_retry_takes_away_the_pauses_of_the_generation_that_has_ended(self) -> None:
        grip = await self.grip()
        await self.control(Pause(), request="1")
        await grip.commit(then=Ended(RunStatus.FAILED, b"", "why", keep_seconds=0.0))
        assert [one.message.kind for one in await self.unread()] == [MessageKind.PAUSE]
        await self.control(Retry(b""), request="2")
        assert await self.unread() == []

    async def test_retry_takes_the_run_from_who_was_closing_it(self) -> None:
        await self.end(closing=True)
        grip = await self.worker("w2").one()
        assert (await self.control(Retry(b"order"))).outcome is VerbOutcome.DONE
        assert (await grip.tried()).verdict is Verdict.LEASE_LOST
        assert (await self.row()).epoch > grip.epoch
        assert (await self.worker("w3").one()).epoch > grip.epoch

    async def test_fork_creates_a_run_from_this_one(self) -> None:
        grip = await self.grip(version="1")
        await grip.commit(b"e")
        self.clock.advance(3)
        new = new_run("fork", version=None, labels={"l": "1"}, delay_seconds=9.0, digest="other")
        assert await self.control(Fork(new, b"order")) == Controlled(VerbOutcome.DONE, RunStatus.RUNNING, 1)
        row, source = await self.row("fork"), await self.row()
        assert (row.status, row.generation, row.epoch, row.position) == (RunStatus.PENDING, 1, 0, 0)
        assert (row.version, row.seed, row.digest, row.rewind) == ("1", source.seed, source.digest, b"order")
        assert (row.started_at, row.created_at) == (source.started_at, self.clock.now())
        assert (row.due_at, dict(row.labels)) == (self.clock.now() + 9, {"l": "1"})
        assert await self.store.input(RunId("fork")) == b"input of r"

    async def test_fork_may_name_another_version(self) -> None:
        await self.create()
        await self.control(Fork(new_run("fork", version="2"), b"order"))
        assert (await self.row("fork")).version == "2"

    async def test_fork_to_an_id_that_is_taken_changes_nothing(self) -> None:
        await self.create()
        await self.create("taken")
        before = await self.row("taken")
        assert (await self.control(Fork(new_run("taken"), b"order"))).outcome is VerbOutcome.EXISTS
        assert await self.row("taken") == before

    async def test_settle_appends_one_entry_to_a_blocked_run(self) -> None:
        grip = await self.grip()
        await grip.commit(b"e0", then=Blocked("unknown_outcome", "why", "call"))
        self.clock.advance(2)
        assert (await self.control(Settle(b"", 0), request="1")).outcome is VerbOutcome.NOT_ALLOWED
        assert (await self.control(Settle(b"", 2), request="2")).outcome is VerbOutcome.NOT_ALLOWED
        assert await self.control(Settle(b"", 1), request="3") == Controlled(VerbOutcome.DONE, RunStatus.WAITING, 1)
        row = await self.row()
        assert (row.status, row.position, row.due_at) == (RunStatus.WAITING, 2, self.clock.now())
        assert (row.blocked, row.blocked_kind, row.blocked_call) == (None, None, None)
        assert [(one.data, one.at) for one in (await self.rows())[1:]] == [(b"", self.clock.now())]
        assert (await self.worker("w2").one()).position == 2

    # ── idempotence ──────────────────────────────────────────────────────────────────────────────────────────────

    async def test_a_command_said_again_answers_the_same_and_changes_nothing(self) -> None:
        await self.create()
        first = await self.control(Pause(), request="p")
        await self.control(Resume(), request="r")
        assert await self.control(Pause(), request="p") == first
        assert (await self.row()).status is RunStatus.PENDING

    async def test_a_retry_said_again_after_the_next_end_does_not_retry_again(self) -> None:
        await self.end()
        first = await self.control(Retry(b"order"))
        grip = await self.worker("w2").one()
        await grip.commit(then=Ended(RunStatus.COMPLETED, b""))
        assert await self.control(Retry(b"order")) == first
        assert (await self.row()).generation == 2

    async def test_a_settle_and_a_fork_said_again_happen_once(self) -> None:
        grip = await self.grip()
        await grip.commit(then=Blocked("engine", "why"))
        for verb in (Fork(new_run("fork"), b"order"), Settle(b"entry", 0)):
            first = await self.control(verb, request=type(verb).__name__)
            assert first.outcome is VerbOutcome.DONE
            assert await self.control(verb, request=type(verb).__name__) == first
        assert await self.entries() == [b"entry"]

    async def test_a_refusal_said_again_stays_a_refusal(self) -> None:
        await self.create()
        first = await self.control(Retry(b""))
        await self.control(TERMINATE, request="t")
        assert await self.control(Retry(b"")) == first
        assert (await self.row()).status is RunStatus.CANCELLED

    async def test_the_same_request_id_on_two_runs_is_two_commands(self) -> None:
        await self.create("a")
        await self.create("b")
        answers = await self.store.control([Control(RunId(id), "same", Pause()) for id in ("a", "nobody", "b")])
        assert [answer.outcome for answer in answers] == [VerbOutcome.DONE, VerbOutcome.NOT_FOUND, VerbOutcome.DONE]

    async def test_concurrent_repeats_of_one_command_are_one_command(self) -> None:
        other = await self.twin()
        await self.end()
        asked = [Control(RunId("r"), "same", Retry(b"order"))]
        answers = await asyncio.gather(*(store.control(asked) for store in [self.store, other] * 4))
        assert {answer for (answer,) in answers} == {Controlled(VerbOutcome.DONE, RunStatus.PENDING, 2)}
