"""Creating runs: idempotent by id, replaced once per request."""

from __future__ import annotations

import asyncio

from durable.store import (
    Blocked,
    Created,
    Creation,
    Ended,
    Parent,
    RunId,
    RunStatus,
    Verdict,
    Waiting,
)
from durable_testing.conformance.bench import Bench, new_run, signal

__all__ = ["CreationOfRuns"]


class CreationOfRuns(Bench):
    """``Store.create``."""

    async def test_a_new_run_is_pending_in_generation_1_at_epoch_0_due_now(self) -> None:
        now = self.clock.now()
        parent = Parent(RunId("p"), "call", 3, "abandon", notify=False)
        answer = await self.create(priority=7, labels={"a": "1"}, parent=parent, on_complete=b"then")
        assert answer == Created(Creation.CREATED, "work", "digest of r", parent, 1, RunStatus.PENDING)
        row = await self.row()
        assert (row.id, row.workflow, row.version, row.queue) == ("r", "work", "1", "default")
        assert (row.status, row.generation, row.epoch, row.position) == (RunStatus.PENDING, 1, 0, 0)
        assert (row.flushed, row.strikes, row.tries, row.waits) == ((0, 0), 0, 0, ())
        assert (row.seed, row.digest, row.priority) == ("seed of r", "digest of r", 7)
        assert (row.created_at, row.started_at, row.ended_at, row.due_at) == (now, None, None, now)
        assert (row.owner, row.parent, row.on_complete, dict(row.labels)) == (None, parent, b"then", {"a": "1"})
        assert (row.blocked, row.blocked_kind, row.blocked_call, row.error) == (None, None, None, None)
        assert (row.terminated, row.closing, row.rewind) == (False, False, None)
        assert await self.store.input(RunId("r")) == b"input of r"

    async def test_a_delayed_run_is_due_after_its_delay(self) -> None:
        await self.create(delay_seconds=60.0)
        assert (await self.row()).due_at == self.clock.now() + 60
        worker = self.worker()
        self.clock.advance(59.5)
        assert await worker.claim() == []
        self.clock.advance(0.5)
        assert len(await worker.claim()) == 1

    async def test_creating_again_leaves_the_row_alone_and_reports_it(self) -> None:
        await self.create()
        before = await self.row()
        self.clock.advance(1)
        answer = await self.create(workflow="other", digest="other", input=b"other", labels={"x": "y"})
        assert answer == Created(Creation.EXISTED, "work", "digest of r", None, 1, RunStatus.PENDING)
        assert await self.row() == before
        assert await self.store.input(RunId("r")) == b"input of r"

    async def test_an_existing_run_is_reported_as_it_now_stands(self) -> None:
        await self.end()
        assert (await self.create()).status is RunStatus.COMPLETED

    async def test_the_same_id_twice_in_one_batch_is_created_once(self) -> None:
        first, second = await self.store.create([new_run(digest="one"), new_run(digest="two")])
        assert (first.outcome, second.outcome) == (Creation.CREATED, Creation.EXISTED)
        assert first.digest == second.digest == "one"

    async def test_answers_come_in_the_order_of_the_batch(self) -> None:
        await self.create("b")
        answers = await self.store.create([new_run("c"), new_run("b"), new_run("a")])
        assert [answer.digest for answer in answers] == ["digest of c", "digest of b", "digest of a"]
        assert [answer.outcome for answer in answers] == [Creation.CREATED, Creation.EXISTED, Creation.CREATED]

    async def test_an_empty_batch_is_no_error(self) -> None:
        assert list(await self.store.create([])) == []

    async def test_one_of_many_concurrent_creates_from_two_sessions_wins(self) -> None:
        other = await self.twin()
        stores = [self.store, other] * 5
        answers = await asyncio.gather(
            *(store.create([new_run(digest=f"digest {n}")]) for n, store in enumerate(stores))
        )
        outcomes = [answer.outcome for (answer,) in answers]
        assert outcomes.count(Creation.CREATED) == 1
        assert outcomes.count(Creation.EXISTED) == 9
        assert len({answer.digest for (answer,) in answers}) == 1

    async def test_what_one_session_created_the_other_reads(self) -> None:
        other = await self.twin()
        await self.create(input=b"")
        assert await other.get([RunId("r")]) == [await self.row()]
        assert await other.input(RunId("r")) == b""

    # ── replace ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def test_replace_ends_a_live_run_and_begins_its_next_generation(self) -> None:
        grip = await self.grip(labels={"old": "1"})
        await grip.commit(b"entry", values=(("k", b"v"),), flushed=(1, 2))
        await self.store.send([signal("m")])
        self.clock.advance(5)
        answer = await self.create(
            workflow="work2",
            version="2",
            queue="q2",
            input=b"",
            digest="d2",
            seed="s2",
            labels={"new": "1"},
            replace="x",
        )
        assert answer == Created(Creation.REPLACED, "work2", "d2", None, 2, RunStatus.PENDING)
        row = await self.row()
        assert (row.workflow, row.version, row.queue) == ("work2", "2", "q2")
        assert (row.status, row.generation, row.position, row.flushed) == (RunStatus.PENDING, 2, 0, (0, 0))
        assert (row.seed, row.digest, dict(row.labels)) == ("s2", "d2", {"new": "1"})
        assert (row.owner, row.due_at, row.started_at, row.strikes) == (None, self.clock.now(), None, 0)
        assert row.epoch > grip.epoch
        assert await self.store.input(RunId("r")) == b""
        assert await self.store.values(RunId("r")) == {}
        assert list(await self.unread()) == []
        assert await self.entries(generation=2) == []
        assert (await grip.tried(b"too late")).verdict is Verdict.LEASE_LOST

    async def test_a_replaced_run_is_claimed_from_its_new_lane(self) -> None:
        grip = await self.grip()
        await self.create(replace="x", input=b"second")
        worker = self.worker("w2")
        again = await worker.one()
        assert again.epoch > grip.epoch
        assert again.claim.input == b"second"
        assert again.claim.messages == ()

    async def test_a_replaced_child_answers_the_call_that_asks_now_if_the_parent_is_the_same(self) -> None:
        first = Parent(RunId("p"), "call", 1, "cancel")
        again, stranger = Parent(RunId("p"), "call", 2, "terminate"), Parent(RunId("q"), "call", 2, "terminate")
        await self.create(parent=first)
        await self.create(parent=again, replace="x")
        assert (await self.row()).parent == again
        await self.create(parent=stranger, replace="y")
        assert (await self.row()).parent == again

    async def test_replace_of_an_unknown_id_creates_and_its_repeat_replaces_nothing(self) -> None:
        assert (await self.create(replace="x")).outcome is Creation.CREATED
        grip = await self.worker().one()
        assert (await self.create(replace="x")).generation == 1
        assert (await self.row()).owner == "w1"
        await grip.commit(b"goes on")

    async def test_replace_happens_once_per_request_id(self) -> None:
        await self.create()
        assert (await self.create(replace="x")).generation == 2
        repeat = await self.create(replace="x")
        assert (repeat.outcome, repeat.generation) == (Creation.REPLACED, 2)
        assert (await self.create(replace="y")).generation == 3

    async def test_concurrent_repeats_of_one_replace_replace_once(self) -> None:
        other = await self.twin()
        await self.create()
        answers = await asyncio.gather(*(store.create([new_run(replace="x")]) for store in [self.store, other] * 4))
        assert {(answer.outcome, answer.generation) for (answer,) in answers} == {(Creation.REPLACED, 2)}

    async def test_without_replace_a_replaced_run_is_left_alone(self) -> None:
        await self.create()
        await self.create(replace="x")
        assert (await self.create()).outcome is Creation.EXISTED
        assert (await self.row()).generation == 2

    async def test_replace_of_an_ended_run_clears_its_end(self) -> None:
        grip = await self.grip()
        await grip.commit(then=Ended(RunStatus.FAILED, b"", error="it broke", keep_seconds=1.0))
        await self.create(replace="x")
        row = await self.row()
        assert (row.status, row.error, row.ended_at) == (RunStatus.PENDING, None, None)
        assert await self.store.outcome(RunId("r")) is None

    async def test_replace_of_a_blocked_run_clears_why(self) -> None:
        grip = await self.grip()
        await grip.commit(then=Blocked("engine", "stuck", "call"))
        await self.create(replace="x")
        row = await self.row()
        assert (row.blocked, row.blocked_kind, row.blocked_call) == (None, None, None)

    async def test_replace_sets_closing_if_the_run_had_children(self) -> None:
        grip = await self.grip()
        await grip.commit(b"e", children=(new_run("child", parent=Parent(RunId("r"), "c", 1, "cancel")),))
        await self.create(replace="x")
        assert (await self.row()).closing is True
        await self.create("childless")
        await self.create("childless", replace="x")
        assert (await self.row("childless")).closing is False

    async def test_a_signal_to_the_old_generation_said_again_does_not_reach_the_new_one(self) -> None:
        await self.create()
        await self.send("m")
        await self.create(replace="x")
        await self.send("m")
        assert list(await self.unread()) == []

    async def test_seq_goes_on_and_stream_offsets_go_on_over_a_replace(self) -> None:
        await self.create()
        await self.send("m1")
        await self.create(replace="x")
        await self.send("m2")
        assert [message.seq for message in await self.unread()] == [2]

    async def test_the_lost_answer_of_a_commit_before_a_replace_is_not_applied_again(self) -> None:
        grip = await self.grip()
        asked = grip.asked(b"e", then=Waiting(None, 0))
        await self.store.commit([asked])
        await self.create(replace="x")
        (answer,) = await self.store.commit([asked])
        assert answer.verdict is not Verdict.APPLIED
        assert (await self.row()).position == 0
