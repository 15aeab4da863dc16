"""The document that describes the API, made from the list of endpoints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from fastapi import FastAPI

from durable_server.endpoints import Endpoint
from durable_server.links import links_of
from durable_server.schemas import COMPONENTS, ref

Json = Any

__all__ = ["describe", "responses_of"]

_ALWAYS: Final = {
    400: "What was given does not fit.",
    401: "No token, or one that is not accepted.",
    403: "The token's role does not allow it, or the call comes from elsewhere.",
    421: "The server is not called so.",
    503: "The store cannot be used at the moment.",
}
_CHANGING: Final = {
    409: "Not possible now.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "The Idempotency-Key was given to another call.",
}
_WORDS: Final = {"execution": "Execution", "id": "ID"}


def responses_of(endpoint: Endpoint) -> dict[int | str, dict[str, Any]]:
    """Its answers, as FastAPI takes them."""
    errors = dict(_ALWAYS)
    if endpoint.method != "GET":
        errors |= _CHANGING
    if not endpoint.roles:
        errors = {400: errors[400], 403: errors[403], 421: errors[421]}
    found: dict[int | str, dict[str, Any]] = {
        status: {"description": text, "content": {"application/json": {"schema": ref("Error")}}}
        for status, text in errors.items()
    }
    for status, (text, schema) in endpoint.answers.items():
        media = endpoint.media if status < 300 else "application/json"
        found[status] = {"description": text}
        if schema is not None:
            found[status]["content"] = {media.partition(";")[0]: {"schema": schema}}
    return found


def describe(app: FastAPI, endpoints: Sequence[Endpoint], version: str) -> Json:
    """The whole document.

    FastAPI finds out the parameters; bodies and answers are described by hand, because they are read by hand.
    """
    from fastapi.openapi.utils import get_openapi

    document: dict[str, Json] = get_openapi(
        title="durable", version=version, description=_ABOUT, routes=app.routes, openapi_version="3.1.0"
    )
    components = document.setdefault("components", {})
    components["schemas"] = dict(COMPONENTS)
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for endpoint in endpoints:
        operation = document["paths"][endpoint.path][endpoint.method.lower()]
        if "422" in operation["responses"] and endpoint.method == "GET":
            del operation["responses"]["422"]
        _parameters(operation, endpoint)
        for status, links in links_of(endpoint, endpoints).items():
            operation["responses"][str(status)]["links"] = links
        operation["security"] = [{"token": sorted(endpoint.roles)}] if endpoint.roles else []
        if endpoint.body is not None:
            operation["requestBody"] = {
                "required": bool(endpoint.body.get("required") or "$ref" in endpoint.body),
                "content": {"application/json": {"schema": endpoint.body}},
            }
    return document


def _parameters(operation: dict[str, Json], endpoint: Endpoint) -> None:
    """Parts of the path, which handlers read themselves, and the header that makes calls repeatable."""
    parameters: list[Json] = [one for one in operation.get("parameters", []) if one["in"] != "path"]
    for name in re.findall(r"\{(\w+)\}", endpoint.path):
        schema = {"type": "string", "minLength": 1, "maxLength": 255}
        parameters.append({"name": name, "in": "path", "required": True, "schema": schema})
    if endpoint.method == "POST" and endpoint.path != "/tokens":
        schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[A-Za-z0-9_.:-]+$"}
        parameters.append({"name": "Idempotency-Key", "in": "header", "required": False, "schema": schema})
    if parameters:
        operation["parameters"] = parameters


_ABOUT: Final = """\
Executions of workflows, those that are code and those that are definitions.

Every path is also there under `/api/v1`. Instants are milliseconds since the epoch, durations milliseconds. An error is
`{"error", "code", "details"}`. A `POST` with an `Idempotency-Key` may be repeated: it gets the first answer.
"""
