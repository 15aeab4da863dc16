"""Definitions: workflows that are data."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from durable_server.answers import page, reply
from durable_server.call import call_of, json_of
from durable_server.definitions import Definitions
from durable_server.endpoints import ADMIN, READ, Endpoints
from durable_server.fields import fields_of
from durable_server.filters import tags_of
from durable_server.problems import Problem
from durable_server.schemas import FLAG, OBJECT, array, ref
from durable_server.server import server_of

Json = Any
workflows = Endpoints("Workflows")

__all__ = ["workflows"]

_NO_SUCH: Final = {404: ("No such workflow.", ref("Error"))}
Flag = Annotated[bool, Query()]


def _layer(request: Request) -> Definitions:
    layer = server_of(request).definitions
    if layer is None:
        message = "This server runs workflows that are code alone; give it an engine for definitions."
        raise Problem(501, "no_definitions", message)
    return layer


@workflows.add(
    "POST",
    "/workflows",
    roles=ADMIN,
    summary="Register a definition: the next version of its id, or the one that has this content already.",
    body=ref("Definition"),
    answers={
        201: ("A new version.", ref("Registered")),
        200: ("The newest version has this content.", ref("Registered")),
        409: ("The newest version is not the one of `If-Match`.", ref("Error")),
    },
)
async def register(
    request: Request, dry_run: Annotated[bool, Query(alias="dryRun")] = False, strict: Flag = False
) -> Response:
    layer, document = _layer(request), json_of(call_of(request).body)
    expected = _if_match(request.headers.get("if-match"))
    found = await layer.register(document, dry_run=dry_run, strict=strict, if_match=expected)
    call_of(request).about.update(workflow=found.id, version=found.version)
    value = {
        "success": True,
        "workflowId": found.id,
        "version": found.version,
        "created": found.created,
        "warnings": list(found.warnings),
    }
    status = 201 if found.created and not dry_run else 200
    return reply(value, status, {"ETag": f'"{found.version}"'})


def _if_match(given: str | None) -> int | None:
    if given is None or given.strip() == "*":
        return None
    text = given.strip().removeprefix("W/").strip('"')
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise Problem(400, "invalid_parameter", 'If-Match is a version in quotes, as in "3".')
    return int(text)


@workflows.add(
    "GET",
    "/workflows",
    roles=READ,
    summary="The newest version of each definition.",
    answers={200: ("A page of them.", array(OBJECT))},
)
async def list_workflows(
    request: Request,
    q: Annotated[str | None, Query(max_length=255)] = None,
    tag: Annotated[list[str] | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(min_length=1, max_length=2000)] = None,
) -> Response:
    tags = tags_of(tag or [])
    layer = server_of(request).definitions
    if layer is None:
        return reply([])
    found = await layer.list(q or None, tags, limit, cursor)
    return page(request, found.values, found.cursor)


@workflows.add(
    "POST",
    "/workflows/validate",
    roles=READ,
    summary="Check a definition without keeping it.",
    body=ref("Definition"),
    answers={200: ("What is wrong with it, and how its steps follow on each other.", OBJECT)},
)
async def validate(request: Request, strict: Flag = False) -> Response:
    return reply(await _layer(request).validate(json_of(call_of(request).body), strict=strict))


@workflows.add(
    "GET",
    "/workflows/{workflowId}",
    roles=READ,
    summary="A definition.",
    answers={200: ("The newest version, or the one asked for.", OBJECT), **_NO_SUCH},
)
async def get_workflow(request: Request, version: Annotated[int | None, Query(ge=1, le=2**31)] = None) -> Response:
    return await _version(request, version)


@workflows.add(
    "PATCH",
    "/workflows/{workflowId}",
    roles=ADMIN,
    summary="Let it be started, or not.",
    body={"type": "object", "required": ["enabled"], "properties": {"enabled": FLAG}},
    answers={200: ("The definition.", OBJECT), **_NO_SUCH},
)
async def patch_workflow(request: Request) -> Response:
    fields = await fields_of(request)
    enabled = fields.flag("enabled")
    if not fields.has("enabled"):
        fields.misfit("enabled", "true or false, and must be there")
    fields.done()
    id = request.path_params["workflowId"]
    call_of(request).about.update(workflow=id, enabled=enabled)
    return reply(await _layer(request).enable(id, enabled))


@workflows.add(
    "DELETE",
    "/workflows/{workflowId}",
    roles=ADMIN,
    summary="Take a definition away; its executions stay.",
    answers={204: ("It is gone.", None), **_NO_SUCH, 409: ("It has live executions.", ref("Error"))},
)
async def delete_workflow(request: Request, force: Flag = False) -> Response:
    id = request.path_params["workflowId"]
    call_of(request).about.update(workflow=id, force=force)
    await _layer(request).delete(id, force=force)
    return Response(status_code=204)


@workflows.add(
    "GET",
    "/workflows/{workflowId}/versions",
    roles=READ,
    summary="The versions of a definition, newest first.",
    answers={200: ("Versions.", array(OBJECT)), **_NO_SUCH},
)
async def list_versions(request: Request) -> Response:
    return reply(list(await _layer(request).versions(request.path_params["workflowId"])))


@workflows.add(
    "GET",
    "/workflows/{workflowId}/versions/{version}",
    roles=READ,
    summary="One version of a definition.",
    answers={200: ("The definition.", OBJECT), **_NO_SUCH},
)
async def get_version(request: Request) -> Response:
    text = request.path_params["version"]
    if not (text.isascii() and text.isdecimal() and 0 < len(text) < 10 and int(text) > 0):
        raise Problem(404, "workflow_not_found", "Workflow not found")
    return await _version(request, int(text))


async def _version(request: Request, version: int | None) -> Response:
    value = await _layer(request).get(request.path_params["workflowId"], version)
    return reply(value, headers={"ETag": f'"{value["version"]}"'})


@workflows.add(
    "GET",
    "/schema/workflow.json",
    roles=READ,
    summary="JSON Schema of definitions.",
    answers={200: ("The schema.", OBJECT)},
    media="application/schema+json",
)
async def schema(request: Request) -> Response:
    answer = reply(_layer(request).schema())
    answer.headers["content-type"] = "application/schema+json"
    return answer


@workflows.add(
    "GET",
    "/actions",
    roles=READ,
    summary="What steps of definitions can do.",
    answers={200: ("Actions.", array(OBJECT))},
)
async def actions(request: Request) -> Response:
    layer = server_of(request).definitions
    return reply([] if layer is None else list(layer.actions()))
