"""Scenes: a few runs of their own within a shared store, brought into one situation.

Each situation is one in which operations of two sessions can get in each other's way. A scene's names begin with its
tag, and its lane is its own, so scenes do not see each other; only the closing lane is everybody's, so a scene sweeps
it when it is over.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, final

from durable.store import (
    CLOSING_LANE,
    Blocked,
    Closed,
    Control,
    Emit,
    Ended,
    Lane,
    Message,
    MessageId,
    MessageKind,
    NewRun,
    Parent,
    Part,
    Pause,
    Paused,
    Retry,
    RunId,
    RunStatus,
    SessionId,
    Store,
    Verb,
    Waiting,
)
from durable_testing.clock import ManualClock
from durable_testing.conformance.bench import LEASE_SECONDS, Grip, Worker
from durable_testing.conformance.snapshot import Picture, picture

__all__ = ["SITUATIONS", "Scene"]

# Far enough for every session to be forgotten, and for records and delays of a scene to be over.
_AFTERWARDS_SECONDS: Final = 4 * 86_400.0
_NOT_YET_SECONDS: Final = 1_000.0


@final
class Scene:
    """Run ``r`` in some situation, its parent ``p``, another run ``o``, and room for those that operations create.

    Attributes:
        tag: What each of the scene's names begins with.
        zero: Store time at its beginning.
        base: The epoch below its first; None before its first claim.
        lane: Of its runs.
        worker: Who owns ``r``, or owned it last.
        sessions: Of all its workers.
        grip: Its last claim of ``r``; None if nobody has claimed it.
    """

    def __init__(self, store: Store, clock: ManualClock, number: int) -> None:
        self.store = store
        self.clock = clock
        self.tag = f"@{number:06}@"
        self.zero = clock.now()
        self.lane = Lane("default", self.tag + "work", "1")
        self.sessions: list[SessionId] = []
        self.worker = self.new_worker("owner")
        self.grip: Grip | None = None
        self.base: int | None = None

    def id(self, name: str) -> RunId:
        """A run of this scene: ``r``, ``p``, ``o``; ``c`` is a child of ``r``, ``d``, ``n``, ``f`` come later."""
        return RunId(self.tag + name)

    def new_worker(self, name: str) -> Worker:
        worker = Worker(self.store, self.tag + name)
        self.sessions.append(worker.session.id)
        return worker

    def new(self, name: str, **given: Any) -> NewRun:
        """A run of this scene; one that nobody shall claim yet has a delay."""
        fields: dict[str, Any] = {"digest": name, "seed": name, "input": name.encode(), **given}
        return NewRun(self.id(name), self.lane.workflow, "1", "default", **fields)

    def later(self, name: str, **given: Any) -> NewRun:
        return self.new(name, delay_seconds=_NOT_YET_SECONDS, **given)

    def signal(self, id: str, to: str = "r") -> Message:
        return Message(self.id(to), MessageId(self.tag + id), MessageKind.SIGNAL, "news", id.encode())

    def control(self, request: str, verb: Verb) -> Control:
        return Control(self.id("r"), self.tag + request, verb)

    # ── what situations are made of ──────────────────────────────────────────────────────────────────────────────

    async def begin(self) -> None:
        """``p`` and ``o`` wait for later; ``r`` is due."""
        parent = Parent(self.id("p"), "call", 1, "cancel")
        await self.store.create([self.later("p"), self.later("o"), self.new("r", parent=parent, labels={"l": "1"})])

    async def claim(self, worker: Worker | None = None) -> Grip:
        if worker is not None:
            self.worker = worker
        self.grip = await self.worker.one(lanes=(self.lane, CLOSING_LANE))
        self.base = self.grip.epoch - 1 if self.base is None else self.base
        return self.grip

    async def hold(self) -> Grip:
        """``r`` is owned, has something of everything, and one unread signal."""
        await self.begin()
        grip = await self.claim()
        await grip.commit(
            b"e0",
            values=(("k", b"0"),),
            emits=(Emit("s", b"0"),),
            parts=(Part("h", b"0"),),
            children=(self.later("c", parent=Parent(self.id("r"), "c", 1, "cancel")),),
            messages=(self.signal("m1"),),
        )
        return grip

    # ── afterwards ───────────────────────────────────────────────────────────────────────────────────────────────

    async def picture(self) -> Picture:
        """The scene as it stands now."""
        return await picture(self.store, self.tag, [self.id(name) for name in "procdnf"], self.zero, self.base)

    async def sweep(self) -> None:
        """Send the scene's workers away, close what is closing, and let the sessions be forgotten."""
        for session in self.sessions:
            await self.store.leave(session)
        rows = await self.store.get([self.id(name) for name in "rpocdnf"])
        if any(row is not None and row.ended and row.closing for row in rows):
            sweeper = self.new_worker("sweeper")
            for grip in await sweeper.claim(lanes=(CLOSING_LANE,), limit=100):
                await grip.commit(then=Closed())
            await self.store.leave(sweeper.session.id)
        self.clock.advance(_AFTERWARDS_SECONDS)


async def _pending(scene: Scene) -> None:
    await scene.begin()


async def _recorded(scene: Scene) -> None:
    await scene.begin()
    await scene.store.put_record(scene.tag, "k", b"first")


async def _held(scene: Scene) -> None:
    await scene.hold()


async def _expired(scene: Scene) -> None:
    await scene.hold()
    scene.clock.advance(LEASE_SECONDS)


async def _waiting(scene: Scene) -> None:
    grip = await scene.hold()
    await grip.commit(then=Waiting(scene.clock.now() + _NOT_YET_SECONDS, 1))


async def _pausing(scene: Scene) -> None:
    await scene.hold()
    await scene.store.control([scene.control("pause", Pause())])


async def _paused(scene: Scene) -> None:
    await (await scene.hold()).commit(then=Paused())


async def _blocked(scene: Scene) -> None:
    await (await scene.hold()).commit(then=Blocked("engine", "why", "call"))


async def _ended(scene: Scene) -> None:
    await scene.begin()
    grip = await scene.claim()
    await grip.commit(b"e0", b"e1", then=Ended(RunStatus.FAILED, b"outcome", "why", keep_seconds=0.0))


async def _closing(scene: Scene) -> None:
    await (await scene.hold()).commit(then=Ended(RunStatus.COMPLETED, b"outcome", closing=True))


async def _closer(scene: Scene) -> None:
    await _closing(scene)
    await scene.claim(scene.new_worker("closer"))


async def _rewinding(scene: Scene) -> None:
    await _ended(scene)
    await scene.store.control([scene.control("retry", Retry(b"order"))])
    scene.worker.forget()
    await scene.claim()


SITUATIONS: Final[Mapping[str, Callable[[Scene], Awaitable[None]]]] = {
    "pending": _pending,  # never claimed, due
    "recorded": _recorded,  # the same, and a record lies in the side table
    "held": _held,  # owned
    "expired": _expired,  # owned by a session whose lease is over, which nobody has noticed yet
    "waiting": _waiting,
    "pausing": _pausing,  # owned, with an unread PAUSE message
    "paused": _paused,
    "blocked": _blocked,
    "ended": _ended,  # failed, and past its own keep_seconds
    "closing": _closing,  # ended, with a child to close
    "closer": _closer,  # the same, claimed from the closing lane
    "rewinding": _rewinding,  # retried, claimed, the order not carried out yet
}
"""How ``r`` can stand when a schedule begins."""
