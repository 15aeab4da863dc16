"""Who may speak to the server at all, by what their connection and headers say. Pure.

A page in the user's own browser can reach a server on the user's machine. It may not read the answers of another
origin, but it may send, and with a host name of its own that resolves to 127.0.0.1 it may also read. So the names by
which the server is called are checked, and so is where the browser says that a call comes from.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from durable_server.problems import Problem

__all__ = ["LOCAL_NAMES", "SAFE_METHODS", "Fence", "is_loopback"]

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


@dataclass(frozen=True, slots=True)
class Fence:
    """What is let in.

    Attributes:
        local: Only callers on this machine, who call it by a name of this machine.
        hosts: Names by which it may be called, without ports; None for any.
        origins: Origins besides its own from which browsers may call, as ``https://ops.example``.
    """

    local: bool
    hosts: frozenset[str] | None = None
    origins: frozenset[str] = field(default_factory=frozenset)

    def check(self, method: str, headers: Mapping[str, str], peer: str | None) -> None:
        """Let a call pass.

        Args:
            headers: Under lower-case names.
            peer: The address of whoever has connected; None if there is none.

        Raises:
            Problem: 403 or 421, if it may not.
        """
        if self.local:
            _check_peer(headers, peer)
        _check_host(headers.get("host", ""), self._names())
        _check_site(method, headers, self.origins)

    def _names(self) -> frozenset[str] | None:
        if self.local:
            return LOCAL_NAMES | (self.hosts or frozenset())
        return self.hosts


def is_loopback(host: str) -> bool:
    """Whether an address or name is this machine's own."""
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _check_peer(headers: Mapping[str, str], peer: str | None) -> None:
    if peer is None or not is_loopback(peer):
        raise Problem(403, "not_local", "Without tokens this server speaks only to its own machine.")
    for name in _FORWARDED:
        if name in headers:
            message = f"This call came through a proxy ({name}), and without tokens a server has no proxies."
            raise Problem(403, "not_local", message)


def _check_host(given: str, names: frozenset[str] | None) -> None:
    if names is not None and _name_of(given) not in names:
        raise Problem(421, "wrong_host", f"This server is not called {given[:100]!r}. It can be told its names.")


def _check_site(method: str, headers: Mapping[str, str], origins: frozenset[str]) -> None:
    origin = headers.get("origin")
    if origin is not None:
        if origin in origins:
            return
        # The scheme is left out: in front of the server may be something that speaks TLS for it.
        if _place_of(origin) != headers.get("host", "").lower() and method != "OPTIONS":
            raise Problem(403, "cross_site", f"Pages of {origin[:100]!r} may not call this server.")
    site = headers.get("sec-fetch-site")
    if site in (None, "same-origin", "none"):
        return
    followed_link = method in SAFE_METHODS and headers.get("sec-fetch-mode") == "navigate"
    if not followed_link and method != "OPTIONS":
        raise Problem(403, "cross_site", "Pages of other sites may not call this server.")


def _place_of(origin: str) -> str | None:
    """``localhost:8585`` of ``http://localhost:8585``; None if it is no origin of the web."""
    scheme, mark, place = origin.partition("://")
    return place.lower() if mark and scheme.lower() in ("http", "https") else None


def _name_of(host: str) -> str:
    """``localhost`` of ``localhost:8585``, and ``::1`` of ``[::1]:8585``."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower().removesuffix(".")
    except ValueError:
        return ""
