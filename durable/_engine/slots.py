"""The runs that a worker holds: what a claim becomes, and how many more there is room for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, Final, final

from durable._author.definitions import Workflow, WorkflowPolicy
from durable._author.logs import logger
from durable._core.state import RunState
from durable._engine import closer, rewinder
from durable._engine.cache import Cache
from durable._engine.demand import Demand
from durable._engine.runner import Runner
from durable._engine.services import Services
from durable._engine.takeup import more_unread
from durable._engine.watching import RunWatch
from durable._model.claims import Claim, Held, Poll
from durable._model.ids import RunId
from durable._model.runs import Lane

__all__ = ["Slots"]

_log = logger("durable.worker")
_CLOSING_PAUSE_SECONDS: Final = 30.0


@final
class Slots:
    """Of one worker that has started.

    Args:
        held: The runs it holds; the worker's own.
        cache: Where the state of those that wait is kept.
        size: Runs that it holds at once.
        stopping: Set when it is to take no more.
        freed: Set when a run has gone.
    """

    def __init__(
        self,
        held: dict[RunId, Runner],
        cache: Cache,
        demand: Demand,
        size: int,
        services: Services,
        watch: RunWatch,
        stopping: asyncio.Event,
        freed: asyncio.Event,
    ) -> None:
        self._held = held
        self._cache = cache
        self._demand = demand
        self._size = size
        self._services = services
        self._watch = watch
        self._stopping = stopping
        self._freed = freed
        self._taking: dict[asyncio.Task[None], None] = {}  # stopped in the order in which they came
        self._lonely: Claim | None = None  # begun when the runs held now have come to rest

    def named(self) -> tuple[Held, ...]:
        """What is held, as a poll names it."""
        held = tuple(Held(runner.id, runner.epoch, runner.seen) for runner in self._held.values())
        lonely = self._lonely
        if lonely is not None:
            held = (*held, Held(lonely.run.id, lonely.run.epoch, lonely.messages[-1].seq if lonely.messages else 0))
        return held

    def lanes(self) -> tuple[Lane, ...]:
        """Where there may be runs for it now."""
        return self._demand.lanes(self._names())

    def wants_all(self, lanes: Sequence[Lane]) -> bool:
        """Whether these are all, so that no workflow waits for the end of one of its runs here."""
        return self._demand.all(lanes)

    def lacks_messages(self, poll: Poll) -> bool:
        """Whether the inbox of a held run may have more than this answer brought."""
        return more_unread(poll, self._held)

    def free(self) -> int:
        """How many runs more it takes now."""
        if self._stopping.is_set() or self._lonely is not None:
            return 0
        if any(runner.lonely for runner in self._held.values()):
            return 0
        return self._demand.room(self._names(), self._size - len(self._held))

    def reconcile(self, poll: Poll, named: dict[RunId, int]) -> None:
        """Let go of what others have, hand out messages, take what was claimed.

        Args:
            named: The epoch of each run that the poll named; a later claim of the same run is not meant.
        """
        for run in poll.lost:
            runner = self._held.get(run)
            if runner is not None and runner.epoch == named.get(run) and not runner.leaving:
                _log.warning("Run %s was taken over by another worker.", run)
                self._services.teller.lost(runner.run)
                runner.drop()
            lonely = self._lonely
            if lonely is not None and lonely.run.id == run:
                self._lonely = None
        for message in poll.messages:
            runner = self._held.get(message.message.run)
            if runner is not None:
                runner.receive(message)
        for claim in sorted(poll.claims, key=lambda claim: claim.lonely):
            if claim.lonely and self._held:
                self._lonely = claim
            else:
                self._take(claim)

    def drain(self) -> None:
        """Steps in flight end and are committed; no new one begins."""
        for runner in list(self._held.values()):
            runner.drain()

    def drop(self) -> None:
        """Forget all that is held; nothing is written."""
        self._lonely = None
        for runner in list(self._held.values()):
            runner.drop()

    def cancel(self) -> tuple[asyncio.Task[None], ...]:
        """Take up nothing more; returns what is still about to end."""
        for task in self._taking:
            task.cancel()
        return tuple(self._taking)

    def _names(self) -> Iterator[str]:
        return (runner.workflow.name for runner in self._held.values())

    def _take(self, claim: Claim) -> None:
        previous = self._held.get(claim.run.id)
        if previous is not None:
            if previous.epoch == claim.run.epoch:
                return  # a repeated poll's claim
            previous.drop()
        workflow = self._services.registry.get(claim.run.workflow, claim.run.version)
        if workflow is None:
            workflow = _NOBODY
        runner = Runner(claim, workflow, self._services, self._gone)
        self._held[runner.id] = runner
        self._services.teller.claimed(claim.run)
        if self._stopping.is_set():
            runner.drain()
        task = asyncio.get_running_loop().create_task(self._begin(runner, claim, workflow))
        self._taking[task] = None
        task.add_done_callback(lambda done: self._taking.pop(done, None))

    async def _begin(self, runner: Runner, claim: Claim, workflow: Workflow[..., Any]) -> None:
        try:
            if claim.run.closing:
                if not await closer.close(runner, self._services):
                    return
                if claim.run.ended:
                    runner.drop()
                    return
            if claim.run.rewind is not None:
                rewound = await rewinder.rewind(runner, claim, self._services, workflow)
                if rewound is None:
                    runner.drop()
                    return
                runner.rebase(rewound)
        except Exception as error:
            if claim.run.ended:
                await self._leave_closing(runner, error)
            else:
                runner.broken(error)
            return
        await runner.begin(self._cache.take(runner.run))

    async def _leave_closing(self, runner: Runner, error: Exception) -> None:
        """An ended run cannot be blocked: it is held for a while, so that its closing is not tried in a hot loop."""
        _log.error("Run %s has ended and cannot be closed, trying on: %s", runner.id, error, exc_info=error)
        waits = [
            asyncio.ensure_future(self._services.clock.sleep(_CLOSING_PAUSE_SECONDS)),
            asyncio.ensure_future(self._stopping.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        runner.drop()

    def _gone(self, runner: Runner, state: RunState | None) -> None:
        if self._held.get(runner.id) is runner:
            del self._held[runner.id]
        if state is not None:
            self._cache.keep(runner.run, state)
        else:
            self._watch.look_at(runner.id)
        self._freed.set()
        lonely = self._lonely
        if lonely is not None and not self._held:
            self._lonely = None
            self._take(lonely)


async def _nobody(ctx: Any) -> None:
    """Stands in where only children are to be closed."""


_NOBODY: Workflow[..., Any] = Workflow(_nobody, "closing", "1", WorkflowPolicy())
