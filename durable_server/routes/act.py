"""Acting on executions: start, cancel, pause, resume, signal, retry, fork, and settling single steps."""

from __future__ import annotations

import asyncio
import inspect
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from durable import RunEnded
from durable._model.duration import seconds_of
from durable.errors import DurableError, InvalidInput
from durable.store import RunRecord
from durable_server import verbs
from durable_server.answers import reply
from durable_server.call import call_of, json_of
from durable_server.definitions import Begin
from durable_server.endpoints import OPERATE, WORK, Endpoints
from durable_server.fields import Fields, fields_of
from durable_server.problems import Problem, detail
from durable_server.schemas import ANYTHING, FLAG, NAME, OBJECT, TEXT, array, ref
from durable_server.server import WAIT_SECONDS_MAX, Server, server_of
from durable_server.showing import head, whole
from durable_server.starting import CodeStart, check_start, start_code
from durable_server.statuses import status_of

Json = Any
act = Endpoints("Executions")

__all__ = ["act"]

_CONFLICTS: Final = ("return", "fail", "restart")
_NO_SUCH: Final = {404: ("No such execution.", ref("Error"))}
_NOT_NOW: Final = {**_NO_SUCH, 409: ("Not possible in its state.", ref("Error"))}
_DONE: Final = ("What was asked for is durable.", ref("Done"))


# ── start ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@act.add(
    "POST",
    "/executions/start",
    roles=OPERATE,
    summary="Start an execution, idempotently by its id.",
    body=ref("Start"),
    answers={
        201: ("Started.", ref("Started")),
        200: ("It was there already; or, with `wait`, the execution, ended.", OBJECT),
        202: ("With `wait`: the execution, still running.", ref("Execution")),
        404: ("No such workflow.", ref("Error")),
        409: ("The id is taken, or the workflow takes no starts.", ref("Error")),
    },
)
async def start_execution(
    request: Request,
    wait: Annotated[str | None, Query(max_length=20, description="Wait so long for its end: `30s`.")] = None,
) -> Response:
    server, call = server_of(request), call_of(request)
    seconds = None if wait is None else _wait(wait)
    fields = await fields_of(request)
    begin = _begin(fields, call.once)
    if not begin.workflow:
        raise Problem(400, "invalid_input", "'workflowId' may not be empty.")
    check_start(begin, call.principal)
    id, created = await _start(server, begin, fields)
    call.about["execution"] = id
    location = {"Location": f"{request.scope.get('root_path', '')}/executions/{quote(id, safe='')}"}
    if seconds is not None:
        return await _waited(server, id, seconds, location)
    run = await server.run(id)
    value = head(server, run)
    about = {name: value[name] for name in ("executionId", "workflowId", "version", "status")}
    return reply({**about, "created": created}, 201 if created else 200, location)


def _begin(fields: Fields, once: str | None) -> Begin:
    context = fields.object("context")
    begin = Begin(
        fields.needed("workflowId"),
        context or {},
        fields.whole("version"),
        fields.text("executionId"),
        fields.choice("onConflict", _CONFLICTS, "return"),
        fields.seconds("delay"),
        fields.instant("startAt"),
        fields.text("queue"),
        fields.whole("priority") or 0,
        fields.texts("tags") or {},
        fields.object("webhooks"),
        once,
    )
    fields.done()
    return begin


async def _start(server: Server, begin: Begin, fields: Fields) -> tuple[str, bool]:
    layer = server.definitions
    if layer is not None and await layer.known(begin.workflow):
        if fields.has("input"):
            raise _misfit("input", "A definition is started with a context, not with an input.")
        begun = await layer.start(begin)
        return begun.id, begun.created
    if begin.version is not None:
        raise _misfit("version", "A workflow that is code is started in the version that its workers have.")
    if begin.hooks is not None:
        raise _misfit("webhooks", "A workflow that is code has no webhooks.")
    delay = begin.delay
    if begin.start_at is not None:
        delay = max(begin.start_at - await server.now(), delay or 0.0, 0.0)
    given = (fields.any("input"),) if fields.has("input") else _given(server, begin, fields)
    start = CodeStart(
        begin.workflow,
        given,
        begin.id,
        begin.conflict,
        delay,
        begin.queue,
        begin.priority,
        begin.tags,
        begin.request_id,
    )
    handle, created = await start_code(server.client, start)
    return handle.id, created


