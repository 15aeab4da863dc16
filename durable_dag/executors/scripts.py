"""Executors with JavaScript in them: transform, condition, switch, and the expressions of templates."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from durable_dag.executors.request import StepContext
from durable_dag.graph.templates import shown_value
from durable_dag.js.runtime import JsRuntime
from durable_dag.scheduling.life import truthy
from durable_dag.validation.references import CODE_NAMES

Json: TypeAlias = Any
Fn = Callable[..., Awaitable[Json]]

__all__ = ["scripts"]


def scripts(js: JsRuntime) -> Mapping[str, Fn]:
    """The executors, by action."""

    async def transform(params: Mapping[str, Json], context: Json, step: StepContext) -> Json:
        return await js.call(params["code"], {**variables(step), "input": params.get("input")})

    async def condition(params: Mapping[str, Json], context: Json, step: StepContext) -> Json:
        value = await js.evaluate(params["expression"], variables(step))
        return {"result": value, "branch": "true" if truthy(value) else "false"}

    async def switch(params: Mapping[str, Json], context: Json, step: StepContext) -> Json:
        value = await js.evaluate(params["expression"], variables(step))
        return {"result": value, "branch": branch_of(value, params.get("cases"), params.get("default"))}

    async def evaluate(params: Mapping[str, Json], context: Json, step: StepContext) -> Json:
        seen = variables(step)
        return [await js.evaluate(expression, seen) for expression in params["expressions"]]

    return {"transform": transform, "condition": condition, "switch": switch, "js.evaluate": evaluate}


def variables(step: StepContext) -> dict[str, Json]:
    """Every name that code may use; those that are not there are null."""
    return {name: step.variables.get(name) for name in CODE_NAMES}


def branch_of(value: Json, cases: Json, default: Json) -> str | None:
    """The case that a value takes: by its text where cases are a list, by its value where they are an object."""
    if isinstance(cases, Mapping):
        taken = next((name for name, wanted in cases.items() if wanted == value and _alike(wanted, value)), None)
    else:
        text = shown_value(value)
        taken = next((name for name in cases or () if name == text), None)
    return taken if taken is not None else default if isinstance(default, str) else None


def _alike(one: Json, other: Json) -> bool:
    """Python takes 1 and True for equal."""
    return isinstance(one, bool) == isinstance(other, bool)
