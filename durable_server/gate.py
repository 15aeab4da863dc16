"""The one door: every call passes the fence, shows who it is, and is answered, counted and noted down here."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from durable_server.answers import refusal
from durable_server.audit import Audit, Deed
from durable_server.call import KEY, Call
from durable_server.fence import SAFE_METHODS, Fence
from durable_server.idempotency import Answer, Ledger, Ticket
from durable_server.meter import Meter
from durable_server.principals import Principal
from durable_server.problems import Problem, problem_of

__all__ = ["OPEN_PATHS", "Gate"]

Authorize = Callable[[Request], Awaitable[Principal]]

PREFIX: Final = "/api/v1"
OPEN_PATHS: Final = frozenset({"/healthz", "/readyz"})
"""What a load balancer asks; it says nothing about anybody."""
_JSON: Final = re.compile(r"application/(?:json|[\w.+-]+\+json)\s*(?:;.*)?", re.IGNORECASE)
_HEADERS: Final = (
    ("x-content-type-options", "nosniff"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
)
_log = logging.getLogger("durable.server")


@final
class Gate:
    """ASGI middleware.

    Args:
        authorize: Says who calls, or raises ``Problem``.
        body_bytes_max: Longer bodies are refused.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        fence: Fence,
        authorize: Authorize,
        ledger: Ledger,
        audit: Audit,
        meter: Meter,
        body_bytes_max: int,
    ) -> None:
        self._app = app
        self._fence = fence
        self._authorize = authorize
        self._ledger = ledger
        self._audit = audit
        self._meter = meter
        self._body_bytes_max = body_bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = _without_prefix(scope)
        call = scope[KEY] = Call(None)
        sent = _Sender(send)
        began = self._meter.begin()
        try:
            answer = await self._answer(scope, receive, sent, call)
            if answer is not None:
                await _send(answer, sent)
        finally:
            self._meter.end(began, scope, sent.status)

    async def _answer(self, scope: Scope, receive: Receive, sent: _Sender, call: Call) -> Answer | None:
        """The answer; None if it is on its way already."""
        changes = scope["method"] not in SAFE_METHODS
        try:
            await self._admit(scope, receive, call)
            if not changes:
                await self._app(scope, receive, sent)
                return None
            answer = await self._changing(scope, call)
        except Exception as error:
            if sent.status:  # the answer has begun; all that can be done is to cut it off
                raise
            answer = _failed(error)
        if changes:
            await self._audit.note(Deed(call.principal, scope["method"], scope["path"], answer.status, call.about))
        return answer

    async def _admit(self, scope: Scope, receive: Receive, call: Call) -> None:
        headers = _headers(scope)
        peer = scope.get("client")
        self._fence.check(scope["method"], headers, None if peer is None else peer[0])
        if _route_path(scope) not in OPEN_PATHS or scope["method"] not in SAFE_METHODS:
            call.again = partial(self._authorize, Request(scope))
            call.principal = await call.again()
        if scope["method"] not in SAFE_METHODS:
            call.body = await self._body(headers, receive)
            if call.body and not _JSON.fullmatch(headers.get("content-type", "")):
                raise Problem(415, "unsupported_media_type", "A body is JSON: Content-Type: application/json.")

    async def _body(self, headers: Mapping[str, str], receive: Receive) -> bytes:
        """The whole body, within the limit, whatever its length claims to be."""
        limit = self._body_bytes_max
        claimed = headers.get("content-length", "")
        if claimed.isascii() and claimed.isdecimal() and (len(claimed) > 15 or int(claimed) > limit):
            raise _too_large(limit)
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Problem(400, "disconnected", "The caller left before the body's end.")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                raise _too_large(limit)
            if not message.get("more_body", False):
                return b"".join(parts)

    async def _changing(self, scope: Scope, call: Call) -> Answer:
        given = _headers(scope).get("idempotency-key")
        if given is None or call.principal is None:
            return await self._collected(scope, call)
        what = scope.get("query_string", b"") + b"\n" + call.body
        ticket = await self._ledger.begin(given, (call.principal.id, scope["method"], _route_path(scope)), what)
        if ticket.answer is not None:
            call.about["repeated"] = True
            headers = (*ticket.answer.headers, ("idempotency-replayed", "true"))
            return Answer(ticket.answer.status, headers, ticket.answer.body)
        return await self._first(scope, call, ticket)

    async def _first(self, scope: Scope, call: Call, ticket: Ticket) -> Answer:
        call.once = ticket.key
        try:
            answer = await self._collected(scope, call)
        except BaseException:
            await self._ledger.drop(ticket)
            raise
        await self._ledger.end(ticket, answer)
        return answer

    async def _collected(self, scope: Scope, call: Call) -> Answer:
        """What the application answers, as a whole."""
        collector = _Collector(call.body)
        await self._app(scope, collector.receive, collector.send)
        return collector.answer()


@final
class _Collector:
    """Hands the body in, and takes the answer."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._start: Message = {}
        self._parts: list[bytes] = []

    async def receive(self) -> Message:
        body, self._body = self._body, None
        if body is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] == "http.response.body":
            self._parts.append(message.get("body", b""))

    def answer(self) -> Answer:
        headers = tuple((name.decode("latin-1"), text.decode("latin-1")) for name, text in self._start["headers"])
        return Answer(self._start["status"], headers, b"".join(self._parts))


@final
class _Sender:
    """Sends on, with the headers that every answer has."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = list(message["headers"])
            there = {name.lower() for name, _ in given}
            more = [(n.encode(), v.encode()) for n, v in _HEADERS if n.encode() not in there]
            message = {**message, "headers": given + more}
        await self._send(message)


async def _send(answer: Answer, send: Send) -> None:
    headers = [(name.encode("latin-1"), text.encode("latin-1")) for name, text in answer.headers]
    if not any(name.lower() == b"content-length" for name, _ in headers):
        headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def _failed(error: Exception) -> Answer:
    problem = problem_of(error)
    if problem is None:
        _log.error("a call failed unexpectedly", exc_info=error)
        problem = Problem(500, "internal", "Something unexpected happened; the server's log has it.")
    response: Response = refusal(problem)
    headers = tuple((name.decode("latin-1"), text.decode("latin-1")) for name, text in response.raw_headers)
    return Answer(response.status_code, headers, bytes(response.body))


def _too_large(limit: int) -> Problem:
    return Problem(413, "payload_too_large", f"A body has at most {limit:,} bytes.")


def _headers(scope: Scope) -> dict[str, str]:
    found: dict[str, str] = {}
    pairs: list[tuple[bytes, bytes]] = scope["headers"]
    for name, value in pairs:
        found.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return found


def _without_prefix(scope: Scope) -> dict[str, Any]:
    """The same handlers answer under ``/api/v1``: as if they were mounted there."""
    root = scope.get("root_path", "")
    if _route_path(scope).startswith(f"{PREFIX}/"):
        return {**scope, "root_path": root + PREFIX}
    return dict(scope)


def _route_path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))
