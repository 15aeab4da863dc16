"""A run as people and programs see it: the execution object, from its row and its journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeAlias

from durable import HistoryEntry, Status
from durable_dag.backoff import nominal_delay
from durable_dag.commands import Child, Many, Sleep, Wait, Work
from durable_dag.conductor import Conductor, Issue
from durable_dag.definition import StepDef
from durable_dag.errors import TemplateUnresolved
from durable_dag.interpreter import LOAD, facts_of
from durable_dag.life import UNTOUCHED
from durable_dag.pictures.drawing import drawing_of
from durable_dag.plan import Plan
from durable_dag.scope import Rendered, masked
from durable_dag.story import StepStory, Story
from durable_dag.templates import TemplateSyntax

Json: TypeAlias = Any

__all__ = ["Execution", "milliseconds", "story_of", "summary_view", "step_view", "step_views", "view", "visualization"]

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
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def word(self) -> str:
        """The status of the execution."""
        return _STATUS[self.status.state]

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.status.state in ("completed", "failed", "cancelled")


def story_of(
    id: str,
    request: Mapping[str, Json],
    plan: Plan,
    version: int | None,
    started: datetime,
    rows: Sequence[HistoryEntry],
) -> Story:
    """The conductor after a journal."""
    begun = next((row.at for row in rows if row.name == LOAD and row.event == "step_completed"), started)
    facts = facts_of(id, request, plan.definition.id, version, begun)
    conductor = Conductor(plan, facts, request.get("context") or {}, request.get("given"))
    story = Story(conductor, begun, plan.definition.timeout is not None)
    story.tell(rows)
    return story


def milliseconds(at: datetime | None) -> int | None:
    """An instant as answers carry it."""
    return None if at is None else round(at.timestamp() * 1000)


def summary_view(execution: Execution) -> dict[str, Json]:
    """The members that need no journal."""
    status = execution.status
    shown: dict[str, Json] = {
        "executionId": execution.id,
        "workflowId": execution.request.get("workflowId"),
        "status": execution.word,
        "startTime": milliseconds(status.started_at or status.created_at),
        "endTime": milliseconds(status.ended_at),
        "error": status.error if status.state == "failed" else None,
        "version": execution.version,
        "kind": "dag",
        "tags": dict(execution.tags),
        "parent": execution.parent,
        "attempt": status.generation,
        "createdAt": milliseconds(status.created_at),
    }
    if status.state == "cancelled":
        shown["cancelReason"] = status.error
    return shown


def view(execution: Execution) -> dict[str, Json]:
    """The execution object: the members that everybody knows first, then the others."""
    base = summary_view(execution)
    steps = {} if execution.story is None else step_views(execution, execution.story)
    ids = [] if execution.plan is None else list(execution.plan.steps)
    context = execution.request.get("context") or {}
    shown: dict[str, Json] = {
        "executionId": base["executionId"],
        "workflowId": base["workflowId"],
        "status": base["status"],
        "startTime": base["startTime"],
        "currentSteps": [id for id in ids if _is(steps, id, "running")],
        "completedSteps": [id for id in ids if _is(steps, id, "success")],
        "failedSteps": [id for id in ids if _is(steps, id, "failed")],
        "stepResults": steps,
        "context": context if execution.story is None else execution.story.conductor.scopes.whole(),
    }
    shown |= {member: value for member, value in base.items() if member not in shown}
    shown["skippedSteps"] = [id for id in ids if _is(steps, id, "skipped")]
    shown["output"] = execution.output
    shown["waitingOn"] = [] if execution.ended else waiting_on(execution, steps)
    return shown


def visualization(execution: Execution, *, layout: bool = False) -> dict[str, Json]:
    """What a picture of an execution is drawn from; with ``layout``, where everything goes, too."""
    base = summary_view(execution)
    steps = {} if execution.story is None else step_views(execution, execution.story)
    ended = base["endTime"]
    shown: dict[str, Json] = {
        "executionId": execution.id,
        "workflowName": base["workflowId"] if execution.plan is None else execution.plan.definition.name,
        "status": execution.word,
        "duration": None if ended is None else ended - base["startTime"],
        "steps": [] if execution.plan is None else [_drawn(execution, step, steps) for step in execution.plan.steps],
    }
    if layout and execution.plan is not None:
        shown["layout"] = drawing_of(execution.plan, steps).layout_json()
    return shown


def _drawn(execution: Execution, id: str, steps: Mapping[str, Mapping[str, Json]]) -> dict[str, Json]:
    assert execution.plan is not None
    known = steps.get(id, {"status": "pending", "attempts": 0})
    told = None if execution.story is None else execution.story.steps.get(id)
    shown: dict[str, Json] = {"id": id, "name": execution.plan.steps[id].name}
    shown |= {name: known[name] for name in ("status", "attempts", "duration", "startTime", "endTime") if name in known}
    shown["dependencies"] = [edge.step for edge in execution.plan.steps[id].edges]
    tries = [] if told is None else told.attempts
    shown["tries"] = [
        {"n": one.number, "end": milliseconds(one.ended), "status": one.status, "error": one.error} for one in tries
    ]
    return shown


def _is(steps: Mapping[str, Mapping[str, Json]], id: str, status: str) -> bool:
    return id in steps and steps[id]["status"] == status


# ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def step_views(execution: Execution, story: Story) -> dict[str, dict[str, Json]]:
    """``stepResults``: steps that have begun or ended, in the order of the definition."""
    found: dict[str, dict[str, Json]] = {}
    for id in story.conductor.plan.steps:
        standing = story.conductor.board.place(id).standing
        if standing != "pending" or execution.ended:
            found[id] = _step_view(execution, story, id)
    return found


def _step_view(execution: Execution, story: Story, id: str) -> dict[str, Json]:
    place, record = story.conductor.board.place(id), story.conductor.records.get(id)
    told = story.steps.get(id)
    status, reason = place.standing, place.reason
    ended = story.ended_at.get(id) if status in ("success", "failed", "skipped") else None
    if execution.ended and ended is None:  # the run was ended under it
        status, reason, ended = "skipped", "cancelled", execution.status.ended_at
    shown: dict[str, Json] = {"stepId": id, "status": "pending" if status == "ready" else status}
    started = None if record is None else record.started
    shown["attempts"] = 0 if record is None else max(1, 0 if told is None else told.begun)
    if record is None and status != "skipped":
        return {**shown, "phase": "queued"}
    shown["startTime"] = milliseconds(started)
    if ended is not None:
        shown["endTime"] = milliseconds(ended)
        shown["duration"] = 0 if started is None else round((ended - started).total_seconds() * 1000)
    ending = None if record is None else record.ending
    if status == "success" and ending is not None:
        shown["result"] = ending.value
    if status == "failed" and ending is not None and ending.error is not None:
        shown["error"] = ending.error.text
        shown["errorDetail"] = {"name": ending.error.name, "message": ending.error.message, "stack": None}
    shown["logs"] = []
    if status == "skipped":
        shown["skipReason"] = reason
    if place.branch is not None:
        shown["branch"] = place.branch
    if status == "running" and record is not None and record.issue is not None:
        shown |= _running(execution, story, record.issue)
    return shown


def _running(execution: Execution, story: Story, issue: Issue) -> dict[str, Json]:
    """``phase``, and what belongs to it."""
    told = story.steps[issue.step]
    wait = _wait_of(execution, story, issue)
    shown: dict[str, Json] = {}
    if isinstance(issue.command, Many):
        shown["progress"] = {"done": told.done, "total": len(issue.command.calls)}
    elif told.progress is not None:
        shown["progress"] = told.progress
    if isinstance(issue.command, Sleep | Wait | Child):
        return {**shown, "phase": "waiting"}
    if wait is not None and wait.kind == "child":
        return {**shown, "phase": "waiting"}
    failed = told.attempts[-1].number if told.attempts and told.attempts[-1].status == "failed" else 0
    shown["attempts"] = max(1, failed)
    if _in_backoff(execution, issue, told, wait):
        last = told.attempts[-1].error if failed else getattr(wait, "error", None)
        return {**shown, "phase": "backoff", "error": last}
    if wait is None and execution.status.state != "running":
        return {**shown, "phase": "queued"}
    return {**shown, "attempts": failed + 1, "phase": "executing"}


def _in_backoff(execution: Execution, issue: Issue, told: StepStory, wait: Any) -> bool:
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
    return last.ended.timestamp() + nominal_delay(issue.command.retry, last.number) > execution.now


def _next_try(work: Work, told: StepStory, wait: Any) -> int | None:
    """When the back-off ends, in milliseconds; from the policy, where the row does not say."""
    if wait is not None and wait.kind == "retry":
        return None if wait.until is None else round(wait.until * 1000)
    last = told.attempts[-1]
    return round((last.ended.timestamp() + nominal_delay(work.retry, last.number)) * 1000)


def _wait_of(execution: Execution, story: Story, issue: Issue) -> Any:
    """What the run's row says that it waits for, as far as it is this question."""
    for wait in execution.status.waits:
        if story.issue_of(wait.call) is issue:
            return wait
    return None


