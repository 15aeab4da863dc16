"""Why an execution of a definition stands where it stands, step by step, with what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from durable._core.why import ago, instant
from durable_dag.watching.around import Living
from durable_dag.watching.execution import Execution
from durable_dag.watching.view import step_views, view
from durable_server.answers import millis

Json = Any

__all__ = ["Beside", "reasons_of"]


@dataclass(frozen=True, slots=True)
class Beside:
    """What is to be known beside the execution.

    Attributes:
        ahead: By queue: how many runs are in it that no worker has taken up yet and that came before.
        letters: Deliveries of its webhooks that are under way.
    """

    ahead: Mapping[str, int] = field(default_factory=dict)
    letters: int = 0


def reasons_of(execution: Execution, beside: Beside) -> list[Json]:
    """For each unfinished step what it waits for; for an end, why it came: ``kind``, evidence, ``say``, ``todo``."""
    if execution.ended:
        return _of_end(execution, beside)
    shown = view(execution)
    waits = [one for one in shown["waitingOn"] if one["stepId"] is None]
    found = [_told(execution, one, beside) for one in waits]
    if execution.status.state == "paused" and execution.around.run is not None:
        at = execution.around.run.at
        found.insert(0, {"stepId": None, "kind": "paused", "since": millis(at), "say": f"paused {_ago(execution, at)}"})
        found[0]["todo"] = "resume it"
    return [*found, *_of_steps(execution, shown, beside)]


def _of_steps(execution: Execution, shown: Json, beside: Beside) -> list[Json]:
    plan = execution.plan
    if plan is None or execution.story is None:
        return []
    waits = {one["stepId"]: one for one in shown["waitingOn"] if one["stepId"] is not None}
    done = {*shown["completedSteps"], *shown["failedSteps"], *shown["skippedSteps"]}
    found: list[Json] = []
    for id, step in plan.steps.items():
        if id in done:
            continue
        if id in waits:
            found.append(_told(execution, waits[id], beside))
        elif id in shown["currentSteps"]:
            found.append(_executing(execution, id, shown["stepResults"][id]))
        else:
            missing = sorted({edge.step for edge in step.edges} - done)
            roots = _roots(plan.graph, missing, done, {*waits, *shown["currentSteps"]})
            say = f"waits for {_some(missing)}" + ("" if roots == missing else f", in the end for {_some(roots)}")
            found.append(
                {"stepId": id, "kind": "dependency", "steps": missing, "rootSteps": roots, "say": say, "todo": None}
            )
    return found


def _roots(graph: Mapping[str, Any], asked: list[str], done: set[str], busy: set[str]) -> list[str]:
    """The steps at the end of the chains: under way themselves, rather than waiting for others."""
    seen, found, left = set(asked), set[str](), list(asked)
    for id in left:  # grows while it is read
        sources = [source for source in graph[id] if source not in done]
        if id in busy or not sources:
            found.add(id)
            continue
        left += [source for source in sources if source not in seen]
        seen.update(sources)
    return sorted(found)


# ── one reason ───────────────────────────────────────────────────────────────────────────────────────────────────────

_TODO: Final = {
    "signal": "send it, or complete the step by hand",
    "retry": "mend what it needs; or complete, fail or skip the step by hand",
    "blocked": "see `why`; then resume it",
    "slot": "raise maxConcurrency in the next version, or wait",
}


def _told(execution: Execution, wait: Json, beside: Beside) -> Json:
    """A wait with its sentence."""
    kind = wait["kind"]
    if kind == "worker":
        return _without_worker(execution, wait, beside)
    until = wait.get("until")
    when = "" if until is None else f" {instant(until / 1000, execution.now)}"
    match kind:
        case "timer":
            say = f"its timer fires{when}"
        case "signal":
            since = wait.get("since")
            back = "" if since is None else f", for which it has waited since {instant(since / 1000, execution.now)}"
            say = f"signal {wait['name']} has not come{back}" + (f"; it gives up{when}" if when else "")
        case "retry":
            most = f"{wait['maxAttempts']:g}"
            say = f"attempt {wait['attempt']} of {most} failed ({wait['error']}); the next begins{when}"
        case "child":
            say = f"waits for execution {wait['executionId']}"
        case "slot" if "holders" in wait:
            say = (
                f"waits for its turn: {_some(list(wait['holders']))} hold the {wait['limit']} slots of {wait['key']!r}"
            )
        case "slot":
            say = f"waits for a free slot: {wait['limit']} steps run at once"
        case "blocked":
            say = f"blocked: {wait.get('error')}"
        case _:
            say = f"waits: {kind}"
    more: dict[str, Json] = {}
    if kind == "blocked" and execution.around.run is not None:
        more = {"code": execution.around.run.blocked_kind, "call": execution.around.run.blocked_call}
    todo = "wait, or cancel one that holds a slot" if "holders" in wait else _TODO.get(kind)
    return {**wait, **more, "say": say, "todo": todo}


def _without_worker(execution: Execution, wait: Json, beside: Beside) -> Json:
    queue, workers, action = wait.get("queue"), wait.get("workers"), wait.get("action")
    if action is not None:
        say = f"the worker that tried last has no executor for {action}"
        return {**wait, "say": say, "todo": f"start a worker that has an executor for {action}"}
    if workers:
        ahead = beside.ahead.get(str(queue), 0)
        say = f"queued in {queue} behind {ahead} others; {workers} workers read it"
        return {**wait, "ahead": ahead, "say": say, "todo": "wait, or start another worker"}
    last = _last_seen(execution, str(queue))
    say = f"no living worker reads queue {queue} and carries definitions out"
    more: dict[str, Json] = {}
    if last is not None:
        say += f"; {last.name} did, and was last seen {_ago(execution, last.seen_at)}"
        more = {"lastWorker": last.name, "lastSeenAt": millis(last.seen_at)}
    return {**wait, **more, "say": say, "todo": f"start a worker for queue {queue}"}


def _last_seen(execution: Execution, queue: str) -> Living | None:
    dead = [one for one in execution.around.workers if not one.alive and queue in one.queues]
    return max(dead, key=lambda one: one.seen_at, default=None)


def _executing(execution: Execution, id: str, result: Json) -> Json:
    found: dict[str, Json] = {"stepId": id, "kind": "executing", "attempt": result["attempts"]}
    session = execution.around.holder(execution.around.run)
    if "workerId" not in result or session is None:
        return {**found, "say": "it is executed, or about to be", "todo": None}
    found |= {"workerId": result["workerId"], "leaseExpiresAt": result["leaseExpiresAt"]}
    strikes = 0 if execution.around.run is None else execution.around.run.claims
    if session.alive:
        say = f"executing on {result['workerId']}, of which was heard {_ago(execution, session.seen_at)}"
    else:
        say = f"its worker {result['workerId']} is gone; another takes over at the latest when its lease has expired"
    if strikes > 1:
        say += f"; claimed {strikes} times without progress"
    return {**found, "heardAt": millis(session.seen_at), "claims": strikes, "say": say, "todo": None}


# ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _of_end(execution: Execution, beside: Beside) -> list[Json]:
    """The failures that made it fail, what was skipped because of them, and webhooks that are still under way."""
    found: list[Json] = []
    if execution.story is not None and execution.status.state == "failed":
        board, graph = execution.story.conductor.board, execution.story.conductor.plan.graph
        steps = step_views(execution, execution.story)
        for id in board.blocking:
            error = steps[id].get("error")
            say = f"failed at attempt {steps[id]['attempts']}: {error}"
            found.append({"stepId": id, "kind": "failed", "error": error, "say": say, "todo": "mend it, then retry"})
        lost = {id for id, one in steps.items() if one.get("skipReason") == "dependency_failed"}
        for id in graph:
            if id in lost:
                because = [source for source in graph[id] if source in lost or source in board.blocking]
                say = f"skipped because of {_some(because)}"
                found.append({"stepId": id, "kind": "skipped", "steps": because, "say": say, "todo": None})
    if beside.letters:
        say = f"{beside.letters} of its webhooks are still being delivered"
        found.append({"stepId": None, "kind": "delivery", "count": beside.letters, "say": say, "todo": None})
    return found


def _some(ids: list[str]) -> str:
    return ", ".join(ids[:3]) + ("" if len(ids) <= 3 else f" and {len(ids) - 3} more")


def _ago(execution: Execution, at: float) -> str:
    return ago(at, execution.now)
