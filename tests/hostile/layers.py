"""Layers between the engine and a store: every answer is one that the store might have given, at its worst."""

from __future__ import annotations

import asyncio
import inspect
import os
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from durable.store import (
    Claim,
    InboxMessage,
    JournalPage,
    Poll,
    PurgeQuery,
    RunId,
    RunPage,
    RunQuery,
    Store,
    StreamPage,
    Want,
    WorkerSession,
)

__all__ = ["Layer", "OneRowPages", "Silent", "Slow", "Unhinted"]


class Layer:
    """Passes everything on, the heartbeat's own store included."""

    def __init__(self, inner: Store) -> None:
        self._inner: Any = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def dedicated(self) -> Layer:
        return type(self)(self._inner.dedicated())


class OneRowPages(Layer):
    """Whatever comes in pages comes one by one: claims, messages, journals, streams, lists, what is purged."""

    async def poll(self, session: WorkerSession, want: Want) -> Poll:
        answer: Poll = await self._inner.poll(session, replace(want, limit=min(want.limit, 1)))
        first: dict[RunId, InboxMessage] = {}
        for message in answer.messages:
            first.setdefault(message.message.run, message)
        claims = tuple(_short(claim) for claim in answer.claims)
        return replace(answer, claims=claims, messages=tuple(first.values()))

    async def list(self, query: RunQuery, limit: int = 100, cursor: str | None = None) -> RunPage:
        page: RunPage = await self._inner.list(query, min(limit, 1), cursor)
        return page

    async def journal(self, run: RunId, generation: int, start: int = 0, limit: int = 1) -> JournalPage:
        page: JournalPage = await self._inner.journal(run, generation, start, 1)
        return page

    async def messages(
        self, run: RunId, after: int = 0, limit: int = 1, unread_only: bool = True
    ) -> Sequence[InboxMessage]:
        found: Sequence[InboxMessage] = await self._inner.messages(run, after, 1, unread_only)
        return found

    async def stream(self, run: RunId, name: str, start: int = 0, limit: int = 1) -> StreamPage:
        page: StreamPage = await self._inner.stream(run, name, start, 1)
        return page

    async def purge(self, query: PurgeQuery) -> int:
        gone: int = await self._inner.purge(replace(query, limit=1))
        return gone


def _short(claim: Claim) -> Claim:
    return replace(claim, messages=claim.messages[:1])


class Silent(Layer):
    """A store that says that it hints, and never does: looking now and then is all that is left."""

    def changes(self) -> AsyncIterator[None]:
        return _nothing()


class Unhinted(Silent):
    """A store that says that it cannot hint."""

    @property
    def hinted(self) -> bool:
        return False


async def _nothing() -> AsyncIterator[None]:
    await asyncio.Event().wait()
    yield  # what makes it a generator


class Slow(Layer):
    """Each call waits before it reaches the store, and again before its answer does: calls overtake each other."""

    _dice = random.Random(os.environ.get("DURABLE_HOSTILE_SEED", "1"))

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def delayed(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(self._seconds())
            try:
                return await method(*args, **kwargs)
            finally:
                await asyncio.sleep(self._seconds())

        return delayed

    def _seconds(self) -> float:
        """Mostly a few milliseconds, sometimes many."""
        return self._dice.uniform(0.0, 0.05 if self._dice.random() < 0.03 else 0.003)
