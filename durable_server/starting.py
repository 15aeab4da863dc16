"""Starting a run of a workflow that is code, by its registered name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from durable import Client, Handle, RunConflict
from durable.errors import UnknownWorkflow
from durable.store import RunId
from durable_server.problems import Problem, detail

Json = Any

__all__ = ["CodeStart", "start_code"]


@dataclass(frozen=True, slots=True)
class CodeStart:
    """How it is to be started.

    Attributes:
        given: Its one input, or none.
        once: Stays the same when the call is repeated.
    """

    workflow: str
    given: tuple[Json, ...]
    id: str | None
    conflict: str
    delay: float | None
    queue: str | None
    priority: int
    tags: Mapping[str, str] = field(default_factory=dict)
    once: str | None = None


async def start_code(client: Client, start: CodeStart) -> tuple[Handle[Any], bool]:
    """Start it; whether it is new.

    Raises:
        RunConflict: The id is taken, by a run of something else or (with ``fail``) at all.
        Problem: 409, a restart of what has not ended; 404, nobody has such a workflow.
    """
    try:
        return await _started(client, start)
    except UnknownWorkflow:
        why = "No definition has this id, and no worker has ever had a workflow of this name."
        told = detail("/workflowId", "workflow_not_found", why)
        raise Problem(404, "workflow_not_found", f"Workflow not found: {start.workflow[:200]}", [told]) from None


async def _started(client: Client, start: CodeStart) -> tuple[Handle[Any], bool]:
    id = start.id
    if id is None and start.once is not None:
        id = f"exec-{start.once[:32]}"  # the call repeated after a crash of this server finds its run
    options: dict[str, Any] = {
        "id": id,
        "delay": start.delay,
        "queue": start.queue,
        "priority": start.priority,
        "labels": dict(start.tags),
    }
    if start.conflict == "restart" and id is not None:
        return await _restarted(client, start, id, options)
    try:
        return await client.start(start.workflow, *start.given, if_exists="reject", **options), True
    except RunConflict:
        if start.conflict == "fail":
            raise
    return await client.start(start.workflow, *start.given, **options), False


async def _restarted(client: Client, start: CodeStart, id: str, options: dict[str, Any]) -> tuple[Handle[Any], bool]:
    row = (await client.link.reach(lambda: client.store.get([RunId(id)])))[0]
    request_id = client.link.clock.token() if start.once is None else start.once
    if row is not None and not row.ended:
        raise Problem(409, "execution_conflict", f"Execution {id} has not ended; only ended ones are restarted.")
    handle = await client.start(start.workflow, *start.given, if_exists="replace", request_id=request_id, **options)
    return handle, True
