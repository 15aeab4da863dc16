"""One call to the API, as its handler sees it: who calls, with what."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, cast

from starlette.requests import Request

from durable_server.principals import Principal
from durable_server.problems import Problem

Json = Any

__all__ = ["KEY", "Call", "call_of", "json_of"]

KEY: Final = "durable_server.call"
"""Under which a call lies in the ASGI scope."""
_DEPTH_MAX: Final = 200


@dataclass(slots=True)
class Call:
    """What the gate has found out.

    Attributes:
        principal: None on the few paths that are open to everybody.
        body: The whole of it.
        once: An id that stays the same when the caller repeats the call under its ``Idempotency-Key``; None without
            one. What a handler would draw by chance it makes of this.
        about: What the handler adds to the audit: which execution, why.
        again: Asks once more who calls, or raises ``Problem``; for answers that go on for long.
    """

    principal: Principal | None
    body: bytes = b""
    once: str | None = None
    about: dict[str, Json] = field(default_factory=dict)
    again: Callable[[], Awaitable[Principal]] | None = None


def call_of(request: Request) -> Call:
    """The call that a request is."""
    return cast(Call, request.scope[KEY])


def json_of(raw: bytes) -> Json:
    """A body's value; an empty body is an empty object.

    Raises:
        Problem: 400, it is not JSON, or nested too deeply.
    """
    if not raw.strip():
        return {}
    try:
        value = json.loads(raw, parse_constant=_refused, object_pairs_hook=_unique)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()  # 1e999 is read as an infinity
        _check_depth(value)
    except RecursionError:
        raise Problem(400, "invalid_json", "The body is nested too deeply.") from None
    except UnicodeEncodeError:
        raise Problem(400, "invalid_json", "The body holds a lone surrogate, which is not valid text.") from None
    except UnicodeDecodeError:
        raise Problem(400, "invalid_json", "The body is not UTF-8.") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise Problem(400, "invalid_json", f"The body is not JSON: {error.msg} at {place}.") from None
    except ValueError as error:
        raise Problem(400, "invalid_json", f"The body is not JSON: {error}.") from None
    return value


def _check_depth(value: Json) -> None:
    level: list[Json] = [value]
    for _ in range(_DEPTH_MAX):
        level = [
            part
            for one in level
            if isinstance(one, dict | list)
            for part in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return
    raise RecursionError


def _refused(constant: str) -> Json:
    raise ValueError(f"{constant} is not a number of JSON")


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    """Of two members of one name readers take different ones; what was checked must be what is used."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has two members of one name")
    return found
