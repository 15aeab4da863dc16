"""Signatures of webhooks, as Standard Webhooks 1.0 has them: HMAC-SHA256 over id, timestamp and body."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

from durable.errors import InvalidInput

__all__ = ["sign", "signed_headers", "verify"]

_PREFIX: Final = "whsec_"
TOLERANCE_SECONDS: Final = 300


def sign(secret: str, id: str, timestamp: int, body: bytes) -> str:
    """One signature: ``v1,`` and base64.

    Args:
        secret: ``whsec_`` and base64; any other text is taken as it is.
        timestamp: Seconds since the epoch.
    """
    signed = f"{id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(_key(secret), signed, hashlib.sha256).digest()).decode()


def signed_headers(secrets: str, id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers; several secrets, with spaces between them, give several signatures (while one is replaced)."""
    return {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(sign(secret, id, timestamp, body) for secret in secrets.split()),
    }


def verify(secrets: str, headers: Mapping[str, str], body: bytes, now: float) -> bool:
    """Whether a delivery is genuine and fresh: what a receiver asks.

    Args:
        headers: Names in small letters.
        now: Seconds since the epoch.
    """
    id, given = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not (given.isascii() and given.isdecimal()) or abs(now - int(given[:15])) > TOLERANCE_SECONDS:
        return False
    signatures = headers.get("webhook-signature", "").split()
    wanted = [sign(secret, id, int(given), body).encode() for secret in secrets.split()]
    found = [hmac.compare_digest(one.encode(), each) for one in signatures for each in wanted]
    return any(found)  # all of them were compared, so that the time tells nothing


def _key(secret: str) -> bytes:
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret[len(_PREFIX) :], validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput("A webhook's secret that begins with whsec_ goes on with base64.") from None
