"""Looking at executions, of code and of definitions alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from fastapi import Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from durable.store import RunQuery
from durable_server import codefirst
from durable_server.answers import page, reply
from durable_server.endpoints import READ, Endpoints
from durable_server.filters import Filters, Order, filters_of, found
from durable_server.history import events_after
from durable_server.oldest import found_from_oldest
from durable_server.problems import Problem
from durable_server.schemas import COUNT, OBJECT, array, ref
from durable_server.server import Server, server_of
from durable_server.showing import head, is_dag, scope_for, whole
from durable_server.statuses import API_STATUSES, store_statuses

Json = Any
look = Endpoints("Executions")

__all__ = ["look"]

Limit = Annotated[int, Query(ge=1, le=1000)]
Cursor = Annotated[str | None, Query(min_length=1, max_length=2000)]
Chosen = Annotated[Filters, Depends(filters_of)]
_NO_SUCH = "No such execution."


@look.add(
    "GET",
    "/executions",
    roles=READ,
    summary="Executions, newest first, or with `order=asc` oldest first.",
    answers={200: ("A page of them; a `Link` header leads to the next.", array(ref("Execution")))},
)
async def list_executions(
    request: Request,
    filters: Chosen,
    limit: Limit = 100,
    cursor: Cursor = None,
    order: Annotated[Order, Query()] = "desc",
    include: Annotated[str | None, Query(max_length=100, description="`stepResults,context`")] = None,
) -> Response:
    server = server_of(request)
    scope = await scope_for(server, filters)
    link = server.client.link
    pages = found if order == "desc" else found_from_oldest
    runs, following = await link.reach(lambda: pages(link.store, filters, scope, limit, cursor))
    wanted = {part.strip() for part in (include or "").split(",")} & {"stepResults", "context"}
    values = []
    for run in runs:
        value = head(server, run)
        if wanted:
            full = await whole(server, run)
            value |= {name: full[name] for name in sorted(wanted)}
            value |= {name: full[name] for name in ("completedSteps", "failedSteps", "skippedSteps")}
        values.append(value)
    return page(request, values, following)


@look.add(
    "GET",
    "/executions/count",
    roles=READ,
    summary="How many executions there are.",
    answers={200: ("All of them, and by group.", {"type": "object", "properties": {"total": COUNT}})},
)
async def count_executions(
    request: Request,
    filters: Chosen,
    group_by: Annotated[Literal["status", "workflowId"] | None, Query(alias="groupBy")] = None,
) -> Response:
    server = server_of(request)
    scope = await scope_for(server, filters)
    if not filters.exact(scope):
        raise Problem(400, "invalid_parameter", "q, hasError and kind=code cannot be counted by; list them instead.")
    query = filters.query(scope)
    counter = _Counter(server, query, scope.hidden)
    total = await counter.count()
    value: dict[str, Json] = {"total": total}
    if group_by == "status":
        value["groups"] = await counter.by_status()
    elif group_by == "workflowId":
        value["groups"] = await counter.by_workflow(total)
    return reply(value)


@dataclass(frozen=True, slots=True)
class _Counter:
    """Counts, without what is nobody's execution."""

    server: Server
    query: RunQuery
    hidden: frozenset[str]

    async def count(self, query: RunQuery | None = None) -> int:
        query = self.query if query is None else query
        total = await self._count(query)
        if query.workflow is None:
            for name in self.hidden:
                total -= await self._count(replace(query, workflow=name))
        return total

    async def by_status(self) -> list[Json]:
        groups: list[Json] = []
        for word in API_STATUSES:
            asked = store_statuses([word])
            statuses = tuple(one for one in asked if not self.query.statuses or one in self.query.statuses)
            count = await self.count(replace(self.query, statuses=statuses)) if statuses else 0
            if count:
                groups.append({"key": word, "count": count})
        return groups

    async def by_workflow(self, total: int) -> list[Json]:
        """By the names that workers have registered; what is of none of them comes last, without a name."""
        sessions = await self.server.client.link.reach(self.server.client.store.sessions)
        names = {name for session in sessions for name, _ in session.registered if not name.startswith("step:")}
        names = names - self.hidden if self.query.workflow is None else {self.query.workflow}
        groups: list[Json] = []
        for name in sorted(names):
            count = await self._count(replace(self.query, workflow=name))
            if count:
                groups.append({"key": name, "count": count})
        rest = total - sum(group["count"] for group in groups)
        return [*groups, {"key": None, "count": rest}] if rest > 0 else groups

    async def _count(self, query: RunQuery) -> int:
        store = self.server.client.store
        return await self.server.client.link.reach(lambda: store.count(query))


