"""One verb for many executions."""

from __future__ import annotations

from typing import Any, Final, Literal

from starlette.requests import Request
from starlette.responses import Response

from durable.errors import DurableError, RunNotFound
from durable.store import RunRecord
from durable_server import verbs
from durable_server.answers import reply
from durable_server.call import call_of
from durable_server.endpoints import OPERATE, Endpoints
from durable_server.fields import Fields, fields_of
from durable_server.filters import Filters, found
from durable_server.problems import Problem, problem_of
from durable_server.schemas import COUNT, FLAG, NAME, OBJECT, TEXT, array
from durable_server.server import Server, server_of
from durable_server.showing import scope_for
from durable_server.statuses import API_STATUSES

Json = Any
Verb = Literal["cancel", "retry"]
bulk = Endpoints("Executions")

__all__ = ["bulk"]

_MAX: Final = 1_000
_FILTER: Final[dict[str, Json]] = {
    "workflowId": NAME,
    "status": {"oneOf": [TEXT, array(TEXT)]},
    "tags": {"type": "object", "additionalProperties": {"type": "string"}},
    "kind": {"enum": ["code", "dag"]},
    "startedAfter": {"type": "integer"},
    "startedBefore": {"type": "integer"},
    "q": TEXT,
    "hasError": FLAG,
    "queue": NAME,
}
_BODY: Final = {
    "type": "object",
    "properties": {
        "ids": {**array(NAME), "maxItems": _MAX},
        "filter": {"type": "object", "properties": _FILTER, "additionalProperties": False},
        "dryRun": FLAG,
        "reason": TEXT,
    },
}
_ANSWER: Final = {
    "type": "object",
    "required": ["dryRun", "matched", "done", "failed", "executions", "more"],
    "properties": {
        "dryRun": FLAG,
        "matched": COUNT,
        "done": COUNT,
        "failed": COUNT,
        "executions": array(OBJECT),
        "more": FLAG,
    },
}


@bulk.add(
    "POST",
    "/executions/bulk/cancel",
    roles=OPERATE,
    summary="Cancel many, by ids or by filter; at most 1,000 at a time.",
    body=_BODY,
    answers={200: ("What became of each.", _ANSWER)},
)
async def bulk_cancel(request: Request) -> Response:
    return await _bulk(request, "cancel")


@bulk.add(
    "POST",
    "/executions/bulk/retry",
    roles=OPERATE,
    summary="Retry many that have ended, by ids or by filter; at most 1,000 at a time.",
    body=_BODY,
    answers={200: ("What became of each.", _ANSWER)},
)
async def bulk_retry(request: Request) -> Response:
    return await _bulk(request, "retry")


async def _bulk(request: Request, verb: Verb) -> Response:
    server, fields = server_of(request), await fields_of(request)
    ids, given = fields.names("ids"), fields.object("filter")
    dry, reason = fields.flag("dryRun"), fields.text("reason") or ""
    filters = _filters(Fields({} if given is None else given, "/filter"), verb)
    fields.done()
    if (ids is None) == (given is None):
        raise Problem(400, "invalid_input", "Give ids or a filter, one of the two.")
    if ids is not None and len(ids) > _MAX:
        raise Problem(400, "limit_exceeded", f"At most {_MAX} ids at a time.")
    results, runs, more = await _chosen(server, ids, filters)
    results += [{"executionId": run.id} if dry else await _one(server, run, verb, reason) for run in runs]
    done = sum(result.get("done") is True for result in results)
    call_of(request).about.update({"matched": len(runs), "done": done, "reason": reason, "dryRun": dry})
    failed = sum(result.get("done") is False for result in results)
    return reply(
        {"dryRun": dry, "matched": len(runs), "done": done, "failed": failed, "executions": results, "more": more}
    )


async def _chosen(
    server: Server, ids: list[str] | None, filters: Filters
) -> tuple[list[dict[str, Json]], list[RunRecord], bool]:
    """What is said of ids that nobody has, the runs that are meant, and whether there are more."""
    if ids is None:
        scope = await scope_for(server, filters)
        link = server.client.link
        runs, following = await link.reach(lambda: found(link.store, filters, scope, _MAX, None))
        return [], runs, following is not None
    missing: list[dict[str, Json]] = []
    runs = []
    for id in dict.fromkeys(ids):
        try:
            runs.append(await server.run(id))
        except RunNotFound as error:
            missing.append(_refused(id, error))
    return missing, runs, False


async def _one(server: Server, run: RunRecord, verb: Verb, reason: str) -> dict[str, Json]:
    try:
        if verb == "cancel":
            await verbs.cancel(server, run, reason, "graceful")
        else:
            await verbs.retry(server, run, None, {})
    except (DurableError, Problem) as error:
        return _refused(run.id, error)
    return {"executionId": run.id, "done": True}


def _refused(id: str, error: Exception) -> dict[str, Json]:
    problem = problem_of(error)
    assert problem is not None
    return {"executionId": id, "done": False, "code": problem.code, "error": problem.message}


def _filters(fields: Fields, verb: Verb) -> Filters:
    """What a verb cannot be done to is not chosen, unless it is named."""
    statuses = fields.names("status")
    if statuses is None:
        live = ("pending", "running", "paused")
        statuses = list(live if verb == "cancel" else ("failed", "cancelled"))
    if not set(statuses) <= set(API_STATUSES):
        fields.misfit("status", f"of {', '.join(API_STATUSES)}")
    for name in sorted(fields.value.keys() - _FILTER.keys()):
        fields.misfit(name, "nothing that a filter knows: it would choose more than you mean")
    kind = fields.choice("kind", ("code", "dag"), "") or None
    filters = Filters(
        fields.text("workflowId"),
        tuple(statuses),
        fields.texts("tags") or {},
        kind,
        fields.instant("startedAfter"),
        fields.instant("startedBefore"),
        fields.text("q"),
        fields.flag("hasError") if fields.has("hasError") else None,
        fields.text("queue"),
    )
    fields.done()
    return filters