def _given(server: Server, begin: Begin, fields: Fields) -> tuple[Json, ...]:
    """The context as a workflow's input. An empty one is said by habit: it is meant where an input is wanted."""
    if begin.context:
        return (dict(begin.context),)
    known = server.client.link.registry.get(begin.workflow, None)
    takes = known is not None and len(inspect.signature(known.fn).parameters) > 1
    return ({},) if takes and fields.has("context") else ()


async def _waited(server: Server, id: str, seconds: float, headers: dict[str, str]) -> Response:
    ending = asyncio.ensure_future(_end(server, id, seconds))
    closing = asyncio.ensure_future(server.closing.wait())
    try:
        await asyncio.wait([ending, closing], return_when=asyncio.FIRST_COMPLETED)
        if ending.done():
            ending.result()
    finally:
        ending.cancel()
        closing.cancel()
    run = await server.run(id)
    return reply(await whole(server, run), 200 if run.ended else 202, headers)


async def _end(server: Server, id: str, seconds: float) -> None:
    try:
        await server.client.handle(id).result(timeout=seconds)
    except (DurableError, TimeoutError):
        pass  # how it stands is in the execution, which is looked at next


def _wait(text: str) -> float:
    try:
        return min(seconds_of(text), WAIT_SECONDS_MAX)
    except InvalidInput:
        message = "wait is a duration like 30s."
        raise Problem(
            400, "invalid_parameter", message, [detail("/query/wait", "invalid_parameter", message)]
        ) from None


# ── verbs ────────────────────────────────────────────────────────────────────────────────────────────────────────────

_REASON: Final = {"type": "object", "properties": {"reason": {"type": "string"}}}


@act.add(
    "POST",
    "/executions/{executionId}/cancel",
    roles=OPERATE,
    summary="Ask it to end, or end it now.",
    body={
        "type": "object",
        "properties": {"reason": {"type": "string"}, "mode": {"enum": ["graceful", "now"], "default": "graceful"}},
    },
    answers={202: _DONE, 200: ("It has been cancelled already.", ref("Done")), **_NOT_NOW},
)
async def cancel(request: Request) -> Response:
    server, run = await _found(request)
    fields = await fields_of(request)
    reason, mode = fields.text("reason") or "", fields.choice("mode", ("graceful", "now"), "graceful")
    fields.done()
    call_of(request).about["reason"] = reason
    done = await verbs.cancel(server, run, reason, mode)
    return await _state(server, run, 202 if done else 200)


@act.add(
    "POST",
    "/executions/{executionId}/pause",
    roles=OPERATE,
    summary="Begin no new step; those under way end.",
    body=_REASON,
    answers={202: _DONE, **_NOT_NOW},
)
async def pause(request: Request) -> Response:
    server, run = await _found(request)
    await _reason(request)
    await server.client.handle(run.id).pause()
    return await _state(server, run, 202)


@act.add(
    "POST",
    "/executions/{executionId}/resume",
    roles=OPERATE,
    summary="Go on after a pause, or when what blocked it is mended.",
    body=_REASON,
    answers={202: _DONE, **_NOT_NOW},
)
async def resume(request: Request) -> Response:
    server, run = await _found(request)
    await _reason(request)
    await server.client.handle(run.id).resume()
    return await _state(server, run, 202)


@act.add(
    "POST",
    "/executions/{executionId}/signal/{name}",
    roles=OPERATE,
    summary="Send it a signal; the body is what it carries.",
    body=ANYTHING,
    answers={
        202: ("It is durable.", {"type": "object", "properties": {"delivered": FLAG, "buffered": FLAG}}),
        **_NOT_NOW,
    },
)
async def signal(request: Request) -> Response:
    server, run = await _found(request)
    call, name = call_of(request), request.path_params["name"]
    payload = json_of(call.body) if call.body.strip() else None
    waited = any(wait.kind.value == "signal" and wait.name == name for wait in run.waits)
    if run.ended:
        raise RunEnded(f"Execution {run.id} has ended; it takes no more signals.", run.id)
    await server.client.signal(run.id, name, payload, id=None if call.once is None else f"api-{call.once}")
    return reply({"delivered": True} if waited else {"buffered": True}, 202)


