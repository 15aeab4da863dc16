"""How long ended runs are kept, by how they ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from durable._model.duration import Duration, seconds_of
from durable._model.runs import RunStatus

__all__ = ["Retention", "retention_of"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long after its end a run is purged, by its status: ``@workflow(retention=Retention(failed="90d"))``.

    Attributes:
        completed: Of runs that returned a result; None (the default): kept until somebody purges.
        failed: Of runs that raised, or took longer than their ``timeout=``.
        cancelled: Of runs that were cancelled, or terminated by an operator.

    Raises:
        InvalidInput: A ``ValueError``: one of them is no duration.
    """

    completed: Duration | None = None
    failed: Duration | None = None
    cancelled: Duration | None = None

    def __post_init__(self) -> None:
        for status in ("completed", "failed", "cancelled"):
            _seconds(getattr(self, status), status)

    def keep_seconds(self, status: RunStatus) -> float | None:
        """Seconds that a run which ended so is kept; None: until somebody purges."""
        return _seconds(getattr(self, status.value), status.value)


def _seconds(duration: Duration | None, status: str) -> float | None:
    return None if duration is None else seconds_of(duration, f"retention of {status} runs")


def retention_of(given: Duration | Retention | None, what: str) -> Retention:
    """What a decorator's ``retention=`` says; a plain duration is meant for every end.

    Args:
        what: For messages.

    Raises:
        InvalidInput: It is no duration.
    """
    if isinstance(given, Retention):
        return given
    seconds = None if given is None else seconds_of(given, what)
    return Retention(completed=seconds, failed=seconds, cancelled=seconds)
