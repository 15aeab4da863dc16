"""The search for a failing schedule: simple ones in turn, then what Hypothesis draws and shrinks, then a last look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import islice
from typing import Any, Final, final

from durable.errors import MissingExtra
from durable_testing.faults import Fault, FaultKind
from durable_testing.schedules import Schedule
from durable_testing.trial import Setting, Trial, carry_out

__all__ = ["Found", "search"]

_SHIFT_MAX: Final = 12
_POLISH_MAX: Final = 400
_PAST_THE_LEASE: Final = 20.0
# Most bugs need no more than one of these, so they are tried in turn before anything is left to chance.
_SIMPLE: Final = (
    (FaultKind.CRASH_BEFORE, 0.0),
    (FaultKind.CRASH_AFTER, 0.0),
    (FaultKind.UNKNOWN, 0.0),
    (FaultKind.DELAY, 1.0),
    (FaultKind.DELAY, _PAST_THE_LEASE),
    (FaultKind.LATE, _PAST_THE_LEASE),
)


@final
@dataclass(slots=True)
class Found:
    """What a search came upon.

    Attributes:
        failing: The shortest failing trial; None: there was none.
        tried: Simulations up to the first one that failed.
        steady: Whether the same schedule failed when it was tried again.
    """

    failing: Trial | None = None
    tried: int = 0
    steady: bool = True


def search(
    setting: Setting, ops: int, examples: int, faults: int, workers: int, kinds: Sequence[FaultKind], seed: int
) -> Found:
    """The shortest failing trial that so many simulations come upon; the same one each time.

    Args:
        ops: Store operations of a run without faults.
        faults: In one schedule, at most.
        workers: In one schedule, at most.
        seed: Of the search.

    Raises:
        MissingExtra: Hypothesis is not installed.
    """
    if find_spec("hypothesis") is None:  # said at once, not only when nothing simple is found
        raise MissingExtra("explore() needs Hypothesis: pip install 'durable-engine[testing]'.")
    found = Found()
    for schedule in islice(_simple(ops, kinds) if faults else (), examples // 2):
        trial = carry_out(setting, schedule)
        found.tried += 1
        if trial.failed:
            found.failing = trial
            break
    if found.failing is None and examples > found.tried:
        _draw(found, setting, ops, examples - found.tried, faults, workers, kinds, seed)
    if found.failing is not None:
        found.failing = _polished(setting, found.failing, ops)
        found.steady = carry_out(setting, found.failing.schedule).failed
    return found


def _simple(ops: int, kinds: Sequence[FaultKind]) -> Iterator[Schedule]:
    for kind, seconds in _SIMPLE:
        if kind in kinds:
            yield from (Schedule(faults=(Fault(at, kind, seconds),)) for at in range(ops))


def _draw(
    found: Found,
    setting: Setting,
    ops: int,
    examples: int,
    faults: int,
    workers: int,
    kinds: Sequence[FaultKind],
    seed: int,
) -> None:
    import hypothesis
    import hypothesis.errors

    from durable_testing.plans import schedules

    class Failed(Exception):
        pass

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list[Any](hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
        report_multiple_bugs=False,
        verbosity=hypothesis.Verbosity.quiet,
    )
    @hypothesis.given(schedules(ops, faults, workers, kinds))
    def simulate(schedule: Schedule) -> None:
        trial = carry_out(setting, schedule)
        found.tried += found.failing is None
        if trial.failed:
            found.failing = trial
            raise Failed

    try:
        simulate()
    except (Failed, hypothesis.errors.Flaky):
        pass  # what is not steady is told with its schedule, as everything that failed


def _polished(setting: Setting, failing: Trial, ops: int) -> Trial:
    """Without one fault the others may have to strike earlier or later, which no step-by-step shrinking tries."""
    left = _POLISH_MAX
    shorter = True
    while shorter:
        shorter = False
        for schedule in _shorter(failing.schedule, ops):
            if left == 0:
                return failing
            left -= 1
            trial = carry_out(setting, schedule)
            if trial.failed and type(trial.error) is type(failing.error):
                failing, shorter = trial, True
                break
    return failing


def _shorter(schedule: Schedule, ops: int) -> Iterator[Schedule]:
    faults = schedule.faults
    if len(faults) < 2 and (schedule.workers, schedule.seed) != (1, 0):
        yield from (Schedule(1, 0, tuple(replace(f, at=at) for f in faults)) for at in range(2 * ops if faults else 1))
    for out in range(len(faults)):
        kept = [fault for number, fault in enumerate(faults) if number != out]
        if len(kept) == 1:
            shifted = [[replace(kept[0], at=at)] for at in range(2 * ops)]
        else:
            shifted = [
                [replace(fault, at=fault.at + by) for fault in kept]
                for by in sorted(range(-_SHIFT_MAX, _SHIFT_MAX + 1), key=abs)
                if all(fault.at + by >= 0 for fault in kept)
            ]
        for each in shifted:
            yield replace(schedule, faults=tuple(each))
