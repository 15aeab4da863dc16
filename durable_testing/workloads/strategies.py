"""Random workloads from Hypothesis, which makes failing ones small; imported only by who has Hypothesis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, final

from hypothesis import strategies as st

from durable_testing.workloads.generate import DEPTH_MAX, LEAVES_MAX, Dice, thrown
from durable_testing.workloads.plan import Workload

T = TypeVar("T")

__all__ = ["workloads"]


@final
class DrawnDice:
    """Dice that Hypothesis throws; it tries earlier options and shorter lists when it shrinks."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self._draw = draw

    def pick(self, options: Sequence[T], /) -> T:
        place: int = self._draw(st.integers(0, len(options) - 1))
        return options[place]

    def one(self, make: Callable[[Dice], T], /) -> T:
        drawn: T = self._draw(_made(make))
        return drawn

    def many(self, make: Callable[[Dice], T], least: int, most: int, /) -> tuple[T, ...]:
        return tuple(self._draw(st.lists(_made(make), min_size=least, max_size=most)))


@st.composite
def _made(draw: Any, make: Callable[[Dice], T]) -> T:
    return make(DrawnDice(draw))


def workloads(*, max_depth: int = DEPTH_MAX, max_leaves: int = LEAVES_MAX) -> st.SearchStrategy[Workload]:
    """Workloads with the signals they need; the simplest is one step.

    Args:
        max_depth: Containers around one another, the leaf not counted.
        max_leaves: About how many leaves one round has.
    """
    return _made(lambda dice: thrown(dice, max_depth, max_leaves))
