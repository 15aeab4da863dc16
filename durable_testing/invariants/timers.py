"""I8: timers."""

from __future__ import annotations

from collections.abc import Iterator

from durable._model.entries import CallKind, Settled
from durable.store import WaitKind
from durable_testing.invariants.history import History, RunSeen
from durable_testing.invariants.seen import (
    CommitSeen,
)
from durable_testing.invariants.violation import Finding, invariant


@invariant("I8", "A timer never fires before it is due, by the store's clock.")
def timers_are_never_early(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for seen in run.commits:
            now = seen.event.data["now"]
            for one in seen.entries:
                entry = one.entry
                if isinstance(entry, Settled) and entry.kind is CallKind.TIMER and (entry.due or 0.0) > now:
                    early = (entry.due or 0.0) - now
                    yield Finding(run.id, f"{entry.call} fired {early:g} s before it was due", (seen.event,))


@invariant("I8", "A deadline is set once: neither restart, replay nor a jump of a clock moves it.")
def deadlines_do_not_move(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        told: dict[tuple[int, str, int], tuple[float, CommitSeen]] = {}
        for seen in run.commits:
            number = seen.generation.number
            for one in seen.entries:
                entry = one.entry
                if isinstance(entry, Settled) and entry.due is not None:
                    yield from _moved(run, told, (number, entry.call, 0), entry.due, seen)
            for wait in seen.commit.waits or ():
                if wait.until is not None and wait.kind is not WaitKind.STEP:
                    yield from _moved(run, told, (number, wait.call, wait.attempt), wait.until, seen)


def _moved(
    run: RunSeen,
    told: dict[tuple[int, str, int], tuple[float, CommitSeen]],
    of: tuple[int, str, int],
    until: float,
    seen: CommitSeen,
) -> Iterator[Finding]:
    first, by = told.setdefault(of, (until, seen))
    if first != until:
        found = f"{of[1]} was due at {first}, and is due at {until} now"
        yield Finding(run.id, found, (by.event, seen.event))
