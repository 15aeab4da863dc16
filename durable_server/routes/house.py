"""The house: workers, queues, figures, health, tokens, and who did what."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Final

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from durable.errors import DurableError
from durable.store import RunQuery, RunStatus, SessionRecord
from durable_server.answers import millis, page, reply
from durable_server.call import call_of
from durable_server.endpoints import ADMIN, OPEN, READ, Endpoints
from durable_server.fields import fields_of
from durable_server.figures import metrics_text
from durable_server.problems import Problem
from durable_server.schemas import NAME, OBJECT, array, ref
from durable_server.server import Server, server_of
from durable_server.tokens import Token

Json = Any
house = Endpoints("Server")

__all__ = ["house"]

_READY_SECONDS: Final = 5.0
_LIVE: Final = {
    "depth": RunStatus.PENDING,
    "running": RunStatus.RUNNING,
    "waiting": RunStatus.WAITING,
    "paused": RunStatus.PAUSED,
    "blocked": RunStatus.BLOCKED,
}


# ── workers and queues ───────────────────────────────────────────────────────────────────────────────────────────────


@house.add(
    "GET",
    "/workers",
    roles=READ,
    summary="Workers, living ones first.",
    answers={200: ("Workers.", array(ref("Worker")))},
)
async def workers(request: Request) -> Response:
    server = server_of(request)
    sessions = await server.client.link.reach(server.client.store.sessions)
    return reply([_worker(session) for session in sorted(sessions, key=lambda one: (not one.alive, -one.started_at))])


def _worker(session: SessionRecord) -> Json:
    return {
        "id": session.id,
        "name": session.name,
        "alive": session.alive,
        "queues": list(session.queues),
        "workflows": [
            {"name": name, "version": version} for name, version in session.registered if not name.startswith("step:")
        ],
        "held": session.held,
        "startedAt": millis(session.started_at),
        "seenAt": millis(session.seen_at),
        "expiresAt": millis(session.expires_at),
    }


@house.add(
    "GET",
    "/queues",
    roles=READ,
    summary="Queues that workers read, or have read: how many runs are in them, and how many workers serve them.",
    answers={200: ("Queues.", array(ref("Queue")))},
)
async def queues(request: Request) -> Response:
    server = server_of(request)
    sessions = await server.client.link.reach(server.client.store.sessions)
    names = sorted({queue for session in sessions for queue in session.queues})
    return reply([await _queue(server, name, sessions) for name in names])


async def _queue(server: Server, name: str, sessions: Sequence[SessionRecord]) -> Json:
    link = server.client.link
    value: dict[str, Json] = {"name": name}
    for word, status in _LIVE.items():
        value[word] = await link.reach(partial(link.store.count, RunQuery(statuses=(status,), queue=name)))
    value["workers"] = sum(session.alive and name in session.queues for session in sessions)
    pending = RunQuery(statuses=(RunStatus.PENDING,), queue=name)
    newest = await link.reach(lambda: link.store.list(pending, 1000))
    # Beyond a thousand the oldest one could only be found by reading them all.
    oldest = newest.runs[-1].created_at if newest.runs and newest.cursor is None else None
    return {**value, "oldestQueuedAt": millis(oldest)}


# ── figures and health ───────────────────────────────────────────────────────────────────────────────────────────────


@house.add(
    "GET",
    "/stats",
    roles=READ,
    summary="How much there is in the store, and who works on it.",
    answers={200: ("Figures.", OBJECT)},
)
async def stats(request: Request) -> Response:
    server = server_of(request)
    link = server.client.link
    figures = await link.reach(link.store.stats)
    sessions = await link.reach(link.store.sessions)
    runs = {name.removeprefix("runs."): count for name, count in figures.items() if name.startswith("runs.")}
    rest = {name: count for name, count in figures.items() if not name.startswith("runs.")}
    alive = [session for session in sessions if session.alive]
    return reply(
        {
            "time": millis(await server.now()),
            "runs": runs,
            "store": rest,
            "workers": {"alive": len(alive), "held": sum(session.held for session in alive)},
        }
    )


@house.add("GET", "/healthz", roles=OPEN, summary="Whether the server runs.", answers={200: ("It does.", OBJECT)})
async def healthz(request: Request) -> Response:
    return reply({"status": "ok"})


@house.add(
    "GET",
    "/readyz",
    roles=OPEN,
    summary="Whether the store answers.",
    answers={200: ("It does.", OBJECT), 503: ("It does not.", ref("Error"))},
)
async def readyz(request: Request) -> Response:
    server = server_of(request)
    try:
        async with asyncio.timeout(_READY_SECONDS):
            await server.client.store.now()
    except (DurableError, TimeoutError, OSError):
        raise Problem(503, "not_ready", "The store does not answer.", headers={"Retry-After": "5"}) from None
    if server.closing.is_set():
        raise Problem(503, "not_ready", "The server is stopping.", headers={"Retry-After": "5"})
    return reply({"status": "ok"})


@house.add(
    "GET",
    "/metrics",
    roles=READ,
    summary="Figures in the text format of Prometheus.",
    answers={200: ("Metrics.", {"type": "string"})},
    media="text/plain; version=0.0.4; charset=utf-8",
)
async def metrics(request: Request) -> Response:
    server = server_of(request)
    text = await metrics_text(server.client, server.meter)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


# ── tokens and audit ─────────────────────────────────────────────────────────────────────────────────────────────────


@house.add(
    "GET",
    "/tokens",
    roles=ADMIN,
    summary="Tokens, without their secrets.",
    answers={200: ("Tokens.", array(ref("Token")))},
)
async def list_tokens(request: Request) -> Response:
    return reply([_token(token) for token in await server_of(request).tokens.list()])


@house.add(
    "POST",
    "/tokens",
    roles=ADMIN,
    summary="Make a token; its text is shown this once.",
    body={
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": NAME,
            "roles": array({"enum": ["read", "operate", "worker", "admin"]}),
            "expiresIn": {"type": "string", "description": "`30d`; without it, it does not expire."},
        },
    },
    answers={201: ("The token.", ref("Token"))},
)
async def create_token(request: Request) -> Response:
    if "idempotency-key" in request.headers:
        message = "The answer holds a secret, so it is not remembered: leave the Idempotency-Key out."
        raise Problem(400, "bad_idempotency_key", message)
    fields = await fields_of(request)
    name, roles, keep = fields.needed("name"), fields.names("roles"), fields.seconds("expiresIn")
    fields.done()
    made = await server_of(request).tokens.create(name, roles or ["read"], keep_seconds=keep)
    call_of(request).about.update(token=made.token.id, roles=sorted(made.token.roles))
    return reply({**_token(made.token), "token": made.text}, 201)


@house.add(
    "DELETE",
    "/tokens/{tokenId}",
    roles=ADMIN,
    summary="Refuse a token from now on.",
    answers={204: ("It is refused.", None), 404: ("No such token.", ref("Error"))},
)
async def revoke_token(request: Request) -> Response:
    id = request.path_params["tokenId"]
    call_of(request).about["token"] = id
    if not await server_of(request).tokens.revoke(id):
        raise Problem(404, "token_not_found", "Token not found")
    return Response(status_code=204)


def _token(token: Token) -> Json:
    return {
        "id": token.id,
        "name": token.name,
        "roles": sorted(token.roles),
        "createdAt": millis(token.created_at),
        "expiresAt": millis(token.expires_at),
        "usedAt": millis(token.used_at),
        "revoked": token.revoked,
    }


@house.add(
    "GET",
    "/audit",
    roles=ADMIN,
    summary="Who has changed what, in the order of time.",
    answers={200: ("A page of deeds.", array(OBJECT))},
)
async def audit(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
) -> Response:
    values, following = await server_of(request).audit.list(cursor or "", limit)
    return page(request, values, following)
