"""One simulated world: a virtual-time loop, a store, workers and clients on it, and the faults that strike them.

Law: everything that happens follows from the schedule. Time moves only when nothing is ready, and then to the next
thing that will happen; pauses between two looks are left out where two looks have found nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import random
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime
from typing import Any, Final, TypeVar, cast, final

from durable._author.definitions import Invocation, Workflow
from durable._core.loop import Inside
from durable._core.why import explain
from durable._engine.connect import open_store
from durable._model import defaults
from durable._model.duration import seconds_of
from durable._model.reads import RunQuery
from durable.errors import UnknownWorkflow
from durable.store import Store
from durable_testing import wall
from durable_testing.clock import ActorClock
from durable_testing.crew import Berth, Code
from durable_testing.effects import Effects
from durable_testing.fault_store import FaultStore
from durable_testing.faults import OPERATION_FAULTS, Fault, FaultKind, Op
from durable_testing.hands import Hands
from durable_testing.inline import InlineStore
from durable_testing.loop import Actor, SimLoop, SimulationError
from durable_testing.memory import MemoryStore
from durable_testing.realm import guard
from durable_testing.schedules import Schedule
from durable_testing.trace import Trace

T = TypeVar("T")

__all__ = ["World"]

_STRIDE_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 30.0  # a client gives up after about twenty seconds of bad weather, and says so
_CALM_SECONDS: Final = 2.5  # every look has been taken twice by then
_ENDLESS_SECONDS: Final = 3600.0
_FINALLY_MAX: Final = 100
_IDLE_TURNS: Final = 20  # so many turns in which nothing happened weigh as much as one in which something did
_WRITES: Final = frozenset({"create", "commit", "send", "control", "leave", "put_record", "delete_record"})
_NO_FAULT: Final[tuple[Fault, ...]] = ()
_worlds: Final = itertools.count(1)


@final
class World:
    """The actors, and the hand that moves time.

    Args:
        code: What the workers run.
        schedule: Workers, seed, faults.
        url: Of the store; ``{}`` in it becomes another number in each world: ``sqlite:////tmp/x/{}.db``.
        start: Seconds since the epoch at which it begins.
        permute: Whether ready callbacks run in a seeded random order, as in any order that could really happen.
        turns_max: Callbacks until one thing that is waited for must have happened.

    Attributes:
        effects: What the steps did.
        problems: What cannot be simulated; raised to whoever drives.
    """

    def __init__(
        self,
        code: Code,
        schedule: Schedule,
        *,
        url: str = "memory://",
        start: float,
        permute: bool = True,
        turns_max: int = 400_000,
        redeployed: Code | None = None,
    ) -> None:
        self.code = code
        self.schedule = schedule
        self.loop = SimLoop(schedule.seed if permute else None)  # type: ignore[abstract]
        self.trace = Trace()
        self.effects = Effects()
        self.ops = 0
        self.start = start
        self.faults_on = True
        self.crash_points: dict[tuple[str, str], int] = {}
        self._redeployed = code if redeployed is None else redeployed
        self._clock = ActorClock(self.loop, start, f"{schedule.seed}/world")
        self._store_clock = ActorClock(self.loop, start, f"{schedule.seed}/store")
        self._dice = random.Random(schedule.seed) if permute else None
        self._faults: dict[int, list[Fault]] = {}
        for fault in schedule.faults:
            self._faults.setdefault(fault.at, []).append(fault)
        self.store = _opened_by(url, self._store_clock)
        self.client = Actor("client")
        self.berths = [self._berth(number) for number in range(1, schedule.workers + 1)]
        self.lease_seconds = seconds_of(code.options.get("lease", defaults.LEASE_SECONDS), "Worker(lease=)")
        self._turns_max = turns_max
        self._stirred_at = 0.0
        self._trouble_until = 0.0
        self._deaf_until = 0.0
        self._echo_until = 0.0
        self._outage_until = 0.0
        self._client_outage_until = -_PATIENCE_SECONDS
        self._short_pages_until = 0.0
        self._remains: list[asyncio.Task[Any]] = []
        self._opened = False
        self._leave_wall: Any = None
        self._face = self.now  # one object, by which the wall clock knows it

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def is_open(self) -> bool:
        """Whether it has begun and not ended."""
        return self._opened

    def open(self) -> None:
        """Begin: the store is opened, the workers are started."""
        assert not self._opened
        self._opened = True
        guard()
        self._leave_wall = wall.follow(self._face)
        try:
            self.run(self.store.open())
        except BaseException:
            self._leave_wall()
            raise
        for berth in self.berths:
            berth.start(self.code)

    def close(self) -> None:
        """End it: nobody's ``finally`` does anything any more, and no task is left."""
        if not self._opened:
            return
        self._opened = False
        try:
            self.client.dead = True
            self._remains += asyncio.all_tasks(self.loop)
            self.loop.close()
            with Inside(self.loop):
                for berth in self.berths:
                    berth.bury()
                self._bury_tasks()
            self.client = Actor("client")
            self.run(self.store.close())
        finally:
            self._leave_wall()
            self.loop.close()

    def _bury_tasks(self) -> None:
        for task in self._remains:
            if task.done():
                continue
            told: Any = task  # the type stubs do not know the attribute
            told._log_destroy_pending = False
            for _ in range(_FINALLY_MAX):
                try:
                    told.get_coro().close()
                    break
                except (Exception, asyncio.CancelledError):
                    pass  # it awaits, or raises, in a ``finally``: there is nobody left whom that concerns
        self._remains.clear()

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def now(self) -> float:
        """True time, seconds since the epoch."""
        return self.start + self.loop.time()

    def stir(self) -> None:
        """Something has happened: for a while every look is taken."""
        self._stirred_at = self.loop.time()

    def trouble(self, seconds: float) -> None:
        """Something has gone wrong: until this long from now, leases may be running out."""
        self.stir()
        self._trouble_until = max(self._trouble_until, self.loop.time() + seconds + 2 * self.lease_seconds)

    def _skip(self, waited: str) -> None:
        """Nothing is ready: let time pass."""
        loop = self.loop
        now, timer = loop.time(), loop.next_timer()
        idle = now - self._stirred_at
        busy = any(berth.busy for berth in self.berths)
        calm = idle > _CALM_SECONDS and now > self._trouble_until
        if calm and (not busy or idle > _ENDLESS_SECONDS):
            if timer == math.inf:
                raise SimulationError(
                    f"The scenario never ends: {waited}, and nothing will happen any more.{self._standstill()}"
                )
            if not busy:
                loop.skip_to(timer)
                return
        stride = min(max(_STRIDE_SECONDS, idle / 2), self.lease_seconds * (0.75 if calm else 0.25))
        loop.skip_to(min(timer, max(loop.next_pause(), now + stride)))

    def _standstill(self) -> str:
        """Why each run that has not ended does not go on."""
        page = _at_once(self.store.list(RunQuery(), 20))
        sessions = _at_once(self.store.sessions())
        living = [run for run in page.runs if not run.ended]
        told = ((run.id, explain(run, sessions, self._store_clock.now())) for run in living)
        return "".join(f"\n  {said if said.startswith('Run ') else f'Run {id}: {said}'}" for id, said in told)

    # ── driving ──────────────────────────────────────────────────────────────────────────────────────────────────

    def task(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Work of the client's process."""
        return self.loop.create_task(work, context=self.client.context())

    def drive(self, task: asyncio.Task[Any], waited: str = "it waits for something") -> Iterator[None]:
        """Let the world go on until the task is done; yields before each step of time.

        Raises:
            SimulationError: It will never be done.
        """
        loop = self.loop
        task.add_done_callback(loop.halt)
        turns = loop.turns
        while True:
            before, stirred = loop.turns, self._stirred_at
            self._spin()
            if self._stirred_at == stirred:  # looks that found nothing, while a long step runs: they count little
                turns += (loop.turns - before) * (_IDLE_TURNS - 1) // _IDLE_TURNS
            if loop.problems:
                raise loop.problems.pop(0)
            if task.done():
                return
            if loop.turns - turns > self._turns_max:
                raise SimulationError(
                    f"The scenario never ends: {waited}, and after {self._turns_max:,} turns of the simulated loop, at "
                    f"{datetime.fromtimestamp(self.now(), UTC):%Y-%m-%d %H:%M}, still does.{self._standstill()}"
                )
            if loop.quiet:
                yield
                if loop.quiet:
                    self._skip(waited)

    def _spin(self) -> None:
        """Several worlds may be open: user code sees the time of the one that runs."""
        if wall.followed() is self._face:
            self.loop.spin()
            return
        leave = wall.follow(self._face)
        try:
            self.loop.spin()
        finally:
            leave()

    def run(self, work: Coroutine[Any, Any, T], waited: str = "it waits for something") -> T:
        """Drive some work to its end, here and now."""
        task = self.task(work)
        for _ in self.drive(task, waited):
            pass
        return task.result()

    def require(self, asked: Any) -> None:
        """Refuse a start of what no worker will ever have.

        Raises:
            UnknownWorkflow: It was not given to the simulation.
        """
        workflow = asked.workflow if isinstance(asked, Invocation) else asked
        if not isinstance(workflow, Workflow):
            return
        known = {(each.name, each.version) for each in (*self.code.workflows, *self._redeployed.workflows)}
        if (workflow.name, workflow.version) not in known:
            names = ", ".join(sorted(name for name, _ in known)) or "none"
            raise UnknownWorkflow(
                f"No worker of this simulation has workflow {workflow.name!r} version {workflow.version} "
                f"(they have: {names}). Give it: workflows=[..., {workflow.__name__}]."
            )

    # ── Plan: what the stores of the actors ask ──────────────────────────────────────────────────────────────────

    def begin(self, actor: str, method: str, asked: tuple[Any, ...]) -> tuple[Op, Fault | None]:
        op = Op(self.ops, actor, method, asked)
        self.ops += 1
        if method in _WRITES:
            self.stir()
        struck: Fault | None = None
        for fault in self._faults.get(op.number, _NO_FAULT) if self.faults_on else _NO_FAULT:
            if fault.kind in OPERATION_FAULTS:
                struck = self._fitting(op, fault)
                self.trouble(fault.seconds)
            else:
                self._strike(fault)
        living = self._living(actor)
        if living is not None and living.dead:
            return op, Fault(op.number, FaultKind.CRASH_BEFORE)
        until = self._client_outage_until if actor == self.client.name else self._outage_until
        if struck is None and self.loop.time() < until:
            struck = Fault(op.number, FaultKind.ERROR)
        return op, struck

    def _fitting(self, op: Op, fault: Fault) -> Fault:
        """The client is the scenario itself: it cannot die, but it can lose an answer."""
        if op.actor != self.client.name:
            return fault
        if fault.kind is FaultKind.CRASH_BEFORE:
            return Fault(fault.at, FaultKind.UNREACHED)
        if fault.kind is FaultKind.CRASH_AFTER:
            return Fault(fault.at, FaultKind.UNKNOWN)
        return fault

    async def crash(self, op: Op) -> None:
        actor = self._living(op.actor)
        assert actor is not None
        await self._die(actor)

    async def breathe(self) -> None:
        if self._dice is not None and self._dice.random() < 0.25:
            await asyncio.sleep(0)  # noqa: TID251 -- a turn of the simulated loop

    def hint(self, actor: str) -> int:
        now = self.loop.time()
        if now < self._deaf_until:
            return 0
        return 2 if now < self._echo_until else 1

    def page(self, limit: int) -> int:
        return 1 if self.loop.time() < self._short_pages_until else limit

    # ── faults of the world ──────────────────────────────────────────────────────────────────────────────────────

    def _strike(self, fault: Fault) -> None:
        self.trace.add(self.now(), "world", "fault", what=str(fault))
        self.trouble(0.0 if fault.kind is FaultKind.JUMP else fault.seconds)  # how far a clock jumps is no duration
        berth = self.berths[(fault.worker - 1) % len(self.berths)]
        until = self.loop.time() + fault.seconds
        match fault.kind:
            case FaultKind.KILL:
                self.kill(berth, fault.seconds)
            case FaultKind.STOP | FaultKind.SUSPEND:
                berth.stop(fault.seconds, suspended=fault.kind is FaultKind.SUSPEND)
            case FaultKind.DRAIN:
                berth.drain()
            case FaultKind.REDEPLOY:
                self.redeploy()
            case FaultKind.EVICT:
                berth.evict()
            case FaultKind.JUMP:
                berth.jump(fault.seconds)
            case FaultKind.SET_BACK:
                self._store_clock.skew -= fault.seconds
            case FaultKind.DEAFEN:
                self._deaf_until = until
            case FaultKind.ECHO:
                self._echo_until = until
            case FaultKind.OUTAGE:
                self._outage_until = until
                if self.loop.time() > self._client_outage_until + _PATIENCE_SECONDS:
                    self._client_outage_until = until  # a second one in a row would outlast a client's patience
            case FaultKind.SHORT_PAGES:
                self._short_pages_until = until
            case _:
                raise AssertionError(fault.kind)

    def kill(self, berth: Berth, restart_seconds: float = 0.0) -> None:
        """A worker's process dies; what it was doing is kept aside, so that nothing closes it before its time."""
        if not berth.alive:
            return
        self.set_aside()
        berth.kill(restart_seconds or 1.0)
        self.trouble(restart_seconds)

    def redeploy(self, code: Code | None = None, *, drain: bool = False) -> None:
        """Every worker goes, at once or when it has drained, and comes back with other code: the next deploy's."""
        self._redeployed = self._redeployed if code is None else code
        for berth in self.berths:
            berth.code = self._redeployed
            if drain:
                berth.drain()
            else:
                self.kill(berth)

    def quieten(self) -> None:
        """From here on no fault strikes, and everybody is up and hears."""
        self.faults_on = False
        self._deaf_until = self._echo_until = self._outage_until = self._short_pages_until = 0.0
        self._client_outage_until = 0.0
        for berth in self.berths:
            if berth.actor is not None and berth.actor.stopped and not berth.actor.dead:
                self.loop.go_on(berth.actor)
            berth.start()
        self.trace.add(self.now(), "world", "quiet")
        self.trouble(0.0)

    def set_aside(self) -> None:
        """Somebody ends: nothing closes what they were doing before the simulation does."""
        self._remains += [task for task in asyncio.all_tasks(self.loop) if not task.done()]

    def lingers(self) -> bool:
        """Whether a living worker stands still, or has asked for something and not heard yet."""
        if any(berth.alive and berth.actor is not None and berth.actor.stopped for berth in self.berths):
            return True
        asking: dict[int, str] = {}
        for event in self.trace.of("begin", "end"):
            if event.kind == "begin":
                asking[event.data["op"]] = event.actor
            else:
                asking.pop(event.data["op"], None)
        living = {berth.actor.name for berth in self.berths if berth.alive and berth.actor is not None}
        return not living.isdisjoint(asking.values())

    # ── Hooks: how steps are carried out ─────────────────────────────────────────────────────────────────────────

    def carried_out_by(self, actor: Actor) -> Hands:
        """The hooks of one worker."""
        return Hands(actor, self.effects, self.trace, self.now, self.stir, self.crash_at, self._die, self.loop.give_up)

    async def _die(self, actor: Actor) -> None:
        self.kill(next(berth for berth in self.berths if berth.actor is actor))
        await self.loop.create_future()  # the dead do not go on

    def crash_at(self, step: str, moment: str) -> bool:
        """Whether a crash was asked for here, as often as it was."""
        left = self.crash_points.get((step, moment), 0)
        if left:
            self.crash_points[step, moment] = left - 1
        return left > 0

    # ── making actors ────────────────────────────────────────────────────────────────────────────────────────────

    def store_of(self, actor: Actor) -> FaultStore:
        """The store as one actor reaches it."""
        return FaultStore(self.store.dedicated(), self, actor=actor.name, clock=self._clock, trace=self.trace)

    def clock_of(self, actor: Actor) -> ActorClock:
        """The clock and dice of one actor."""
        return ActorClock(self.loop, self.start, f"{self.schedule.seed}/{actor.name}")

    def _berth(self, number: int) -> Berth:
        return Berth(
            number, self.loop, self.trace, self.store_of, self.carried_out_by, self.clock_of, self.now, self.set_aside
        )

    def _living(self, name: str) -> Actor | None:
        for berth in self.berths:  # asked before each operation: a loop is half the price of an expression
            if berth.actor is not None and berth.actor.name == name:
                return berth.actor
        return None


def _at_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing, as those of a store without faults."""
    try:
        work.send(None)
    except StopIteration as ended:
        return cast(T, ended.value)
    raise AssertionError("it has waited")


def _opened_by(url: str, clock: ActorClock) -> Store:
    if url.startswith("memory://"):
        return MemoryStore(url, clock=clock)
    store: Any = InlineStore(open_store(url.replace("{}", str(next(_worlds))), clock=clock))
    return cast(Store, store)
