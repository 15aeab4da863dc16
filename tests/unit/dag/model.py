"""The rules of skipping as a small model, written down before the scheduler: what the scheduler is held against."""

from __future__ import annotations

from typing import Any

TERMINAL = {"success", "failed", "skipped"}
State = dict[str, Any]


def edge(dependency: State, source: State) -> str | None:
    """``live``, ``dead`` or ``broken``; None while the source has not ended."""
    status, on = source["status"], dependency["on"]
    if status not in TERMINAL:
        return None
    if on == "done":
        return "live"
    if status == "success":
        if on == "success?":
            if source["kind"] == "switch":
                return "live" if source["branch"] is not None else "dead"
            on = "true" if source["kind"] == "condition" else "success"
        if on == "success":
            return "live"
        return "live" if source["kind"] != "plain" and on == source["branch"] else "dead"
    if status == "failed":
        if on == "failure":
            return "live"
        if not source["critical"]:
            return "live" if on in ("success?", "success") else "dead"
        if source["handled"]:
            return "dead"
        return "broken" if on != "skipped" else "dead"
    if on == "skipped":
        return "live"
    return "broken" if source["why"] == "dependency_failed" and on != "failure" else "dead"


def decide(step: State, steps: dict[str, State]) -> str | None:
    """``run`` or ``skip:<reason>``; None: wait."""
    states = [edge(dependency, steps[dependency["step"]]) for dependency in step["deps"]]
    if not states or (step["join"] == "any" and "live" in states):
        return "run"
    if None in states:
        return None
    if step["join"] == "done":
        return "run"
    if "broken" in states:
        return "skip:dependency_failed"
    if step["join"] == "any":
        return "skip:condition"
    if step["join"] == "all":
        return "skip:condition" if "dead" in states else "run"
    return "run" if "live" in states else "skip:condition"


def outcome_of(graph: dict[str, State]) -> tuple[dict[str, tuple[str, str | None]], str]:
    """(status, reason) of each step, and the status of the run.

    Args:
        graph: Steps in an order in which sources come first: ``deps``, ``join``, ``kind``, ``critical``, and what each
            would come to if it ran: ``fails``, ``branch``, ``guard``.
    """
    handled = {d["step"] for step in graph.values() for d in step["deps"] if d["on"] == "failure"}
    steps = {id: {**step, "status": "pending", "why": None, "handled": id in handled} for id, step in graph.items()}
    while pending := [id for id, step in steps.items() if step["status"] == "pending"]:
        moved = False
        for id in pending:
            step = steps[id]
            verdict = decide(step, steps)
            if verdict is None:
                continue
            moved = True
            if verdict != "run":
                step["status"], step["why"] = "skipped", verdict.removeprefix("skip:")
            elif step["guard"] is False:
                step["status"], step["why"] = "skipped", "condition"
            else:
                step["status"] = "failed" if step["fails"] else "success"
        assert moved, "a step waits for ever"
    blocking = any(s["status"] == "failed" and s["critical"] and not s["handled"] for s in steps.values())
    return {id: (s["status"], s["why"]) for id, s in steps.items()}, "failed" if blocking else "completed"
