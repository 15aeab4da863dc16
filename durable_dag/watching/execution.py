"""All that is known of one execution: what every view of it is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from durable import HistoryEntry, Status
from durable_dag.graph.plan import Plan
from durable_dag.watching.around import Around
from durable_dag.watching.story import Story

Json: TypeAlias = Any

__all__ = ["Execution"]

_STATUS: Final[Mapping[str, str]] = {
    "pending": "pending",
    "running": "running",
    "waiting": "running",
    "blocked": "running",
    "paused": "paused",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
}


@dataclass(frozen=True, slots=True)
class Execution:
    """All that a view is made from.

    Attributes:
        request: The run's input.
        plan: None while the definition is not known: its run has not loaded it yet.
        story: None likewise, and before the run has begun.
        output: What the run has come to; None unless it has completed.
        now: Store time, seconds since the epoch.
        slot: Where it waits for its turn: ``key``, ``limit``, and ``holders``, who are under way; else None.
    """

    id: str
    status: Status
    request: Mapping[str, Json]
    history: Sequence[HistoryEntry] = ()
    version: int | None = None
    plan: Plan | None = None
    story: Story | None = None
    output: Json = None
    now: float = 0.0
    parent: str | None = None
    around: Around = field(default_factory=Around)
    tags: Mapping[str, str] = field(default_factory=dict)
    slot: Mapping[str, Json] | None = None

    @property
    def word(self) -> str:
        """The status of the execution."""
        return _STATUS[self.status.state]

    @property
    def terminated(self) -> bool:
        """Whether it was ended without its code being asked."""
        return self.around.run is not None and self.around.run.terminated

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.status.state in ("completed", "failed", "cancelled")
