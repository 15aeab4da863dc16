"""Tokens for the API: the store keeps their hashes, and only their owners have them."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, final

from durable import Client
from durable._model.ids import check_name
from durable.errors import InvalidInput
from durable.store import RecordRow
from durable_server.principals import Principal, Role, roles_of

__all__ = ["NewToken", "Token", "Tokens"]

KIND: Final = "durable_server.token"
_FORM: Final = re.compile(r"dur_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_NOBODY: Final = hashlib.sha256(secrets.token_bytes(32)).hexdigest()
_USED_EVERY_SECONDS: Final = 60.0
_DAY_SECONDS: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Token:
    """A token as the store knows it: without its secret.

    Attributes:
        created_at: Store time.
        expires_at: Store time; None: never.
        used_at: Store time of a recent call that changed something (to the minute); None if there was none.
        revoked: It is not accepted any more.
    """

    id: str
    name: str
    roles: frozenset[Role]
    created_at: float
    expires_at: float | None
    used_at: float | None
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that has just been made; ``text`` is shown once and kept nowhere."""

    token: Token
    text: str


@final
class Tokens:
    """The tokens of one store."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def create(
        self, name: str, roles: Iterable[str] = ("read",), *, keep_seconds: float | None = None
    ) -> NewToken:
        """Make one.

        Args:
            name: Whose it is, for people.
            roles: ``read``, ``operate``, ``worker`` or ``admin``.
            keep_seconds: It expires after this long; None: never.

        Raises:
            InvalidInput: The name or a role is none.
        """
        if keep_seconds is not None and not 0 < keep_seconds < 1e10:
            raise InvalidInput("A token's time of life is a positive number of seconds.")
        now = await self._client.link.reach(self._client.store.now)
        token = Token(
            secrets.token_hex(8),
            check_name("token name", name),
            roles_of(roles),
            now,
            None if keep_seconds is None else now + keep_seconds,
            None,
        )
        secret = secrets.token_urlsafe(32)
        await self._put(token, _hash(secret), 0, now)
        return NewToken(token, f"dur_{token.id}_{secret}")

    async def list(self) -> list[Token]:
        """All of them, the expired and revoked of the last 30 days included, by age."""
        found: list[Token] = []
        after = ""
        while True:
            rows = await self._client.link.reach(partial(self._client.store.list_records, KIND, after, 100))
            found += [_read(row)[0] for row in rows]
            if len(rows) < 100:
                return sorted(found, key=lambda token: token.created_at)
            after = rows[-1].key

    async def revoke(self, id: str) -> bool:
        """From now on it is refused; False if there is no such token."""
        while True:
            row = await self._row(id)
            if row is None:
                return False
            token, digest = _read(row)
            now = await self._client.link.reach(self._client.store.now)
            revoked = Token(token.id, token.name, token.roles, token.created_at, token.expires_at, token.used_at, True)
            if token.revoked or await self._put(revoked, digest, row.version, now):
                return True

    async def principal(self, text: str) -> Principal | None:
        """Whose token this is; None if it is nobody's, or has expired.

        The time that it takes does not depend on how much of it is right.
        """
        form = _FORM.fullmatch(text)
        row = None if form is None else await self._row(form[1])
        now = await self._client.link.reach(self._client.store.now)
        token, digest = (None, _NOBODY) if row is None else _read(row)
        right = hmac.compare_digest(_hash(form[2] if form is not None else ""), digest)
        if token is None or not right or token.revoked:
            return None
        if token.expires_at is not None and token.expires_at <= now:
            return None
        return Principal(token.name, token.roles, token.id)

    async def used(self, id: str) -> None:
        """Note that it was used just now, at most once a minute."""
        row = await self._row(id)
        if row is None:
            return
        token, digest = _read(row)
        now = await self._client.link.reach(self._client.store.now)
        if token.used_at is None or now - token.used_at >= _USED_EVERY_SECONDS:
            used = Token(token.id, token.name, token.roles, token.created_at, token.expires_at, now, token.revoked)
            await self._put(used, digest, row.version, now)  # if somebody else wrote meanwhile, theirs will do

    async def _row(self, id: str) -> RecordRow | None:
        row: RecordRow | None = await self._client.link.reach(lambda: self._client.store.get_record(KIND, id))
        return row

    async def _put(self, token: Token, digest: str, expect: int, now: float) -> bool:
        value = {
            "name": token.name,
            "roles": sorted(token.roles),
            "hash": digest,
            "created_at": token.created_at,
            "expires_at": token.expires_at,
            "used_at": token.used_at,
            "revoked": token.revoked,
        }
        keep = None if token.expires_at is None else max(token.expires_at - now, 0.0) + 30 * _DAY_SECONDS
        keep = 30 * _DAY_SECONDS if token.revoked else keep
        raw = json.dumps(value).encode()
        put = await self._client.link.reach(
            lambda: self._client.store.put_record(KIND, token.id, raw, expect=expect, keep_seconds=keep)
        )
        return put is not None


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _read(row: RecordRow) -> tuple[Token, str]:
    value: dict[str, Any] = json.loads(row.value)
    token = Token(
        row.key,
        value["name"],
        roles_of(value["roles"]),
        value["created_at"],
        value["expires_at"],
        value["used_at"],
        value["revoked"],
    )
    return token, value["hash"]
