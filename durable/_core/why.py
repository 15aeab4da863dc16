"""One sentence about a run, from its row and the workers' registrations alone: what it waits for, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from durable._core.identity import name_of
from durable._model.claims import SessionRecord
from durable._model.defaults import CRASH_BUDGET, LONELY_AFTER
from durable._model.runs import RunRecord, RunStatus, Wait, WaitKind

__all__ = ["ago", "explain", "instant", "unserved"]


def explain(run: RunRecord, sessions: Sequence[SessionRecord], now: float) -> str:
    """Say in one or two sentences why a run stands where it stands."""
    if run.ended:
        return _ended(run, now)
    if run.status is RunStatus.PAUSED:
        return f"Paused {ago(run.at, now)}. Continue it with resume."
    if run.status is RunStatus.BLOCKED:
        return _blocked(run)
    if run.rewind is not None and run.status is RunStatus.PENDING:
        return "To be begun again from its journal" + _served(run, sessions, " as soon as a worker claims it.")
    if run.owner is not None:
        return _owned(run, sessions, now)
    if run.status is RunStatus.PENDING and run.due_at is not None and run.due_at > now:
        return f"Not started yet: its delay ends {instant(run.due_at, now)}."
    nobody = unserved(run, sessions)
    if nobody is not None:
        return nobody
    if run.due_at is not None and run.due_at <= now:
        if run.strikes >= LONELY_AFTER:
            return (
                f"Claimed {run.strikes} times without progress (of {LONELY_AFTER + CRASH_BUDGET}): its code may be "
                "killing its workers. It is being tried alone, with back-off."
            )
        return f"Ready since {instant(run.due_at, now)}; the workers are busy or have just been told."
    if run.status is RunStatus.PENDING:
        return "Not started yet."
    return _waiting(run.waits, now)


def _ended(run: RunRecord, now: float) -> str:
    when = "" if run.ended_at is None else f" {ago(run.ended_at, now)}"
    if run.status is RunStatus.COMPLETED:
        return f"Completed{when}."
    if run.status is RunStatus.CANCELLED:
        word = "Terminated" if run.terminated else "Cancelled"
        return f"{word}{when}" + (f": {run.error}." if run.error else ".")
    return f"Failed{when}: {run.error}. Begin again from the failed step with retry."


def _blocked(run: RunRecord) -> str:
    if run.blocked_kind == "non_determinism" and run.blocked:
        return run.blocked  # the report says what to do
    reason = (run.blocked or "unknown reason").rstrip(".")
    call = "" if run.blocked_call is None else name_of(run.blocked_call)
    todo = {
        "unknown_outcome": f"Find out whether it happened, then settle {call!r} with its result, an error or not_done.",
        "non_determinism": "Deploy code that fits its journal, then resume it.",
        "workflow_code": "Fix the workflow's code, deploy it, then resume the run.",
        "crash_budget": "Find out what kills its workers (their logs), then resume it.",
        "payload": "Deploy code that can read it, then resume it.",
        "journal_limit": "Let the workflow use continue_as before it grows so long; terminate or fork this run.",
    }.get(run.blocked_kind or "", "Resume it when the reason is gone.")
    return f"Blocked: {reason}. {todo}"


def _owned(run: RunRecord, sessions: Sequence[SessionRecord], now: float) -> str:
    owner = next((session for session in sessions if session.id == run.owner), None)
    name = owner.name if owner is not None else str(run.owner)
    if owner is not None and not owner.alive:
        return f"Its worker {name} is gone; another takes the run over in a moment."
    doing = _waiting(run.waits, now) if run.waits else "Its code is running."
    return f"Running on {name}. {doing}"


def unserved(run: RunRecord, sessions: Sequence[SessionRecord]) -> str | None:
    """That no living worker can take the run, and what to do; None if one can."""
    wanted = f"workflow {run.workflow}" + ("" if run.version is None else f" version {run.version}")
    living = [session for session in sessions if session.alive]
    for session in living:
        if run.queue in session.queues and any(
            name == run.workflow and run.version in (None, version) for name, version in session.registered
        ):
            return None
    others = sorted({f"{s.name} has version {v}" for s in living for n, v in s.registered if n == run.workflow})
    if any(n == run.workflow and run.version in (None, v) for s in living for n, v in s.registered):
        return f"No live worker that has {wanted} reads queue {run.queue!r}. Start one that does."
    known = f" ({'; '.join(others)})" if others else ""
    return f"No live worker has {wanted}{known}. Start one that does."


def _served(run: RunRecord, sessions: Sequence[SessionRecord], otherwise: str) -> str:
    nobody = unserved(run, sessions)
    return otherwise if nobody is None else f". {nobody}"


def _waiting(waits: Sequence[Wait], now: float) -> str:
    if not waits:
        return "Waiting for nothing that anybody could see: its code awaits something that only it can set."
    said = "; ".join(_wait(wait, now) for wait in waits[:3])
    more = "" if len(waits) <= 3 else f"; and {len(waits) - 3} more"
    return f"{said[0].upper()}{said[1:]}{more}."


def _wait(wait: Wait, now: float) -> str:
    name = wait.name
    match wait.kind:
        case WaitKind.STEP:
            attempt = "" if wait.attempt <= 1 else f" attempt {wait.attempt}"
            return f"step {name}{attempt} is executing since {instant(wait.since, now)}"
        case WaitKind.RETRY:
            most = "" if wait.attempts_max is None else f" of {wait.attempts_max}"
            error = f": {wait.error}" if wait.error else ""
            return f"attempt {wait.attempt}{most} of step {name} {instant(wait.until or now, now)}{error}"
        case WaitKind.TIMER:
            return f"timer {name} fires {instant(wait.until or now, now)}"
        case WaitKind.SIGNAL:
            end = "" if wait.until is None else f", times out {instant(wait.until, now)}"
            return f"waiting for signal {name} since {instant(wait.since, now)}{end}"
        case WaitKind.CHILD:
            return f"waiting for child run {name} since {instant(wait.since, now)}"
        case WaitKind.UNKNOWN:
            return f"the outcome of step {name} is unknown"


def instant(at: float, now: float) -> str:
    """An instant for people: with its distance from now where that is short."""
    moment = datetime.fromtimestamp(at, UTC)
    away = at - now
    if 0 <= away < 3600:
        return f"in {_span(away)}"
    day = "" if abs(away) < 43_200 else moment.strftime("%Y-%m-%d ")
    return f"{day}{moment.strftime('%H:%M:%S')} UTC"


def ago(at: float, now: float) -> str:
    """``3 s ago``, or the instant itself when it is long past."""
    past = now - at
    return f"{_span(max(past, 0.0))} ago" if past < 3600 else f"at {instant(at, now)}"


def _span(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"
