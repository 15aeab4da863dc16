"""What an executor is told about the step that it carries out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Json: TypeAlias = Any

__all__ = ["StepContext"]


@dataclass(frozen=True, slots=True)
class StepContext:
    """The third argument of an executor that takes three.

    Attributes:
        id: Of the step.
        execution_id: Of the run.
        workflow_id: Of the definition.
        attempt: Counted from 1.
        idempotency_key: The same over all attempts, crashes and retries of the execution.
        variables: Everything that the step sees: ``context``, ``input``, ``execution``, ``workflow``, ``item``.
    """

    id: str
    execution_id: str
    workflow_id: str
    attempt: int
    idempotency_key: str
    variables: Mapping[str, Json] = field(default_factory=dict)
