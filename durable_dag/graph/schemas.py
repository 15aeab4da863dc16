"""JSON Schema 2020-12 for contexts, results and signals; references are followed inside a schema only."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib import import_module
from typing import Any, TypeAlias

from durable.errors import MissingExtra
from durable_dag.graph.definition import canonical

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
    jsonschema = _library()
    if not isinstance(schema, dict | bool):
        return "a schema is an object, true or false"
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        return str(error.message)[:300]
    return None


@lru_cache(maxsize=256)
def _validator(text: str) -> Any:
    validator = _library().Draft202012Validator
    # An empty registry: a reference to elsewhere is an error, and never a request.
    return validator(json.loads(text), registry=import_module("referencing").Registry())


def _library() -> Any:
    try:
        return import_module("jsonschema")
    except ImportError as missing:
        raise MissingExtra(
            "inputSchema, outputSchema and schemas of signals need jsonschema: pip install 'durable-engine[dag]'."
        ) from missing