@look.add(
    "GET",
    "/executions/{executionId}",
    roles=READ,
    summary="One execution with its steps.",
    answers={200: ("The execution.", ref("Execution")), 404: (_NO_SUCH, ref("Error"))},
)
async def get_execution(request: Request) -> Response:
    server = server_of(request)
    return reply(await whole(server, await server.run(request.path_params["executionId"])))


@look.add(
    "GET",
    "/executions/{executionId}/visualize",
    roles=READ,
    summary="What a picture of it needs, or the picture.",
    answers={200: ("Its steps.", OBJECT), 404: (_NO_SUCH, ref("Error"))},
)
async def visualize_execution(
    request: Request,
    form: Annotated[Literal["json", "mermaid", "dot", "svg"], Query(alias="format")] = "json",
    layout: Annotated[bool, Query()] = False,
) -> Response:
    server = server_of(request)
    run = await server.run(request.path_params["executionId"])
    if server.definitions is None or not is_dag(server, run):
        if form != "json":
            raise Problem(400, "no_graph", "Workflows that are code have no graph; ask for format=json.")
        return reply(codefirst.visualized(run, await codefirst.read_calls(server.client, run)))
    drawn = await server.definitions.picture(run, form, layout)
    if form == "json":
        return reply(drawn)
    media = {"mermaid": "text/plain", "dot": "text/vnd.graphviz", "svg": "image/svg+xml"}[form]
    return Response(drawn, media_type=media)


@look.add(
    "GET",
    "/executions/{executionId}/history",
    roles=READ,
    summary="What has happened, in order.",
    answers={200: ("Events.", array(ref("Event"))), 404: (_NO_SUCH, ref("Error"))},
)
async def execution_history(
    request: Request,
    after: Annotated[int, Query(ge=0, le=2**53, description="Only events with a higher `seq`.")] = 0,
    limit: Limit = 1000,
) -> Response:
    server = server_of(request)
    run = await server.run(request.path_params["executionId"])
    return reply(await events_after(server.client, run, after, limit))


@look.add(
    "GET",
    "/executions/{executionId}/why",
    roles=READ,
    summary="What it waits for, and what to do about it.",
    answers={200: ("A sentence, and the unfinished steps.", OBJECT), 404: (_NO_SUCH, ref("Error"))},
)
async def why(request: Request) -> Response:
    server = server_of(request)
    run = await server.run(request.path_params["executionId"])
    value = head(server, run)
    steps = value["waitingOn"]
    if server.definitions is not None and is_dag(server, run):
        steps = list(await server.definitions.why(run))
    said = await server.client.handle(run.id).explain()
    return reply({"executionId": run.id, "status": value["status"], "why": said, "steps": steps})


@look.add(
    "GET",
    "/executions/{executionId}/steps/{stepId}",
    roles=READ,
    summary="One step of an execution.",
    answers={200: ("The step.", ref("Step")), 404: ("No such execution, or no such step.", ref("Error"))},
)
async def get_step(request: Request) -> Response:
    server = server_of(request)
    run = await server.run(request.path_params["executionId"])
    asked = request.path_params["stepId"]
    if server.definitions is not None and is_dag(server, run):
        value = await server.definitions.step(run, asked)
        if value is None:
            raise _no_step()
        return reply(value)
    calls = await codefirst.read_calls(server.client, run)
    found_call = calls.find(asked)
    if found_call is None:
        raise _no_step()
    return reply(codefirst.step_of(*found_call, calls))


@look.add(
    "GET",
    "/executions/{executionId}/steps/{stepId}/attempts",
    roles=READ,
    summary="The attempts of a step.",
    answers={200: ("Attempts.", array(OBJECT)), 404: ("No such execution, or no such step.", ref("Error"))},
)
async def get_attempts(request: Request) -> Response:
    server = server_of(request)
    run = await server.run(request.path_params["executionId"])
    asked = request.path_params["stepId"]
    if server.definitions is not None and is_dag(server, run):
        attempts = await server.definitions.attempts(run, asked)
        if attempts is None:
            raise _no_step()
        return reply(list(attempts))
    calls = await codefirst.read_calls(server.client, run)
    found_call = calls.find(asked)
    if found_call is None:
        raise _no_step()
    return reply(codefirst.attempts_of(found_call[1], calls.now))


def _no_step() -> Problem:
    return Problem(404, "step_not_found", "Step not found")
