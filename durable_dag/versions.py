"""Definitions in the store: each content once, by its digest; each id with its versions, which never change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, final

from durable_dag.bound import Bound
from durable_dag.errors import VersionConflict, WorkflowDisabled, WorkflowNotFound
from durable_dag.graph.definition import digest_of

Json: TypeAlias = Any

__all__ = ["Head", "Registered", "Stored", "Versions"]

HEADS: Final = "dag.workflow"
CONTENTS: Final = "dag.definition"
_TRIES: Final = 50


@dataclass(frozen=True, slots=True)
class Stored:
    """One version.

    Attributes:
        created_at: Seconds since the epoch.
    """

    id: str
    version: int
    digest: str
    created_at: float
    document: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Registered:
    """What registering did; ``created`` is False where the newest version had this very content."""

    id: str
    version: int
    digest: str
    created: bool


@dataclass(frozen=True, slots=True)
class Head:
    """What the store knows of one id.

    Attributes:
        versions: (version, digest, created_at), oldest first.
    """

    id: str
    enabled: bool
    deleted: bool
    versions: tuple[tuple[int, str, float], ...]

    @property
    def latest(self) -> int:
        """The newest version; 0 if there is none."""
        return self.versions[-1][0] if self.versions else 0


@final
class Versions:
    """The definitions of a store.

    An id's record holds its versions and is changed by compare-and-set; contents lie beside it, and are written first.
    Deleting an id hides it: contents stay, because runs that have ended are still to be looked at.
    """

    def __init__(self, bound: Bound) -> None:
        self._bound = bound

    async def register(self, document: Mapping[str, Json], *, if_match: int | None = None) -> Registered:
        """Store a checked definition as the next version of its id.

        Args:
            if_match: The version that the caller believes to be the newest; 0 for none.

        Raises:
            VersionConflict: Another one is.
        """
        id, digest = document["id"], await self.put_content(document)
        for _ in range(_TRIES):
            row, head = await self._head(id)
            if if_match is not None and if_match != (0 if head.deleted else head.latest):
                raise VersionConflict(f"The newest version of {id!r} is {head.latest}, not {if_match}.")
            if head.versions and not head.deleted and head.versions[-1][1] == digest:
                return Registered(id, head.latest, digest, False)
            version = head.latest + 1
            now = await self._now()
            changed = Head(id, head.enabled or head.deleted, False, (*head.versions, (version, digest, now)))
            if await self._put(changed, row):
                return Registered(id, version, digest, True)
        raise VersionConflict(f"Too many others register {id!r} at the same time.")

    async def put_content(self, document: Mapping[str, Json]) -> str:
        """Keep a content, by its digest; its members stay in the order in which they are written."""
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        digest = digest_of(document)
        await self._bound.client.records.put(CONTENTS, digest, text.encode(), expect=0)
        return digest

    async def content(self, digest: str) -> Mapping[str, Json] | None:
        """What has this digest."""
        row = await self._bound.client.records.get(CONTENTS, digest)
        if row is None:
            return None
        document: Mapping[str, Json] = json.loads(row.value)
        return document

    async def get(self, id: str, version: int | None = None) -> Stored:
        """One version; the newest if none is named.

        Raises:
            WorkflowNotFound: There is no such one.
        """
        head = await self.head(id)
        wanted = head.latest if version is None else version
        for number, digest, created_at in head.versions:
            if number == wanted:
                document = await self.content(digest)
                if document is not None:
                    return Stored(id, number, digest, created_at, document)
        raise WorkflowNotFound(f"Workflow {id!r} has no version {wanted}; the newest is {head.latest}.")

    async def for_start(self, id: str, version: int | None) -> Stored:
        """The version that a start gets.

        Raises:
            WorkflowNotFound: There is no such one.
            WorkflowDisabled: It takes no starts.
        """
        head = await self.head(id)
        if not head.enabled:
            raise WorkflowDisabled(f"Workflow {id!r} is disabled: it takes no new starts.")
        return await self.get(id, version)

    async def head(self, id: str) -> Head:
        """What is known of an id.

        Raises:
            WorkflowNotFound: Nothing is.
        """
        _, head = await self._head(id)
        if not head.versions or head.deleted:
            raise WorkflowNotFound(f"Workflow not found: {id}")
        return head

    async def list(self, *, after: str = "", limit: int = 100) -> list[Head]:
        """Ids from behind ``after`` on, in order; deleted ones are left out."""
        found: list[Head] = []
        while len(found) < limit:
            rows = await self._bound.client.records.list(HEADS, after=after, limit=min(1000, limit))
            heads = [_read(row.key, row.value) for row in rows]
            found += [head for head in heads if not head.deleted]
            if len(rows) < min(1000, limit):
                break
            after = rows[-1].key
        return found[:limit]

    async def enable(self, id: str, enabled: bool) -> Head:
        """Let an id take starts, or not."""
        return await self._change(id, enabled=enabled)

    async def delete(self, id: str) -> None:
        """Hide an id; registering it again goes on counting its versions."""
        await self._change(id, deleted=True)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _change(self, id: str, *, enabled: bool | None = None, deleted: bool = False) -> Head:
        for _ in range(_TRIES):
            row, head = await self._head(id)
            if not head.versions or head.deleted:
                raise WorkflowNotFound(f"Workflow not found: {id}")
            changed = Head(id, head.enabled if enabled is None else enabled, deleted, head.versions)
            if await self._put(changed, row):
                return changed
        raise VersionConflict(f"Too many others change {id!r} at the same time.")

    async def _head(self, id: str) -> tuple[int, Head]:
        row = await self._bound.client.records.get(HEADS, id)
        return (0, Head(id, True, False, ())) if row is None else (row.version, _read(id, row.value))

    async def _put(self, head: Head, expect: int) -> bool:
        value = {"enabled": head.enabled, "deleted": head.deleted, "versions": head.versions}
        return (
            await self._bound.client.records.put(HEADS, head.id, json.dumps(value).encode(), expect=expect) is not None
        )

    async def _now(self) -> float:
        return await self._bound.client.records.now()


def _read(id: str, value: bytes) -> Head:
    raw = json.loads(value)
    return Head(id, raw["enabled"], raw["deleted"], tuple((one[0], one[1], one[2]) for one in raw["versions"]))
