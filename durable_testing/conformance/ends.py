"""Ends: what remains of a run that has ended."""

from __future__ import annotations

from durable.store import Emit, Ended, RunId, RunStatus, Sent
from durable_testing.conformance.bench import ALL_BYTES, Bench

__all__ = ["Ends"]


class Ends(Bench):
    """``then = Ended``."""

    async def test_an_ended_run_has_its_status_its_outcome_and_its_instant(self) -> None:
        for status in (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED):
            id = str(status)
            grip = await self.grip(id)
            self.clock.advance(1)
            error = None if status is RunStatus.COMPLETED else "why"
            answer = await grip.commit(b"end", then=Ended(status, ALL_BYTES, error))
            row = await self.row(id)
            assert (row.status, row.ended_at, row.error) == (status, answer.at, error)
            assert (row.owner, row.due_at, row.closing, row.terminated) == (None, None, False, False)
            assert row.ended
            assert await self.store.outcome(RunId(id)) == ALL_BYTES
            assert await self.entries(id) == [b"end"]

    async def test_an_empty_outcome_is_an_outcome(self) -> None:
        grip = await self.grip()
        assert await self.store.outcome(RunId("r")) is None
        await grip.commit(then=Ended(RunStatus.COMPLETED, b""))
        assert await self.store.outcome(RunId("r")) == b""

    async def test_unread_messages_of_an_ended_run_stay_readable(self) -> None:
        grip = await self.grip()
        await self.send("m")
        await grip.commit(then=Ended(RunStatus.COMPLETED, b""))
        assert [one.message.id for one in await self.unread()] == ["m"]

    async def test_an_ended_run_takes_no_messages(self) -> None:
        await self.end()
        assert await self.send("m") is Sent.ENDED
        assert list(await self.unread()) == []

    async def test_a_stream_of_an_ended_run_says_that_nothing_more_will_come(self) -> None:
        grip = await self.grip()
        await grip.commit(emits=(Emit("s", b"0"), Emit("s", b"1")), then=Ended(RunStatus.COMPLETED, b""))
        first = await self.store.stream(RunId("r"), "s", 0, 1)
        assert (first.items, first.next, first.ended) == ((b"0",), 1, False)
        last = await self.store.stream(RunId("r"), "s", 1)
        assert (last.items, last.next, last.ended) == ((b"1",), 2, True)
        nothing = await self.store.stream(RunId("r"), "unheard of")
        assert (nothing.items, nothing.next, nothing.ended) == ((), 0, True)
