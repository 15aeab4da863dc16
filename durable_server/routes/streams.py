"""Events as they come: server-sent events, resumed by the number of the last one seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import Header
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from durable.errors import DurableError
from durable.store import RunRecord
from durable_server.answers import json_bytes
from durable_server.call import Call, call_of
from durable_server.endpoints import READ, Endpoints
from durable_server.feed import moved_at
from durable_server.history import events_after
from durable_server.problems import Problem
from durable_server.schemas import ref
from durable_server.server import Server, server_of
from durable_server.showing import head

Json = Any
streams = Endpoints("Executions")

__all__ = ["streams"]

_BEAT_SECONDS: Final = 15.0
_ADMITTED_SECONDS: Final = _BEAT_SECONDS
"""A stream asks so often whether its caller may still read; there is a chunk, or a beat, by then."""
_PAUSE_SECONDS: Final = 0.05
_PAGE: Final = 1000
_BEAT: Final = b": beat\n\n"
Last = Annotated[str | None, Header(alias="Last-Event-ID", max_length=40)]


@streams.add(
    "GET",
    "/executions/{executionId}/events",
    roles=READ,
    summary="Its events as they come; the stream ends with the execution.",
    answers={
        200: ("Server-sent events; `id` is `seq`.", {"type": "string"}),
        404: ("No such execution.", ref("Error")),
    },
    media="text/event-stream",
)
async def execution_events(request: Request, last: Last = None) -> Response:
    server = server_of(request)
    run = await server.run(request.path_params["executionId"])
    return _stream(request, server, _of_run(server, run, _number(last, request)))


@streams.add(
    "GET",
    "/events",
    roles=READ,
    summary="Executions as they change: the newest thousand, and all live ones.",
    answers={200: ("Server-sent events; each has the execution as lists show it.", {"type": "string"})},
    media="text/event-stream",
)
async def events(request: Request, last: Last = None) -> Response:
    server = server_of(request)
    since = _number(last, request) if last or "lastEventId" in request.query_params else None
    return _stream(request, server, _of_all(server, since))


def _number(last: str | None, request: Request) -> int:
    """The last event seen; a browser that begins anew may say it as ``?lastEventId=``."""
    text = last or request.query_params.get("lastEventId") or "0"
    if not (text.isascii() and text.isdecimal() and len(text) < 17):
        raise Problem(400, "invalid_parameter", "Last-Event-ID is the number of an event.")
    return int(text)


def _stream(request: Request, server: Server, chunks: AsyncIterator[bytes]) -> Response:
    principal = call_of(request).principal
    who = "" if principal is None else principal.id
    if server.streams[who] >= server.streams_max:
        message = f"At most {server.streams_max} streams at a time."
        raise Problem(429, "too_many_streams", message, headers={"Retry-After": "10"})
    return StreamingResponse(
        _counted(server, who, call_of(request), chunks),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
    )


async def _counted(server: Server, who: str, call: Call, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    clock = server.client.link.clock
    server.streams[who] += 1
    try:
        yield b"retry: 2000\n\n"
        admitted = clock.monotonic()
        async for chunk in chunks:
            if clock.monotonic() - admitted >= _ADMITTED_SECONDS:
                if not await _is_still_admitted(call):
                    return
                admitted = clock.monotonic()
            yield chunk
    finally:
        server.streams[who] -= 1


async def _is_still_admitted(call: Call) -> bool:
    """Whether the caller would be let in once more: their token may have been revoked, or have expired."""
    try:
        principal = None if call.again is None else await call.again()
    except (Problem, DurableError):
        return False
    return principal is not None and principal.may(READ)


async def _of_run(server: Server, run: RunRecord, after: int) -> AsyncIterator[bytes]:
    link = server.client.link
    quiet = 0.0
    while True:
        change = link.changes.future()
        try:
            run = await server.run(run.id)
            found = await events_after(server.client, run, after, _PAGE)
            for event in found:
                after = event["seq"]
                quiet = 0.0
                yield _chunk(str(after), event["type"], event)
            if len(found) == _PAGE:
                continue
            if run.ended or server.closing.is_set():
                return
            await link.clock.sleep(_PAUSE_SECONDS)  # a busy store hints hundreds of times a second
            began = link.clock.monotonic()
            await _wait(server, change, min(link.changes.interval, _BEAT_SECONDS))
            quiet += link.clock.monotonic() - began
        finally:
            change.cancel()
        if quiet >= _BEAT_SECONDS:
            quiet = 0.0
            yield _BEAT


async def _wait(server: Server, change: asyncio.Future[None], seconds: float) -> None:
    closing = asyncio.ensure_future(server.closing.wait())
    try:
        await asyncio.wait(_both(change, closing), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        closing.cancel()


def _both(one: asyncio.Future[Any], other: asyncio.Future[Any]) -> list[asyncio.Future[Any]]:
    return [one, other]


async def _of_all(server: Server, since: int | None) -> AsyncIterator[bytes]:
    subscription = server.feed.listen()
    closing = asyncio.ensure_future(server.closing.wait())
    taking: asyncio.Future[list[RunRecord]] | None = None
    try:
        if since is not None:
            for run in await server.feed.recent(since):
                yield _summary(server, run)
        while True:
            taking = asyncio.ensure_future(subscription.take()) if taking is None else taking
            await asyncio.wait(_both(taking, closing), timeout=_BEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if closing.done():
                return
            if not taking.done():
                yield _BEAT
                continue
            for run in taking.result():
                yield _summary(server, run)
            taking = None
    finally:
        closing.cancel()
        if taking is not None:
            taking.cancel()
        server.feed.leave(subscription)


def _summary(server: Server, run: RunRecord) -> bytes:
    return _chunk(str(moved_at(run)), "execution.updated", head(server, run))


def _chunk(id: str, kind: str, value: Json) -> bytes:
    # JSON has no line breaks of its own, so an event's data is one line.
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (id.encode(), kind.encode(), json_bytes(value))
