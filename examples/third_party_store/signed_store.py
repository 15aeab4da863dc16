"""A store of somebody else's: whatever it keeps is signed, and what was tampered with is refused.

It keeps its data in another store and puts a signature before each text of bytes on the way in: inputs, entries,
payloads, outcomes, stream items, records. On the way out it checks and removes them. Who can write to the file but
does not have the key cannot make a run believe what its journal never said. (It hides nothing, and does not keep
anybody from putting an old, signed text where another signed text was.)
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, TypeVar, cast, final

from durable.errors import Corrupt
from durable.store import (
    PAGE_SIZE_MAX,
    Commit,
    Committed,
    Control,
    Controlled,
    Created,
    InboxMessage,
    JournalPage,
    Message,
    MessageKind,
    NewRun,
    Poll,
    PurgeQuery,
    RecordRow,
    RunId,
    RunPage,
    RunQuery,
    RunRecord,
    Sent,
    SessionId,
    SessionRecord,
    Store,
    StreamPage,
    Want,
    WorkerSession,
)

__all__ = ["Signer", "SignedStore"]

T = TypeVar("T")
SIGNATURE_BYTES = 16


class Signer:
    """Puts a signature before a text of bytes, and checks it when it comes back.

    Args:
        key: Secret, 16 bytes or more.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < 16:
            raise ValueError(f"A key has at least 16 bytes, not {len(key)}.")
        self._key = key

    def _signature(self, data: bytes) -> bytes:
        return hmac.digest(self._key, data, hashlib.sha256)[:SIGNATURE_BYTES]

    def sign(self, data: bytes) -> bytes:
        return self._signature(data) + data

    def check(self, signed: bytes) -> bytes:
        """Raises Corrupt: it was changed, or written with another key."""
        signature, data = signed[:SIGNATURE_BYTES], signed[SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._signature(data)):
            raise Corrupt("The signature of a stored text is not ours: it was changed, or written with another key.")
        return data

    def signed(self, value: T) -> T:
        """A value of the protocol, with each ``bytes`` in it signed, however deep."""
        return cast("T", _each_bytes(value, self.sign))

    def checked(self, value: T) -> T:
        """The same, the other way."""
        return cast("T", _each_bytes(value, self.check))


def _each_bytes(value: Any, change: Callable[[bytes], bytes]) -> Any:
    """A copy of a value of the protocol, with each ``bytes`` in it changed."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, bytes):
        return change(value)
    if isinstance(value, Message) and value.kind is MessageKind.PAUSE:
        return value  # the store itself wrote it, and there is nothing in it
    if isinstance(value, list | tuple):
        return type(value)(_each_bytes(one, change) for one in value)
    if isinstance(value, Mapping):
        return {key: _each_bytes(one, change) for key, one in value.items()}
    old = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    new = {name: _each_bytes(one, change) for name, one in old.items() if one is not None}
    return dataclasses.replace(value, **new)


@final
class SignedStore:
    """The Store protocol over another store, which holds everything, signed.

    Args:
        inner: Where the data is; not opened yet. The clock is the inner store's.
        keys: Signs what goes in, and checks what comes out.
    """

    def __init__(self, inner: Store, keys: Signer) -> None:
        self._inner = inner
        self._keys = keys

    # ── lifecycle ────────────────────────────────────────────────────────────────────────────────────────────────

    async def open(self) -> None:
        await self._inner.open()

    async def close(self) -> None:
        await self._inner.close()

    def dedicated(self) -> Store:
        return SignedStore(self._inner.dedicated(), self._keys)

    def changes(self) -> AsyncIterator[None]:
        return self._inner.changes()

    @property
    def hinted(self) -> bool:
        return self._inner.hinted

    # ── runs and workers ─────────────────────────────────────────────────────────────────────────────────────────

    async def create(self, runs: Sequence[NewRun]) -> Sequence[Created]:
        return await self._inner.create(self._keys.signed(runs))

    async def poll(self, session: WorkerSession, want: Want) -> Poll:
        return self._keys.checked(await self._inner.poll(session, want))

    async def renew(self, session: WorkerSession) -> bool:
        return await self._inner.renew(session)

    async def leave(self, session: SessionId) -> None:
        await self._inner.leave(session)

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        return await self._inner.commit(self._keys.signed(commits))

    async def send(self, messages: Sequence[Message]) -> Sequence[Sent]:
        return await self._inner.send(self._keys.signed(messages))

    async def control(self, controls: Sequence[Control]) -> Sequence[Controlled]:
        return await self._inner.control(self._keys.signed(controls))

    # ── reads ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def now(self) -> float:
        return await self._inner.now()

    async def get(self, runs: Sequence[RunId]) -> Sequence[RunRecord | None]:
        return self._keys.checked(await self._inner.get(runs))

    async def input(self, run: RunId) -> bytes | None:
        return self._keys.checked(await self._inner.input(run))

    async def outcome(self, run: RunId) -> bytes | None:
        return self._keys.checked(await self._inner.outcome(run))

    async def list(self, query: RunQuery, limit: int = 100, cursor: str | None = None) -> RunPage:
        return self._keys.checked(await self._inner.list(query, limit, cursor))

    async def count(self, query: RunQuery) -> int:
        return await self._inner.count(query)

    async def journal(self, run: RunId, generation: int, start: int = 0, limit: int = PAGE_SIZE_MAX) -> JournalPage:
        return self._keys.checked(await self._inner.journal(run, generation, start, limit))

    async def messages(
        self, run: RunId, after: int = 0, limit: int = PAGE_SIZE_MAX, unread_only: bool = True
    ) -> Sequence[InboxMessage]:
        return self._keys.checked(await self._inner.messages(run, after, limit, unread_only))

    async def values(self, run: RunId) -> Mapping[str, bytes]:
        return self._keys.checked(await self._inner.values(run))

    async def stream(self, run: RunId, name: str, start: int = 0, limit: int = PAGE_SIZE_MAX) -> StreamPage:
        return self._keys.checked(await self._inner.stream(run, name, start, limit))

    async def parts(self, run: RunId, hashes: Sequence[str]) -> Mapping[str, bytes]:
        return self._keys.checked(await self._inner.parts(run, hashes))

    async def sessions(self) -> Sequence[SessionRecord]:
        return await self._inner.sessions()

    async def purge(self, query: PurgeQuery) -> int:
        return await self._inner.purge(query)

    async def check(self) -> Sequence[str]:
        return await self._inner.check()

    async def stats(self) -> Mapping[str, int]:
        return await self._inner.stats()

    # ── a small key-value side table ─────────────────────────────────────────────────────────────────────────────

    async def put_record(
        self, kind: str, key: str, value: bytes, *, expect: int | None = None, keep_seconds: float | None = None
    ) -> RecordRow | None:
        put = self._inner.put_record
        return self._keys.checked(
            await put(kind, key, self._keys.sign(value), expect=expect, keep_seconds=keep_seconds)
        )

    async def get_record(self, kind: str, key: str) -> RecordRow | None:
        return self._keys.checked(await self._inner.get_record(kind, key))

    async def list_records(self, kind: str, after: str = "", limit: int = 100) -> Sequence[RecordRow]:
        return self._keys.checked(await self._inner.list_records(kind, after, limit))

    async def delete_record(self, kind: str, key: str) -> bool:
        return await self._inner.delete_record(kind, key)
