"""``http.request`` and ``webhook``: params to a request, and an answer to a result."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeAlias
from urllib.parse import urlencode

from durable_dag.egress.messages import BYTES_MAX, TIMEOUT_SECONDS, Outbound, Request, Response
from durable_dag.errors import HttpProblem, HttpStatusError, StepFailure
from durable_dag.executors.request import StepContext
from durable_dag.graph.templates import shown_value
from durable_dag.signing import signed_headers

Json: TypeAlias = Any
Fn = Callable[..., Awaitable[Json]]

__all__ = ["http_executors", "raise_for_status"]

_BYTES_CEILING: Final = 64 * 1024 * 1024
_SAFE: Final = ("GET", "HEAD", "OPTIONS", "TRACE")


def http_executors(outbound: Outbound, now: Callable[[], float]) -> Mapping[str, Fn]:
    """The executors, by action; ``now`` is wall-clock time, seconds since the epoch."""

    async def http_request(params: Mapping[str, Json], context: Json, step: StepContext) -> Json:
        answer = await outbound.send(request_of(params, step))
        expected = params.get("expectStatus")
        wanted = [expected] if isinstance(expected, int) else expected
        if not (answer.status in wanted if isinstance(wanted, list) else 200 <= answer.status < 300):
            raise_for_status(str(params["url"]), str(params.get("method", "GET")).upper(), answer, now())
        if params.get("response") == "full":
            return {"status": answer.status, "headers": dict(answer.headers), "body": body_of(answer)}
        return body_of(answer)

    async def webhook(params: Mapping[str, Json], context: Json, step: StepContext) -> Json:
        body = json.dumps(params.get("payload"), ensure_ascii=False, separators=(",", ":")).encode()
        headers = {"content-type": "application/json", "idempotency-key": step.idempotency_key}
        headers |= {name.lower(): shown_value(text) for name, text in (params.get("headers") or {}).items()}
        if params.get("secret"):
            headers |= signed_headers(str(params["secret"]), step.idempotency_key, int(now()), body)
        timeout = seconds_of(params.get("timeout"), 15.0)
        answer = await outbound.send(Request("POST", str(params["url"]), headers, body, timeout))
        if not 200 <= answer.status < 300:
            raise_for_status(str(params["url"]), "POST", answer, now())
        return {"status": answer.status, "sent": True}

    return {"http.request": http_request, "webhook": webhook}


# ── there ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def request_of(params: Mapping[str, Json], step: StepContext) -> Request:
    """What ``http.request`` sends."""
    method = str(params.get("method", "GET")).upper()
    headers = {name.lower(): shown_value(text) for name, text in (params.get("headers") or {}).items()}
    body = _body(params, headers)
    if method not in _SAFE:
        headers.setdefault("idempotency-key", step.idempotency_key)
    if (authorization := _authorization(params.get("auth"))) is not None:
        headers.setdefault("authorization", authorization)
    bytes_max = params.get("maxBytes", BYTES_MAX)
    return Request(
        method,
        _url(str(params["url"]), params.get("query")),
        headers,
        body,
        seconds_of(params.get("timeout"), TIMEOUT_SECONDS),
        min(bytes_max, _BYTES_CEILING) if isinstance(bytes_max, int) else BYTES_MAX,
        params.get("followRedirects") is True,
        params.get("verify") is not False,
    )


def _body(params: Mapping[str, Json], headers: dict[str, str]) -> bytes | None:
    """A text goes as it is; everything else as JSON."""
    if "body" not in params:
        return None
    body = params["body"]
    if isinstance(body, str):
        return body.encode()
    headers.setdefault("content-type", "application/json")
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _url(url: str, query: Json) -> str:
    if not isinstance(query, Mapping) or not query:
        return url
    pairs = [
        (name, shown_value(one))
        for name, value in query.items()
        if value is not None
        for one in (value if isinstance(value, list) else [value])
    ]
    base, mark, fragment = url.partition("#")
    return f"{base}{'&' if '?' in base else '?'}{urlencode(pairs)}{mark}{fragment}"


def _authorization(auth: Json) -> str | None:
    if not isinstance(auth, Mapping):
        return None
    if isinstance(auth.get("bearer"), str):
        return f"Bearer {auth['bearer']}"
    basic = auth.get("basic")
    if isinstance(basic, Mapping):
        basic = f"{basic.get('username', '')}:{basic.get('password', '')}"
    if isinstance(basic, str):
        return "Basic " + base64.b64encode(basic.encode()).decode()
    raise StepFailure('auth is {"bearer": ...} or {"basic": "user:password"}')


def seconds_of(milliseconds: Json, otherwise: float) -> float:
    """A duration in params, in seconds."""
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int | float) or milliseconds <= 0:
        return otherwise
    return float(milliseconds) / 1000


# ── and back ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def body_of(answer: Response) -> Json:
    """JSON as what it says, other text as text, nothing as null."""
    if not answer.body:
        return None
    kind = answer.headers.get("content-type", "")
    if "json" in kind.lower() or not kind:
        try:
            return json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            if kind:
                raise HttpProblem(f"the answer says that it is JSON, and is not: {error}") from None
    charset = kind.lower().partition("charset=")[2].partition(";")[0].strip(" \"'") or "utf-8"
    try:
        return answer.body.decode(charset, "replace")
    except LookupError:
        return answer.body.decode("utf-8", "replace")


def raise_for_status(url: str, method: str, answer: Response, now: float) -> None:
    """Say what the answer was.

    Raises:
        HttpStatusError: Always; whether it is worth another try is in it.
    """
    head = url.partition("?")[0].partition("#")[0]
    scheme, mark, rest = head.partition("://")
    authority, slash, path = rest.partition("/")
    shown = f"{scheme}{mark}{authority.rpartition('@')[2]}{slash}{path}"[:200]
    raise HttpStatusError(f"{method} {shown} answered {answer.status}", answer.status, _retry_after(answer, now))


def _retry_after(answer: Response, now: float) -> float | None:
    given = answer.headers.get("retry-after", "").strip()
    if given.isascii() and given.isdecimal() and len(given) < 10:
        return float(given)
    try:
        due = parsedate_to_datetime(given)
    except (TypeError, ValueError):
        return None
    due = due.replace(tzinfo=UTC) if due.tzinfo is None else due
    return max(0.0, (due - datetime.fromtimestamp(now, UTC)).total_seconds())
