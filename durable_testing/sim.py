"""``Sim``: one world of virtual time for one test, and the client with which the test speaks to it."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar, cast

from durable._author.definitions import Step, Workflow
from durable._engine.client import Client
from durable._engine.handle import Handle
from durable._engine.records import Records
from durable._engine.worker import Worker
from durable.errors import InvalidInput
from durable.store import RunId
from durable_testing import arguments
from durable_testing.crew import Code
from durable_testing.effects import StepRun
from durable_testing.loop import SimulationError
from durable_testing.memory import MemoryStore
from durable_testing.schedules import Schedule
from durable_testing.stubs import Stubs
from durable_testing.world import World

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")

__all__ = ["START", "Sim", "SimHandle"]

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_SETTLE_SECONDS: Final = 0.005  # what is due at an instant is looked for a little later, and may take a little time


class Sim(Client):
    """A world of its own: a store, workers, and a clock that moves only when the test says so, or waits for a result.

    It is a ``Client``, so a test speaks to runs as a program would: ``async with Sim(workflows=[order]) as sim:``
    ``handle = await sim.start(order, ...)``, ``await sim.advance(hours=48)``, ``await handle.result()``. Everything in
    it is deterministic: the same test makes the same ids, the same order, the same times.

    Args:
        workflows: What its workers run.
        steps: What its workers carry out for others (steps declared with ``queue=``).
        seed: Of ids and dice.
        at: When it begins. Default: the first instant of 2026, UTC.
        store: URL of the store. Default: ``memory://``, fresh for each ``Sim``.
        workers: How many worker processes.
        queues: They read. Default: ``("default",)``, and the queues of ``steps``.
        worker_options: Further keyword arguments for every ``Worker``, like ``{"cache": 0}``.

    Raises:
        InvalidInput: An argument makes no sense, such as a naive ``at``.
        DuplicateRegistration: Two functions have one name and version.
    """

    def __init__(
        self,
        *,
        workflows: Sequence[Workflow[..., Any]],
        steps: Sequence[Step[..., Any]] = (),
        seed: int = 0,
        at: datetime = START,
        store: str = "memory://",
        workers: int = 1,
        queues: Sequence[str] | None = None,
        worker_options: dict[str, Any] | None = None,
        world: World | None = None,
    ) -> None:
        start = arguments.instant(at).timestamp()
        arguments.count("Sim(workers=) is a number of processes", workers, 0)
        if world is None:
            code = code_of(workflows, steps, queues, worker_options)
            url = arguments.store_url(store)
            world = World(code, Schedule(workers, seed), url=url, start=start, permute=False)
        self.world = world
        self._stubs = Stubs(world)
        self._begun = False
        self._ended = False
        self._nominal = 0.0
        super().__init__(world.store_of(world.client), clock=world.clock_of(world.client))
        for workflow in workflows:
            self.link.registry.add(workflow)

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def open(self) -> None:
        """Begin; ``async with`` does it for you.

        Raises:
            SimulationError: It has begun before.
        """
        self.begin()
        try:
            await self.inside(Client.open(self))
        except BaseException:
            self.end()
            raise

    def begin(self) -> None:
        """Start the world, unless whoever made it has done so.

        Raises:
            SimulationError: It has begun before: a world lives once.
        """
        if self._begun or self._ended:
            raise SimulationError(
                "A simulation begins once, and this one has begun before: make another Sim(...) for another world. "
                "(A scenario of explore() is given one that has begun, and a `sim` fixture makes such.)"
            )
        self._begun = True
        if not self.world.is_open:
            self.world.open()

    async def close(self) -> None:
        """End; ``async with`` does it for you. Doing it twice is doing it once.

        Raises:
            SimulationError: Called from inside the world, as by a scenario: whoever runs the scenario ends its world.
        """
        if asyncio.events._get_running_loop() is self.world.loop:
            raise SimulationError("A scenario cannot close its simulation: it ends when the scenario has returned.")
        self.end()

    async def __aenter__(self) -> Sim:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()
        if kind is None:
            self.require_crashes()

    def require_crashes(self) -> None:
        """Refuse to end a test of a crash that never came.

        Raises:
            SimulationError: A ``crash(at=)`` has not struck as often as it should have.
        """
        for (step, moment), left in self.world.crash_points.items():
            if left:
                at = f"before {step}" if moment == "before" else step
                ran = ", ".join(sorted({done.name for done in self.world.effects.all})) or "none"
                raise SimulationError(
                    f"crash(at={at!r}) never struck{'' if left == 1 else f' {left} times'}: no step {step!r} came to "
                    f"that point before the simulation ended. Steps that ran: {ran}."
                )

    def end(self) -> None:
        """Stop everything; stubs are taken back."""
        self._ended = True
        try:
            self.world.close()
        finally:
            self._stubs.restore()

    def require_open(self, work: Coroutine[Any, Any, Any]) -> None:
        """Refuse work before the begin and after the end.

        Raises:
            SimulationError: It is not the time for it.
        """
        if not self.world.is_open:
            work.close()
            raise SimulationError(
                "This simulation has not begun, or has ended. Use it inside `async with Sim(workflows=[...]) as sim:`."
            )

    async def inside(self, work: Coroutine[Any, Any, T], waited: str = "the test waits") -> T:
        """Carry out some work in the simulated world, letting time pass until it is done."""
        self.require_open(work)
        if asyncio.events._get_running_loop() is self.world.loop:
            return await work
        task = self.world.task(work)
        for _ in self.world.drive(task, waited):
            await asyncio.sleep(0)  # noqa: TID251 -- other tasks of the test's own loop come in here
        return task.result()

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def now(self) -> datetime:
        """Simulated time, UTC."""
        return datetime.fromtimestamp(self.world.now(), UTC)

    async def advance(self, **kw: float) -> None:
        """Let time pass: ``advance(hours=48)``, ``advance(days=30, seconds=1)``; everything due by then happens.

        Args:
            **kw: As for ``datetime.timedelta``.

        Raises:
            InvalidInput: The duration is negative, or not one, or ends after the year 9999.
        """
        seconds = arguments.seconds_to_pass(self.world.now(), kw)
        await self.inside(self._sleep(seconds))

    async def _sleep(self, seconds: float) -> None:
        loop = self.world.loop
        self._nominal = max(self._nominal + seconds, loop.time() - _SETTLE_SECONDS + seconds)
        await asyncio.sleep(self._nominal - loop.time() + _SETTLE_SECONDS)  # noqa: TID251 -- simulated

    async def run_until_idle(self) -> None:
        """Let everything happen that can happen now, without letting time pass."""
        await self.inside(self._sleep(0.0))

    # ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────

    def stub(self, step: Step[..., R], fn: Callable[..., R] | Callable[..., Awaitable[R]], /) -> None:
        """Until the end of this simulation, ``fn`` is what the step does, sync or async, in every worker.

        Args:
            fn: Called with the step's arguments. Its retries, timeouts and types stay those of the step.

        Raises:
            InvalidInput: ``step`` is not a step.
        """
        if self._ended:
            raise SimulationError("This simulation has ended: nothing can be stubbed in it any more.")
        self._stubs.put(step, fn)

    def calls(self, step: Step[..., Any] | str, /) -> list[StepRun]:
        """Every time the step ran so far, oldest first: arguments, idempotency key, attempt, time, outcome.

        Args:
            step: The step, or the name of an inline one (``ctx.step("name", fn)``).

        Raises:
            InvalidInput: ``step`` is neither.
        """
        if isinstance(step, str):
            return self.world.effects.named(step)
        if not isinstance(step, Step):
            raise InvalidInput(f"calls() takes a step (a function under @step), or the name of one, not {step!r}.")
        return self.world.effects.of(step.fn)

    # ── mishaps ──────────────────────────────────────────────────────────────────────────────────────────────────

    def crash(self, *, at: str | Step[..., Any], times: int = 1) -> None:
        """Kill the worker when it comes to this step; another one takes over when the lease has run out.

        Args:
            at: ``"charge"``, or the step itself: when it has done its work, before its outcome is committed: the worst
                moment.
                ``"before charge"``: when it is about to begin.
            times: How often.

        Raises:
            InvalidInput: ``at`` is neither, or ``times`` is not 1 or more.

        A crash that has not struck by the end of ``async with`` is an error there: the test has tested nothing.
        """
        step, moment = arguments.crash_point(at)
        self.world.crash_points[step, moment] = arguments.count("crash(times=) is how often it strikes", times, 1)

    def redeploy(self, workflows: Sequence[Workflow[..., Any]] | None = None, *, drain: bool = False) -> None:
        """Replace the code: every worker goes, and comes back a second later with other workflows.

        Args:
            workflows: Default: those of the next deploy (``explore(redeployed=)``), else the same again.
            drain: They finish the steps in flight first, as on SIGTERM; else they are killed.

        Raises:
            InvalidInput: What should be workflows is something else.
        """
        code: Code | None = None
        if workflows is not None:
            now = self.world.code
            code = Code(arguments.functions("workflows", workflows, Workflow), now.steps, now.options)
        self.world.redeploy(code, drain=drain)

    # ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def handle(self, id: str, wf: Workflow[..., Any] | None = None, /) -> SimHandle[Any]:
        """As ``Client.handle``."""
        return SimHandle(self, Client.handle(self, id, wf))

    @property
    def records(self) -> SimRecords:
        """As ``Client.records``."""
        return SimRecords(self)


class SimHandle(Handle[R_co]):
    """A run of the simulated world."""

    def __init__(self, sim: Sim, handle: Handle[R_co]) -> None:
        super().__init__(handle._link, RunId(handle.id), handle._workflow)
        self._sim = sim

    async def stream(self, name: str, /, *, start: int = 0) -> AsyncIterator[Any]:
        """As ``Handle.stream``."""
        items = aiter(Handle.stream(self, name, start=start))
        while True:
            try:
                item = await self._sim.inside(_next(items))
            except StopAsyncIteration:
                return
            yield item

    async def fork(self, *, at: str, id: str | None = None) -> SimHandle[R_co]:
        """As ``Handle.fork``."""
        return SimHandle(self._sim, await self._sim.inside(Handle.fork(self, at=at, id=id)))


class SimRecords(Records):
    """The side table of the simulated world's store."""

    def __init__(self, sim: Sim) -> None:
        super().__init__(sim.link)
        self._sim = sim


