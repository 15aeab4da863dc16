"""After a run's end (or at the beginning of its next generation): children are closed, ``on_complete`` is started."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, final

from durable._author import outcomes
from durable._core.identity import derived_id
from durable._engine.endings import cancelled_outcome
from durable._engine.runner import Runner
from durable._engine.services import Services
from durable._model.commits import Closed
from durable._model.controls import Cancel, Control, Terminate, Verb
from durable._model.ids import RunId
from durable._model.reads import RunQuery
from durable._model.runs import NewRun, Parent, RunRecord, RunStatus
from durable.codec import Arguments, Codec, ValueType, digest, error_line
from durable.errors import NotSerializable, PayloadTooLarge

__all__ = ["Completion", "close", "pack_on_complete"]

_LIVE = (RunStatus.PENDING, RunStatus.RUNNING, RunStatus.WAITING, RunStatus.PAUSED, RunStatus.BLOCKED)
_JSON: ValueType[Any] = ValueType.of(Any)
_PAGE = 100


@final
@dataclass(frozen=True)
class Completion:
    """What an ``on_complete`` workflow is given.

    Attributes:
        kind: How the run ended: ``"success"``, ``"error"`` or ``"canceled"``.
        result: As JSON, for a success; None, and ``error`` says so, if it is too large to be handed on.
        error: One line, for an error; the reason, for a cancel.
        context: What the starter gave as ``on_complete_context``.
    """

    run_id: str
    workflow: str
    kind: Literal["success", "error", "canceled"]
    result: Any = None
    error: str | None = None
    context: Any = None


def _takes_completion(completion: Completion) -> None:
    """Its parameters are those of every on_complete workflow."""


_COMPLETION: Arguments = Arguments.of(_takes_completion)


def pack_on_complete(workflow: str, version: str, queue: str, context: Any, codec: Codec) -> bytes:
    """The order that lies in the run's row until its end."""
    raw = _JSON.dump(context, "on_complete_context")
    if len(raw) > codec.payload_bytes_max // 2:
        raise PayloadTooLarge(
            f"on_complete_context: {len(raw):,} bytes encoded, and the limit is {codec.payload_bytes_max // 2:,}: half "
            "of a payload, so that the completion fits beside it."
        )
    head = json.dumps({"workflow": workflow, "version": version, "queue": queue}).encode()
    return head + b"\n" + codec.seal(raw, "on_complete_context")


async def close(runner: Runner, services: Services) -> bool:
    """Close what is to be closed, page by page; whether the claim is still ours."""
    run, store = runner.run, services.store
    cursor: str | None = None
    while True:
        page = await services.weather.through(
            partial(store.list, RunQuery(parent=run.id, statuses=_LIVE), _PAGE, cursor)
        )
        controls = [
            Control(child.id, f"close/{run.id}/{run.generation}", verb)
            for child in page.runs
            if (verb := _verb(run, child, services.codec)) is not None
        ]
        if controls:
            await services.weather.through(partial(store.control, controls))
        cursor = page.cursor
        if cursor is None:
            break
    follower = await _follower(run, services)
    # An end that the store itself has made (a terminate, the cancel of a run that had not begun) knows no retention.
    keep = runner.workflow.policy.retention.keep_seconds(run.status) if run.ended else None
    answer = await runner.write(runner.next_commit(Closed(keep), children=follower))
    return answer.at > 0.0


def _verb(run: RunRecord, child: RunRecord, codec: Codec) -> Verb | None:
    parent = child.parent
    if parent is None or parent.on_close == "abandon" or (not run.ended and parent.generation >= run.generation):
        return None
    outcome = cancelled_outcome(codec, "its parent has ended")
    if parent.on_close == "terminate":
        return Terminate("its parent has ended", outcome)
    return Cancel("its parent has ended", codec.seal(b'"its parent has ended"', "cancel reason"), outcome)


async def _follower(run: RunRecord, services: Services) -> tuple[NewRun, ...]:
    if not run.ended or run.on_complete is None:
        return ()
    head, _, sealed_context = run.on_complete.partition(b"\n")
    order = json.loads(head)
    codec = services.codec
    sealed = await services.weather.through(lambda: services.store.outcome(run.id))
    assert sealed is not None
    context = _JSON.load(codec.open(sealed_context), "on_complete_context")
    completion = _completion(run, codec.open(sealed), context)
    raw = _packed(completion)
    if raw is None or len(raw) > codec.payload_bytes_max:  # it is started all the same
        line = completion.error or "The result is too large to be handed on; read it from the run."
        raw = _COMPLETION.dump((replace(completion, result=None, error=line[:1000]),), {}, "completion")
    call = f"on_complete/{run.generation}"
    return (
        NewRun(
            RunId(f"{run.id.encode()[:200].decode(errors='ignore')}.done.{derived_id(run.id, str(run.generation))}"),
            order["workflow"],
            order["version"],
            order["queue"],
            codec.seal(raw, "completion"),
            digest(order["workflow"], raw),
            derived_id(run.seed, call) + "0" * 8,
            run.priority,
            parent=Parent(run.id, call, run.generation, "abandon", notify=False),
        ),
    )


def _packed(completion: Completion) -> bytes | None:
    """None if there is no room for the result's depth: an older release let deeper ones in."""
    try:
        return _COMPLETION.dump((completion,), {}, "completion")
    except NotSerializable:
        return None


def _completion(run: RunRecord, raw: bytes, context: Any) -> Completion:
    kind, rest = outcomes.read(raw)
    if kind == "completed":
        return Completion(run.id, run.workflow, "success", _JSON.load(rest, "result"), None, context)
    if kind == "failed":
        return Completion(run.id, run.workflow, "error", None, error_line(rest), context)
    return Completion(run.id, run.workflow, "canceled", None, outcomes.reason_of(rest), context)
