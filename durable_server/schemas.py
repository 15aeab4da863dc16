"""JSON Schemas of what goes in and out, for ``/openapi.json``."""

from __future__ import annotations

from typing import Any, Final

Json = Any

__all__ = ["ANYTHING", "COMPONENTS", "array", "ref"]


def ref(name: str) -> Json:
    """A schema of ``COMPONENTS``."""
    return {"$ref": f"#/components/schemas/{name}"}


def array(items: Json) -> Json:
    """A list of them."""
    return {"type": "array", "items": items}


def _object(required: tuple[str, ...] = (), **properties: Json) -> Json:
    found: dict[str, Json] = {"type": "object", "properties": properties}
    if required:
        found["required"] = list(required)
    return found


ANYTHING: Final[Json] = {}
TEXT: Final = {"type": "string"}
NAME: Final = {"type": "string", "minLength": 1, "maxLength": 255}
NULL_TEXT: Final = {"type": ["string", "null"]}
MILLIS: Final = {"type": "integer", "minimum": 0, "description": "Milliseconds since the epoch."}
NULL_MILLIS: Final = {"type": ["integer", "null"]}
FLAG: Final = {"type": "boolean"}
COUNT: Final = {"type": "integer", "minimum": 0}
TEXTS: Final = {"type": "object", "additionalProperties": {"type": "string"}}
OBJECT: Final = {"type": "object"}
DURATION: Final = {
    "oneOf": [{"type": "integer", "minimum": 0, "maximum": 3_000_000_000_000}, {"type": "string"}],
    "description": "Milliseconds, or a text like `30s`.",
}
STATUS: Final = {"enum": ["pending", "running", "paused", "completed", "failed", "cancelled"]}
STEP_STATUS: Final = {"enum": ["pending", "running", "success", "failed", "skipped"]}

COMPONENTS: Final[dict[str, Json]] = {
    "Error": _object(
        ("error", "code", "details"),
        error={"type": "string", "description": "For people."},
        code={"type": "string", "description": "For programs."},
        details=array(_object(("path", "code", "message"), path=TEXT, code=TEXT, message=TEXT)),
    ),
    "Waiting": _object(
        ("kind",),
        stepId=NULL_TEXT,
        kind={"enum": ["timer", "signal", "retry", "child", "slot", "worker", "blocked", "unknown_outcome"]},
        since=NULL_MILLIS,
        until=NULL_MILLIS,
    ),
    "Step": _object(
        ("stepId", "status", "attempts"),
        stepId=TEXT,
        status=STEP_STATUS,
        attempts=COUNT,
        startTime=NULL_MILLIS,
        endTime=NULL_MILLIS,
        duration={"type": ["number", "null"], "description": "Milliseconds."},
        result=ANYTHING,
        error=NULL_TEXT,
        phase=NULL_TEXT,
        skipReason=NULL_TEXT,
        logs=array(ANYTHING),
    ),
    "Execution": _object(
        ("executionId", "workflowId", "status", "startTime", "currentSteps", "kind"),
        executionId=TEXT,
        workflowId=TEXT,
        status=STATUS,
        startTime=MILLIS,
        currentSteps=array(TEXT),
        completedSteps=array(TEXT),
        failedSteps=array(TEXT),
        skippedSteps=array(TEXT),
        stepResults={"type": "object", "additionalProperties": {"$ref": "#/components/schemas/Step"}},
        context=OBJECT,
        endTime=NULL_MILLIS,
        error=NULL_TEXT,
        version={"type": ["integer", "string", "null"]},
        kind={"enum": ["code", "dag"]},
        cancelReason=NULL_TEXT,
        output=ANYTHING,
        tags=TEXTS,
        parent=NULL_TEXT,
        attempt=COUNT,
        waitingOn=array({"$ref": "#/components/schemas/Waiting"}),
        createdAt=MILLIS,
    ),
    "Event": _object(
        ("seq", "time", "type"),
        seq=COUNT,
        time=MILLIS,
        type=TEXT,
        stepId=NULL_TEXT,
        attempt=COUNT,
        data=ANYTHING,
    ),
    "Start": _object(
        ("workflowId",),
        workflowId=NAME,
        context={"type": "object", "description": "What the execution is given."},
        input={"description": "For workflows that are code and take something else than an object."},
        version={"type": "integer", "minimum": 1},
        executionId=NAME,
        onConflict={"enum": ["return", "fail", "restart"], "default": "return"},
        delay=DURATION,
        startAt=MILLIS,
        queue=NAME,
        priority={"type": "integer", "minimum": -1_000_000, "maximum": 1_000_000},
        tags=TEXTS,
        webhooks=OBJECT,
    ),
    "Started": _object(
        ("executionId", "workflowId", "status", "created"),
        executionId=TEXT,
        workflowId=TEXT,
        version={"type": ["integer", "string", "null"]},
        status=STATUS,
        created=FLAG,
    ),
    "Done": _object(("executionId", "status"), executionId=TEXT, status=STATUS),
    "Definition": _object(("id", "steps"), id=NAME, name=TEXT, description=TEXT, steps=array(OBJECT), webhooks=OBJECT),
    "Registered": _object(
        ("success", "workflowId", "version", "created", "warnings"),
        success=FLAG,
        workflowId=TEXT,
        version=COUNT,
        created=FLAG,
        warnings=array(OBJECT),
    ),
    "Worker": _object(
        ("id", "name", "alive"),
        id=TEXT,
        name=TEXT,
        alive=FLAG,
        queues=array(TEXT),
        workflows=array(OBJECT),
        held=COUNT,
        startedAt=MILLIS,
        seenAt=MILLIS,
        expiresAt=MILLIS,
    ),
    "Queue": _object(("name", "depth", "workers"), name=TEXT, depth=COUNT, workers=COUNT),
    "Token": _object(("id", "name", "roles"), id=TEXT, name=TEXT, roles=array(TEXT), createdAt=MILLIS),
}
