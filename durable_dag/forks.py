"""Doing executions again: what a retry resets, and what a fork takes over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from durable.errors import InvalidInput
from durable_dag.errors import ExecutionConflict, TemplateUnresolved
from durable_dag.graph import layers
from durable_dag.graph.plan import Plan
from durable_dag.problems import nearest
from durable_dag.running.hooks import Deliveries
from durable_dag.running.interpreter import facts_of
from durable_dag.running.slots import Ask, asked_by
from durable_dag.scheduling.conductor import Conductor
from durable_dag.watching.story import Story
from durable_dag.watching.view import Execution

Json: TypeAlias = Any

__all__ = ["Order", "last_letters", "retry_order", "slot_of", "taken_over", "turn_of"]


@dataclass(frozen=True, slots=True)
class Order:
    """What a retry asks the run for.

    Attributes:
        round: Which of the run's failed ends it answers.
        cut: Identity of the call before which the journal is kept; None for the engine's own choice.
    """

    steps: tuple[str, ...]
    context: Mapping[str, Json]
    round: int
    cut: str | None

    def as_json(self) -> dict[str, Json]:
        """As the run reads it."""
        return {"steps": list(self.steps), "context": dict(self.context)}


def retry_order(execution: Execution, steps: Sequence[str] | None, context: Mapping[str, Json] | None) -> Order | None:
    """What a retry asks for; None where going on from where it stopped is all.

    Raises:
        ExecutionConflict: There is nothing to be retried.
        InvalidInput: There is no such step.
    """
    if not execution.ended:
        raise ExecutionConflict(f"Execution {execution.id!r} is {execution.word}: only one that has ended is retried.")
    if execution.word == "completed":
        raise ExecutionConflict(f"Execution {execution.id!r} has completed; fork it from a step to do that step again.")
    story = execution.story
    if story is None or (execution.word == "failed" and story.verdict is None):
        return None
    ids = _chosen(story, execution.id, steps)
    if execution.word == "failed":
        return Order(tuple(ids), context or {}, story.rounds - 1, story.verdict)
    return Order(tuple(ids), context or {}, story.rounds, None) if ids else None


def _chosen(story: Story, execution: str, steps: Sequence[str] | None) -> list[str]:
    board, plan = story.conductor.board, story.conductor.plan
    if steps is None:
        return board.in_the_way
    for id in steps:
        _known(id, plan, execution)
    behind = layers.descendants(plan.graph, steps)
    return [id for id in plan.steps if id in behind]


def turn_of(execution: Execution) -> Ask | None:
    """The slot that an execution must hold before it is taken up again; None if it asks for one itself.

    What was cancelled goes on in the middle, where it asks for nothing. A refusal is better told to who retries than
    found in a run that has failed once more.
    """
    story, asked = execution.story, slot_of(execution, execution.status.generation + 1)
    if story is None or asked is None or (execution.word == "failed" and asked.policy != "reject"):
        return None
    return None if execution.word == "cancelled" and story.waits_for_slot else asked


def slot_of(execution: Execution, generation: int) -> Ask | None:
    """What one generation of its run asks for; None if its definition does not limit executions."""
    if execution.plan is None or execution.story is None:
        return None
    facts, context = execution.story.conductor.scopes.facts, execution.request.get("context") or {}
    try:
        return asked_by(execution.plan, facts, context, 0, generation)
    except TemplateUnresolved:
        return None  # it has failed for that


def taken_over(
    execution: Execution, plan: Plan, step: str, context: Mapping[str, Json] | None
) -> tuple[dict[str, Json], dict[str, Json]]:
    """What a fork is given: the results of steps that do not come after ``step``, and the start's context.

    Raises:
        InvalidInput: There is no such step.
    """
    _known(step, plan, execution.id)
    behind = layers.descendants(plan.graph, [step])
    given: dict[str, Json] = {}
    if execution.story is not None:
        conductor = execution.story.conductor
        for id in plan.steps:
            if id in behind or id not in conductor.plan.steps or conductor.board.place(id).standing != "success":
                continue
            given[id] = {"value": conductor.result_of(id), "branch": conductor.board.place(id).branch}
    return given, {**(execution.request.get("context") or {}), **(context or {})}


def _known(step: str, plan: Plan, execution: str) -> None:
    if step not in plan.steps:
        hint = nearest(step, plan.steps)
        meant = "" if hint is None else f" Did you mean {hint!r}?"
        raise InvalidInput(f"The workflow of execution {execution!r} has no step {step!r}.{meant}")


class Teller(Protocol):
    """Who knows a run's webhooks."""

    def deliveries(self, definition: Plan, request: Mapping[str, Json]) -> Deliveries:
        """They."""
        ...


def last_letters(teller: Teller, execution: Execution) -> list[dict[str, Json]]:
    """What is told of an end that no code of the run could tell: by ``terminate``, or of one that had not begun."""
    ended, story = execution.status.ended_at, execution.story
    if execution.plan is None or ended is None or execution.status.state != "cancelled":
        return []
    if story is not None and story.cancelled and not execution.terminated:
        return []  # its code has read that it was to end, and told so
    letters = teller.deliveries(execution.plan, execution.request)
    if story is None:
        id = execution.plan.definition.id
        facts = facts_of(execution.id, execution.request, id, execution.version, ended)
        return letters.of_end(Conductor(execution.plan, facts, {}), "cancelled", execution.status.error, ended)
    letters.go_on(story.told)
    return letters.of_end(story.conductor, "cancelled", execution.status.error, ended)
