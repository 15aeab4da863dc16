"""The format of a definition as JSON Schema 2020-12, for editors and for clients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from durable_dag.validation.check import STEPS_MAX
from durable_dag.validation.shape import ATTEMPTS_MAX, JOINS, POLICIES, SLOTS_MAX, TIMEOUT_MS_MAX, TYPES

Json: TypeAlias = Any

__all__ = ["definition_schema"]

_ID: Final = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"}
_TEXT: Final = {"type": "string"}
_BOOL: Final = {"type": "boolean"}
_MS: Final = {"type": "number", "minimum": 0, "maximum": TIMEOUT_MS_MAX, "description": "milliseconds"}
_LIMIT_MS: Final = {"type": "number", "minimum": 1, "maximum": TIMEOUT_MS_MAX, "description": "milliseconds"}
_NOTES: Final = {"^x-": True}
_HEADERS: Final = {"type": "object", "additionalProperties": _TEXT}


def definition_schema(actions: Iterable[str] = ()) -> dict[str, Json]:
    """The schema; with ``actions``, a step's action is one of them.

    A document that fits may still be refused: ids that are said twice, circles and references are beyond a schema.
    """
    action: dict[str, Json] = dict(_TEXT)
    if known := sorted(actions):
        action = {"type": "string", "examples": known}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Workflow definition",
        "type": "object",
        "required": ["id", "steps"],
        "properties": _workflow_members(),
        "patternProperties": _NOTES,
        "$defs": {
            "step": _step(action),
            "dependency": _dependency(),
            "retryPolicy": _policy(),
            "webhook": _webhook(),
        },
    }


def _workflow_members() -> dict[str, Json]:
    hooks = {"anyOf": [{"$ref": "#/$defs/webhook"}, {"type": "array", "items": {"$ref": "#/$defs/webhook"}}]}
    return {
        "id": _ID,
        "name": _TEXT,
        "description": _TEXT,
        "version": {"type": ["string", "integer"], "description": "a label; versions are counted by themselves"},
        "steps": {"type": "array", "minItems": 1, "maxItems": STEPS_MAX, "items": {"$ref": "#/$defs/step"}},
        "webhooks": {
            "type": "object",
            "properties": {"onComplete": hooks, "onFailure": hooks, "onStep": hooks},
        },
        "timeout": {**_LIMIT_MS, "description": "milliseconds for the whole run"},
        "maxConcurrency": {"type": "integer", "minimum": 1, "maximum": 10_000},
        "failFast": {**_BOOL, "default": False},
        "inputSchema": {"type": ["object", "boolean"], "description": "JSON Schema of the start's context"},
        "output": {"description": "a template; by default the results of the leaves"},
        "defaults": {
            "type": "object",
            "properties": {"retryPolicy": {"$ref": "#/$defs/retryPolicy"}, "timeout": _LIMIT_MS, "queue": _TEXT},
        },
        "tags": {"type": "object", "additionalProperties": _TEXT},
        "concurrency": _concurrency(),
    }


def _concurrency() -> dict[str, Json]:
    return {
        "type": "object",
        "description": "how many executions with one key are under way at once",
        "properties": {
            "key": {"type": "string", "default": "", "description": "a template over the start's context"},
            "limit": {"type": "integer", "minimum": 1, "maximum": SLOTS_MAX, "default": 1},
            "policy": {"enum": list(POLICIES), "default": "queue"},
        },
    }


def _step(action: dict[str, Json]) -> dict[str, Json]:
    ids = {"type": "array", "items": _ID}
    return {
        "type": "object",
        "required": ["id"],
        "properties": {
            "id": _ID,
            "name": _TEXT,
            "description": _TEXT,
            "type": {"enum": list(TYPES)},
            "action": action,
            "params": {"type": "object"},
            "dependencies": {"type": "array", "items": {"$ref": "#/$defs/dependency"}, "default": []},
            "retryPolicy": {"$ref": "#/$defs/retryPolicy"},
            "timeout": {**_LIMIT_MS, "description": "milliseconds for one attempt; 60,000 where an executor works"},
            "onSuccess": ids,
            "onFailure": ids,
            "when": {"type": "string", "description": "a JavaScript expression; false skips the step"},
            "join": {"enum": list(JOINS), "default": "active"},
            "critical": {**_BOOL, "default": True},
            "queue": _TEXT,
            "priority": {"type": "integer"},
            "outputSchema": {"type": ["object", "boolean"]},
            "saveOutput": {**_BOOL, "default": True},
            "scheduleTimeout": {
                **_LIMIT_MS,
                "description": "milliseconds within which a worker must take up what goes to another queue",
            },
        },
        "patternProperties": _NOTES,
    }


def _dependency() -> dict[str, Json]:
    on = {"type": ["string", "boolean"], "description": "success, failure, skipped, done, or a branch"}
    return {
        "anyOf": [_ID, {"type": "object", "required": ["step"], "properties": {"step": _ID, "on": on}}],
    }


def _policy() -> dict[str, Json]:
    names = {"type": "array", "items": {"type": ["string", "integer"]}}
    return {
        "type": "object",
        "properties": {
            "maxAttempts": {"type": "integer", "minimum": 1, "maximum": ATTEMPTS_MAX},
            "backoffMultiplier": {"type": "number", "minimum": 1},
            "initialDelay": _MS,
            "maxDelay": _MS,
            "jitter": {"type": "number", "minimum": 0, "maximum": 1, "default": 0},
            "retryOn": names,
            "doNotRetryOn": names,
            "maxElapsed": _MS,
        },
    }


def _webhook() -> dict[str, Json]:
    members = {
        "url": _TEXT,
        "secret": _TEXT,
        "headers": _HEADERS,
        "events": {"type": "array", "items": _TEXT},
        "maxAttempts": {"type": "integer", "minimum": 1, "maximum": 100},
    }
    return {"anyOf": [_TEXT, {"type": "object", "required": ["url"], "properties": members}]}
