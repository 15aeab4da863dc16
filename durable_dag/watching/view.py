"""A run as people and programs see it: the execution object, from its row and its journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

from durable import HistoryEntry
from durable_dag.errors import TemplateUnresolved
from durable_dag.graph.definition import StepDef
from durable_dag.graph.plan import Plan
from durable_dag.graph.templates import TemplateSyntax
from durable_dag.pictures.drawing import drawing_of
from durable_dag.running.interpreter import LOAD, facts_of
from durable_dag.scheduling.commands import Child, Many, Sleep, Wait, Work
from durable_dag.scheduling.conductor import Conductor, Issue
from durable_dag.scheduling.life import UNTOUCHED
from durable_dag.scheduling.scope import Rendered, masked
from durable_dag.watching.around import Row
from durable_dag.watching.execution import Execution
from durable_dag.watching.story import StepStory, Story
from durable_dag.watching.tries import instant_of as milliseconds
from durable_dag.watching.tries import tries_of
from durable_dag.watching.waiting import in_backoff, wait_of, waiting_on

Json: TypeAlias = Any

__all__ = [
    "Execution",
    "milliseconds",
    "story_of",
    "step_view",
    "step_views",
    "summary_view",
    "tries",
    "view",
    "visualization",
]


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
    shown: dict[str, Json] = {"id": id, "name": execution.plan.steps[id].name}
    shown |= {name: known[name] for name in ("status", "attempts", "duration", "startTime", "endTime") if name in known}
    shown["dependencies"] = [edge.step for edge in execution.plan.steps[id].edges]
    shown["tries"] = tries(execution, id, known)
    return shown


def tries(execution: Execution, id: str, known: Mapping[str, Json] | None = None) -> list[Json]:
    """The tries of a step; ``known`` is what the execution object says of it."""
    story = execution.story
    if story is None:
        return []
    if known is None:
        known = step_views(execution, story).get(id, {})
    record = story.conductor.records.get(id)
    issue = None if record is None else record.issue
    return tries_of(story, id, known, None if issue is None else wait_of(execution, story, issue))


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
    if ending is not None and ending.by_hand:
        shown["byHand"] = True
        if status == "skipped" and ending.error is not None and ending.error.message:
            shown["reason"] = ending.error.message
    if place.branch is not None:
        shown["branch"] = place.branch
    if status == "running" and record is not None and record.issue is not None:
        shown |= _running(execution, story, record.issue)
    return shown


def _running(execution: Execution, story: Story, issue: Issue) -> dict[str, Json]:
    """``phase``, and what belongs to it."""
    told = story.steps[issue.step]
    wait = wait_of(execution, story, issue)
    shown: dict[str, Json] = {}
    if isinstance(issue.command, Many):
        shown["progress"] = {"done": told.done, "total": len(issue.command.calls)}
    elif told.progress is not None:
        shown["progress"] = told.progress
    if isinstance(issue.command, Sleep | Wait | Child):
        return {**shown, "phase": "waiting"}
    if wait is not None and wait.kind == "child":
        there = execution.around.child(wait.name)
        if not isinstance(issue.command, Work) or there is None or there.owner is None:
            return {**shown, "phase": "waiting"}
        return {**shown, "phase": "executing", **_held(execution, there)}
    failed = told.attempts[-1].number if told.attempts and told.attempts[-1].status == "failed" else 0
    shown["attempts"] = max(1, failed)
    if in_backoff(execution, issue, told, wait):
        last = told.attempts[-1].error if failed else getattr(wait, "error", None)
        return {**shown, "phase": "backoff", "error": last}
    if wait is None and execution.status.state != "running":
        return {**shown, "phase": "queued"}
    return {**shown, "attempts": failed + 1, "phase": "executing", **_held(execution, execution.around.run)}


def _held(execution: Execution, run: Row | None) -> dict[str, Json]:
    """Which worker it is that executes, and until when it is believed to live."""
    session = execution.around.holder(run)
    if session is None:
        return {}
    return {"workerId": session.name, "leaseExpiresAt": round(session.expires_at * 1000)}


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
        shown["tries"] = tries(execution, id, shown)
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
