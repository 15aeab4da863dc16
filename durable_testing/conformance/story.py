"""A story: one life of a store, in which each operation that writes is asked at least once and each does something."""

from __future__ import annotations

from typing import Any, Final, final

from durable.store import (
    CLOSING_LANE,
    Blocked,
    Cancel,
    Closed,
    Continued,
    Control,
    Emit,
    Ended,
    Fork,
    Parent,
    Part,
    Pause,
    Paused,
    PurgeQuery,
    Released,
    Resume,
    Retry,
    Rewound,
    RunId,
    Running,
    RunStatus,
    Settle,
    Store,
    Terminate,
    Then,
    Verb,
    VerbOutcome,
    Verdict,
    Waiting,
)
from durable_testing.clock import ManualClock
from durable_testing.conformance.bench import LEASE_SECONDS, Grip, Worker, new_run, signal

__all__ = ["CAST", "tell"]

CAST: Final = tuple(map(RunId, ("parent", "order", "child", "fork", "loop", "stuck", "gone", "unwanted")))
"""Every run that the story knows."""


async def tell(store: Store, clock: ManualClock) -> None:
    """The whole story; every call must do what it is there for, whether or not it was said before."""
    scribe = _Scribe(store, clock)
    await scribe.parent_and_child()
    await scribe.paused_and_crashed()
    await scribe.stuck_and_settled()
    await scribe.generations()
    await scribe.second_chances()
    await scribe.clearing_up()


@final
class _Scribe:
    def __init__(self, store: Store, clock: ManualClock) -> None:
        self.store = store
        self.clock = clock
        self.one = Worker(store, "one")
        self.two = Worker(store, "two")
        self.requests = 0

    # ── short words ──────────────────────────────────────────────────────────────────────────────────────────────

    async def say(self, grip: Grip, *append: bytes, then: Then | None = None, **rest: Any) -> None:
        """The next commit; a repeat may find it applied."""
        answer = await grip.tried(*append, then=Running() if then is None else then, **rest)
        assert answer.verdict in (Verdict.APPLIED, Verdict.ALREADY_APPLIED)
        grip.seq += 1
        grip.position += len(append)
        if not isinstance(then, Running | Rewound | None):
            for worker in (self.one, self.two):
                if worker.grips.get(grip.run) is grip:
                    worker.forget(grip.run)

    async def order(self, run: str, verb: Verb, outcome: VerbOutcome = VerbOutcome.DONE) -> None:
        self.requests += 1
        (answer,) = await self.store.control([Control(RunId(run), f"request {self.requests}", verb)])
        assert answer.outcome is outcome, f"{verb} of {run}: {answer}"

    # ── chapters ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def parent_and_child(self) -> None:
        """A parent starts a child, waits, is told; both are fed with signals."""
        await self.store.create([new_run("parent"), new_run("order", delay_seconds=5.0, labels={"l": "1"})])
        parent = await self.one.one()
        child = new_run("child", parent=Parent(RunId("parent"), "call", 1, "cancel"))
        await self.say(parent, b"p0", b"p1", children=(child,), values=(("k", b"1"),), flushed=(1, 1))
        await self.say(parent, b"p2", emits=(Emit("s", b"0"), Emit("s", b"1")), parts=(Part("h", b"part"),))
        await self.say(parent, then=Waiting(None, 0))
        await self.store.send([signal("m1", "parent"), signal("m1", "child"), signal("m1", "nobody")])
        await self.say(await self.one.one(limit=1), b"p3", consumed=("m1",), then=Waiting(None, 1))
        (grip,) = await self.two.claim(limit=1)
        assert grip.run == "child"
        await self.store.renew(self.two.session)
        await self.say(grip, b"c0", consumed=("m1",), messages=(signal("result/child/1", "parent"),))
        await self.say(grip, b"c1", then=Ended(RunStatus.COMPLETED, b"done", keep_seconds=1.0))

    async def paused_and_crashed(self) -> None:
        """A pause that is carried out, one that is taken back; a worker that leaves, and one that dies."""
        self.clock.advance(5.0)
        grips = {grip.run: grip for grip in await self.one.claim()}
        order, parent = grips[RunId("order")], grips[RunId("parent")]
        await self.order("order", Pause(), VerbOutcome.ASKED)
        await self.say(order, b"o0", consumed=(f"pause/request {self.requests}",), then=Paused())
        await self.order("order", Resume())
        await self.order("parent", Pause(), VerbOutcome.ASKED)
        await self.order("parent", Resume())
        await self.say(parent, b"p4", consumed=("result/child/1",), then=Released())
        assert {grip.run for grip in await self.two.claim()} == {"order", "parent"}
        await self.store.leave(self.two.session.id)
        self.two.forget()
        assert len(await self.one.claim()) == 2
        self.clock.advance(LEASE_SECONDS)
        self.one.forget()  # it died
        assert len(await self.two.claim()) == 2

    async def stuck_and_settled(self) -> None:
        """A run is blocked, settled, and goes on; another is cancelled before it began."""
        order, parent = self.two.grips[RunId("order")], self.two.grips[RunId("parent")]
        await self.say(parent, then=Waiting(self.clock.now() + 900.0, 99))
        await self.say(order, b"o1", then=Blocked("unknown_outcome", "why", "call"))
        await self.order("order", Settle(b"settled", order.position))
        order = await self.two.one(limit=1)
        await self.say(order, b"o3", then=Ended(RunStatus.FAILED, b"error", "it broke", closing=True))
        await self.say(await self.two.one(lanes=(CLOSING_LANE,)), then=Closed())
        await self.store.create([new_run("unwanted", parent=Parent(RunId("parent"), "u", 1, "cancel"))])
        await self.order("unwanted", Cancel("why", b"reason", b"cancelled"))

    async def generations(self) -> None:
        """continue_as, a replace, and a run that is ended from outside."""
        await self.store.create([new_run("loop")])
        grips = {grip.run: grip for grip in await self.one.claim()}
        for run, grip in grips.items():
            if run != "loop":  # the parent, told that its child is cancelled; and what is closing
                await self.say(grip, then=Closed() if grip.claim.run.ended else Waiting(None, 99))
        loop = grips[RunId("loop")]
        await self.say(loop, b"l0", then=Continued("work", "1", b"again", "digest", "seed"))
        await self.say(await self.one.one(), b"l1", values=(("k", b"2"),))
        await self.store.create([new_run("loop", replace="replace", seed="new seed")])
        await self.order("loop", Terminate("enough", b"terminated"))
        await self.store.create([new_run("stuck"), new_run("gone")])

    async def second_chances(self) -> None:
        """A failed run is retried and forked, with what its journal keeps."""
        await self.order("order", Retry(b"order"))
        await self.order("order", Fork(new_run("fork"), b"order"))
        grips = {grip.run: grip for grip in await self.one.claim()}
        for run, source in {"order": 1, "fork": 2}.items():
            grip = grips[RunId(run)]
            await self.say(grip, then=Rewound(RunId("order"), source, (0,), (0, 0)))
            grip.position = 1
            await self.say(grip, b"anew", then=Ended(RunStatus.COMPLETED, b"result", keep_seconds=0.0))

    async def clearing_up(self) -> None:
        """Records come and go; what may be purged is."""
        await self.store.put_record("kind", "a", b"1", expect=0)
        await self.store.put_record("kind", "a", b"2", expect=1, keep_seconds=900.0)
        await self.store.put_record("kind", "b", b"1", expect=0)
        await self.store.delete_record("kind", "b")
        await self.store.purge(PurgeQuery(runs=(RunId("child"), RunId("fork"))))
        await self.store.leave(self.two.session.id)
