"""Which executions a call is about, and how to find them page by page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Final, Literal

from fastapi import Query

from durable.store import RunQuery, RunRecord, RunStatus, Store
from durable_server.problems import Problem, detail
from durable_server.statuses import store_statuses

__all__ = ["LOOKED_AT_MAX", "Filters", "Order", "Scope", "Status", "found", "tags_of"]

Kind = Literal["code", "dag"]
Status = Literal["pending", "running", "paused", "completed", "failed", "cancelled"]
LOOKED_AT_MAX: Final = 5_000
"""Rows that one call looks at where the store cannot choose by itself; then it answers with a cursor."""


@dataclass(frozen=True, slots=True)
class Scope:
    """How the store tells the runs of definitions from those of code.

    Attributes:
        workflow: The one that carries definitions out; empty where there are no definitions.
        hidden: Workflows whose runs are nobody's executions; they are shown to whoever names them.
        label: Under which runs carry their definition's id.
        tag: What the names of definitions' tags begin with, as labels.
        known: Ids of definitions, as far as the call names one.
    """

    workflow: str = ""
    hidden: frozenset[str] = frozenset()
    label: str = ""
    tag: str = ""
    known: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions on executions; all must hold.

    Attributes:
        text: A part of the id or of the error, in any case.
        error: Whether there is an error, or something that blocks it.
    """

    workflow: str | None = None
    statuses: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    kind: str | None = None
    after: float | None = None
    before: float | None = None
    text: str | None = None
    error: bool | None = None
    queue: str | None = None

    def query(self, scope: Scope) -> RunQuery:
        """What the store can choose by."""
        workflow, labels = self.workflow, dict[str, str]()
        if self._is_definition(scope):
            workflow = scope.workflow
            labels = {f"{scope.tag}{name}": value for name, value in self.tags.items()}
            if self.workflow is not None:
                labels[scope.label] = self.workflow
        elif self._is_code(scope):
            labels = dict(self.tags)
        return RunQuery(
            workflow, store_statuses(self.statuses), labels, self.after, self.before, None, None, self.queue
        )

    def exact(self, scope: Scope) -> bool:
        """Whether the store's choice needs no second look, but for what is hidden."""
        certain = self._is_definition(scope) or self._is_code(scope)
        of_kind = self.kind != "code" or not scope.workflow or self.workflow is not None
        return of_kind and (certain or not self.tags) and self.text is None and self.error is None

    def admits(self, run: RunRecord, scope: Scope) -> bool:
        """Whether a run that the store has chosen is meant."""
        is_definition = bool(scope.workflow) and run.workflow == scope.workflow
        if self.kind is not None and is_definition != (self.kind == "dag"):
            return False
        if run.workflow in scope.hidden and self.workflow != run.workflow:
            return False
        if self.error is not None and (_error(run) is not None) != self.error:
            return False
        prefix = scope.tag if is_definition else ""
        if any(run.labels.get(prefix + name) != value for name, value in self.tags.items()):
            return False
        if self.text is None:
            return True
        wanted = self.text.casefold()
        return wanted in run.id.casefold() or wanted in (_error(run) or "").casefold()

    def _is_definition(self, scope: Scope) -> bool:
        if not scope.workflow or self.kind == "code":
            return False
        return self.kind == "dag" or self.workflow in scope.known

    def _is_code(self, scope: Scope) -> bool:
        return not scope.workflow or (self.workflow is not None and not self._is_definition(scope))


def _error(run: RunRecord) -> str | None:
    if run.status is RunStatus.BLOCKED:
        return run.blocked
    return run.error if run.ended and run.status is not RunStatus.COMPLETED else None


async def found(
    store: Store, filters: Filters, scope: Scope, limit: int, cursor: str | None
) -> tuple[list[RunRecord], str | None]:
    """One page, newest first, and where the next begins; it may be short and yet have a next one."""
    query, runs, looked = filters.query(scope), list[RunRecord](), 0
    while True:
        page = await store.list(query, limit - len(runs), cursor)
        runs += [run for run in page.runs if filters.admits(run, scope)]
        looked += len(page.runs)
        cursor = page.cursor
        if cursor is None or len(runs) >= limit or looked >= LOOKED_AT_MAX:
            return runs, cursor


Order = Literal["asc", "desc"]


def filters_of(
    workflow_id: Annotated[str | None, Query(alias="workflowId", min_length=1, max_length=255)] = None,
    status: Annotated[list[Status] | None, Query(description="May be given several times.")] = None,
    tag: Annotated[list[str] | None, Query(description="`name:value`; may be given several times.")] = None,
    kind: Annotated[Kind | None, Query()] = None,
    started_after: Annotated[str | None, Query(alias="startedAfter")] = None,
    started_before: Annotated[str | None, Query(alias="startedBefore")] = None,
    q: Annotated[str | None, Query(max_length=255, description="A part of the id or of the error.")] = None,
    has_error: Annotated[bool | None, Query(alias="hasError")] = None,
    queue: Annotated[str | None, Query(min_length=1, max_length=255)] = None,
) -> Filters:
    """The conditions that lists take as parameters."""
    return Filters(
        workflow_id,
        tuple(status or ()),
        tags_of(tag or []),
        kind,
        _instant("startedAfter", started_after),
        _instant("startedBefore", started_before),
        q or None,
        has_error,
        queue,
    )


def tags_of(given: list[str]) -> dict[str, str]:
    """``["team:ops"]`` as a mapping."""
    tags: dict[str, str] = {}
    for text in given:
        name, mark, value = text.partition(":")
        if not mark or not name:
            raise _misfit("tag", "A tag is written name:value.")
        tags[name] = value
    return tags


def _instant(name: str, text: str | None) -> float | None:
    if text is None:
        return None
    if text.isascii() and text.isdecimal() and len(text) < 16:
        return int(text) / 1000
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise _misfit(name, f"{name} is milliseconds since the epoch, or an ISO 8601 time with its zone.")
    return moment.timestamp()


def _misfit(name: str, message: str) -> Problem:
    return Problem(400, "invalid_parameter", message, [detail(f"/query/{name}", "invalid_parameter", message)])
