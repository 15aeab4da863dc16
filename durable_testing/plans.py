"""Hypothesis strategies for schedules: what may go wrong, drawn so that it shrinks to the shortest thing that does."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

from hypothesis import strategies as st

from durable_testing.faults import ERRORS, Fault, FaultKind
from durable_testing.schedules import Schedule

__all__ = ["ALL_FAULTS", "random_schedule", "schedules"]

ALL_FAULTS: Final = tuple(FaultKind)
_SEED_MAX: Final = 2**20
_OF_WORKERS: Final = frozenset(
    {FaultKind.KILL, FaultKind.STOP, FaultKind.SUSPEND, FaultKind.DRAIN, FaultKind.EVICT, FaultKind.JUMP}
)
_SECONDS: Final = {
    FaultKind.DELAY: (0.01, 1.0, 20.0),  # the last is past the lease
    FaultKind.LATE: (0.01, 1.0, 20.0),
    FaultKind.KILL: (0.01, 1.0, 40.0),
    FaultKind.STOP: (0.01, 1.0, 20.0, 40.0),
    FaultKind.SUSPEND: (1.0, 20.0, 3600.0),
    FaultKind.JUMP: (3600.0, -3600.0, 3.2e7, -3.2e7),
    FaultKind.SET_BACK: (0.5, 5.0, 60.0),
    FaultKind.DEAFEN: (1.0, 60.0),
    FaultKind.ECHO: (1.0, 60.0),
    FaultKind.SHORT_PAGES: (60.0,),
    FaultKind.OUTAGE: (0.1, 3.0, 10.0),  # a client is patient for about twenty seconds
}


def durations(kind: FaultKind) -> tuple[float, ...]:
    """Seconds from which that of a fault is drawn; none if it has none."""
    return _SECONDS.get(kind, ())


def fault_of(at: int, kind: FaultKind, choice: int, worker: int) -> Fault:
    """A fault from numbers: ``choice`` picks among the durations, or error classes, that the kind knows."""
    seconds = durations(kind) or (0.0,)
    errors = tuple(ERRORS)
    return Fault(
        at,
        kind,
        seconds[choice % len(seconds)],
        worker if kind in _OF_WORKERS else 0,
        errors[choice % len(errors)] if kind is FaultKind.ERROR else "Transient",
    )


def schedules(
    ops: int, faults: int, workers: int, kinds: Sequence[FaultKind] = ALL_FAULTS
) -> st.SearchStrategy[Schedule]:
    """Schedules with up to so many faults and workers.

    Args:
        ops: Store operations of a run without faults; faults strike up to twice as far.
    """
    fault = st.builds(
        fault_of,
        st.integers(0, max(2 * ops, 8)),
        st.sampled_from(list(kinds)),
        st.integers(0, 3),
        st.integers(1, workers),
    )
    return st.builds(
        lambda number, seed, drawn: Schedule(number, seed, tuple(sorted(drawn))),
        st.integers(1, workers),
        st.integers(0, _SEED_MAX),
        st.lists(fault, max_size=faults),
    )


def random_schedule(
    dice: Random, ops: int, faults: int, workers: int, kinds: Sequence[FaultKind] = ALL_FAULTS
) -> Schedule:
    """As ``schedules`` draws them, without Hypothesis: for soaking."""
    drawn = [
        fault_of(dice.randrange(max(2 * ops, 8)), dice.choice(kinds), dice.randrange(4), dice.randint(1, workers))
        for _ in range(dice.randint(0, faults))
    ]
    return Schedule(dice.randint(1, workers), dice.randrange(_SEED_MAX), tuple(sorted(drawn)))
