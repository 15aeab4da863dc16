"""The effects ledger: what steps have done, written down outside of the engine.

There is one process and one loop in a simulation, so the ledger is a list behind a module's name: ``recording`` opens
one, and steps write into the one that is open.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Final, Literal, final

__all__ = ["Effect", "Ledger", "current", "fresh", "recording"]


@dataclass(frozen=True, slots=True)
class Effect:
    """One line.

    Attributes:
        phase: ``begin`` and ``end`` of an attempt's own code; ``undo`` is the begin of a saga's undo.
        uid: Of the node that the step belongs to.
        key: The idempotency key that the attempt was given.
        once: The step was declared at-most-once.
        value: What it returned, on ``end``.
    """

    phase: Literal["begin", "end", "undo"]
    uid: str
    key: str
    once: bool = False
    value: Any = None


@final
@dataclass(slots=True)
class Ledger:
    """Lines in the order in which they were written."""

    lines: list[Effect] = field(default_factory=list)

    def write(self, effect: Effect) -> None:
        """Append a line; steps in threads do, too."""
        self.lines.append(effect)

    def begins(self, key: str) -> int:
        """How many attempts with this idempotency key have begun."""
        return sum(line.key == key and line.phase == "begin" for line in self.lines)

    def of(self, who: str) -> list[Effect]:
        """The lines of one scenario."""
        return [line for line in self.lines if line.uid.startswith(f"{who}:")]


_open: Final[list[Ledger]] = [Ledger()]


def current() -> Ledger:
    """The ledger that steps write into now."""
    return _open[-1]


def fresh() -> Ledger:
    """A new ledger in place of the open one: for a simulation, whose last steps may come after its scenario."""
    _open[-1] = Ledger()
    return _open[-1]


@contextlib.contextmanager
def recording() -> Generator[Ledger, None, None]:
    """A fresh ledger, for as long as the block lasts."""
    ledger = Ledger()
    _open.append(ledger)
    try:
        yield ledger
    finally:
        _open.remove(ledger)
