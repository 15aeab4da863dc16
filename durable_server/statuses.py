"""The API's words for where a run stands. Pure.

Clients of the older API know six words; what is finer is said beside them, in ``waitingOn``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from durable.store import RunRecord, RunStatus, Wait, WaitKind
from durable_server.answers import millis

Json = Any

__all__ = ["API_STATUSES", "status_of", "store_statuses", "waiting_on"]

_WORDS: Final = {
    RunStatus.PENDING: "pending",
    RunStatus.RUNNING: "running",
    RunStatus.WAITING: "running",
    RunStatus.BLOCKED: "running",
    RunStatus.PAUSED: "paused",
    RunStatus.COMPLETED: "completed",
    RunStatus.FAILED: "failed",
    RunStatus.CANCELLED: "cancelled",
}
API_STATUSES: Final = ("pending", "running", "paused", "completed", "failed", "cancelled")

_KINDS: Final = {
    WaitKind.TIMER: "timer",
    WaitKind.SIGNAL: "signal",
    WaitKind.RETRY: "retry",
    WaitKind.CHILD: "child",
    WaitKind.UNKNOWN: "blocked",
}


def status_of(run: RunRecord) -> str:
    """One of the six words."""
    return _WORDS[run.status]


def store_statuses(words: Iterable[str]) -> tuple[RunStatus, ...]:
    """The store's statuses that API words stand for."""
    asked = set(words)
    return tuple(status for status, word in _WORDS.items() if word in asked)


def waiting_on(run: RunRecord) -> list[Json]:
    """What a live run waits for; a step that executes is not waited for."""
    if run.ended:
        return []
    found = [_wait(wait) for wait in run.waits if wait.kind in _KINDS]
    if run.status is RunStatus.BLOCKED:
        call = None if run.blocked_call is None else _name(run.blocked_call)
        found = [one for one in found if one["kind"] != "blocked"]
        found.insert(0, {"stepId": call, "kind": "blocked", "reason": run.blocked, "code": run.blocked_kind})
    return found


def _wait(wait: Wait) -> Json:
    value = {
        "stepId": wait.name,
        "kind": _KINDS[wait.kind],
        "since": millis(wait.since),
        "until": millis(wait.until),
    }
    if wait.kind is WaitKind.RETRY:
        value |= {"attempt": wait.attempt, "maxAttempts": wait.attempts_max, "error": wait.error}
    return value


def _name(call: str) -> str:
    return call.split("/", 2)[-1].removesuffix("#0")
