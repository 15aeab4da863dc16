"""Keywords of JSON Schema whose work is bounded by what is checked, whoever has written the schema and the value.

The library matches patterns by backtracking, and follows a chain of references as often as it is pointed to: a short
text could hold a process for hours. Here patterns are RE2's, which takes linear time and has no lookaround and no
backreferences; and keywords are counted. Counted, not timed: a run that is replayed must find the same.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib import import_module
from typing import Any, Final, TypeAlias

from durable.errors import MissingExtra

Json: TypeAlias = Any

__all__ = ["Exhausted", "begin", "pattern_fault", "validator_class"]

CHECKS_MAX: Final = 250_000
"""Keywords that one value may be held against: a second or so."""


class Exhausted(Exception):
    """More would have to be looked at than one check may cost."""


class _Budget(threading.local):
    left = CHECKS_MAX


_budget = _Budget()


def begin() -> None:
    """A check begins, in this thread."""
    _budget.left = CHECKS_MAX


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as missing:
        raise MissingExtra(
            "inputSchema, outputSchema and schemas of signals need jsonschema and google-re2: "
            "pip install 'durable-engine[dag]'."
        ) from missing


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> Any:
    re2 = _library("re2")
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)


def pattern_fault(schema: Json) -> str | None:
    """Why a pattern in a schema cannot be used; None if all can."""
    if isinstance(schema, list):
        return next((fault for part in schema if (fault := pattern_fault(part)) is not None), None)
    if not isinstance(schema, dict):
        return None
    patterns = [schema["pattern"]] if isinstance(schema.get("pattern"), str) else []
    if isinstance(schema.get("patternProperties"), dict):
        patterns += schema["patternProperties"]
        if "unevaluatedProperties" in schema:
            return "unevaluatedProperties cannot stand beside patternProperties here; use additionalProperties"
    for pattern in patterns:
        try:
            _compiled(pattern)
        except MissingExtra:
            raise
        except Exception as error:
            return f"the pattern {pattern!r:.80} cannot be used ({error}); lookaround and backreferences are not there"
    return next((fault for part in schema.values() if (fault := pattern_fault(part)) is not None), None)


@lru_cache(maxsize=1)
def validator_class() -> Any:
    """Draft 2020-12 with these keywords."""
    jsonschema = _library("jsonschema")
    plain = jsonschema.Draft202012Validator
    ours = {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "uniqueItems": _unique_items,
    }
    counted = {name: _counted(keyword) for name, keyword in {**plain.VALIDATORS, **ours}.items()}
    return jsonschema.validators.extend(plain, validators=counted)


def _counted(keyword: Callable[..., Any]) -> Callable[..., Any]:
    def counting(validator: Any, said: Json, instance: Json, schema: Json) -> Any:
        _budget.left -= 1
        if _budget.left < 0:
            raise Exhausted(f"it takes more than {CHECKS_MAX:,} checks")
        return keyword(validator, said, instance, schema)

    return counting


def _fault(message: str) -> Any:
    return _library("jsonschema").ValidationError(message)


def _pattern(validator: Any, pattern: str, instance: Json, _schema: Json) -> Iterator[Any]:
    if isinstance(instance, str) and _compiled(pattern).search(instance) is None:
        yield _fault(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: dict[str, Json], instance: Json, _schema: Json) -> Iterator[Any]:
    if not isinstance(instance, dict):
        return
    for pattern, wanted in patterns.items():
        matches = _compiled(pattern).search
        for name, value in instance.items():
            if matches(name) is not None:
                yield from validator.descend(value, wanted, path=name, schema_path=pattern)


def _additional_properties(validator: Any, wanted: Json, instance: Json, schema: Json) -> Iterator[Any]:
    if not isinstance(instance, dict):
        return
    named = schema.get("properties", {})
    patterns = [_compiled(pattern) for pattern in schema.get("patternProperties", {})]
    more = [
        name for name in instance if name not in named and all(pattern.search(name) is None for pattern in patterns)
    ]
    if isinstance(wanted, dict):
        for name in more:
            yield from validator.descend(instance[name], wanted, path=name)
    elif not wanted and more:
        said = ", ".join(repr(name) for name in sorted(more)[:5])
        yield _fault(f"Additional properties are not allowed ({said} {'was' if len(more) == 1 else 'were'} unexpected)")


def _unique_items(_validator: Any, wanted: Json, instance: Json, _schema: Json) -> Iterator[Any]:
    if wanted and isinstance(instance, list):
        seen = {json.dumps(_plain(item), sort_keys=True) for item in instance}
        if len(seen) != len(instance):
            yield _fault(f"{instance!r:.200} has non-unique elements")


def _plain(value: Json) -> Json:
    """Numbers that are equal are written alike: 1.0 as 1."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value
