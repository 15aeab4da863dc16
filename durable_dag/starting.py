"""Starting executions: what is checked, what goes into the run, and what happens when the id is taken."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias, final

from durable import Status, Workflow
from durable.clock import Clock
from durable.errors import InvalidInput, RunConflict, RunNotFound
from durable_dag.bound import Bound
from durable_dag.errors import (
    ConcurrencyLimit,
    ExecutionConflict,
    InvalidContext,
    InvalidDefinition,
    TemplateUnresolved,
)
from durable_dag.graph.definition import canonical, digest_of, read_definition
from durable_dag.graph.plan import Plan
from durable_dag.graph.schemas import misfits
from durable_dag.problems import Problem, Report, pointer
from durable_dag.running.slots import Ask, Slots, asked_by
from durable_dag.running.turns import full_text
from durable_dag.scheduling.scope import Facts
from durable_dag.validation.reader import Reader, told
from durable_dag.validation.shape import check_hooks
from durable_dag.versions import Stored

Json: TypeAlias = Any

__all__ = ["Start", "Started", "Starter", "new_id"]

EXECUTION_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_INLINE_BYTES_MAX: Final = 900_000
_ONCE: Final = "dag.once"
"""The label that tells a start that is said again from another one."""
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass(frozen=True, slots=True)
class Start:
    """What is asked for; see ``Engine.start``."""

    stored: Stored
    context: Json = None
    version: int | None = None
    execution_id: str | None = None
    on_conflict: str = "return"
    delay: float | None = None
    start_at: datetime | None = None
    queue: str | None = None
    priority: int = 0
    tags: Mapping[str, str] | None = None
    webhooks: Mapping[str, Json] | None = None
    given: Mapping[str, Json] | None = None
    forked_from: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """What a start did.

    Attributes:
        version: 0 for a definition that was given with the start.
        created: False where the execution was there already.
    """

    execution_id: str
    workflow_id: str
    version: int
    status: Literal["pending", "running", "paused", "completed", "failed", "cancelled"]
    created: bool

    def as_json(self) -> dict[str, Json]:
        """As answers of a server carry it."""
        return {
            "executionId": self.execution_id,
            "workflowId": self.workflow_id,
            "version": self.version,
            "status": self.status,
            "created": self.created,
        }


@final
class Starter:
    """Starts executions on one client."""

    def __init__(self, bound: Bound, workflow: Workflow[[dict[str, Json]], Json]) -> None:
        self._bound = bound
        self._workflow = workflow
        self._slots = Slots(bound)

    async def start(self, asked: Start) -> Started:
        """As ``Engine.start``."""
        context = checked_context(asked)
        _check_hooks(asked.webhooks)
        id = new_id(self._bound.client.link.clock) if asked.execution_id is None else _checked_id(asked.execution_id)
        request: dict[str, Json] = {
            "workflowId": asked.stored.id,
            "version": asked.stored.version,
            "digest": asked.stored.digest,
            "context": context,
        }
        if asked.webhooks:
            request["webhooks"] = asked.webhooks
        if asked.given:
            request["given"] = dict(asked.given)
        print = _print(asked, request)
        if len(canonical(asked.stored.document)) + len(canonical(request)) < _INLINE_BYTES_MAX:
            request["definition"] = asked.stored.document
        labels = _labels(asked, print)
        delay = await self._delay(asked)
        ask = _ask(asked, id, context)
        if not delay and not (asked.execution_id is not None and await self._is_there(id)):
            await self._admit(ask)
        try:
            await self._bound.client.start(
                self._workflow,
                request,
                id=id,
                if_exists="reject",
                delay=delay,
                priority=asked.priority,
                queue=asked.queue,
                labels=labels,
            )
        except RunConflict:
            return await self._there(asked, id, request, labels, delay)
        except InvalidInput:
            if ask is not None:
                await self._slots.leave(ask)
            raise
        return Started(id, asked.stored.id, asked.stored.version, "pending", True)

    async def _is_there(self, id: str) -> bool:
        try:
            await self._bound.client.handle(id).status()
        except RunNotFound:
            return False
        return True

    async def _admit(self, ask: Ask | None) -> None:
        """Where one execution too many is refused, it is refused here; the run would only fail."""
        if ask is not None and ask.policy == "reject" and (holders := await self._slots.admit(ask)):
            raise ConcurrencyLimit(full_text(ask, holders))

    async def _there(
        self, asked: Start, id: str, request: dict[str, Json], labels: Mapping[str, str], delay: float | None
    ) -> Started:
        """The id belongs to an execution."""
        try:
            status = await self._bound.client.handle(id).status()
        except RunNotFound:
            raise ExecutionConflict(f"Execution {id!r} was purged just now; start it again.") from None
        if asked.on_conflict == "restart":
            return await self._restart(asked, id, request, labels, delay, status)
        if asked.on_conflict == "fail":
            raise ExecutionConflict(f"Execution {id!r} exists already ({status.state}).")
        if status.labels.get("dag.request") != labels["dag.request"]:
            raise ExecutionConflict(f"Execution {id!r} exists already, and was started by another request.")
        version = int(status.labels.get("dag.version", "0"))
        return Started(id, asked.stored.id, version, _word(status), False)

    async def _restart(
        self,
        asked: Start,
        id: str,
        request: dict[str, Json],
        labels: Mapping[str, str],
        delay: float | None,
        status: Status,
    ) -> Started:
        if asked.request_id is not None and status.labels.get(_ONCE) == asked.request_id:
            return Started(id, asked.stored.id, int(status.labels.get("dag.version", "0")), _word(status), False)
        if status.ended_at is None:
            raise ExecutionConflict(f"Execution {id!r} is {status.state}: only one that has ended is started anew.")
        ask = _ask(asked, id, request["context"], status.generation + 1)
        if not delay:
            await self._admit(ask)
        await self._bound.client.start(
            self._workflow,
            {**request, "incarnation": status.generation + 1},
            id=id,
            if_exists="replace",
            request_id=f"restart/{status.generation}",
            delay=delay,
            priority=asked.priority,
            queue=asked.queue,
            labels=labels,
        )
        return Started(id, asked.stored.id, asked.stored.version, "pending", True)

    async def _delay(self, asked: Start) -> float | None:
        if asked.start_at is None:
            return asked.delay
        if asked.start_at.tzinfo is None:
            raise InvalidInput("start_at= is an instant with a time zone.")
        return max(0.0, asked.start_at.timestamp() - await self._bound.client.records.now())


def checked_context(asked: Start) -> dict[str, Json]:
    """The context of a start.

    Raises:
        InvalidContext: With everything that is wrong with it.
    """
    context = {} if asked.context is None else asked.context
    if not isinstance(context, Mapping):
        raise InvalidContext(
            "invalid_context", [Problem("/context", "invalid_type", f"context is an object, not {told(context)}")]
        )
    steps = {raw["id"] for raw in asked.stored.document["steps"]}
    clashes = [
        Problem("/context" + pointer(key), "context_conflict", f"{key!r} is a step, whose output will have this name")
        for key in context
        if key in steps
    ]
    if clashes:
        raise InvalidContext("context_conflict", clashes)
    wrong = misfits(dict(context), asked.stored.document.get("inputSchema"))
    if wrong:
        raise InvalidContext(
            "invalid_context", [Problem("/context" + where, "schema", message) for where, message in wrong]
        )
    return dict(context)


def _ask(asked: Start, id: str, context: Mapping[str, Json], generation: int = 1) -> Ask | None:
    """What the run will ask for; None if its definition does not limit executions.

    Raises:
        InvalidContext: The key cannot be made.
    """
    stored = asked.stored
    if stored.document.get("concurrency") is None:
        return None
    plan = Plan.of(read_definition(stored.document))
    try:
        return asked_by(plan, Facts(id, stored.id, stored.version, 0), context, 0, generation)
    except TemplateUnresolved as error:
        problem = Problem("/context", "template_unresolved", f"concurrency.key: {error}")
        raise InvalidContext("invalid_context", [problem]) from None


def new_id(clock: Clock) -> str:
    """``exec-`` and a ULID: ids that sort by the time of their start."""
    number = (int(clock.now() * 1000) & (1 << 48) - 1) << 80 | int(clock.token(), 16) & (1 << 80) - 1
    return "exec-" + "".join(_CROCKFORD[number >> 5 * place & 31] for place in reversed(range(26)))


def _checked_id(id: str) -> str:
    if not isinstance(id, str) or not EXECUTION_ID.fullmatch(id):
        raise InvalidInput(
            f"{id!r:.150} is no execution's id: letters, digits, '.', '_', ':' and '-', at most 128 of them."
        )
    return id


def _check_hooks(webhooks: Json) -> None:
    if webhooks is None:
        return
    report = Report()
    check_hooks(Reader({"webhooks": webhooks}, "", report))
    if report.errors:
        raise InvalidDefinition(report.errors, report.warnings)


def _print(asked: Start, request: Mapping[str, Json]) -> str:
    """What makes two starts the same request, however many versions have come in between."""
    pinned = asked.version is not None or asked.stored.version == 0
    members = {name: value for name, value in request.items() if pinned or name not in ("version", "digest")}
    return digest_of({**members, "queue": asked.queue, "tags": dict(asked.tags or {})})


def _labels(asked: Start, print: str) -> dict[str, str]:
    labels = {
        "dag.workflow": asked.stored.id,
        "dag.version": str(asked.stored.version),
        "dag.request": print,
    }
    if asked.forked_from is not None:
        labels["dag.forked-from"] = asked.forked_from
    if asked.request_id is not None:
        labels[_ONCE] = asked.request_id
    return labels | {f"tag.{name}": text for name, text in (asked.tags or {}).items()}


def _word(status: Status) -> Any:
    return "running" if status.state in ("running", "waiting", "blocked") else status.state
