"""``explore``: Hypothesis draws schedules of faults until a scenario fails, and shrinks the one that does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from durable._author.definitions import Step, Workflow
from durable.errors import InvalidInput
from durable_testing.faults import FaultKind
from durable_testing.report import report
from durable_testing.schedules import Schedule
from durable_testing.searching import search
from durable_testing.sim import START, code_of
from durable_testing.trial import Scenario, Setting, Trial, carry_out

__all__ = ["ScheduleFailed", "explore", "force_schedule", "forced_schedule", "judge", "replay", "setting_of"]

_WORKERS_MAX: Final = 4
_UNSTEADY: Final = (
    "It did not fail when the same schedule was tried again: something here draws on chance, on what earlier "
    "simulations have left behind (a global that the scenario does not reset?), or on the real clock."
)
_forced: str | None = None


class ScheduleFailed(AssertionError):
    """A schedule under which the scenario fails, or an invariant of the engine does not hold.

    Attributes:
        schedule: As text, for ``replay`` and ``--durable-seed``.
        trial: Everything that came to light.
    """

    def __init__(self, message: str, trial: Trial) -> None:
        super().__init__(message)
        self.schedule = str(trial.schedule)
        self.trial = trial


def force_schedule(text: str | None) -> None:
    """Let ``explore`` try this schedule alone (``pytest --durable-seed``); None: as it likes."""
    global _forced
    _forced = None if text is None else str(Schedule.parse(text))


def forced_schedule() -> Schedule | None:
    """The one that was asked for, if any."""
    return None if _forced is None else Schedule.parse(_forced)


async def explore(
    make: Scenario,
    *,
    workflows: Sequence[Workflow[..., Any]],
    steps: Sequence[Step[..., Any]] = (),
    examples: int = 500,
    crashes: int = 3,
    workers: int = _WORKERS_MAX,
    faults: Sequence[FaultKind] = tuple(FaultKind),
    redeployed: Sequence[Workflow[..., Any]] | None = None,
    at: datetime = START,
    store: str = "memory://",
    queues: Sequence[str] | None = None,
    worker_options: dict[str, Any] | None = None,
    seed: int = 0,
) -> None:
    """Run a scenario in many simulated worlds, in which workers crash and everything else goes wrong that can.

    Args:
        make: ``async def scenario(sim)``: stubs steps, starts runs, sends signals, asserts what must hold.
        workflows: What the workers run.
        steps: What they carry out for others.
        examples: How many worlds.
        crashes: Faults in one world, at most. A crash is only one of them: see ``FaultKind``.
        workers: Worker processes in one world, at most.
        faults: Which kinds may occur.
        redeployed: Code that takes over at a ``redeploy``; by default the same.
        at: When each world begins.
        store: URL of the store, with ``{}`` for a number that is another one in each world: ``sqlite:////tmp/x/{}.db``.
        queues: That the workers read.
        worker_options: Further keyword arguments for every ``Worker``.
        seed: Of the search. It tries the same worlds each time; another seed, others.

    Raises:
        ScheduleFailed: With the shortest schedule found, what happened under it, and the line that repeats it.
        InvalidInput: An argument makes no sense.
        MissingExtra: Hypothesis is not installed.
    """
    if isinstance(examples, bool) or not isinstance(examples, int) or examples < 1:
        raise InvalidInput(f"explore(examples=) is a number of worlds, 1 or more, not {examples!r}.")
    if isinstance(crashes, bool) or not isinstance(crashes, int) or crashes < 0:
        raise InvalidInput(f"explore(crashes=) is a number of faults, 0 or more, not {crashes!r}.")
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise InvalidInput(f"explore(workers=) is a number of processes, 1 or more, not {workers!r}.")
    kinds = _kinds(faults)
    setting = setting_of(make, workflows, steps, redeployed, at, store, queues, worker_options)
    forced = forced_schedule()
    if forced is not None:
        judge(carry_out(setting, forced), "Under the schedule that was asked for, the scenario fails.")
        return
    calm = carry_out(setting, Schedule())
    judge(calm, "The scenario fails without any fault.")
    found = search(setting, calm.ops, examples - 1, crashes, workers, kinds, seed)
    if found.failing is not None:
        headline = f"explore() found a schedule under which the scenario fails, in simulation {found.tried + 1}."
        judge(found.failing, headline if found.steady else f"{headline} {_UNSTEADY}")


async def replay(
    make: Scenario,
    *,
    workflows: Sequence[Workflow[..., Any]],
    schedule: str,
    steps: Sequence[Step[..., Any]] = (),
    redeployed: Sequence[Workflow[..., Any]] | None = None,
    at: datetime = START,
    store: str = "memory://",
    queues: Sequence[str] | None = None,
    worker_options: dict[str, Any] | None = None,
) -> Trial:
    """One world again, from the text of its schedule; arguments as for ``explore``.

    Raises:
        ScheduleFailed: It fails.
        InvalidInput: The text is no schedule, or none of its faults strikes any more: it tests nothing.
    """
    setting = setting_of(make, workflows, steps, redeployed, at, store, queues, worker_options)
    asked = Schedule.parse(schedule)
    trial = carry_out(setting, asked)
    judge(trial, "Under this schedule the scenario fails.")
    if asked.faults and all(fault.at >= trial.ops for fault in asked.faults):
        raise InvalidInput(
            f"No fault of the schedule {asked} has struck: the scenario has only {trial.ops} store operations now. "
            "Let explore() look for another schedule, or leave this one out."
        )
    return trial


def _kinds(faults: Sequence[FaultKind]) -> Sequence[FaultKind]:
    try:
        kinds = [FaultKind(kind) for kind in faults]
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"explore(faults=) is a list of FaultKind: {error}.") from None
    if not kinds:
        raise InvalidInput("explore(faults=) is empty; for worlds without faults say crashes=0.")
    return kinds


def setting_of(
    make: Scenario,
    workflows: Sequence[Workflow[..., Any]],
    steps: Sequence[Step[..., Any]],
    redeployed: Sequence[Workflow[..., Any]] | None,
    at: datetime,
    store: str,
    queues: Sequence[str] | None,
    worker_options: dict[str, Any] | None,
) -> Setting:
    """What all simulations share, from the arguments of ``explore``.

    Raises:
        InvalidInput: One of them makes no sense.
    """
    if not callable(make):
        raise InvalidInput(f"A scenario is an `async def scenario(sim)`, given without calling it, not {make!r}.")
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise InvalidInput(f"at= is a datetime with a time zone, like datetime(2026, 1, 1, tzinfo=UTC), not {at!r}.")
    code = code_of(workflows, steps, queues, worker_options)
    later = None if redeployed is None else code_of(redeployed, steps, queues, worker_options)
    return Setting(make, code, later, store, at.timestamp())


def judge(trial: Trial, headline: str) -> None:
    """Raise what there is to say about a trial that failed."""
    if trial.failed:
        raise ScheduleFailed(report(trial, headline), trial) from trial.error
