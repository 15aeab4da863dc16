"""Settling a step by hand: what the run is sent, or why it is not. Pure."""

from __future__ import annotations

from typing import Any, TypeAlias

from durable.errors import InvalidInput
from durable_dag.errors import ExecutionConflict, ExecutionNotFound
from durable_dag.scheduling.commands import Wait
from durable_dag.scheduling.settling import Verb, ending_of, fault_in, word
from durable_dag.watching.view import Execution

Json: TypeAlias = Any

__all__ = ["settlement"]


def settlement(execution: Execution, id: str, verb: Verb, value: Json) -> dict[str, Json] | None:
    """What the run is sent; None if that has been said already, and heard.

    Raises:
        ExecutionNotFound: There is no such step.
        ExecutionConflict: It is not under way.
        InvalidInput: The result does not fit.
    """
    story = execution.story
    step = None if execution.plan is None else execution.plan.steps.get(id)
    if step is None:
        raise ExecutionNotFound(f"Execution {execution.id} has no step {id!r}.")
    if story is None:
        raise ExecutionConflict(f"Step {id!r} has not begun: no worker has taken execution {execution.id} up yet.")
    record, standing = story.conductor.records.get(id), story.conductor.board.place(id).standing
    said = word(id, verb, value, story.conductor.scopes.facts.attempt)
    if record is not None and record.ending is not None and record.ending == ending_of(said, step):
        return None
    if execution.ended or standing not in ("running", "ready"):
        where = "pending: it waits for other steps" if standing == "pending" else standing
        raise ExecutionConflict(f"Step {id!r} is {where}; only a step that is under way can be settled.")
    issue = None if record is None else record.issue
    form = issue.command.form if issue is not None and isinstance(issue.command, Wait) else {}
    wrong = fault_in(verb, value, step, form)
    if wrong is not None:
        raise InvalidInput(f"This cannot be: {wrong}.")
    return said
