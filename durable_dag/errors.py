"""What can go wrong with workflows that are data, by who is to blame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from durable.errors import DurableError, NonRetryable
from durable_dag.problems import Problem

__all__ = [
    "ConcurrencyLimit",
    "DagError",
    "EgressDenied",
    "EndpointGone",
    "ExecutionConflict",
    "ExecutionFailed",
    "ExecutionNotFound",
    "HttpProblem",
    "HttpStatusError",
    "InvalidContext",
    "InvalidDefinition",
    "InvalidOutput",
    "ScheduleTimeout",
    "StepFailure",
    "TemplateUnresolved",
    "VersionConflict",
    "WorkflowDisabled",
    "WorkflowInUse",
    "WorkflowNotFound",
]


class DagError(DurableError):
    """The root of what this layer raises.

    Attributes:
        code: A short word for programs, as answers of a server carry it.
    """

    code = "error"


# ── the caller ───────────────────────────────────────────────────────────────────────────────────────────────────────


class InvalidDefinition(DagError, ValueError):
    """A definition cannot be accepted; nothing was written.

    Attributes:
        problems: Everything that is wrong with it.
        warnings: What is merely odd.
    """

    code = "invalid_definition"

    def __init__(self, problems: Sequence[Problem], warnings: Sequence[Problem] = ()) -> None:
        first = problems[0]
        more = "" if len(problems) == 1 else f" (and {len(problems) - 1} more)"
        super().__init__(f"{first.path or '/'}: {first.message}{more}")
        self.problems = tuple(problems)
        self.warnings = tuple(warnings)


class InvalidContext(DagError, ValueError):
    """A start's context cannot be accepted: it is no object, collides with a step, or does not fit the schema.

    Attributes:
        problems: Everything that is wrong with it.
    """

    def __init__(self, code: str, problems: Sequence[Problem]) -> None:
        first = problems[0]
        super().__init__(f"{first.path or '/'}: {first.message}")
        self.code = code
        self.problems = tuple(problems)


class WorkflowNotFound(DagError, LookupError):
    """There is no definition with this id, or no such version of it."""

    code = "workflow_not_found"


class WorkflowDisabled(DagError):
    """The definition is there, but takes no new starts."""

    code = "workflow_disabled"


class WorkflowInUse(DagError):
    """A definition is not deleted while runs of it are live."""

    code = "workflow_in_use"


class VersionConflict(DagError):
    """The newest version is another one than the caller believed."""

    code = "version_conflict"


class ExecutionNotFound(DagError, LookupError):
    """There is no execution with this id."""

    code = "execution_not_found"


class ExecutionConflict(DagError):
    """The execution is not in a state, or was not started by a request, that allows this."""

    code = "execution_conflict"


class ConcurrencyLimit(ExecutionConflict, NonRetryable):
    """As many executions as the definition allows are under way with this key, and its policy is ``reject``."""

    code = "concurrency_limit"


# ── a run ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class ExecutionFailed(NonRetryable):
    """A critical step failed, and nothing handled it; what a failed execution's run ends with."""


class StepFailure(NonRetryable):
    """A step that fails on purpose (``fail``), or whose failure says nothing more than its text."""


class ScheduleTimeout(NonRetryable):
    """No worker has taken a step up within its ``scheduleTimeout``."""


class TemplateUnresolved(NonRetryable):
    """A ``${{ path }}`` leads nowhere and has no ``??`` default."""


class InvalidOutput(NonRetryable):
    """A step's result does not fit its ``outputSchema``."""


# ── outbound ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class EgressDenied(NonRetryable):
    """The egress policy forbids to call this address."""


class EndpointGone(NonRetryable):
    """A receiver of webhooks has said 410: it wants no more."""


class HttpProblem(DagError):
    """A request got no answer, or one that cannot be used; it may succeed later."""


class HttpStatusError(DagError):
    """A request was answered with a status that is no success.

    Attributes:
        status: The HTTP status.
        retryable: Whether the same request may succeed later (408, 425, 429, 5xx).
        retry_after: Seconds that the receiver asks for; None if it does not.
    """

    def __init__(self, message: str, status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(message, status, retry_after)
        self.message = message
        self.status = status
        self.retry_after = retry_after

    @property
    def retryable(self) -> bool:
        return self.status in (408, 425, 429) or self.status >= 500

    def __str__(self) -> str:
        return self.message


def error_name(error: BaseException) -> str:
    """What ``retryOn`` and answers call an error: the name that its code gave it, or its class."""
    given: Any = getattr(error, "type_name", "")
    name = given.rpartition(":")[2].rpartition(".")[2] if isinstance(given, str) else ""
    return name or type(error).__name__
