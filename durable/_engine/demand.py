"""What a worker asks the store for: the lanes that it reads, and how many runs more it has room for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import final

from durable._author.registry import Registry
from durable._model.runs import CLOSING_LANE, Lane

__all__ = ["Demand"]


@final
class Demand:
    """One worker's demand; asked before each poll, so what does not change is made once.

    Args:
        registry: What the worker has; nothing is added to it any more.
        queues: What it reads.
    """

    def __init__(self, registry: Registry, queues: Sequence[str]) -> None:
        self._limits: dict[str, int] = {}
        for workflow in registry.all():
            limit = workflow.policy.concurrency
            if limit is not None:
                self._limits[workflow.name] = min(limit, self._limits.get(workflow.name, limit))
        found = [CLOSING_LANE]
        for queue in queues:
            for name, version in registry.pairs():
                found.append(Lane(queue, name, version))
                if version == registry.newest(name):
                    found.append(Lane(queue, name, None, version))
        self._lanes = tuple(found)

    def lanes(self, held: Iterable[str]) -> tuple[Lane, ...]:
        """A lane for each workflow whose own ``concurrency`` is not used up in this process.

        Args:
            held: The workflow of each run that the worker has.
        """
        if not self._limits:
            return self._lanes
        full = {name for name, left in self._left(held).items() if left <= 0}
        return tuple(lane for lane in self._lanes if lane is CLOSING_LANE or lane.workflow not in full)

    def all(self, lanes: Sequence[Lane]) -> bool:
        """Whether these are all, so that no workflow waits for the end of one of its runs here."""
        return len(lanes) == len(self._lanes)

    def room(self, held: Iterable[str], free: int) -> int:
        """How many claims at most one poll may bring, so that no workflow gets more than its own ``concurrency``.

        Args:
            held: The workflow of each run that the worker has.
            free: What the worker's own ``concurrency`` leaves.
        """
        if self._limits:
            free = min([free, *(left for left in self._left(held).values() if left > 0)])
        return max(free, 0)

    def _left(self, held: Iterable[str]) -> dict[str, int]:
        running = Counter(held)
        return {name: limit - running[name] for name, limit in self._limits.items()}
