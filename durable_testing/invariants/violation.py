"""What the checker says when an invariant does not hold, and the register of the invariants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, final

from durable_testing.invariants.history import History
from durable_testing.trace import Event

__all__ = ["INVARIANTS", "Finding", "Invariant", "Violation", "invariant"]


@final
@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that cannot be, and is.

    Attributes:
        number: Of the invariant, like ``I4``.
        sentence: What must hold.
        run: Whose it is; empty if it concerns no run.
        found: What is there instead, in one line.
        events: ``seq`` of the events of the trace that show it; empty if only the snapshot does.
    """

    number: str
    sentence: str
    run: str
    found: str
    events: tuple[int, ...] = ()

    def __str__(self) -> str:
        of = f", run {self.run}" if self.run else ""
        at = ""
        if self.events:
            at = f" [event{'s' if len(self.events) > 1 else ''} {', '.join(str(seq) for seq in self.events)}]"
        return f"{self.number}{of}: {self.found}{at}\n    must hold: {self.sentence}"


@final
@dataclass(frozen=True, slots=True)
class Finding:
    """A violation, before it knows whose rule it breaks."""

    run: str
    found: str
    events: tuple[Event | None, ...] = ()


Rule = Callable[[History], Iterator[Finding]]


@final
@dataclass(frozen=True, slots=True)
class Invariant:
    """One rule; several may share a number, each a sentence of what the number means."""

    number: str
    sentence: str
    rule: Rule

    def violations(self, history: History) -> Iterator[Violation]:
        """Where the rule is broken."""
        for finding in self.rule(history):
            events = tuple(event.seq for event in finding.events if event is not None)
            yield Violation(self.number, self.sentence, finding.run, finding.found, events)


INVARIANTS: Final[list[Invariant]] = []
"""In the order of their numbers, and so they are checked."""


def invariant(number: str, sentence: str) -> Callable[[Rule], Rule]:
    """Register a rule: a function that reads a history and yields what breaks it."""

    def register(rule: Rule) -> Rule:
        INVARIANTS.append(Invariant(number, sentence, rule))
        return rule

    return register
