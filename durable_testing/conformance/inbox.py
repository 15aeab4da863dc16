"""Inboxes: kept in order, each message once, none lost (I6)."""

from __future__ import annotations

import asyncio

from durable.store import UNREAD_SIGNALS_MAX, MessageKind, Paused, RunId, RunStatus, Sent, Terminate, Waiting
from durable_testing.conformance.bench import ALL_BYTES, Bench, signal

__all__ = ["Inbox"]


class Inbox(Bench):
    """``Store.send``."""

    async def test_messages_are_kept_in_the_order_of_arrival(self) -> None:
        await self.create()
        first = self.clock.now()
        answers = await self.store.send([signal("b", payload=b""), signal("a", payload=ALL_BYTES)])
        assert list(answers) == [Sent.ACCEPTED, Sent.ACCEPTED]
        self.clock.advance(1)
        await self.send("c")
        inbox = await self.unread()
        assert [(one.seq, one.message, one.at) for one in inbox] == [
            (1, signal("b", payload=b""), first),
            (2, signal("a", payload=ALL_BYTES), first),
            (3, signal("c"), first + 1),
        ]
        assert [(one.consumed, one.dead) for one in inbox] == [(False, None)] * 3

    async def test_a_message_said_twice_is_one_message(self) -> None:
        await self.create()
        assert await self.send("m", payload=b"first") is Sent.ACCEPTED
        assert await self.send("m", payload=b"second") is Sent.DUPLICATE
        (one,) = await self.unread()
        assert one.message.payload == b"first"

    async def test_a_message_is_remembered_after_it_was_consumed_and_after_the_end(self) -> None:
        grip = await self.grip()
        await self.send("m")
        await grip.commit(b"e", consumed=("m",))
        assert await self.send("m") is Sent.DUPLICATE
        self.expire()
        await self.control(Terminate("enough", b""))
        assert await self.send("m") is Sent.DUPLICATE
        assert await self.send("new") is Sent.ENDED

    async def test_the_same_id_twice_in_one_batch_is_accepted_once(self) -> None:
        await self.create()
        assert list(await self.store.send([signal("m"), signal("m")])) == [Sent.ACCEPTED, Sent.DUPLICATE]

    async def test_the_same_id_to_two_runs_is_two_messages(self) -> None:
        await self.create("a")
        await self.create("b")
        assert list(await self.store.send([signal("m", "a"), signal("m", "b")])) == [Sent.ACCEPTED] * 2

    async def test_concurrent_sends_of_one_message_are_one_message(self) -> None:
        other = await self.twin()
        await self.create()
        answers = await asyncio.gather(*(store.send([signal("m")]) for store in [self.store, other] * 4))
        assert sorted(answer for (answer,) in answers) == [Sent.ACCEPTED] + [Sent.DUPLICATE] * 7

    async def test_concurrent_sends_get_seqs_without_gaps(self) -> None:
        other = await self.twin()
        await self.create()
        await asyncio.gather(*((self.store, other)[n % 2].send([signal(f"m{n}")]) for n in range(20)))
        assert [one.seq for one in await self.unread()] == list(range(1, 21))

    async def test_a_message_to_nobody_is_reported_and_does_not_touch_its_neighbours(self) -> None:
        await self.create()
        answers = await self.store.send([signal("m", "nobody"), signal("m")])
        assert list(answers) == [Sent.NOT_FOUND, Sent.ACCEPTED]

    async def test_an_empty_batch_of_messages_is_no_error(self) -> None:
        assert list(await self.store.send([])) == []

    async def test_a_seq_is_never_used_again(self) -> None:
        grip = await self.grip()
        await self.send("m1")
        await grip.commit(b"e", consumed=("m1",))
        await self.send("m2")
        assert [one.seq for one in await self.unread()] == [2]

    async def test_a_message_wakes_a_waiting_run(self) -> None:
        for n, wake_in in enumerate((None, 1000.0)):
            id = f"r{n}"
            worker = self.worker(f"w{n}")
            grip = await self.grip(id, worker)
            await grip.commit(b"e", then=Waiting(None if wake_in is None else self.clock.now() + wake_in, 0))
            self.clock.advance(1)
            await self.send("m", id)
            row = await self.row(id)
            assert (row.status, row.due_at) == (RunStatus.WAITING, self.clock.now())
            worker.forget()
            claim = (await worker.one()).claim
            assert [one.message.id for one in claim.messages] == ["m"]

    async def test_a_message_to_a_run_that_is_already_due_does_not_set_it_back(self) -> None:
        grip = await self.grip()
        await grip.commit(b"e", then=Waiting(None, 0))
        await self.send("m1")
        due_at = (await self.row()).due_at
        self.clock.advance(30)
        await self.send("m2")
        assert (await self.row()).due_at == due_at

    async def test_a_message_does_not_hurry_a_pending_run(self) -> None:
        await self.create(delay_seconds=60.0)
        due_at = (await self.row()).due_at
        await self.send("m")
        assert (await self.row()).due_at == due_at

    async def test_a_message_to_an_owned_run_leaves_it_with_its_owner(self) -> None:
        await self.grip()
        await self.send("m")
        row = await self.row()
        assert (row.status, row.owner, row.due_at) == (RunStatus.RUNNING, "w1", None)

    async def test_a_message_does_not_wake_a_paused_run_and_is_kept_for_it(self) -> None:
        grip = await self.grip()
        await grip.commit(then=Paused())
        assert await self.send("m") is Sent.ACCEPTED
        assert (await self.row()).due_at is None
        assert len(await self.unread()) == 1

    async def test_a_message_does_not_shorten_the_back_off_after_crashes(self) -> None:
        await self.create()
        for n in range(4):
            await self.worker(f"w{n}").poll()
            self.clock.advance(80)
        await self.worker("x").poll(0)
        due_at = (await self.row()).due_at
        await self.send("m")
        assert (await self.row()).due_at == due_at

    async def test_an_inbox_holds_ten_thousand_unread_signals(self) -> None:
        await self.create()
        for start in range(0, UNREAD_SIGNALS_MAX - 1, 1_111):
            batch = [signal(f"m{n}", payload=b"") for n in range(start, start + 1_111)]
            assert set(await self.store.send(batch)) == {Sent.ACCEPTED}
        assert await self.send("the last") is Sent.ACCEPTED
        answers = await self.store.send([signal("one too many"), signal("m1"), signal("c", kind=MessageKind.CANCEL)])
        assert list(answers) == [Sent.INBOX_FULL, Sent.DUPLICATE, Sent.ACCEPTED]
        grip = await self.worker().one()
        await grip.commit(b"e", consumed=("m0",))
        assert await self.send("one too many") is Sent.ACCEPTED
        assert await self.send("and another") is Sent.INBOX_FULL

    async def test_messages_are_read_from_after_a_seq_at_most_so_many(self) -> None:
        grip = await self.grip()
        for n in range(1, 7):
            await self.send(f"m{n}")
        await grip.commit(b"e", consumed=("m3",))
        read = self.store.messages
        assert [one.seq for one in await read(RunId("r"), after=1, limit=3)] == [2, 4, 5]
        assert [one.seq for one in await read(RunId("r"), after=1, limit=3, unread_only=False)] == [2, 3, 4]
        assert list(await read(RunId("r"), after=6)) == []
        assert list(await read(RunId("nobody"))) == []
