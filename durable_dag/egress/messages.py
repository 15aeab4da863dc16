"""A request and its answer as values, and the seam behind which whoever sends them stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

__all__ = ["BYTES_MAX", "TIMEOUT_SECONDS", "Outbound", "Request", "Response"]

TIMEOUT_SECONDS: Final = 60.0
BYTES_MAX: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent.

    Attributes:
        timeout: Seconds for everything: name, connection, redirects, the whole body.
        bytes_max: Of the answer's body, decompressed.
        verify: Whether the certificate is checked.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    timeout: float = TIMEOUT_SECONDS
    bytes_max: int = BYTES_MAX
    follow_redirects: bool = False
    verify: bool = True


@dataclass(frozen=True, slots=True)
class Response:
    """What came back; names of headers in small letters."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Outbound(Protocol):
    """Sends requests."""

    async def send(self, request: Request) -> Response:
        """The answer, whatever its status.

        Raises:
            EgressDenied: The policy forbids it. Not retried.
            HttpProblem: There was no answer, or one that is too large. Retried.
        """
        ...
