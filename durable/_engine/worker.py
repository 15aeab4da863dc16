"""A worker: claims runs, works on them, and gives them back. Everything it holds can be lost at any instant."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import socket
from collections.abc import Coroutine, Iterator, Sequence
from types import TracebackType
from typing import Any, Final, Literal, cast, final

from durable._author.definitions import Step, Workflow, WorkflowPolicy
from durable._author.logs import logger
from durable._author.registry import Registry
from durable._core.state import RunState
from durable._engine import closer, rewinder
from durable._engine.ahead import Ahead, Asked
from durable._engine.cache import Cache
from durable._engine.client import Client
from durable._engine.committer import Committer
from durable._engine.demand import Demand
from durable._engine.executor import Executor
from durable._engine.hooks import Hooks
from durable._engine.pace import Pace
from durable._engine.retention import Purger
from durable._engine.runner import Runner
from durable._engine.services import Services, StoreTime
from durable._engine.session import Heartbeat, Lease
from durable._engine.stalls import Stalls
from durable._engine.takeup import more_unread
from durable._engine.telling import Teller
from durable._engine.troubles import Reporter
from durable._engine.weather import Weather
from durable._model import defaults
from durable._model.claims import Claim, Held, Poll, Want, WorkerSession
from durable._model.duration import Duration, seconds_of
from durable._model.ids import RunId, SessionId, check_name
from durable.errors import Corrupt, InvalidInput, StoreError
from durable.observing import Observer

__all__ = ["Worker"]

_log = logger("durable.worker")
_CLOSING_PAUSE_SECONDS: Final = 30.0


@final
class Worker:
    """Executes runs of the given workflows: ``async with connect(url) as client, Worker(client, workflows=[order]):``.

    Args:
        client: Whose store it works for. It is opened if it is not yet.
        workflows: What it can run, each name and version once.
        steps: What it carries out for other workers (steps declared with ``queue=``).
        queues: It reads. Default: ``("default",)``.
        concurrency: Runs that it works on at once. Waiting ones do not count. Default 100.
        cache: Waiting runs whose state stays in memory. Default 1,000; with 0 every wake-up replays.
        drain: How long it waits for steps in flight when it stops. Default 30 seconds.
        lease: Its runs go to others this long after its last sign of life. Default 15 seconds.
        threads: Plain ``def`` steps that run at once. Default 32.
        poll: Between looks at the store when nothing hints at work. Default 1 second with hints, else 0.1.
        heartbeat: ``"thread"``, or ``"task"`` in a simulator.
        hooks: Carries steps out in the executor's place (a simulator).
        name: For people; by default host and process id.
        observer: Told what happens (``durable.observing``); what it raises hurts no run.

    Raises:
        DuplicateRegistration: Two functions have one name and version.
        InvalidInput: A ``ValueError``: an argument makes no sense.
    """

    def __init__(
        self,
        client: Client,
        *,
        workflows: Sequence[Workflow[..., Any]] = (),
        steps: Sequence[Step[..., Any]] = (),
        queues: Sequence[str] = (defaults.QUEUE,),
        concurrency: int = defaults.CONCURRENCY,
        cache: int = defaults.CACHE_RUNS,
        drain: Duration = defaults.DRAIN_SECONDS,
        lease: Duration = defaults.LEASE_SECONDS,
        threads: int = 32,
        poll: Duration | None = None,
        heartbeat: Literal["thread", "task"] = "thread",
        hooks: Hooks | None = None,
        name: str | None = None,
        observer: Observer | None = None,
    ) -> None:
        if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
            raise InvalidInput(f"Worker(concurrency=) is 1 or more, not {concurrency!r}.")
        if isinstance(cache, bool) or not isinstance(cache, int) or cache < 0:
            raise InvalidInput(f"Worker(cache=) is 0 or more, not {cache!r}.")
        if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
            raise InvalidInput(f"Worker(threads=) is 1 or more, not {threads!r}.")
        if seconds_of(lease, "Worker(lease=)") <= 0:
            raise InvalidInput(f"Worker(lease=) is longer than nothing, not {lease!r}.")
        if isinstance(queues, str) or not queues:
            raise InvalidInput(f"Worker(queues=) is a list of queue names, not {queues!r}.")
        self.registry = Registry()
        for workflow in workflows:
            self.registry.add(workflow)
        for step in steps:
            self.registry.add_step(step)
        self.queues = tuple(check_name("queue name", queue) for queue in queues)
        self._demand = Demand(self.registry, self.queues)
        self.name = check_name("worker name", name or f"{socket.gethostname()}/{os.getpid()}")
        self._client = client
        self._link = client.link
        self._concurrency = concurrency
        self._drain_seconds = seconds_of(drain, "Worker(drain=)")
        self._lease_seconds = seconds_of(lease, "Worker(lease=)")
        self._threads = threads
        self._poll_seconds = None if poll is None else seconds_of(poll, "Worker(poll=)")
        self._heartbeat_mode: Literal["thread", "task"] = heartbeat
        self._hooks = hooks
        self._observer = observer
        self._held: dict[RunId, Runner] = {}
        self._cache = Cache(cache)
        self._tasks: list[asyncio.Task[None]] = []
        self._taking: dict[asyncio.Task[None], None] = {}  # stopped in the order in which they came
        self._stopping = asyncio.Event()
        self._room = asyncio.Event()
        self._started = False
        self._ticked = 0.0
        self._polls = 0
        self._lonely_waiting: Claim | None = None
        self._ahead = Ahead(self._want_along, self._ask, self._link.work.future, self._link.clock)
        client.register(self.registry)

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def __aenter__(self) -> Worker:
        await self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stop()

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT, then drain: steps in flight end and are committed, no new one begins.

        A second signal stops without waiting for them.
        """
        loop = asyncio.get_running_loop()
        second = asyncio.Event()

        def asked() -> None:
            if self._stopping.is_set():
                second.set()
            elif self._held:
                _log.warning(
                    "Stopping: waiting up to %.0f s for steps in flight. Again to stop now.", self._drain_seconds
                )
            self._stopping.set()

        handled: list[signal.Signals] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(number, asked)
                handled.append(number)
        try:
            await self._start()
            await self._until_asked()
        finally:
            stopping = asyncio.ensure_future(self._stop())
            hurry = asyncio.ensure_future(second.wait())
            await asyncio.wait([stopping, hurry], return_when=asyncio.FIRST_COMPLETED)
            if not stopping.done():
                self._drain_seconds = 0.0
                self._room.set()
            await stopping
            hurry.cancel()
            for number in handled:
                loop.remove_signal_handler(number)

    def stop(self) -> None:
        """Ask ``run`` to drain and return."""
        self._stopping.set()

    @property
    def held(self) -> int:
        """Runs that it works on now."""
        return len(self._held)

    def evict(self) -> None:
        """Forget the state of every waiting run; each is replayed when it is claimed again."""
        self._cache.clear()

    def abandon(self) -> None:
        """Forget everything, as when the process is killed: nothing is written, nothing given back. For simulators."""
        self._lonely_waiting = None
        for runner in list(self._held.values()):
            runner.drop()
        self._cache.clear()

    async def _until_asked(self) -> None:
        asked = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait([asked, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        for task in self._tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                raise task.exception()  # type: ignore[misc]

    async def _start(self) -> None:
        if self._started:
            return
        self._started = True
        await self._client.open()
        clock, store = self._link.clock, self._link.store
        self._session = WorkerSession(
            SessionId(clock.token()), self.name, self._lease_seconds, self.registry.pairs(), self.queues
        )
        pace = self._pace = Pace(store, self._lease_seconds, self._poll_seconds, lambda: bool(self._held))
        self._time = StoreTime(clock)
        reporter = Reporter(store, clock, self._time.now, self._session)
        teller = self._teller = Teller(self.name, clock, self._link.codec, self._observer, reporter)
        self._weather = Weather(clock, teller.weather)
        self._time.heard(await self._weather.through(store.now))
        self._lease = Lease(clock, self._lease_seconds)
        session = self._session
        await self._weather.through(lambda: store.renew(session))  # from here on others know what it has registered
        self._committer = Committer(store, self._weather, clock, teller, self._time.heard)
        self._executor = Executor(self._link.codec, clock, self._time.now, self._threads, self._hooks)
        self._services = Services(
            store,
            self._link.codec,
            clock,
            self.registry,
            self._time,
            self._weather,
            self._committer,
            self._executor,
            self._may_begin,
            self._link.watch.ending,
            self._link.watch.ended,
            teller,
        )
        self._ticked = clock.monotonic()
        beat_seconds = min(defaults.BEAT_SECONDS, self._lease_seconds / 3)
        mode, stalls = self._heartbeat_mode, Stalls(clock, lambda: self._ticked, lambda: list(self._held.values()))
        self._heartbeat = Heartbeat(
            store, session, self._lease, clock, lambda: self._ticked, mode, beat_seconds, stalls=stalls, idle=pace.idle
        )
        self._heartbeat.start()
        self._link.watch.tend(self._held)
        self._link.company.workers[self._ahead] = None
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._committer.run(), name="durable-committer"),
            loop.create_task(self._poll_forever(), name="durable-poll"),
            loop.create_task(self._sweep_forever(), name="durable-sweep"),
            loop.create_task(Purger(store, clock, pace.rhythm.purge_seconds).run(), name="durable-retention"),
        ]
        for task in self._tasks:
            task.add_done_callback(_say_death)

    async def _stop(self) -> None:
        """Stop claims → drain → stop the heartbeat → leave (B22, B102)."""
        if not self._started:
            return
        self._started = False
        self._stopping.set()
        self._link.company.workers.pop(self._ahead, None)
        try:
            await self._drain()
        finally:
            for task in (*self._tasks, *self._taking):
                task.cancel()
            await asyncio.gather(*self._tasks, *self._taking, return_exceptions=True)
            for runner in list(self._held.values()):
                runner.drop()
            self._link.watch.untend(self._held)
            self._ahead.close()
            self._cache.clear()
            self._executor.close()
            await self._heartbeat.stop()
            await self._teller.close()
            with contextlib.suppress(StoreError):
                await self._link.store.leave(self._session.id)

    async def _drain(self) -> None:
        for runner in list(self._held.values()):
            runner.drain()
        committer = self._tasks[0]
        began = self._link.clock.monotonic()
        while self._held and not committer.done():
            if self._link.clock.monotonic() - began >= self._drain_seconds:  # a second signal sets it to 0
                _log.warning("%d runs had steps in flight when the time to drain was over.", len(self._held))
                return
            self._room.clear()
            timer = asyncio.ensure_future(self._link.clock.sleep(0.2))
            room = asyncio.ensure_future(self._room.wait())
            await asyncio.wait([timer, room], return_when=asyncio.FIRST_COMPLETED)
            timer.cancel()
            room.cancel()

    # ── claims ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _poll_forever(self) -> None:
        """Whatever goes wrong in one look must not leave a worker that beats on and takes nothing (B14)."""
        while not self._stopping.is_set():
            try:
                await self._poll_until_asked()
            except Corrupt:
                raise
            except Exception:
                _log.exception("The worker could not look for work; it tries again in a second.")
                await self._link.clock.sleep(1.0)

    async def _poll_until_asked(self) -> None:
        changes, ahead = self._link.work, self._ahead
        asked, change = cast("Asked | None", None), changes.future()
        while asked is not None or not self._stopping.is_set():  # what was asked for may have claimed
            if asked is None:
                self._room.clear()
                change = changes.future()
                asked = Asked(self._want(), self._ask, changes.future, self._link.clock)
            want, began = asked.want, self._teller.moment()
            named = {held.run: held.epoch for held in want.held}
            poll = await self._weather.through(asked.answer)
            if asked.listening is not None:
                change.cancel()
                change = asked.listening
            self._lease.renewed(asked.at)
            self._time.heard(poll.now)
            self._teller.polled(len(poll.claims), len(poll.lost), began)
            self._pace.polled(want, poll)
            self._reconcile(poll, named)
            asked = None
            if (len(poll.claims) >= max(want.limit, 1) and self._free() > 0) or more_unread(poll, self._held):
                change.cancel()
                continue
            await self._rest(change, ahead.rest(), want, poll)
            asked = ahead.wake()
            if asked is None:
                change.cancel()

    async def _rest(self, change: asyncio.Future[None], taken: asyncio.Future[Asked], want: Want, poll: Poll) -> None:
        """Until a hint, the next due time, room for more, the time to look anyway, or it is taken along."""
        seconds = self._pace.rest_seconds()
        due, free = math.inf, self._free()
        if poll.next_due_at is not None and free > 0:
            due = max(poll.next_due_at - self._time.now(), 0.0) + defaults.LATE_SECONDS
        pause = asyncio.ensure_future(self._link.clock.pause(seconds, due))
        waits: list[asyncio.Future[Any]] = [change, taken, pause]
        more = poll.next_due_at is not None and poll.next_due_at <= poll.now
        if free == 0 or more or not self._demand.all(want.lanes):
            waits.append(asyncio.ensure_future(self._room.wait()))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits[2:]:
                wait.cancel()

    def _ask(self, want: Want) -> Coroutine[Any, Any, Poll]:
        return self._link.store.poll(self._session, want)

    def _want_along(self) -> Want | None:
        return self._want(ahead=True) if self._free() > 0 else None

    def _want(self, *, ahead: bool = False) -> Want:
        self._polls += 1
        held = tuple(Held(runner.id, runner.epoch, runner.seen) for runner in self._held.values())
        waiting = self._lonely_waiting
        if waiting is not None:
            held = (*held, Held(waiting.run.id, waiting.run.epoch, waiting.messages[-1].seq if waiting.messages else 0))
        lanes = self._demand.lanes(self._names())
        idle, poll_id = self._pace.idle_lease_seconds, f"{self._session.id}/{self._polls}"
        return Want(poll_id, lanes, self._free(), held, idle_lease_seconds=idle, ahead=ahead)

    def _names(self) -> Iterator[str]:
        return (runner.workflow.name for runner in self._held.values())

    def _free(self) -> int:
        if self._stopping.is_set() or self._lonely_waiting is not None:
            return 0
        if any(runner.lonely for runner in self._held.values()):
            return 0
        return self._demand.room(self._names(), self._concurrency - len(self._held))

    def _reconcile(self, poll: Poll, named: dict[RunId, int]) -> None:
        for run in poll.lost:
            runner = self._held.get(run)
            if runner is not None and runner.epoch == named.get(run) and not runner.leaving:
                _log.warning("Run %s was taken over by another worker.", run)
                self._teller.lost(runner.run)
                runner.drop()
            waiting = self._lonely_waiting
            if waiting is not None and waiting.run.id == run:
                self._lonely_waiting = None
        for message in poll.messages:
            runner = self._held.get(message.message.run)
            if runner is not None:
                runner.receive(message)
        for claim in sorted(poll.claims, key=lambda claim: claim.lonely):
            if claim.lonely and self._held:
                self._lonely_waiting = claim  # begun when the runs held now have come to rest
            else:
                self._take(claim)

    def _take(self, claim: Claim) -> None:
        previous = self._held.get(claim.run.id)
        if previous is not None:
            if previous.epoch == claim.run.epoch:
                return  # a repeated poll's claim
            previous.drop()
        workflow = self.registry.get(claim.run.workflow, claim.run.version)
        if workflow is None:
            workflow = _NOBODY
        runner = Runner(claim, workflow, self._services, self._gone)
        self._held[runner.id] = runner
        self._teller.claimed(claim.run)
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
            asyncio.ensure_future(self._link.clock.sleep(_CLOSING_PAUSE_SECONDS)),
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
            self._link.watch.look_at(runner.id)
        self._room.set()
        waiting = self._lonely_waiting
        if waiting is not None and not self._held:
            self._lonely_waiting = None
            self._take(waiting)

    # ── the small clock of the worker ────────────────────────────────────────────────────────────────────────────

    async def _sweep_forever(self) -> None:
        clock = self._link.clock
        while True:
            await clock.pause(defaults.STARTED_NOTE_SECONDS)
            now = self._ticked = clock.monotonic()
            self._teller.turned(len(self._held), len(self._cache))
            for runner in list(self._held.values()):
                runner.sweep(now)

    def _may_begin(self) -> Any:
        return None if self._lease.holds() else self._lease.wait()


def _say_death(task: asyncio.Task[None]) -> None:
    """A worker that has lost a part of itself must not look healthy."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.critical("A part of the worker has died (%s); restart it.", task.get_name(), exc_info=error)


async def _nobody(ctx: Any) -> None:
    """Stands in where only children are to be closed."""


_NOBODY: Workflow[..., Any] = Workflow(_nobody, "closing", "1", WorkflowPolicy())