def step_view(execution: Execution, id: str) -> dict[str, Json] | None:
    """One step in full: what the execution object has of it, its params as they were rendered, and every try.

    What only an attempt knows (secrets) stays a template. None if there is no such step.
    """
    if execution.plan is None or id not in execution.plan.steps:
        return None
    step, story = execution.plan.steps[id], execution.story
    shown: dict[str, Json] = {"stepId": id, "status": "pending", "attempts": 0}
    if story is not None:
        shown |= step_views(execution, story).get(id, {})
        told = story.steps.get(id, StepStory())
        shown["tries"] = [
            {
                "n": one.number,
                "end": milliseconds(one.ended),
                "status": one.status,
                "error": one.error,
                "item": one.item,
            }
            for one in told.attempts
        ]
        shown["call"] = told.call or None
    shown |= {"name": step.name, "action": step.action, "params": _rendered(step, story)}
    return shown


def _rendered(step: StepDef, story: Story | None) -> Json:
    """Each param by itself: one that cannot be rendered (yet, or without JavaScript) is shown as it is written."""
    if story is None or step.id not in story.conductor.records:
        return dict(step.params)
    scope = story.conductor.scopes.of(step)
    shown: dict[str, Json] = {}
    for name, value in step.params.items():
        try:
            rendered = scope.render(value) if name not in UNTOUCHED.get(step.action, ()) else Rendered(value)
        except (TemplateUnresolved, TemplateSyntax, KeyError):
            rendered = Rendered(value)
        shown[name] = masked(rendered)
    return shown


