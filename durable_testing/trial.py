"""A trial: one scenario, simulated once under one schedule, and everything that came to light."""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, final

from durable._model import defaults
from durable._model.reads import RunQuery
from durable.errors import InvalidInput
from durable.store import ENDED, RunRecord
from durable_testing.crew import Code
from durable_testing.effects import Effects
from durable_testing.invariants import Violation, check
from durable_testing.loop import SimulationError
from durable_testing.places import waits_at
from durable_testing.schedules import Schedule
from durable_testing.sim import START, Sim
from durable_testing.snapshot import Snapshot, take_snapshot
from durable_testing.trace import Trace
from durable_testing.world import World, _at_once

__all__ = ["Scenario", "Setting", "Trial", "carry_out"]

Scenario = Callable[[Sim], Awaitable[Any]]

_QUIET_FACTOR: Final = 5.0


@final
@dataclass(frozen=True, slots=True)
class Setting:
    """What all trials of one scenario share.

    Attributes:
        scenario: Drives the runs and asserts what must hold.
        code: What the workers run.
        redeployed: What they run after a redeploy; None: the same.
        url: Of the store, with ``{}`` for a number that is another one in each world: ``sqlite:////tmp/x/{}.db``.
        start: Seconds since the epoch at which each trial begins.
        turns_max: Callbacks after which a trial is given up as endless.
    """

    scenario: Scenario
    code: Code
    redeployed: Code | None = None
    url: str = "memory://"
    start: float = START.timestamp()
    turns_max: int = 400_000


@final
@dataclass(slots=True)
class Trial:
    """What came to light.

    Attributes:
        error: What the scenario raised; None if it held.
        violations: Invariants of the engine that did not hold.
        ops: Store operations, all actors together.
        waits_at: Where the scenario waits that never ends; empty if it ended.
        snapshot: Of the store at the end.
    """

    schedule: Schedule
    trace: Trace
    effects: Effects
    ops: int = 0
    error: BaseException | None = None
    violations: list[Violation] = field(default_factory=list)
    snapshot: Snapshot | None = None
    setting: Setting | None = None
    waits_at: str = ""

    @property
    def failed(self) -> bool:
        """Whether anything is wrong."""
        return self.error is not None or bool(self.violations)


def carry_out(setting: Setting, schedule: Schedule) -> Trial:
    """One simulation; works with and without a running event loop.

    Raises:
        NotEmpty: The store is not empty.
        asyncio.CancelledError: The task that asks for it has been cancelled meanwhile, as Ctrl-C does.
    """
    _stop_if_asked()
    world = World(
        setting.code,
        schedule,
        url=setting.url,
        start=setting.start,
        redeployed=setting.redeployed,
        turns_max=setting.turns_max,
    )
    sim = Sim(workflows=setting.code.workflows, world=world)
    trial = Trial(schedule, world.trace, world.effects, setting=setting)
    with _silence, _dice_of(schedule):
        world.open()
        playing = _play(setting.scenario, sim)
        try:
            _require_emptiness(world, setting)
            world.run(playing)
            _let_rest(world)
            trial.snapshot = world.run(take_snapshot(world.store))
            trial.violations = [*check(world.trace, trial.snapshot), *_complaints(world)]
        except (KeyboardInterrupt, NotEmpty):
            raise
        except BaseException as error:
            trial.error = error
            if isinstance(error, SimulationError):
                trial.waits_at = waits_at(playing, setting.scenario)
        finally:
            trial.ops = world.ops
            sim.end()
            playing.close()
    return trial


class NotEmpty(InvalidInput):
    """A trial would begin with what another one has left behind."""


def _require_emptiness(world: World, setting: Setting) -> None:
    if _at_once(world.store.count(RunQuery())):
        raise NotEmpty(
            f"Each simulated world begins with an empty store, and {setting.url} holds runs already. Use memory://, or "
            "sqlite:///:memory:, or put {} into the URL, which becomes another number in each world."
        )


def _stop_if_asked() -> None:
    """No simulation awaits anything of the loop it is called on, so a cancel is looked for between two of them."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return  # no loop
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def _play(scenario: Scenario, sim: Sim) -> None:
    await sim.open()
    playing = scenario(sim)
    if not inspect.isawaitable(playing):
        raise InvalidInput(f"A scenario is an `async def scenario(sim)`; this one returned {playing!r}.")
    await playing


@contextmanager
def _dice_of(schedule: Schedule) -> Generator[None, None, None]:
    """Code that draws from the global random numbers draws the same ones under the same schedule."""
    before = random.getstate()
    random.seed(schedule.seed)
    try:
        yield
    finally:
        random.setstate(before)


def _let_rest(world: World) -> None:
    """The quiet period: whatever the faults have held up must come to its end, or to a good reason to wait.

    A worker that stands still, or waits for an answer, may hold runs that others have ended: what it does next counts.
    """
    if not world.run(_unfinished(world)) and not world.lingers():
        return
    world.quieten()
    world.run(asyncio.sleep(max(world.lease_seconds, defaults.POLL_SECONDS) * _QUIET_FACTOR))  # noqa: TID251 -- simulated


async def _unfinished(world: World) -> list[RunRecord]:
    page = await world.store.list(RunQuery(), 1000)
    return [run for run in page.runs if run.status not in ENDED or run.closing]


def _complaints(world: World) -> list[Violation]:
    return [
        Violation("loop", "Nothing is raised where nobody catches it.", "", _complaint(said))
        for said in world.loop.complaints
        if not isinstance(said.get("exception"), SimulationError)
    ]


def _complaint(said: dict[str, Any]) -> str:
    error = said.get("exception")
    return said["message"] if error is None else f"{type(error).__name__}: {error} ({said['message']})"


class _Silence:
    """Thousands of planned faults would be logged as weather."""

    def __enter__(self) -> None:
        self._log = logging.getLogger("durable")
        self._level = self._log.level
        self._log.setLevel(logging.CRITICAL + 1)

    def __exit__(self, *_: object) -> None:
        self._log.setLevel(self._level)


_silence: Final = _Silence()
