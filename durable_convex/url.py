"""What a ``convex+https://`` URL may say, and where its token comes from; what is not allowed by name is refused."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import SplitResult, urlsplit

from durable.errors import InvalidInput
from durable.store import shown_url

__all__ = ["VARIABLES", "Secret", "Target", "parse", "token_of"]

VARIABLES: Final = ("DURABLE_CONVEX_TOKEN", "DURABLE_TOKEN")
"""Where the token is looked for in the environment, in this order."""

Secret: TypeAlias = str | Callable[[], Awaitable[str]]
"""A token, or an async function that fetches the present one; it is asked for each call."""

_SCHEMES: Final = {"convex+https": "https", "convex+http": "http"}
_MODULE: Final = re.compile(r"[A-Za-z0-9_]+(/[A-Za-z0-9_]+)*")
_HERE: Final = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class Target:
    """A deployment, and the module of it that speaks for the component.

    Attributes:
        base: ``https://happy-otter-123.convex.cloud``, without a slash at its end.
        functions: The module below ``convex/`` that exports ``info``, ``sync``, ``read`` and ``watch``.
        live: Whether other processes' changes are subscribed to; if not, there are only polls.
    """

    base: str
    functions: str = "durable"
    live: bool = True

    @property
    def socket(self) -> str:
        """The address of the sync protocol."""
        return "ws" + self.base.removeprefix("http") + "/api/sync"


def parse(url: str) -> Target:
    """Read a URL: ``convex+https://NAME.convex.cloud`` or ``convex+http://127.0.0.1:3210``, with options.

    Raises:
        InvalidInput: It is neither, it has an option that we do not know, or a token in it.
    """
    scheme, mark, rest = url.partition("://")
    if not mark or scheme not in _SCHEMES:
        raise _refused(url, "it begins with convex+https:// (or convex+http:// on this machine)")
    if not url.isprintable() or "\\" in url or " " in url:
        raise _refused(url, "it holds a blank, a backslash or a control character")
    try:
        parts = urlsplit(f"{_SCHEMES[scheme]}://{rest}")
        port = parts.port
    except ValueError as error:
        raise _refused(url, str(error)) from None
    trouble = _trouble(parts)
    if trouble is not None:
        raise _refused(url, trouble)
    host = parts.hostname or ""
    place = f"[{host}]" if ":" in host else host
    base = f"{parts.scheme}://{place}{'' if port is None else f':{port}'}{parts.path.rstrip('/')}"
    return _with_options(url, base, parts.query)


def _trouble(parts: SplitResult) -> str | None:
    """What is wrong, in words that follow a colon; None if nothing is."""
    if parts.username is not None or parts.password is not None:
        return f"a token does not belong into a URL, which is logged and listed. Put it into {VARIABLES[1]}"
    if not parts.hostname:
        return "it names no deployment; it looks like convex+https://happy-otter-123.convex.cloud"
    if parts.fragment:
        return "it holds a '#'"
    if parts.hostname.endswith(".convex.site"):
        return "it is the address of HTTP actions; the deployment's own ends with .convex.cloud"
    if parts.scheme == "http" and parts.hostname not in _HERE and parts.hostname.endswith(".convex.cloud"):
        return "the token would travel in the clear; write convex+https://"
    return None


def _with_options(url: str, base: str, query: str) -> Target:
    options: dict[str, str] = {}
    for item in query.split("&") if query else ():
        name, _, value = item.partition("=")
        if name in ("token", "auth", "key", "secret", "password"):
            raise _refused(url, f"a token does not belong into a URL. Put it into {VARIABLES[1]}")
        if name not in ("functions", "live"):
            raise _refused(url, f"it has the option {name[:40]!r}; known are functions=MODULE and live=true|false")
        if name in options:
            raise _refused(url, f"it has the option {name!r} twice")
        options[name] = value
    functions, live = options.get("functions", "durable"), options.get("live", "true")
    if _MODULE.fullmatch(functions) is None:
        raise _refused(url, f"functions= is a module below convex/, like 'durable', not {functions[:40]!r}")
    if live not in ("true", "false"):
        raise _refused(url, f"live is one of true, false, not {live[:40]!r}")
    return Target(base, functions, live == "true")


def _refused(url: str, why: str) -> InvalidInput:
    return InvalidInput(f"The store URL {shown_url(url)[:200]!r} is refused: {why}.")


async def token_of(secret: Secret | None) -> str:
    """The token as it is now: what was given, else the environment's; empty if there is none."""
    if isinstance(secret, str):
        return secret
    if secret is not None:
        return await secret()
    return next((os.environ[name] for name in VARIABLES if os.environ.get(name)), "")
