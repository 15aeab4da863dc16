"""Executors by the name of their action."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, final

from durable.errors import InvalidInput
from durable_dag.graph.actions import BUILT_IN, INTERPRETED
from durable_dag.graph.schemas import bad_schema
from durable_dag.validation.reader import ID

Json: TypeAlias = Any

__all__ = ["Executor", "Executors"]


@dataclass(frozen=True, slots=True)
class Executor:
    """One executor.

    Attributes:
        fn: ``f(params)``, ``f(params, context)`` or ``f(params, context, step)``, async, or plain and then in a thread.
        schema: Of the params, as JSON Schema; None for any.
        takes: How many arguments ``fn`` takes.
        retryable: Whether its errors are retried; ``NonRetryable`` ones never are.
        built_in: Whether it came with the package.
    """

    name: str
    fn: Callable[..., Any]
    schema: Json
    takes: int
    is_async: bool
    retryable: bool = True
    built_in: bool = False


@final
class Executors:
    """The executors of one engine."""

    def __init__(self) -> None:
        self._by_name: dict[str, Executor] = {}

    def add(
        self,
        name: str,
        fn: Callable[..., Any],
        *,
        params_schema: Json = None,
        retryable: bool = True,
        built_in: bool = False,
    ) -> None:
        """Register one; a later one of the same name takes its place.

        Raises:
            InvalidInput: The name is taken by what the interpreter does itself, or is none; ``fn`` cannot be called
                with a step's params; the schema is none.
        """
        if not isinstance(name, str) or not ID.fullmatch(name):
            raise InvalidInput(f"{name!r} is no action's name: letters, digits, '.', '_' and '-', at most 128 of them.")
        if name in INTERPRETED:
            raise InvalidInput(f"The action {name!r} is carried out by the interpreter and cannot be replaced.")
        if not callable(fn):
            raise InvalidInput(f"An executor is a function, not {fn!r}.")
        if params_schema is not None and (wrong := bad_schema(params_schema)) is not None:
            raise InvalidInput(f"params_schema= of {name!r} is no JSON Schema: {wrong}.")
        is_async = inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004
        self._by_name[name] = Executor(name, fn, params_schema, _takes(name, fn), is_async, retryable, built_in)

    def get(self, name: str) -> Executor | None:
        """The executor of an action."""
        return self._by_name.get(name)

    def schemas(self) -> Mapping[str, Json]:
        """Every known action, with the schema of its params."""
        return {**BUILT_IN, **{one.name: one.schema for one in self._by_name.values() if not one.built_in}}


def _takes(name: str, fn: Callable[..., Any]) -> int:
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):
        return 2
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return 3
    places = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    required = [one for one in places if one.default is one.empty]
    named = [one for one in parameters if one.kind is one.KEYWORD_ONLY and one.default is one.empty]
    if not places or len(required) > 3 or named:
        raise InvalidInput(
            f"The executor {name!r} is called as f(params), f(params, context) or f(params, context, step)."
        )
    return min(max(len(required), min(len(places), 2)), 3)
