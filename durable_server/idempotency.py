"""The ``Idempotency-Key`` header: a repeated call gets the first one's answer and does nothing.

What is remembered is the answer of a call that did something. While a call is under way a short-lived record says so;
should the server die in between, the record goes by itself, and the repeat finds what the first call has made, because
handlers make their ids from the key.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Final, final

from durable import Client
from durable.store import RecordRow
from durable_server.problems import Problem

__all__ = ["Answer", "Ledger", "Ticket"]

KIND: Final = "durable_server.idempotency"
KEEP_SECONDS: Final = 7 * 86_400.0
UNDER_WAY_SECONDS: Final = 120.0
"""Longer than any call takes; a call that waits for a run's end is bounded by half of it."""
_BYTES_MAX: Final = 512 * 1024
_KEPT: Final = frozenset({"content-type", "location", "etag"})
_FORM: Final = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Ticket:
    """A call that is under way for the first time, or its earlier answer.

    Attributes:
        key: Of the record; stays the same when the call is repeated.
        answer: Of the first call, if that is done.
    """

    key: str
    fingerprint: str
    version: int = 0
    answer: Answer | None = None


@final
class Ledger:
    """The answers given under keys, in the store."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def begin(self, given: str, scope: tuple[str, ...], what: bytes) -> Ticket:
        """Begin a call, or find the answer of the same call.

        Args:
            given: The header.
            scope: Who calls what: keys of different callers or routes never meet.
            what: The query and the body.

        Raises:
            Problem: 400 for a key that is none; 422 if it was given to another call; 409 while that is under way.
        """
        text = given.strip()
        if len(text) > 1 and text[0] == text[-1] == '"':  # the draft writes it as a quoted string
            text = text[1:-1]
        if not _FORM.fullmatch(text):
            raise Problem(400, "bad_idempotency_key", "An Idempotency-Key is 1 to 255 printable ASCII characters.")
        ticket = Ticket(_digest(*scope, text), _fingerprint(what))
        raw = json.dumps({"what": ticket.fingerprint}).encode()
        put = await self._put(ticket.key, raw, 0, UNDER_WAY_SECONDS)
        if put is not None:
            return Ticket(ticket.key, ticket.fingerprint, put.version)
        row = await self._client.link.reach(lambda: self._client.store.get_record(KIND, ticket.key))
        if row is None:  # it went between the two looks
            raise _under_way()
        return _earlier(ticket, json.loads(row.value))

    async def end(self, ticket: Ticket, answer: Answer) -> None:
        """Remember an answer. Of a call that was refused nothing is kept: it did nothing, and may be said again."""
        if not 200 <= answer.status < 300 or len(answer.body) > _BYTES_MAX:
            await self.drop(ticket)
            return
        kept = [pair for pair in answer.headers if pair[0].lower() in _KEPT]
        body = base64.b64encode(answer.body).decode()
        value = {"what": ticket.fingerprint, "status": answer.status, "headers": kept, "body": body}
        await self._put(ticket.key, json.dumps(value).encode(), ticket.version, KEEP_SECONDS)

    async def drop(self, ticket: Ticket) -> None:
        """Forget a call that did not come to an answer."""
        await self._client.link.reach(lambda: self._client.store.delete_record(KIND, ticket.key))

    async def _put(self, key: str, raw: bytes, expect: int, keep: float) -> RecordRow | None:
        row: RecordRow | None = await self._client.link.reach(
            lambda: self._client.store.put_record(KIND, key, raw, expect=expect, keep_seconds=keep)
        )
        return row


def _earlier(ticket: Ticket, value: dict[str, Any]) -> Ticket:
    if value["what"] != ticket.fingerprint:
        message = "This Idempotency-Key was given to a call with another body."
        raise Problem(422, "idempotency_mismatch", message)
    if "status" not in value:
        raise _under_way()
    headers = tuple((str(name), str(text)) for name, text in value["headers"])
    return Ticket(ticket.key, ticket.fingerprint, 0, Answer(value["status"], headers, base64.b64decode(value["body"])))


def _under_way() -> Problem:
    message = "The first call with this Idempotency-Key is still under way."
    return Problem(409, "idempotency_in_flight", message, headers={"Retry-After": "1"})


def _fingerprint(what: bytes) -> str:
    """Of the value, where the body is JSON: spaces and the order of members do not make another call."""
    query, _, body = what.partition(b"\n")
    try:
        text = json.dumps(json.loads(body), sort_keys=True).encode()
    except (ValueError, RecursionError):
        text = body
    return hashlib.sha256(query + b"\n" + text).hexdigest()


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
