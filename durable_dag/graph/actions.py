"""The actions that are built in: what params they take, as JSON Schema. Their executors are elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

Json: TypeAlias = Any

__all__ = ["BUILT_IN", "INTERPRETED"]

_TEXT: Final = {"type": "string"}
_MS: Final = {"type": "number", "minimum": 0}
_OBJECT: Final = {"type": "object"}


def _params(required: tuple[str, ...] = (), /, **properties: Json) -> dict[str, Json]:
    return {"type": "object", "properties": properties, "required": list(required)}


BUILT_IN: Final[Mapping[str, dict[str, Json]]] = {
    "http.request": _params(
        ("url",),
        url=_TEXT,
        method=_TEXT,
        headers=_OBJECT,
        body={},
        query=_OBJECT,
        auth=_OBJECT,
        timeout=_MS,
        expectStatus={"type": ["array", "integer"]},
        response={"enum": ["body", "full"]},
        followRedirects={"type": "boolean"},
        maxBytes={"type": "integer", "minimum": 1},
        verify={"type": "boolean"},
    ),
    "webhook": _params(("url",), url=_TEXT, payload={}, headers=_OBJECT, secret=_TEXT, timeout=_MS),
    "delay": _params(duration=_MS, until=_TEXT),
    "transform": _params(("code",), inputKey=_TEXT, input={}, code=_TEXT),
    "condition": _params(("expression",), expression=_TEXT),
    "switch": _params(("expression", "cases"), expression=_TEXT, cases={"type": ["array", "object"]}, default=_TEXT),
    "map": _params(
        ("items",),
        items={},
        step=_OBJECT,
        workflow=_TEXT,
        version={"type": "integer", "minimum": 1},
        context={},
        concurrency={"type": "integer", "minimum": 1},
        tolerateFailures={"type": ["number", "boolean"]},
        batch={"type": "integer", "minimum": 1},
    ),
    "signal.wait": _params(
        name=_TEXT,
        timeout=_MS,
        onTimeout={"enum": ["fail", "continue"]},
        schema={"type": ["object", "boolean"]},
        prompt=_TEXT,
        assignees={"type": "array"},
    ),
    "workflow.run": _params(
        ("workflowId",),
        workflowId=_TEXT,
        version={"type": ["integer", "null"]},
        context={},
        wait={"type": "boolean"},
    ),
    "noop": _params(),
    "fail": _params(message=_TEXT, name=_TEXT),
}

INTERPRETED: Final = frozenset({"noop", "fail", "delay", "signal.wait", "workflow.run", "map"})
"""Actions that the interpreter carries out itself, with no executor."""