@act.add(
    "POST",
    "/executions/{executionId}/retry",
    roles=OPERATE,
    summary="Do again what failed; what succeeded is kept.",
    body={
        "type": "object",
        "properties": {"from": {"oneOf": [{"const": "failed"}, array(NAME)]}, "context": OBJECT, "reason": TEXT},
    },
    answers={202: _DONE, **_NOT_NOW},
)
async def retry(request: Request) -> Response:
    server, run = await _found(request)
    fields = await fields_of(request)
    start, context = fields.names("from"), fields.object("context")
    fields.done()
    await verbs.retry(server, run, None if start in (None, ["failed"]) else start, context or {})
    return await _state(server, run, 202)


@act.add(
    "POST",
    "/executions/{executionId}/fork",
    roles=OPERATE,
    summary="A new execution that keeps what came before a step.",
    body={
        "type": "object",
        "required": ["from"],
        "properties": {
            "from": NAME,
            "context": OBJECT,
            "version": {"type": "integer", "minimum": 1},
            "executionId": NAME,
        },
    },
    answers={201: ("The new one.", ref("Done")), **_NOT_NOW},
)
async def fork(request: Request) -> Response:
    server, run = await _found(request)
    fields, call = await fields_of(request), call_of(request)
    step, context = fields.needed("from"), fields.object("context")
    version, id = fields.whole("version"), fields.text("executionId")
    fields.done()
    if id is None and call.once is not None:
        id = f"exec-{call.once[:32]}"
    new = await server.run(await verbs.fork(server, run, step, context or {}, version, id))
    call.about["fork"] = new.id
    location = {"Location": f"{request.scope.get('root_path', '')}/executions/{quote(new.id, safe='')}"}
    return reply({"executionId": new.id, "status": status_of(new), "forkedFrom": run.id}, 201, location)


# ── single steps ─────────────────────────────────────────────────────────────────────────────────────────────────────


@act.add(
    "POST",
    "/executions/{executionId}/steps/{stepId}/complete",
    roles=WORK,
    summary="Say that a step has been done, and what came of it.",
    body={"type": "object", "properties": {"result": ANYTHING}},
    answers={202: _DONE, **_NOT_NOW},
)
async def complete_step(request: Request) -> Response:
    fields = await fields_of(request)
    return await _settled(request, "complete", fields.any("result"))


@act.add(
    "POST",
    "/executions/{executionId}/steps/{stepId}/fail",
    roles=WORK,
    summary="Say that a step has failed.",
    body={"type": "object", "required": ["error"], "properties": {"error": TEXT, "name": NAME}},
    answers={202: _DONE, **_NOT_NOW},
)
async def fail_step(request: Request) -> Response:
    fields = await fields_of(request)
    error, name = fields.needed("error"), fields.text("name")
    fields.done()
    return await _settled(request, "fail", error if name is None else {"name": name, "message": error})


@act.add(
    "POST",
    "/executions/{executionId}/steps/{stepId}/skip",
    roles=OPERATE,
    summary="Leave a step out.",
    body=_REASON,
    answers={202: _DONE, **_NOT_NOW},
)
async def skip_step(request: Request) -> Response:
    return await _settled(request, "skip", await _reason(request))


@act.add(
    "POST",
    "/executions/{executionId}/steps/{stepId}/not-done",
    roles=OPERATE,
    summary="Say that a step whose outcome is unknown did not happen; it is tried again.",
    body=_REASON,
    answers={202: _DONE, **_NOT_NOW},
)
async def step_not_done(request: Request) -> Response:
    await _reason(request)
    return await _settled(request, "not-done", None)


async def _settled(request: Request, verb: str, value: Json) -> Response:
    server, run = await _found(request)
    call, step = call_of(request), request.path_params["stepId"]
    call.about["step"] = step
    try:
        await verbs.settle(server, run, step, verb, value, call.once)
    except InvalidInput as error:  # well said, but not what it waits for
        raise Problem(409, "not_waiting", str(error)) from error
    return await _state(server, run, 202)


# ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _found(request: Request) -> tuple[Server, RunRecord]:
    server = server_of(request)
    run = await server.run(request.path_params["executionId"])
    call_of(request).about["execution"] = run.id
    return server, run


async def _reason(request: Request) -> str:
    fields = await fields_of(request)
    reason = fields.text("reason") or ""
    fields.done()
    call_of(request).about["reason"] = reason
    return reason


async def _state(server: Server, run: RunRecord, status: int) -> Response:
    after = await server.run(run.id)
    return reply({"executionId": after.id, "status": status_of(after)}, status)


def _misfit(name: str, message: str) -> Problem:
    return Problem(400, "invalid_input", message, [detail(f"/{name}", "invalid_input", message)])
