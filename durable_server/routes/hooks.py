"""Webhook deliveries: what was told to whom, and what could not be."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from durable_server.answers import page, reply
from durable_server.call import call_of
from durable_server.endpoints import ADMIN, READ, Endpoints
from durable_server.problems import Problem
from durable_server.schemas import OBJECT, array, ref
from durable_server.server import server_of

Json = Any
hooks = Endpoints("Webhooks")

__all__ = ["hooks"]


@hooks.add(
    "GET",
    "/webhook-deliveries",
    roles=READ,
    summary="Deliveries, newest first.",
    answers={200: ("A page of them.", array(OBJECT))},
)
async def list_deliveries(
    request: Request,
    execution: Annotated[str | None, Query(alias="executionId", min_length=1, max_length=255)] = None,
    status: Annotated[str | None, Query(max_length=50)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(min_length=1, max_length=2000)] = None,
) -> Response:
    layer = server_of(request).definitions
    if layer is None:
        return reply([])
    found = await layer.deliveries(execution, status or None, limit, cursor)
    return page(request, found.values, found.cursor)


@hooks.add(
    "POST",
    "/webhook-deliveries/{deliveryId}/redeliver",
    roles=ADMIN,
    summary="Send one again.",
    answers={202: ("It will be sent.", OBJECT), 404: ("No such delivery.", ref("Error"))},
)
async def redeliver(request: Request) -> Response:
    layer, id = server_of(request).definitions, request.path_params["deliveryId"]
    if layer is None:
        raise Problem(404, "delivery_not_found", "Delivery not found")
    call_of(request).about["delivery"] = id
    return reply(await layer.redeliver(id), 202)
