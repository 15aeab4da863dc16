"""A worker: claims runs, works on them, and gives them back. Everything it holds can be lost at any instant."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Literal, final

from durable._author.definitions import Step, Workflow
from durable._author.logs import logger
from durable._author.registry import Registry
from durable._engine.cache import Cache
from durable._engine.client import Client
from durable._engine.committer import Committer
from durable._engine.demand import Demand
from durable._engine.executor import Executor
from durable._engine.hooks import Hooks
from durable._engine.pace import Pace
from durable._engine.polling import Polling
from durable._engine.retention import Purger
from durable._engine.runner import Runner
from durable._engine.services import Services, StoreTime
from durable._engine.session import Heartbeat, Lease
from durable._engine.slots import Slots
from durable._engine.stalls import Stalls
from durable._engine.telling import Teller
from durable._engine.troubles import Reporter
from durable._engine.weather import Weather
from durable._model import defaults
from durable._model.claims import WorkerSession
from durable._model.duration import Duration, seconds_of
from durable._model.ids import RunId, SessionId, check_name
from durable.errors import DurableError, InvalidInput, StoreError
from durable.observing import Observer

__all__ = ["Worker"]

_log = logger("durable.worker")
_LEAVE_SECONDS: Final = 1.0  # for the farewell of a start that came to nothing; without it the lease ends by itself
_SILENT_SECONDS: Final = 1.0  # of a drain, before it says what it waits for


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
        self._stopping = asyncio.Event()
        self._freed = asyncio.Event()
        self._life: Literal["new", "starting", "working", "over"] = "new"
        self._said_drain = False
        self._ticked = 0.0
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
                self._said_drain = True
                _log.warning(
                    "Stopping: waiting up to %.0f s for steps in flight. Again to stop now.", self._drain_seconds
                )
            self._stopping.set()

        handled: list[signal.Signals] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(number, asked)
                handled.append(number)
        starting = loop.create_task(self._start())
        try:
            await self._until_asked(starting)
            if starting.done():
                starting.result()
                await self._until_asked(*self._tasks)
        finally:
            starting.cancel()  # while the store is away it would wait on
            await asyncio.wait([starting])
            stopping = asyncio.ensure_future(self._stop())
            hurry = asyncio.ensure_future(second.wait())
            await asyncio.wait([stopping, hurry], return_when=asyncio.FIRST_COMPLETED)
            if not stopping.done():
                self._drain_seconds = 0.0
                self._freed.set()
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
        if self._life in ("working", "over"):
            self._slots.drop()
        self._cache.clear()

    async def _until_asked(self, *parts: asyncio.Task[None]) -> None:
        """Until it is to stop, or a part has ended; with its error, if it has one."""
        asked = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait([asked, *parts], return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
        for part in parts:
            if part.done() and not part.cancelled():
                part.result()

    async def _start(self) -> None:
        """Once in its life; a start that has failed may be tried again."""
        match self._life:
            case "working":
                return
            case "starting":
                raise DurableError("This worker is starting already.")
            case "over":
                raise DurableError("This worker has stopped. Make another one: Worker(client, ...).")
            case "new":
                self._life = "starting"
        try:
            await self._client.open()
            await self._join()
        except BaseException:
            self._life = "new"
            raise
        self._life = "working"

    async def _join(self) -> None:
        """Make itself known in the store, and begin."""
        clock, store = self._link.clock, self._link.store
        session = self._session = WorkerSession(
            SessionId(clock.token()), self.name, self._lease_seconds, self.registry.pairs(), self.queues
        )
        pace = Pace(store, self._lease_seconds, self._poll_seconds, lambda: bool(self._held))
        self._time = StoreTime(clock)
        reporter = Reporter(store, clock, self._time.now, session)
        teller = self._teller = Teller(self.name, clock, self._link.codec, self._observer, reporter)
        weather = Weather(clock, teller.weather)
        try:
            self._time.heard(await weather.through(store.now))
            self._lease = Lease(clock, self._lease_seconds)
            await weather.through(lambda: store.renew(session))  # from here on others know what it has registered
            self._build(session, pace, weather, teller)
        except BaseException:
            await teller.close()
            with contextlib.suppress(StoreError, TimeoutError):
                async with asyncio.timeout(_LEAVE_SECONDS):
                    await store.leave(session.id)
            raise

    def _build(self, session: WorkerSession, pace: Pace, weather: Weather, teller: Teller) -> None:
        """Its rooms, and the tasks that run in them."""
        clock, store = self._link.clock, self._link.store
        self._committer = Committer(store, weather, clock, teller, self._time.heard)
        self._executor = Executor(self._link.codec, clock, self._time.now, self._threads, self._hooks)
        self._services = Services(
            store,
            self._link.codec,
            clock,
            self.registry,
            self._time,
            weather,
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
        held, stopping, freed = self._held, self._stopping, self._freed
        self._slots = Slots(
            held, self._cache, self._demand, self._concurrency, self._services, self._link.watch, stopping, freed
        )
        polling = Polling(self._link, session, self._lease, pace, self._slots, self._services, stopping, freed)
        self._ahead = polling.ahead
        self._link.company.workers[self._ahead] = None
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._committer.run(), name="durable-committer"),
            loop.create_task(polling.run(), name="durable-poll"),
            loop.create_task(self._sweep_forever(), name="durable-sweep"),
            loop.create_task(Purger(store, clock, pace.rhythm.purge_seconds).run(), name="durable-retention"),
        ]
        for task in self._tasks:
            task.add_done_callback(_say_death)

    async def _stop(self) -> None:
        """Stop claims → drain → stop the heartbeat → leave (B22, B102)."""
        if self._life != "working":
            return
        self._life = "over"
        self._stopping.set()
        self._link.company.workers.pop(self._ahead, None)
        try:
            await self._drain()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, *self._slots.cancel(), return_exceptions=True)
            self._slots.drop()
            self._link.watch.untend(self._held)
            self._ahead.close()
            self._cache.clear()
            self._executor.close()
            await self._heartbeat.stop()
            await self._teller.close()
            with contextlib.suppress(StoreError):
                await self._link.store.leave(self._session.id)

    async def _drain(self) -> None:
        self._slots.drain()
        committer = self._tasks[0]
        began = self._link.clock.monotonic()
        while self._held and not committer.done():
            waited = self._link.clock.monotonic() - began
            if waited >= self._drain_seconds:  # a second signal sets it to 0
                _log.warning("Runs with steps in flight when the time to drain was over: %d.", len(self._held))
                return
            if waited >= _SILENT_SECONDS and not self._said_drain:
                self._said_drain = True
                _log.warning("Stopping: waiting up to %.0f s for steps in flight.", self._drain_seconds)
            self._freed.clear()
            timer = asyncio.ensure_future(self._link.clock.sleep(0.2))
            room = asyncio.ensure_future(self._freed.wait())
            await asyncio.wait([timer, room], return_when=asyncio.FIRST_COMPLETED)
            timer.cancel()
            room.cancel()

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
