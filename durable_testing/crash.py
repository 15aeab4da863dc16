"""``crash_everywhere``: every store operation of a scenario, times everything that can happen to it. Exhaustive."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, final

from durable._author.definitions import Step, Workflow
from durable._model import defaults
from durable.errors import InvalidInput
from durable_testing.exploring import ScheduleFailed, forced_schedule, judge, setting_of
from durable_testing.faults import ERRORS, Fault, FaultKind
from durable_testing.report import report
from durable_testing.schedules import Schedule
from durable_testing.sim import START
from durable_testing.trial import Scenario, Trial, carry_out

__all__ = ["Crashes", "crash_everywhere", "single_faults"]

_PAST_THE_LEASE: Final = 20.0
_LATE_SECONDS: Final = (1.0, _PAST_THE_LEASE)
_IN_PAIRS: Final = (FaultKind.CRASH_BEFORE, FaultKind.CRASH_AFTER, FaultKind.UNKNOWN)
_MISHAPS: Final = (
    FaultKind.CRASH_BEFORE,
    FaultKind.CRASH_AFTER,
    FaultKind.UNKNOWN,
    FaultKind.UNREACHED,
    FaultKind.REPEAT,
    FaultKind.REDEPLOY,
    FaultKind.ERROR,
    FaultKind.DELAY,
    FaultKind.LATE,
)
_LONG: Final = frozenset({FaultKind.DELAY, FaultKind.LATE})
_SHOWN_MAX: Final = 20


@final
@dataclass(slots=True)
class Crashes:
    """What was tried.

    Attributes:
        operations: Store operations of the run without faults.
        trials: Simulations.
        failed: Those in which something did not hold.
    """

    operations: int = 0
    trials: int = 0
    failed: list[Trial] = field(default_factory=list)


async def crash_everywhere(
    make: Scenario,
    *,
    workflows: Sequence[Workflow[..., Any]],
    steps: Sequence[Step[..., Any]] = (),
    pairs: bool = False,
    workers: int = 1,
    faults: Sequence[FaultKind] = _MISHAPS,
    at: datetime = START,
    store: str = "memory://",
    queues: Sequence[str] | None = None,
    worker_options: dict[str, Any] | None = None,
    redeployed: Sequence[Workflow[..., Any]] | None = None,
    confirm: Callable[[Trial, Trial], None] | None = None,
) -> Crashes:
    """Count the store operations of a scenario without faults; then run it again for each of them and each mishap.

    The mishaps: the caller dies before the effect, or after it; an error of each class without an effect; an unknown
    outcome, with the effect and without; the same said twice; a redeploy; effect or answer later than the lease.

    Args:
        make: ``async def scenario(sim)``, as for ``explore``.
        pairs: Also try every pair of two operations with a crash or an unknown outcome: the second one strikes during
            the recovery from the first. Quadratic: for small scenarios.
        workers: Worker processes.
        faults: Which of the mishaps are tried singly; by default all.
        confirm: Called with the run without faults and each other one; raises if they do not agree.

    Other arguments: as for ``explore``. Under ``pytest --durable-seed`` that schedule alone is tried.

    Raises:
        ScheduleFailed: Each operation and mishap after which something did not hold, the first one told in full.
        InvalidInput: An argument makes no sense.
    """
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise InvalidInput(f"crash_everywhere(workers=) is a number of processes, 1 or more, not {workers!r}.")
    setting = setting_of(make, workflows, steps, redeployed, at, store, queues, worker_options)
    forced = forced_schedule()
    if forced is not None:
        trial = carry_out(setting, forced)
        judge(trial, "Under the schedule that was asked for, the scenario fails.")
        return Crashes(trial.ops, 1)
    calm = carry_out(setting, Schedule(workers))
    judge(calm, "The scenario fails without any fault.")
    tried = Crashes(calm.ops)
    for struck in (*single_faults(calm.ops, faults), *(_paired(calm.ops) if pairs else ())):
        trial = carry_out(setting, Schedule(workers, 0, struck))
        tried.trials += 1
        if not trial.failed and confirm is not None:
            try:
                confirm(calm, trial)
            except AssertionError as error:
                trial.error = error
        if trial.failed:
            tried.failed.append(trial)
    if tried.failed:
        first = tried.failed[0]
        raise ScheduleFailed(_summary(tried), first) from first.error
    return tried


def single_faults(ops: int, kinds: Sequence[FaultKind] = _MISHAPS) -> Iterator[tuple[Fault, ...]]:
    """Every mishap that one store operation can have, for each of so many."""
    assert defaults.LEASE_SECONDS < _PAST_THE_LEASE
    for at in range(ops):
        for kind in kinds:
            if kind is FaultKind.ERROR:
                yield from ((Fault(at, kind, error=error),) for error in ERRORS)
            else:
                yield from ((Fault(at, kind, seconds),) for seconds in (_LATE_SECONDS if kind in _LONG else (0.0,)))


def _paired(ops: int) -> Iterator[tuple[Fault, ...]]:
    """The recovery takes operations of its own, so the second fault may strike beyond the run without faults."""
    for first in range(ops):
        for second in range(first + 1, 2 * ops):
            for kind in _IN_PAIRS:
                for other in _IN_PAIRS:
                    yield Fault(first, kind), Fault(second, other)


def _summary(tried: Crashes) -> str:
    lines = [
        f"crash_everywhere() tried {tried.trials} mishaps at {tried.operations} store operations; "
        f"{len(tried.failed)} of them did harm:"
    ]
    for trial in tried.failed[:_SHOWN_MAX]:
        fault = trial.schedule.faults[0]
        asked = next((e for e in trial.trace if e.kind == "begin" and e.data["op"] == fault.at), None)
        where = "" if asked is None else f" ({asked.data['method']} by {asked.actor})"
        what = trial.violations[0] if trial.error is None else f"{type(trial.error).__name__}: {trial.error}"
        lines.append(f"  {','.join(map(str, trial.schedule.faults))}{where}: {str(what).splitlines()[0]}")
    if len(tried.failed) > _SHOWN_MAX:
        lines.append(f"  ... and {len(tried.failed) - _SHOWN_MAX} more")
    lines += ["", report(tried.failed[0], "The first of them:")]
    return "\n".join(lines)
