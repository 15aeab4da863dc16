"""What a run waits for, step by step: from its journal, rows of it and its children, and the living workers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from durable_dag.graph.backoff import nominal_delay
from durable_dag.running.calls import PICK_UP
from durable_dag.running.toolbox import DAG, WORK
from durable_dag.scheduling.commands import Child, Sleep, Wait, Work
from durable_dag.scheduling.conductor import Issue
from durable_dag.watching.execution import Execution
from durable_dag.watching.story import StepStory, Story
from durable_dag.watching.tries import instant_of

Json: TypeAlias = Any

__all__ = ["UNKNOWN_ACTION", "in_backoff", "wait_of", "waiting_on"]

UNKNOWN_ACTION: Final = "UnknownAction"
"""The error of an attempt in a worker that has no executor for the action; another one may have it."""


def waiting_on(execution: Execution, steps: Mapping[str, Mapping[str, Json]]) -> list[dict[str, Json]]:
    """What the run waits for that no worker is busy with."""
    if execution.status.state == "blocked":
        return [{"stepId": None, "kind": "blocked", "error": execution.status.error}]
    found = _of_run(execution)
    story = execution.story
    if story is None:
        return found
    if execution.slot is not None:
        found.append({"stepId": None, "kind": "slot", **execution.slot})
    for issue in story.conductor.issues.values():
        wait = _waiting(execution, story, issue)
        if wait is not None:
            found.append({"stepId": issue.step, **wait})
    limit = story.conductor.plan.definition.limit
    slots = [id for id in steps if story.conductor.board.place(id).standing == "ready"]
    return found + [{"stepId": id, "kind": "slot", "limit": limit} for id in slots]


def _of_run(execution: Execution) -> list[dict[str, Json]]:
    """The run itself: for its delay, or for a worker that has not taken it up, or is gone."""
    run, state = execution.around.run, execution.status.state
    if state == "paused":
        return []
    if run is None:
        return [{"stepId": None, "kind": "worker"}] if state == "pending" else []
    if state == "pending" and run.due_at is not None and run.due_at > execution.now:
        return [{"stepId": None, "kind": "timer", "until": round(run.due_at * 1000)}]
    workers = len(execution.around.serving(run.queue, DAG))
    if workers and state != "pending":
        return []
    return [{"stepId": None, "kind": "worker", "queue": run.queue, "workers": workers}]


def wait_of(execution: Execution, story: Story, issue: Issue) -> Any:
    """What the run's row says that it waits for, as far as it is this question."""
    for wait in execution.status.waits:
        if story.issue_of(wait.call) is issue and wait.name != PICK_UP:
            return wait
    return None


def _pick_up_by(execution: Execution, story: Story, issue: Issue) -> Json:
    """Until when a worker must have taken up what it waits for, as a member to be shown; none if there is no limit."""
    for wait in execution.status.waits:
        if wait.name == PICK_UP and wait.until is not None and story.issue_of(wait.call) is issue:
            return {"until": round(wait.until * 1000)}
    return {}


def in_backoff(execution: Execution, issue: Issue, told: StepStory, wait: Any) -> bool:
    """Whether an attempt has failed and the next has not begun.

    The row says what was so before its last commit; so the journal's failures are held against the clock, too.
    """
    if wait is not None and wait.kind == "retry":
        return not (wait.until is not None and wait.until <= execution.now and execution.status.state == "running")
    last = told.attempts[-1] if told.attempts else None
    if last is None or last.status != "failed" or not isinstance(issue.command, Work):
        return False
    if wait is not None and wait.attempt > last.number:
        return False
    return _next_try(issue.command, told, wait) > execution.now


def _next_try(work: Work, told: StepStory, wait: Any) -> float:
    """When the back-off ends; from the policy, where neither row nor journal says it."""
    if wait is not None and wait.kind == "retry" and wait.until is not None:
        return float(wait.until)
    last = told.attempts[-1]
    if last.not_before is not None:
        return last.not_before.timestamp()
    return last.ended.timestamp() + nominal_delay(work.retry, last.number)


# ── single questions ─────────────────────────────────────────────────────────────────────────────────────────────────


def _waiting(execution: Execution, story: Story, issue: Issue) -> dict[str, Json] | None:
    since = instant_of(story.asked(issue.step))
    wait = wait_of(execution, story, issue)
    match issue.command:
        case Sleep(until=until):
            return {"kind": "timer", "since": since, "until": instant_of(until)}
        case Wait(signal=signal, until=until, form=form):
            shown: dict[str, Json] = {"kind": "signal", "name": signal, "since": since, **form}
            return shown if until is None else {**shown, "until": instant_of(until)}
        case Child():
            return {"kind": "child", "since": since, "executionId": None if wait is None else wait.name}
        case Work(queue=queue) as work if queue is not None:
            found = _elsewhere(execution, work, queue, wait, since)
            by = _pick_up_by(execution, story, issue)
            return {**found, **by} if found is not None and found["kind"] == "worker" else found
        case Work() as work:
            told = story.steps[issue.step]
            if not in_backoff(execution, issue, told, wait):
                return None
            last = told.attempts[-1] if told.attempts else None
            number = 1 if last is None else last.number
            error = (None if wait is None else wait.error) if last is None else last.error
            return _backoff(work, _next_try(work, told, wait), number, error)
        case _:
            return None


def _backoff(work: Work, until: float, number: int, error: str | None) -> dict[str, Json]:
    """Between two attempts; if the last had no executor, it is a worker that is waited for."""
    if error is not None and error.partition(":")[0].rpartition(".")[2] == UNKNOWN_ACTION:
        action = next((job.action for job in work.jobs), None)
        return {"kind": "worker", "action": action, "until": round(until * 1000)}
    return {
        "kind": "retry",
        "until": round(until * 1000),
        "attempt": number,
        "maxAttempts": work.retry.max_attempts,
        "error": error,
    }


def _elsewhere(execution: Execution, work: Work, queue: str, wait: Any, since: Json) -> dict[str, Json] | None:
    """Work of another queue, by the row of the run that carries it out."""
    run = None if wait is None else execution.around.child(wait.name)
    workers = len(execution.around.serving(queue, WORK))
    if run is not None:
        if run.ended or run.owner is not None:
            return None
        if run.blocked is not None:
            return {"kind": "blocked", "error": run.blocked}
        again = next((one for one in run.waits if one.kind == "retry"), None)
        if again is not None and again.until is not None and (workers or again.until > execution.now):
            return _backoff(work, again.until, again.attempt - 1, again.error)
    return {"kind": "worker", "queue": queue, "workers": workers, "since": since}
