"""Waiting runs whose state stays in memory, so that they are not replayed when they are claimed again."""

from __future__ import annotations

from collections import OrderedDict
from typing import final

from durable._core.state import RunState
from durable._engine.guard import activation
from durable._model.ids import RunId
from durable._model.runs import RunRecord

__all__ = ["Cache"]


@final
class Cache:
    """Of one worker; what has not been asked for the longest goes first.

    Args:
        size: Of the runs at most.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[RunId, tuple[int, RunState]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, run: RunRecord, state: RunState) -> None:
        """The run is held no longer; its state is known as of now."""
        self._kept[run.id] = (run.generation, state)
        while len(self._kept) > self._size:
            self._evict()

    def take(self, run: RunRecord) -> RunState | None:
        """The state of a claimed run, if it stands where the claim does; it is kept here no longer."""
        generation, state = self._kept.pop(run.id, (0, None))
        if state is None or (generation == run.generation and state.position == run.position):
            return state
        with activation:
            state.close()
        return None

    def clear(self) -> None:
        """Forget all."""
        while self._kept:
            self._evict()

    def _evict(self) -> None:
        _, (_, state) = self._kept.popitem(last=False)
        with activation:
            state.close()
