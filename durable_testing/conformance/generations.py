"""New generations: continue_as, and the journals that retry and fork begin with."""

from __future__ import annotations

from durable.store import (
    Continued,
    DeadLetter,
    Emit,
    Ended,
    Fork,
    MessageId,
    Part,
    Released,
    Retry,
    Rewound,
    RunId,
    RunStatus,
    Verdict,
    Wait,
    Waiting,
    WaitKind,
)
from durable_testing.conformance.bench import Bench, Grip, new_run

__all__ = ["Generations"]


class Generations(Bench):
    """``then = Continued`` and ``then = Rewound`` (rules 4 and 5)."""

    # ── continue_as ──────────────────────────────────────────────────────────────────────────────────────────────

    async def test_continue_as_begins_the_next_generation_with_an_empty_journal(self) -> None:
        grip = await self.grip(labels={"l": "1"}, priority=3)
        started_at = grip.claim.run.started_at
        self.clock.advance(1)
        waits = (Wait(WaitKind.TIMER, "t", "c", 1.0),)
        await grip.commit(b"e", flushed=(2, 2), waits=waits)
        answer = await grip.commit(b"last", then=Continued("work", "2", b"", "d2", "s2", delay_seconds=5.0, tries=3))
        row = await self.row()
        assert (row.status, row.generation, row.position, row.flushed) == (RunStatus.PENDING, 2, 0, (0, 0))
        assert (row.owner, row.due_at, row.started_at, row.waits) == (None, self.clock.now() + 5, None, ())
        assert (row.workflow, row.version, row.seed, row.digest, row.tries) == ("work", "2", "s2", "d2", 3)
        assert (dict(row.labels), row.priority, row.strikes) == ({"l": "1"}, 3, 0)
        assert await self.store.input(RunId("r")) == b""
        assert await self.entries(generation=1) == [b"e", b"last"]
        assert await self.entries(generation=2) == []
        assert (await self.rows(generation=1))[-1].at == answer.at
        assert started_at is not None

    async def test_the_next_generation_starts_when_it_is_claimed(self) -> None:
        grip = await self.grip()
        await grip.commit(then=Continued("work", "1", b"next", "d", "s"))
        self.clock.advance(8)
        again = await self.worker("w2").one()
        assert (again.claim.run.started_at, again.claim.run.at) == (self.clock.now(), self.clock.now())
        assert (again.claim.input, again.epoch, again.position) == (b"next", 2, 0)
        await again.commit(b"g2")
        assert await self.entries(generation=2) == [b"g2"]

    async def test_workflow_time_does_not_go_back_over_generations(self) -> None:
        grip = await self.grip()
        self.clock.advance(100)
        first = await grip.commit(b"e")
        self.turn_back(50)
        await grip.commit(then=Continued("work", "1", b"", "d", "s"))
        claim = (await self.worker("w2").one()).claim
        assert claim.run.started_at == claim.run.at == first.at

    async def test_unread_signals_values_and_stream_offsets_are_kept(self) -> None:
        grip = await self.grip()
        await self.send("m1")
        await self.send("m2")
        await grip.commit(b"e", consumed=("m1",), emits=(Emit("s", b"0"),), values=(("k", b"v"),))
        await grip.commit(then=Continued("work", "1", b"", "d", "s"))
        again = await self.worker("w2").one()
        assert [(one.message.id, one.seq) for one in again.claim.messages] == [("m2", 2)]
        await again.commit(emits=(Emit("s", b"1"),))
        assert (await self.store.stream(RunId("r"), "s")).items == (b"0", b"1")
        assert await self.store.values(RunId("r")) == {"k": b"v"}

    async def test_message_ids_are_remembered_over_generations(self) -> None:
        grip = await self.grip()
        await self.send("m")
        await grip.commit(b"e", consumed=("m",), then=Continued("work", "1", b"", "d", "s"))
        await self.send("m")
        assert list(await self.unread()) == []

    # ── rewound ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def retried(self, entries: int = 4) -> Grip:
        """Run ``r`` with ``entries`` entries a second apart and message m1 consumed, ended, retried, claimed."""
        grip = await self.grip()
        await self.send("m1")
        await self.send("m2")
        for n in range(entries):
            self.clock.advance(1)
            await grip.commit(b"e%d" % n, consumed=("m1",) if n == 1 else ())
        await grip.commit(dead=(DeadLetter(MessageId("m2"), "unreadable"),))
        await grip.commit(then=Ended(RunStatus.FAILED, b"", "why"))
        self.clock.advance(10)
        await self.control(Retry(b"order"))
        return await self.worker("w2").one()

    async def test_a_retry_keeps_what_its_order_says_numbered_anew_with_data_and_stamps(self) -> None:
        grip = await self.retried()
        started_at = grip.claim.run.started_at
        assert (grip.claim.run.rewind, grip.claim.run.generation, grip.position) == (b"order", 2, 0)
        old = await self.rows()
        answer = await grip.commit(then=Rewound(RunId("r"), 1, (0, 2), (1, 1)))
        row = await self.row()
        assert (row.position, row.flushed, row.rewind, row.owner) == (2, (1, 1), None, "w2")
        assert (row.status, row.started_at, row.strikes) == (RunStatus.RUNNING, started_at, 0)
        kept = await self.rows(generation=2)
        assert [(one.position, one.at, one.data) for one in kept] == [(0, old[0].at, b"e0"), (1, old[2].at, b"e2")]
        assert row.at == answer.at == old[2].at
        assert await self.rows() == old

    async def test_a_rewound_run_goes_on_from_there(self) -> None:
        grip = await self.retried()
        await grip.commit(then=Rewound(RunId("r"), 1, (0, 1), (0, 0)))
        grip.position = 2
        answer = await grip.commit(b"anew")
        assert answer.at == self.clock.now()
        assert await self.entries(generation=2) == [b"e0", b"e1", b"anew"]

    async def test_a_rewind_that_keeps_nothing_is_at_started_at(self) -> None:
        grip = await self.retried()
        await grip.commit(then=Rewound(RunId("r"), 1, (), (0, 0)))
        row = await self.row()
        assert (row.position, row.at, row.rewind) == (0, row.started_at, None)

    async def test_messages_become_unread_again_in_their_order(self) -> None:
        grip = await self.retried()
        await self.send("m3")
        assert [one.message.id for one in await self.unread()] == ["m3"]
        await grip.commit(then=Rewound(RunId("r"), 1, (0,), (0, 0), unread=(MessageId("m2"), MessageId("m1"))))
        again = await self.unread()
        assert [(one.message.id, one.seq, one.dead) for one in again] == [
            ("m1", 1, None),
            ("m2", 2, None),
            ("m3", 3, None),
        ]
        grip.position = 1
        await grip.commit(b"x", consumed=("m1",))
        assert [one.seq for one in await self.unread()] == [2, 3]

    async def test_a_repeated_rewind_copies_once(self) -> None:
        grip = await self.retried()
        asked = grip.asked(then=Rewound(RunId("r"), 1, (0, 1), (0, 0)))
        (first,) = await self.store.commit([asked])
        (again,) = await self.store.commit([asked])
        assert (first.verdict, again.verdict) == (Verdict.APPLIED, Verdict.ALREADY_APPLIED)
        assert again.at == first.at
        assert (await self.row()).position == 2

    async def test_a_rewind_needs_an_order_and_an_empty_journal(self) -> None:
        grip = await self.grip()
        await grip.commit(b"e")
        assert (await grip.tried(then=Rewound(RunId("r"), 1, (0,), (0, 0)))).verdict is not Verdict.APPLIED
        assert await self.entries() == [b"e"]

    async def test_the_order_stays_until_it_is_carried_out(self) -> None:
        grip = await self.retried()
        await grip.commit(then=Released())
        again = await self.worker("w3").one()
        assert again.claim.run.rewind == b"order"
        await again.commit(then=Rewound(RunId("r"), 1, (3,), (0, 0)))
        assert await self.entries(generation=2) == [b"e3"]

    async def test_a_fork_copies_from_its_source(self) -> None:
        worker = self.worker()
        source = await self.grip(worker=worker, input=b"the input")
        started_at = source.claim.run.started_at
        self.clock.advance(1)
        await source.commit(b"e0", b"e1", parts=(Part("h", b"part"),))
        self.clock.advance(1)
        await self.control(Fork(new_run("fork", input=b"ignored", seed="ignored"), b""))
        grip = await self.worker("w2").one()
        assert (grip.claim.run.rewind, grip.claim.input, grip.claim.run.seed) == (b"", b"the input", "seed of r")
        assert grip.claim.run.started_at == started_at
        await grip.commit(then=Rewound(RunId("r"), 1, (0,), (0, 1)))
        (kept,) = await self.rows("fork")
        assert (kept.position, kept.data, kept.at) == (0, b"e0", (await self.rows())[0].at)
        assert (await self.row("fork")).at == kept.at
        assert await self.entries() == [b"e0", b"e1"]
        assert (await self.row()).owner == "w1"

    async def test_parts_that_copied_entries_may_name_come_along(self) -> None:
        source = await self.grip()
        await source.commit(b"names h", parts=(Part("h", b"part"),), then=Waiting(None, 0))
        await self.control(Fork(new_run("fork"), b"order"))
        grip = await self.worker("w2").one()
        await grip.commit(then=Rewound(RunId("r"), 1, (0,), (0, 0)))
        assert await self.store.parts(RunId("fork"), ["h"]) == {"h": b"part"}
