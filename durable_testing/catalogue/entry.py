"""One entry of the catalogue: a scenario, the code that its workers run, and what may be asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

from durable import Step, Workflow
from durable_testing.trial import Scenario

__all__ = ["Entry"]


@final
@dataclass(frozen=True, slots=True)
class Entry:
    """A small scenario that must hold whatever goes wrong.

    Attributes:
        scenario: Starts runs, speaks to them, asserts what must hold under any schedule of faults.
        workflows: What the workers run.
        steps: What they carry out for other workers.
        redeployed: What they run after a redeploy; None: the same.
        worker_options: Further keyword arguments for every ``Worker``.
        small: Whether it takes so few store operations that every pair of mishaps can be tried.
        long: Whether it takes so many that not even every single mishap can be tried at each of them in a minute.
        confluent: Whether every run ends in the same way under any schedule; else that is a matter of who came first.
    """

    name: str
    scenario: Scenario
    workflows: tuple[Workflow[..., Any], ...]
    steps: tuple[Step[..., Any], ...] = ()
    redeployed: tuple[Workflow[..., Any], ...] | None = None
    worker_options: Mapping[str, Any] = field(default_factory=dict)
    small: bool = False
    long: bool = False
    confluent: bool = True

    def __str__(self) -> str:
        return self.name

    def options(self) -> dict[str, Any]:
        """The keyword arguments that ``explore``, ``crash_everywhere`` and ``replay`` have in common."""
        return {
            "workflows": self.workflows,
            "steps": self.steps,
            "redeployed": self.redeployed,
            "worker_options": dict(self.worker_options),
        }