async def _next(items: AsyncIterator[T]) -> T:
    return await anext(items)


async def _start_many(sim: Sim, wf: Any, *args: Any, **options: Any) -> list[Handle[Any]]:
    calls = wf
    if isinstance(wf, Workflow) or args:
        sim.world.require(wf)
    elif isinstance(wf, Iterable) and not isinstance(wf, str | bytes | Mapping):
        calls = list(wf)
        for call in calls:
            sim.world.require(call)
    start_many = cast(Any, Client.start_many)
    return [SimHandle(sim, handle) for handle in await sim.inside(start_many(sim, calls, *args, **options))]


async def _start(sim: Sim, *args: Any, **options: Any) -> Handle[Any]:
    start = cast(Any, Client.start)
    sim.world.require(args[0] if args else None)
    return SimHandle(sim, await sim.inside(start(sim, *args, **options)))


def _bridged(method: Callable[..., Coroutine[Any, Any, T]]) -> Callable[..., Coroutine[Any, Any, T]]:
    """The method, carried out in the simulated world wherever it is awaited."""

    @functools.wraps(method)
    async def bridged(self: Any, *args: Any, **kwargs: Any) -> T:
        sim: Sim = self if isinstance(self, Sim) else self._sim
        of = f" of run {self.id}" if isinstance(self, SimHandle) else ""
        return await sim.inside(method(self, *args, **kwargs), f"the test awaits {method.__name__}(){of}")

    return bridged


