"""Answers: JSON that is always valid, links to further pages, instants as clients count them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response

from durable.codec.redaction import is_needed, redacted
from durable_server.problems import Problem

Json = Any

__all__ = ["json_bytes", "millis", "page", "refusal", "reply"]


def reply(value: Json, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer, without the secrets that this process has revealed."""
    return Response(json_bytes(value), status, dict(headers or {}), "application/json")


def refusal(problem: Problem) -> Response:
    """An error answer."""
    return reply(problem.body, problem.status, problem.headers)


def page(request: Request, values: Sequence[Json], cursor: str | None) -> Response:
    """A bare array; where more follows is said in the headers."""
    if cursor is None:
        return reply(list(values))
    kept = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    query = urlencode([*kept, ("cursor", cursor)])
    link = f'<{quote(request.scope["path"])}?{query}>; rel="next"'
    return reply(list(values), headers={"Link": link, "X-Next-Cursor": cursor})


def json_bytes(value: Json) -> bytes:
    """JSON as UTF-8: lone surrogates are escaped, and numbers that JSON does not have become texts."""
    if is_needed():
        value = redacted(value)
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(_finite(value), separators=(",", ":")).encode()


def _finite(value: Json) -> Json:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    return [_finite(part) for part in value] if isinstance(value, list | tuple) else value


def millis(at: float | datetime | None) -> int | None:
    """An instant as milliseconds since the epoch."""
    if at is None:
        return None
    return round((at.timestamp() if isinstance(at, datetime) else at) * 1000)
