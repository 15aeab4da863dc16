"""The fine print: what the protocol says in half a sentence, and what is easily read over."""

from __future__ import annotations

from durable.store import (
    UNREAD_SIGNALS_MAX,
    Blocked,
    Cancel,
    Continued,
    DeadLetter,
    Emit,
    Ended,
    MessageId,
    MessageKind,
    Pause,
    Paused,
    PurgeQuery,
    Resume,
    Retry,
    RunId,
    RunStatus,
    Sent,
    Settle,
    VerbOutcome,
    Waiting,
)
from durable_testing.conformance.bench import ALL_BYTES, Bench, signal

__all__ = ["FinePrint"]

CANCEL = Cancel("no longer wanted", b"reason", b"cancelled")


class FinePrint(Bench):
    """Sentences of ``durable.store`` that stand between others."""

    # ── commit ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def test_a_pause_carried_out_after_it_was_taken_back_leaves_the_run_waiting_and_due(self) -> None:
        grip = await self.grip()
        await self.control(Pause(), request="p")
        (asked,) = await self.unread()
        await self.control(Resume(), request="r")
        self.clock.advance(1)
        await grip.commit(b"e", consumed=(asked.message.id,), then=Paused())
        row = await self.row()
        assert (row.status, row.owner, row.due_at) == (RunStatus.WAITING, None, self.clock.now())

    async def test_a_pause_carried_out_in_time_pauses_though_an_older_one_was_read(self) -> None:
        grip = await self.grip()
        await self.control(Pause(), request="1")
        await self.control(Resume(), request="2")
        await self.control(Pause(), request="3")
        (asked,) = await self.unread()
        await grip.commit(b"e", consumed=(asked.message.id,), then=Paused())
        assert (await self.row()).status is RunStatus.PAUSED

    async def test_a_wait_that_is_over_already_is_due_since_it_was_over(self) -> None:
        grip = await self.grip()
        wake_at = self.clock.now() - 5
        await grip.commit(b"e", then=Waiting(wake_at, 0))
        assert (await self.row()).due_at == wake_at
        assert len(await self.worker("w2").claim()) == 1

    async def test_signals_of_a_commit_are_accepted_over_the_inbox_limit(self) -> None:
        worker = self.worker()
        grip = await self.grip("sender", worker)
        await self.create()
        for start in range(0, UNREAD_SIGNALS_MAX, 2_000):
            batch = [signal(f"m{n}", payload=b"") for n in range(start, start + 2_000)]
            assert set(await self.store.send(batch)) == {Sent.ACCEPTED}
        assert await self.send("over the limit") is Sent.INBOX_FULL
        await grip.commit(b"e", messages=(signal("from a commit"),))
        (last,) = await self.store.messages(RunId("r"), after=UNREAD_SIGNALS_MAX)
        assert (last.message.id, last.seq) == ("from a commit", UNREAD_SIGNALS_MAX + 1)
        assert await self.send("over the limit") is Sent.INBOX_FULL

    async def test_a_signal_to_oneself_in_the_commit_that_ends_the_run_arrives_before_the_end(self) -> None:
        grip = await self.grip()
        await grip.commit(b"e", messages=(signal("m"),), then=Ended(RunStatus.COMPLETED, b""))
        assert [one.message.id for one in await self.unread()] == ["m"]

    async def test_a_dead_letter_that_never_came_is_no_error(self) -> None:
        grip = await self.grip()
        await grip.commit(b"e", dead=(DeadLetter(MessageId("nobody sent it"), "why"),))
        assert list(await self.store.messages(RunId("r"), unread_only=False)) == []

    async def test_stream_offsets_go_on_over_a_replace(self) -> None:
        grip = await self.grip()
        await grip.commit(emits=(Emit("s", b"0"), Emit("s", b"1")))
        await self.create(replace="x")
        again = await self.worker("w2").one()
        await again.commit(emits=(Emit("s", b"2"),))
        page = await self.store.stream(RunId("r"), "s", 1)
        assert (page.items, page.next) == ((b"1", b"2"), 3)

    # ── verbs ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def test_a_generation_that_has_not_started_is_cancelled_at_once(self) -> None:
        grip = await self.grip()
        await grip.commit(b"e", then=Continued("work", "1", b"", "d", "s"))
        assert (await self.control(CANCEL)).outcome is VerbOutcome.DONE
        row = await self.row()
        assert (row.status, row.generation, row.error) == (RunStatus.CANCELLED, 2, "no longer wanted")

    async def test_a_retried_run_has_started_and_is_asked_to_cancel_itself(self) -> None:
        await self.end()
        await self.control(Retry(b"order"), request="1")
        assert (await self.control(CANCEL, request="2")).outcome is VerbOutcome.ASKED
        assert (await self.row()).status is RunStatus.PENDING
        claim = (await self.worker("w2").one()).claim
        assert [one.message.kind for one in claim.messages] == [MessageKind.CANCEL]

    async def test_messages_of_the_store_have_ids_that_tell_what_they_are(self) -> None:
        await self.grip()
        await self.control(Pause(), request="a pause")
        await self.control(CANCEL, request="a cancel")
        assert [one.message.id for one in await self.unread()] == ["pause/a pause", "cancel/1"]

    async def test_a_second_pause_while_the_first_is_unread_is_already_asked(self) -> None:
        grip = await self.grip()
        await self.control(Pause(), request="1")
        assert (await self.control(Pause(), request="2")).outcome is VerbOutcome.ALREADY
        (asked,) = await self.unread()
        await grip.commit(b"e", consumed=(asked.message.id,))
        assert (await self.control(Pause(), request="3")).outcome is VerbOutcome.ASKED

    async def test_a_run_whose_rewind_is_open_cannot_be_settled(self) -> None:
        await self.end()
        await self.control(Retry(b"order"), request="1")
        grip = await self.worker("w2").one()
        await grip.commit(then=Blocked("engine", "why"))
        before = await self.row()
        assert (await self.control(Settle(b"entry", 0), request="2")).outcome is VerbOutcome.NOT_ALLOWED
        assert await self.row() == before

    async def test_a_command_to_a_run_that_comes_later_is_not_remembered_from_before(self) -> None:
        assert (await self.control(Pause())).outcome is VerbOutcome.NOT_FOUND
        await self.create()
        assert (await self.control(Pause())).outcome is VerbOutcome.DONE

    async def test_commands_are_forgotten_with_a_purged_run(self) -> None:
        await self.create(delay_seconds=50.0)
        await self.control(Pause())
        await self.control(Resume(), request="resume")
        await (await self.worker().one()).commit(then=Ended(RunStatus.COMPLETED, b""))
        assert await self.store.purge(PurgeQuery()) == 1
        await self.create()
        assert (await self.control(Pause())).outcome is VerbOutcome.DONE
        assert (await self.row()).status is RunStatus.PAUSED

    # ── records ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def test_an_expired_record_gives_its_place_in_a_page_to_the_next(self) -> None:
        await self.store.put_record("k", "a", b"", keep_seconds=1.0)
        await self.store.put_record("k", "b", ALL_BYTES)
        await self.store.put_record("k", "c", b"")
        self.clock.advance(1)
        assert [row.key for row in await self.store.list_records("k", limit=1)] == ["b"]
        assert [row.key for row in await self.store.list_records("k", limit=2)] == ["b", "c"]
