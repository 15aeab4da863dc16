"""JSON Schema 2020-12 for contexts, results and signals; references are followed inside a schema only."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib import import_module
from typing import Any, TypeAlias

from durable_dag.graph.definition import canonical
from durable_dag.graph.keywords import Exhausted, begin, pattern_fault, validator_class

Json: TypeAlias = Any

__all__ = ["bad_schema", "misfit", "misfits"]


def misfit(value: Json, schema: Json) -> str | None:
    """What is wrong with a value, first things first; None if it fits."""
    found = misfits(value, schema, limit=1)
    return None if not found else found[0][1]


def misfits(value: Json, schema: Json, *, limit: int = 20) -> list[tuple[str, str]]:
    """(JSON Pointer, message) of what is wrong with a value, at most so many."""
    if schema is None or schema is True:
        return []
    found: list[tuple[str, str]] = []
    begin()
    try:
        for error in _validator(canonical(schema)).iter_errors(value):
            pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in error.absolute_path)
            found.append((pointer, error.message[:300]))
            if len(found) >= limit:
                break
    except RecursionError:
        found.append(("", "it is nested too deeply to be checked"))
    except Exception as error:  # a reference that leads nowhere, a pattern that is none
        found.append(("", f"the schema cannot be used: {error}"[:300]))
    return found


def bad_schema(schema: Json) -> str | None:
    """Why this is no JSON Schema; None if it is one."""
    if not isinstance(schema, dict | bool):
        return "a schema is an object, true or false"
    begin()
    checked = validator_class()
    try:
        for error in checked(checked.META_SCHEMA).iter_errors(schema):
            return str(error.message)[:300]
    except (Exhausted, RecursionError) as error:
        return f"it cannot be checked: {error}"[:300]
    return pattern_fault(schema)


@lru_cache(maxsize=256)
def _validator(text: str) -> Any:
    validator = validator_class()
    # An empty registry: a reference to elsewhere is an error, and never a request.
    return validator(json.loads(text), registry=import_module("referencing").Registry())
