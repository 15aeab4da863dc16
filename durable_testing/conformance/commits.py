"""What an applied commit writes besides its entries."""

from __future__ import annotations

from durable.store import (
    Blocked,
    Created,
    Creation,
    DeadLetter,
    Emit,
    Message,
    MessageId,
    MessageKind,
    Parent,
    Part,
    Paused,
    RunId,
    RunStatus,
    Verdict,
    Wait,
    Waiting,
    WaitKind,
)
from durable_testing.conformance.bench import ALL_BYTES, Bench, new_run, signal

__all__ = ["Commits"]


class Commits(Bench):
    """``Store.commit``: everything a commit names, in one transaction."""

    async def test_entries_are_appended_in_order_and_kept_byte_for_byte(self) -> None:
        grip = await self.grip()
        await grip.commit(b"", ALL_BYTES)
        await grip.commit(b"\x00")
        assert await self.entries() == [b"", ALL_BYTES, b"\x00"]
        assert [row.position for row in await self.rows()] == [0, 1, 2]
        assert (await self.row()).position == 3

    async def test_running_keeps_the_owner(self) -> None:
        grip = await self.grip()
        await grip.commit(b"e")
        row = await self.row()
        assert (row.status, row.owner, row.due_at) == (RunStatus.RUNNING, "w1", None)

    async def test_flushed_and_waits_are_set_when_given_and_left_alone_when_not(self) -> None:
        grip = await self.grip()
        waits = (
            Wait(WaitKind.RETRY, "charge", "c1", 1.5, 2.5, 3, None, "it broke"),
            Wait(WaitKind.SIGNAL, "s", "c", 0.0),
        )
        await grip.commit(flushed=(3, 4), waits=waits)
        await grip.commit(b"e")
        row = await self.row()
        assert (row.flushed, row.waits) == ((3, 4), waits)
        await grip.commit(flushed=(0, 0), waits=())
        row = await self.row()
        assert (row.flushed, row.waits) == ((0, 0), ())

    async def test_consumed_messages_are_no_longer_unread_but_still_there(self) -> None:
        grip = await self.grip()
        await self.send("m1")
        await self.send("m2")
        await grip.commit(b"e", consumed=("m1", "unknown"))
        assert [one.message.id for one in await self.unread()] == ["m2"]
        first, second = await self.store.messages(RunId("r"), unread_only=False)
        assert (first.consumed, first.dead, second.consumed) == (True, None, False)

    async def test_a_dead_letter_is_consumed_and_visible_with_its_reason(self) -> None:
        grip = await self.grip()
        await self.send("m", payload=ALL_BYTES)
        await grip.commit(dead=(DeadLetter(MessageId("m"), "nobody can read it"),))
        assert list(await self.unread()) == []
        (letter,) = await self.store.messages(RunId("r"), unread_only=False)
        assert (letter.consumed, letter.dead, letter.message.payload) == (True, "nobody can read it", ALL_BYTES)

    async def test_consuming_a_message_again_changes_nothing(self) -> None:
        grip = await self.grip()
        await self.send("m1")
        await self.send("m2")
        await grip.commit(b"e", consumed=("m1", "m1"), dead=(DeadLetter(MessageId("m2"), "first"),))
        before = await self.store.messages(RunId("r"), unread_only=False)
        again = tuple(DeadLetter(MessageId(id), "second") for id in ("m1", "m2"))
        await grip.commit(b"e", consumed=("m1", "m2"), dead=again)
        assert list(await self.store.messages(RunId("r"), unread_only=False)) == list(before)

    async def test_values_are_kept_by_key_and_later_ones_win(self) -> None:
        grip = await self.grip()
        await grip.commit(values=(("k", b"1"), ("empty", b""), ("k", b"2")))
        await grip.commit(values=(("bytes", ALL_BYTES),))
        assert await self.store.values(RunId("r")) == {"k": b"2", "empty": b"", "bytes": ALL_BYTES}
        await grip.commit(values=(("k", b""),))
        assert (await self.store.values(RunId("r")))["k"] == b""

    async def test_stream_items_get_offsets_per_stream(self) -> None:
        grip = await self.grip()
        await grip.commit(emits=(Emit("a", b"a0"), Emit("b", b"b0"), Emit("a", b"")))
        await grip.commit(emits=(Emit("a", ALL_BYTES),))
        page = await self.store.stream(RunId("r"), "a")
        assert (page.items, page.next, page.ended) == ((b"a0", b"", ALL_BYTES), 3, False)
        assert (await self.store.stream(RunId("r"), "b")).items == (b"b0",)

    async def test_parts_are_stored_once_by_hash(self) -> None:
        grip = await self.grip()
        await grip.commit(parts=(Part("h1", b""), Part("h2", ALL_BYTES)))
        await grip.commit(parts=(Part("h1", b""),))
        assert await self.store.parts(RunId("r"), ["h1", "h2", "absent"]) == {"h1": b"", "h2": ALL_BYTES}
        assert await self.store.parts(RunId("other"), ["h1"]) == {}

    # ── messages to others ───────────────────────────────────────────────────────────────────────────────────────

    async def test_messages_reach_the_inboxes_of_others(self) -> None:
        await self.create("b")
        worker = self.worker()
        other = await worker.one()
        await other.commit(then=Waiting(None, 0))
        grip = await self.grip("a", worker)
        message = Message(RunId("b"), MessageId("m"), MessageKind.RESULT, "call", b"", generation=3)
        self.clock.advance(2)
        await grip.commit(b"e", messages=(message,))
        (arrived,) = await self.unread("b")
        assert (arrived.message, arrived.seq, arrived.at) == (message, 1, self.clock.now())
        assert (await self.row("b")).due_at == self.clock.now()

    async def test_a_receiver_that_is_missing_or_ended_and_a_repeated_id_are_no_error(self) -> None:
        await self.end("ended")
        grip = await self.grip()
        await grip.commit(messages=(signal("m", "nobody"), signal("m", "ended"), signal("m"), signal("m")))
        assert len(await self.unread()) == 1
        assert list(await self.unread("ended")) == []

    async def test_a_run_that_signals_itself_and_waits_is_due_at_once(self) -> None:
        grip = await self.grip()
        await grip.commit(b"e", messages=(signal("m"),), then=Waiting(None, 0))
        assert (await self.row()).due_at == self.clock.now()

    # ── children ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def test_children_are_created_with_the_commit(self) -> None:
        parent = Parent(RunId("r"), "call", 1, "terminate")
        grip = await self.grip()
        answer = await grip.commit(b"e", children=(new_run("c", parent=parent, input=b""),))
        assert answer.children == (Created(Creation.CREATED, "work", "digest of c", parent, 1, RunStatus.PENDING),)
        row = await self.row("c")
        assert (row.parent, row.status, row.due_at) == (parent, RunStatus.PENDING, self.clock.now())

    async def test_a_child_whose_id_exists_is_left_alone_and_reported_as_it_stands(self) -> None:
        worker = self.worker()
        await self.create("c", digest="stranger")
        await (await worker.one()).commit(then=Paused())
        before = await self.row("c")
        grip = await self.grip(worker=worker)
        answer = await grip.commit(b"e", children=(new_run("c", replace="x"), new_run("d")))
        assert answer.verdict is Verdict.APPLIED
        assert [child.outcome for child in answer.children] == [Creation.EXISTED, Creation.CREATED]
        assert (answer.children[0].digest, answer.children[0].status) == ("stranger", RunStatus.PAUSED)
        assert await self.row("c") == before

    async def test_a_child_can_be_signalled_in_the_commit_that_creates_it(self) -> None:
        grip = await self.grip()
        await grip.commit(b"e", children=(new_run("c"),), messages=(signal("m", "c"),))
        assert [one.message.id for one in await self.unread("c")] == ["m"]

    # ── waiting ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def test_waiting_gives_up_the_owner_until_wake_at(self) -> None:
        grip = await self.grip()
        wake_at = self.clock.now() + 30
        await grip.commit(b"e", then=Waiting(wake_at, 0))
        row = await self.row()
        assert (row.status, row.owner, row.due_at) == (RunStatus.WAITING, None, wake_at)
        worker = self.worker("w2")
        self.clock.advance(29.5)
        poll = await worker.poll()
        assert (poll.claims, poll.next_due_at) == ((), wake_at)
        self.clock.advance(0.5)
        assert len(await worker.claim()) == 1

    async def test_waiting_for_a_message_only_is_never_due_by_itself(self) -> None:
        grip = await self.grip()
        await grip.commit(b"e", then=Waiting(None, 0))
        assert (await self.row()).due_at is None
        self.clock.advance(1e9)
        assert await self.worker("w2").claim() == []

    async def test_waiting_with_more_to_say_while_a_later_message_is_unread_is_due_at_once(self) -> None:
        grip = await self.grip()
        await self.send("m")
        self.clock.advance(1)
        await grip.commit(b"e", values=(("key", b"value"),), then=Waiting(None, 0))
        assert (await self.row()).due_at == self.clock.now()

    async def test_waiting_while_a_later_message_is_unread_is_due_at_once(self) -> None:
        for wake_in in (None, 1000.0):
            await self.create(replace=str(wake_in))
            worker = self.worker()
            grip = await worker.one()
            seen = max((one.seq for one in await self.store.messages(RunId("r"), unread_only=False)), default=0)
            await self.send(f"m {wake_in}")
            self.clock.advance(1)
            wake_at = None if wake_in is None else self.clock.now() + wake_in
            await grip.commit(b"e", then=Waiting(wake_at, seen))
            row = await self.row()
            assert (row.status, row.due_at) == (RunStatus.WAITING, self.clock.now())
            worker.forget()
            assert len(await worker.claim()) == 1

    async def test_waiting_while_only_seen_messages_are_unread_waits(self) -> None:
        grip = await self.grip()
        await self.send("m1")
        await self.send("m2")
        await grip.commit(b"e", consumed=("m2",), then=Waiting(None, 1))
        assert (await self.row()).due_at is None

    async def test_a_message_consumed_by_the_waiting_commit_does_not_wake_it(self) -> None:
        grip = await self.grip()
        await self.send("m1")
        await grip.commit(b"e", consumed=("m1",), then=Waiting(None, 0))
        assert (await self.row()).due_at is None

    # ── rest ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def test_paused_and_blocked_runs_have_no_owner_and_are_not_due(self) -> None:
        grip = await self.grip("p")
        await grip.commit(b"e", then=Paused())
        row = await self.row("p")
        assert (row.status, row.owner, row.due_at) == (RunStatus.PAUSED, None, None)
        grip = await self.grip("b")
        await grip.commit(b"e", then=Blocked("unknown_outcome", "Nobody knows.", "call-7"))
        row = await self.row("b")
        assert (row.status, row.owner, row.due_at) == (RunStatus.BLOCKED, None, None)
        assert (row.blocked_kind, row.blocked, row.blocked_call) == ("unknown_outcome", "Nobody knows.", "call-7")
        self.clock.advance(1e6)
        assert await self.worker("w2").claim() == []

    async def test_a_large_commit_is_applied_whole(self) -> None:
        grip = await self.grip()
        await grip.commit(*(b"x" * 40_000 for _ in range(100)))
        assert (await self.row()).position == 100
        assert await self.entries() == [b"x" * 40_000] * 100
