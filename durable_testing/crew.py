"""The workers of a simulation: real ones, each in a process that can be killed, stopped, drained, started again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from durable._author.definitions import Step, Workflow
from durable._engine.client import Client
from durable._engine.hooks import Hooks
from durable._engine.worker import Worker
from durable.store import Store
from durable_testing.clock import ActorClock
from durable_testing.loop import Actor, SimLoop
from durable_testing.trace import Trace

__all__ = ["Berth", "Code"]

_RESTART_SECONDS = 1.0


@final
@dataclass(frozen=True, slots=True)
class Code:
    """What is deployed.

    Attributes:
        options: Further keyword arguments for every ``Worker``.
    """

    workflows: Sequence[Workflow[..., Any]]
    steps: Sequence[Step[..., Any]] = ()
    options: dict[str, Any] = field(default_factory=dict)


@final
class Berth:
    """The place of one worker: whoever lives there now, and what became of those before.

    Args:
        number: From 1.
        loop: Of the simulation.
        trace: Of the simulation.
        store: Makes the store of a new actor.
        hooks: Makes the hooks of a new actor.
        clock: Makes the clock of a new actor.
        now: True time of the world.
        aside: Keeps what the process was doing from being collected before its time.
    """

    def __init__(
        self,
        number: int,
        loop: SimLoop,
        trace: Trace,
        store: Callable[[Actor], Store],
        hooks: Callable[[Actor], Hooks],
        clock: Callable[[Actor], ActorClock],
        now: Callable[[], float],
        aside: Callable[[], None],
    ) -> None:
        self.number = number
        self.actor: Actor | None = None
        self.clock: ActorClock | None = None
        self.worker: Worker | None = None
        self.code = Code(())
        self.wanted = False
        self.past: list[Worker] = []
        self._lives = 0
        self._loop = loop
        self._trace = trace
        self._store = store
        self._hooks = hooks
        self._make_clock = clock
        self._now = now
        self._aside = aside
        self._leave: asyncio.Event | None = None

    @property
    def alive(self) -> bool:
        """Whether somebody lives here."""
        return self.actor is not None and not self.actor.dead

    @property
    def busy(self) -> bool:
        """Whether it holds a run."""
        return self.alive and self.worker is not None and self.worker.held > 0

    def start(self, code: Code | None = None) -> None:
        """A new process, if there is none."""
        self.code = self.code if code is None else code
        self.wanted = True
        if self.alive:
            return
        self._lives += 1
        actor = Actor(f"worker-{self.number}.{self._lives}")
        self.actor, self.clock = actor, self._make_clock(actor)
        self._loop.create_task(self._live(actor, self.clock), context=actor.context())

    async def _live(self, actor: Actor, clock: ActorClock) -> None:
        client = Client(self._store(actor), clock=clock)
        code = self.code
        worker = Worker(
            client,
            workflows=code.workflows,
            steps=code.steps,
            heartbeat="task",
            hooks=self._hooks(actor),
            name=actor.name,
            **code.options,
        )
        self.worker = worker
        leave = self._leave = asyncio.Event()
        limits = {each.name: each.policy.concurrency for each in code.workflows if each.policy.concurrency is not None}
        self._note(actor, "up", registered=worker.registry.pairs(), concurrency=limits)
        await client.open()  # no ``async with``: a killed process has no ``finally``
        await worker.__aenter__()
        await leave.wait()
        await worker.__aexit__(None, None, None)
        await client.close()
        self._aside()
        actor.dead = True
        self._note(actor, "down", how="drain")
        if self.wanted:
            self._loop.call_later(_RESTART_SECONDS, self.start, context=Actor("world").context())

    def kill(self, restart_seconds: float = _RESTART_SECONDS) -> None:
        """SIGKILL; another process is started later, if this place is to have one."""
        actor = self.actor
        if actor is None or actor.dead:
            return
        actor.dead = True
        if self.worker is not None:
            self.past.append(self.worker)
            self.worker = None
        self._note(actor, "down", how="kill")
        if self.wanted:
            self._loop.call_later(restart_seconds, self.start, context=Actor("world").context())

    def drain(self) -> None:
        """SIGTERM; another process is started when it is gone, if this place is to have one."""
        if self.actor is not None and not self.actor.dead and self._leave is not None:
            self._note(self.actor, "drain")
            self._leave.set()

    def stop(self, seconds: float, *, suspended: bool = False) -> None:
        """SIGSTOP, and SIGCONT ``seconds`` later; or the machine is suspended, and its monotonic clock with it."""
        actor, clock = self.actor, self.clock
        if actor is None or clock is None or actor.dead or actor.stopped:
            return
        actor.stopped = True
        self._note(actor, "stop")

        def go_on() -> None:
            if actor.dead:
                return
            if suspended:
                clock.lost += seconds
            self._note(actor, "cont")
            self._loop.go_on(actor)

        self._loop.call_later(seconds, go_on, context=Actor("world").context())

    def evict(self) -> None:
        """It forgets the state of waiting runs."""
        if self.actor is not None and self.worker is not None and not self.actor.dead:
            self._note(self.actor, "evict")
            self.worker.evict()

    def jump(self, seconds: float) -> None:
        """Its wall clock jumps."""
        if self.actor is not None and self.clock is not None:
            self._note(self.actor, "jump", seconds=seconds)
            self.clock.skew += seconds

    def bury(self) -> None:
        """After the simulation: the remains of user code are closed, poisoned."""
        self.wanted = False
        if self.actor is not None:
            self.actor.dead = True
        for worker in (*self.past, *([self.worker] if self.worker is not None else ())):
            worker.abandon()
        self.past.clear()
        self.worker = None

    def _note(self, actor: Actor, kind: str, **data: Any) -> None:
        self._trace.add(self._now(), actor.name, kind, **data)
