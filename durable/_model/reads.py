"""What can be read from a store from outside: pages, queries and their rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from durable._model.ids import RunId
from durable._model.runs import RunRecord, RunStatus

__all__ = ["JournalPage", "JournalRow", "PurgeQuery", "RecordRow", "RunPage", "RunQuery", "StreamPage"]


@dataclass(frozen=True, slots=True)
class JournalRow:
    """One entry as the store holds it: its position, its store time, and its bytes."""

    position: int
    at: float
    data: bytes


@dataclass(frozen=True, slots=True)
class JournalPage:
    """Entries in order; ``next`` is the position to go on from, None at the end."""

    rows: tuple[JournalRow, ...]
    next: int | None


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Which runs; every given condition must hold. Newest first (by creation, then id).

    Attributes:
        workflow: Exact name.
        statuses: Any of these; empty for all.
        labels: Each of these.
        created_after: Strictly later, store time.
        created_before: Strictly earlier.
        parent: Children of this run.
        id_prefix: Ids that begin so; an opaque text, never a pattern (B123).
        queue: Exact name.
    """

    workflow: str | None = None
    statuses: tuple[RunStatus, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    created_after: float | None = None
    created_before: float | None = None
    parent: RunId | None = None
    id_prefix: str | None = None
    queue: str | None = None


@dataclass(frozen=True, slots=True)
class RunPage:
    """Rows, and the opaque cursor of the next page; None at the end."""

    runs: tuple[RunRecord, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class StreamPage:
    """Items from ``start`` on; ``ended``: the run has ended and no further item will come after these."""

    items: tuple[bytes, ...]
    next: int
    ended: bool


@dataclass(frozen=True, slots=True)
class PurgeQuery:
    """Which ended runs to delete with everything that belongs to them.

    Attributes:
        ended_before: Store time; None for no bound.
        expired: Only runs past their own ``keep_seconds``.
        runs: Only these; empty for any.
        workflow: Exact name.
        statuses: Any of these ended statuses; empty for all.
        limit: At most this many in this call.
    """

    ended_before: float | None = None
    expired: bool = False
    runs: tuple[RunId, ...] = ()
    workflow: str | None = None
    statuses: tuple[RunStatus, ...] = ()
    limit: int = 100


@dataclass(frozen=True, slots=True)
class RecordRow:
    """One record of the small key-value side table.

    Attributes:
        version: 1 at first, raised by each put.
        expires_at: Store time; None: never.
    """

    kind: str
    key: str
    value: bytes
    version: int
    updated_at: float
    expires_at: float | None
