"""What a dependency says once its source has ended: go on, do not, or something is broken.

Law: an edge is live, dead or broken as a function of its source's outcome alone. Time and order do not come in, so that
a run has the same outcome however its steps overtake each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from durable_dag.graph.definition import PLAIN_SUCCESS, Kind

EdgeState = Literal["live", "dead", "broken"]
Ending = Literal["success", "failed", "skipped"]
SkipReason = Literal["condition", "dependency_failed", "cancelled", "manual"]

__all__ = ["EdgeState", "Ended", "Ending", "SkipReason", "edge_state"]

_BROKEN_REASONS = ("dependency_failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Ended:
    """How the source of an edge ended, and what is known of it beforehand.

    Attributes:
        branch: That a condition or switch took; None for no branch, and for plain steps.
        reason: Of a skip.
        critical: Whether a failure of it counts.
        handled: Whether some edge ``on: failure`` leaves it.
    """

    status: Ending
    kind: Kind = "plain"
    branch: str | None = None
    reason: SkipReason | None = None
    critical: bool = True
    handled: bool = False


def edge_state(on: str, source: Ended) -> EdgeState:
    """The state of an edge whose source has ended."""
    if on == "done":
        return "live"
    if source.status == "success":
        return _after_success(on, source)
    if source.status == "failed":
        return _after_failure(on, source)
    if on == "skipped":
        return "live"
    return "broken" if source.reason in _BROKEN_REASONS and on != "failure" else "dead"


def _after_success(on: str, source: Ended) -> EdgeState:
    if on == PLAIN_SUCCESS:
        if source.kind == "condition":
            return "live" if source.branch == "true" else "dead"
        if source.kind == "switch":
            return "live" if source.branch is not None else "dead"
        return "live"
    if on == "success":
        return "live"
    return "live" if source.kind != "plain" and on == source.branch else "dead"


def _after_failure(on: str, source: Ended) -> EdgeState:
    if on == "failure":
        return "live"
    if not source.critical:
        return "live" if on in (PLAIN_SUCCESS, "success") else "dead"
    if source.handled:
        return "dead"
    return "dead" if on == "skipped" else "broken"