def waiting_on(execution: Execution, steps: Mapping[str, Mapping[str, Json]]) -> list[dict[str, Json]]:
    """What the run waits for that no worker is busy with."""
    story = execution.story
    if execution.status.state == "blocked":
        return [{"stepId": None, "kind": "blocked", "error": execution.status.error}]
    if story is None:
        return [{"stepId": None, "kind": "worker"}] if execution.status.state in ("pending", "waiting") else []
    found: list[dict[str, Json]] = []
    for issue in story.conductor.issues.values():
        wait = _waiting(execution, story, issue)
        if wait is not None:
            found.append({"stepId": issue.step, **wait})
    slots = [id for id in steps if story.conductor.board.place(id).standing == "ready"]
    return found + [{"stepId": id, "kind": "slot"} for id in slots]


def _waiting(execution: Execution, story: Story, issue: Issue) -> dict[str, Json] | None:
    command = issue.command
    match command:
        case Sleep(until=until):
            return {"kind": "timer", "until": milliseconds(until)}
        case Wait(signal=signal, until=until, form=form):
            shown: dict[str, Json] = {"kind": "signal", "name": signal, **form}
            return shown if until is None else {**shown, "until": milliseconds(until)}
        case Child():
            return {"kind": "child"}
        case Work(queue=queue) if queue is not None:
            return {"kind": "worker", "queue": queue}
        case _:
            wait = _wait_of(execution, story, issue)
            if isinstance(command, Work) and _in_backoff(execution, issue, story.steps[issue.step], wait):
                return {"kind": "retry", "until": _next_try(command, story.steps[issue.step], wait)}
            return None
