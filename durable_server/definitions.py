"""What the server asks of the layer whose workflows are data. One object fulfils it, for one engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from durable.store import RunRecord
from durable_server.filters import Scope

Json = Any

__all__ = ["Begin", "Begun", "Definitions", "Page", "Registered"]


@dataclass(frozen=True, slots=True)
class Begin:
    """How an execution is to be started.

    Attributes:
        conflict: ``return``, ``fail`` or ``restart``.
        delay: Seconds.
        start_at: Seconds since the epoch.
        hooks: Webhooks of this execution alone.
        request_id: Makes a restart repeatable.
    """

    workflow: str
    context: Mapping[str, Json]
    version: int | None = None
    id: str | None = None
    conflict: str = "return"
    delay: float | None = None
    start_at: float | None = None
    queue: str | None = None
    priority: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    hooks: Mapping[str, Json] | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """A start's answer."""

    id: str
    created: bool


@dataclass(frozen=True, slots=True)
class Registered:
    """A registration's answer; ``warnings`` as JSON."""

    id: str
    version: int
    created: bool
    warnings: Sequence[Json] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Some values, and where the next page begins."""

    values: Sequence[Json]
    cursor: str | None = None


class Definitions(Protocol):
    """Values are JSON as the API answers it. Errors are those of the layer; each says its ``code``."""

    # ── definitions ──────────────────────────────────────────────────────────────────────────────────────────────

    async def register(self, document: Json, *, dry_run: bool, strict: bool, if_match: int | None) -> Registered:
        """Keep a definition as its id's next version."""
        ...

    async def validate(self, document: Json, *, strict: bool) -> Json:
        """``{valid, errors, warnings, layers}``; nothing is written."""
        ...

    async def list(self, text: str | None, tags: Mapping[str, str], limit: int, cursor: str | None) -> Page:
        """The newest versions."""
        ...

    async def get(self, id: str, version: int | None = None) -> Json:
        """One version, with ``version``, ``createdAt`` and ``enabled``."""
        ...

    async def versions(self, id: str) -> Sequence[Json]:
        """What there is of one id, newest first, without the definitions."""
        ...

    async def enable(self, id: str, enabled: bool) -> Json:
        """Let it be started, or not; the newest version as of ``get``."""
        ...

    async def delete(self, id: str, *, force: bool) -> None:
        """Take it away; its executions stay."""
        ...

    async def known(self, id: str) -> bool:
        """Whether there is, or was, a definition of this id."""
        ...

    def actions(self) -> Sequence[Json]:
        """What steps can do."""
        ...

    def schema(self) -> Json:
        """JSON Schema of definitions."""
        ...

    # ── executions ───────────────────────────────────────────────────────────────────────────────────────────────

    def scope(self, known: frozenset[str] = frozenset()) -> Scope:
        """How its runs are told from others."""
        ...

    async def start(self, begin: Begin) -> Begun:
        """Start one."""
        ...

    def head(self, run: RunRecord) -> Json:
        """What a run's row alone says, for lists."""
        ...

    async def whole(self, run: RunRecord) -> Json:
        """The execution object."""
        ...

    async def picture(self, run: RunRecord, form: str, layout: bool) -> Json:
        """``/visualize``: JSON, or a text of another form."""
        ...

    async def step(self, run: RunRecord, step: str) -> Json:
        """One step, with its inputs; None if there is none of this id."""
        ...

    async def attempts(self, run: RunRecord, step: str) -> Sequence[Json] | None:
        """A step's attempts; None if there is no such step."""
        ...

    async def why(self, run: RunRecord) -> Sequence[Json]:
        """What each unfinished step waits for."""
        ...

    async def cancel(self, run: RunRecord, reason: str) -> None:
        """Ask one to end."""
        ...

    async def terminate(self, run: RunRecord, reason: str) -> None:
        """End one now; its webhooks are told."""
        ...

    async def tell_last(self, run: RunRecord) -> None:
        """Make up for what could not be told of an end from without, if its server died then."""
        ...

    async def retry(self, run: RunRecord, steps: Sequence[str] | None, context: Mapping[str, Json]) -> None:
        """Do failed steps (or these) and what follows on them again."""
        ...

    async def fork(
        self, run: RunRecord, step: str, context: Mapping[str, Json], version: int | None, id: str | None
    ) -> str:
        """A new execution that keeps what came before a step; its id."""
        ...

    async def settle(self, run: RunRecord, step: str, verb: str, value: Json, once: str | None) -> None:
        """``complete`` a step with a result, ``fail`` it with a text, ``skip`` it for a reason; once per ``once``."""
        ...

    # ── webhooks ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def deliveries(self, execution: str | None, status: str | None, limit: int, cursor: str | None) -> Page:
        """Deliveries, newest first."""
        ...

    async def redeliver(self, id: str) -> Json:
        """Send one again."""
        ...
