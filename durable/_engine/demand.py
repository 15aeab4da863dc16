"""What a worker asks the store for: the lanes that it reads, and how many runs more it has room for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from durable._author.registry import Registry
from durable._model.runs import CLOSING_LANE, Lane

__all__ = ["lanes", "room"]


def lanes(registry: Registry, queues: Sequence[str], running: Mapping[str, int]) -> tuple[Lane, ...]:
    """A lane for each workflow whose own ``concurrency`` is not used up in this process.

    Args:
        running: Runs held, by workflow name.
    """
    full = {
        workflow.name
        for workflow in registry.all()
        if workflow.policy.concurrency is not None and running.get(workflow.name, 0) >= workflow.policy.concurrency
    }
    found = [CLOSING_LANE]
    for queue in queues:
        for name, version in registry.pairs():
            if name in full:
                continue
            found.append(Lane(queue, name, version))
            if version == registry.newest(name):
                found.append(Lane(queue, name, None, version))
    return tuple(found)


def room(registry: Registry, running: Mapping[str, int], free: int) -> int:
    """How many claims at most one poll may bring, so that no workflow gets more than its own ``concurrency``."""
    left = [
        workflow.policy.concurrency - running.get(workflow.name, 0)
        for workflow in registry.all()
        if workflow.policy.concurrency is not None and running.get(workflow.name, 0) < workflow.policy.concurrency
    ]
    return max(min([free, *left]), 0)
