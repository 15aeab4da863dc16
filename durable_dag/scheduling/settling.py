"""Steps that people settle: what they say, as a signal to the run, and what it means for a step. Pure.

Law: a word is about one step in one attempt of the run. In any other attempt, and of a step that is not under way, it
says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from durable_dag.graph.definition import StepDef
from durable_dag.graph.schemas import misfit
from durable_dag.scheduling.board import Outcome
from durable_dag.scheduling.commands import Err
from durable_dag.scheduling.life import Ending

Json: TypeAlias = Any
Verb = Literal["complete", "fail", "skip"]

__all__ = ["SETTLE", "Verb", "ending_of", "fault_in", "word"]

SETTLE: Final = ".settle"
"""The signal; a layer's own, so that no run is shown as waiting for it."""

_FAILURE: Final = "StepFailure"


def word(step: str, verb: Verb, value: Json, attempt: int) -> dict[str, Json]:
    """What is sent.

    Args:
        value: The result; the error's text, or ``{"name", "message"}``; the reason.
        attempt: Of the run.
    """
    return {"step": step, "verb": verb, "value": value, "attempt": attempt}


def ending_of(said: Json, step: StepDef) -> Ending | None:
    """How the step ends by it; None for what is no word at all, since anybody can send a signal."""
    value = said.get("value")
    match said.get("verb"):
        case "complete":
            branch = value.get("branch") if step.kind != "plain" and isinstance(value, Mapping) else None
            return Ending(Outcome("success", branch), value, by_hand=True)
        case "fail":
            error = Err(_FAILURE, value) if isinstance(value, str) else _error(value)
            return Ending(Outcome("failed"), None, error, by_hand=True)
        case "skip":
            reason = value if isinstance(value, str) else ""
            return Ending(Outcome("skipped", None, "manual"), None, Err("Skipped", reason), by_hand=True)
        case _:
            return None


def _error(value: Json) -> Err:
    given = value if isinstance(value, Mapping) else {}
    return Err(str(given.get("name") or _FAILURE), str(given.get("message") or ""))


def fault_in(verb: Verb, value: Json, step: StepDef, form: Mapping[str, Json]) -> str | None:
    """Why a step cannot be settled so; None if it can.

    Args:
        form: Of the signal that it waits for, if it does: its ``schema`` holds for the result, too.
    """
    if verb != "complete":
        return None
    if step.kind != "plain" and not (isinstance(value, Mapping) and isinstance(value.get("branch"), str)):
        return f"step {step.id!r} decides: its result is an object with a text 'branch'"
    for name, schema in (("outputSchema", step.output_schema), ("the signal's schema", form.get("schema"))):
        wrong = None if schema is None else misfit(value, schema)
        if wrong is not None:
            return f"the result does not fit {name}: {wrong}"
    return None