def code_of(
    workflows: Sequence[Workflow[..., Any]],
    steps: Sequence[Step[..., Any]],
    queues: Sequence[str] | None,
    worker_options: dict[str, Any] | None,
) -> Code:
    """What a simulation's workers are made from.

    Raises:
        InvalidInput: What should be workflows, or steps, is something else.
    """
    arguments.functions("workflows", workflows, Workflow)
    arguments.functions("steps", steps, Step)
    if isinstance(queues, str) or (queues is not None and not queues):
        raise InvalidInput(f"queues= is a list of queue names, not {queues!r}.")
    if worker_options is not None and not isinstance(worker_options, dict):
        raise InvalidInput(f"worker_options= is a dict of Worker's keyword arguments, not {worker_options!r}.")
    own = dict.fromkeys(["default", *(step.policy.queue for step in steps if step.policy.queue is not None)])
    options = {"queues": tuple(own) if queues is None else tuple(queues), **(worker_options or {})}
    try:
        Worker(Client(MemoryStore()), workflows=workflows, steps=steps, heartbeat="task", **options)
    except TypeError as error:
        raise InvalidInput(f"worker_options= are keyword arguments of Worker: {error}.") from None
    return Code(tuple(workflows), tuple(steps), options)


_OF_THE_CLIENT: Final = "list count purge"
_OF_THE_RECORDS: Final = "put get list delete now"
_OF_A_RUN: Final = "status result input values history explain signal cancel terminate pause resume settle retry"
for _name in _OF_THE_CLIENT.split():
    setattr(Sim, _name, _bridged(getattr(Client, _name)))
for _name in _OF_A_RUN.split():
    setattr(SimHandle, _name, _bridged(getattr(Handle, _name)))
for _name in _OF_THE_RECORDS.split():
    setattr(SimRecords, _name, _bridged(getattr(Records, _name)))
Sim.start_many = functools.wraps(Client.start_many)(_start_many)  # type: ignore[assignment,method-assign]
Sim.start = functools.wraps(Client.start)(_start)  # type: ignore[assignment,method-assign]
