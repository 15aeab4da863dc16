"""What a caller may start, and starting a run of a workflow that is code, by its registered name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from durable import Client, Handle, RunConflict
from durable.errors import UnknownWorkflow
from durable.store import RunId
from durable_server.definitions import Begin
from durable_server.principals import Principal
from durable_server.problems import Problem, detail

Json = Any

__all__ = ["CodeStart", "check_start", "start_code"]

_LAYERS_OWN: Final = frozenset({"dag", "dag.work", "dag.webhook"})
"""Workflows that carry definitions out. Their inputs say what is done, so only the layer itself starts them."""


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


def check_start(begin: Begin, principal: Principal | None) -> None:
    """Whether a caller may start this at all.

    What they tell of an address of their choice may hold no secret, unless they may write definitions, too; a webhook's
    ``secret`` only signs, and is never sent.

    Raises:
        Problem: 403 or 404, they may not.
    """
    if begin.workflow in _LAYERS_OWN:
        raise Problem(404, "workflow_not_found", f"Workflow not found: {begin.workflow}")
    if principal is not None and principal.may({"admin"}):
        return
    told = [
        {name: value for name, value in hook.items() if name != "secret"} if isinstance(hook, dict) else hook
        for hook in (begin.hooks or {}).values()
    ]
    if any("${{" in text and "secrets" in text for text in _texts(told)):
        raise Problem(403, "forbidden", "Webhooks of a start that send secrets take the role admin.")


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)
    elif isinstance(value, dict):
        yield from _texts([*value, *value.values()])


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
