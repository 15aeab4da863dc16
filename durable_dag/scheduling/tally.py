"""Several calls of one step: what they come to together. Pure."""

from __future__ import annotations

from typing import Any, TypeAlias, final

from durable_dag.scheduling.commands import Answer, Err, Ok

Json: TypeAlias = Any

__all__ = ["Tally"]


@final
class Tally:
    """Answers by place, until all are in or too many have failed.

    Args:
        calls: How many.
        allowed: How many may fail.
    """

    def __init__(self, calls: int, allowed: int) -> None:
        self._values: list[Json] = [None] * calls
        self._left = set(range(calls))
        self._allowed = allowed
        self.failures = 0

    @property
    def done(self) -> int:
        """How many are in."""
        return len(self._values) - len(self._left)

    def add(self, place: int, answer: Answer) -> Answer | None:
        """Take an answer; the answer of all, when that is known."""
        if place not in self._left:
            return None
        self._left.discard(place)
        if isinstance(answer, Err):
            self.failures += 1
            if self.failures > self._allowed:
                return Err(answer.name, f"item {place}: {answer.message}")
        else:
            self._values[place] = answer.value
        return None if self._left else Ok(self._values)
