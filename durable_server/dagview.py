"""Executions of definitions in the shapes that only the API has. Pure."""

from __future__ import annotations

from typing import Any

from durable_dag.view import Execution, milliseconds, view

Json = Any

__all__ = ["attempts_of", "why_of"]


def attempts_of(execution: Execution, id: str) -> list[Json] | None:
    """The tries of a step that have ended; None if there is no such step."""
    if execution.plan is None or id not in execution.plan.steps:
        return None
    told = None if execution.story is None else execution.story.steps.get(id)
    return [
        {"n": one.number, "end": milliseconds(one.ended), "status": one.status, "error": one.error, "item": one.item}
        for one in (() if told is None else told.attempts)
    ]


def why_of(execution: Execution) -> list[Json]:
    """What each unfinished step waits for: a dependency, or what the run waits for there."""
    if execution.ended or execution.plan is None or execution.story is None:
        return []
    shown = view(execution)
    waits = {one["stepId"]: one for one in shown["waitingOn"]}
    done = {*shown["completedSteps"], *shown["failedSteps"], *shown["skippedSteps"]}
    found: list[Json] = []
    for id, step in execution.plan.steps.items():
        if id in done:
            continue
        if id in waits:
            found.append(waits[id])
        elif id in shown["currentSteps"]:
            found.append({"stepId": id, "kind": "executing"})
        else:
            missing = sorted({edge.step for edge in step.edges} - done)
            found.append({"stepId": id, "kind": "dependency", "steps": missing})
    return found
