"""The run commands over the API: the same names, the same options, the same exit codes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import click

from durable.cli.apps import looks_like_app
from durable.cli.failures import Exit, Failure
from durable.cli.ink import OF_STATUS, Span
from durable.cli.inputs import instant, json_value, pairs
from durable.cli.options import Settings, seconds
from durable.cli.output import Column, Printer
from durable.cli.text import json_text, many, span, time_text
from durable.clock import SystemClock
from durable_server.remote.calls import find, remote
from durable_server.remote.client import ApiError, RemoteClient

Json = Any
Twin = Callable[..., int | None]

__all__ = ["TWINS"]

_LIST: Final[tuple[Column, ...]] = (
    ("id", "<"),
    ("workflow", "<"),
    ("status", "<"),
    ("created", ">"),
    ("took", ">"),
    ("error", "<"),
)
_STEPS: Final[tuple[Column, ...]] = (
    ("step", "<"),
    ("status", "<"),
    ("try", ">"),
    ("took", ">"),
    ("result or error", "<"),
)
_EVENTS: Final[tuple[Column, ...]] = (
    ("#", ">"),
    ("at", ">"),
    ("event", "<"),
    ("name", "<"),
    ("try", ">"),
    ("data", "<"),
)
_EXITS: Final = {"completed": Exit.OK, "failed": Exit.FAILED, "cancelled": Exit.CANCELLED}
_ENDED: Final = frozenset(_EXITS)
_LOOK_SECONDS: Final = 0.3


# ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def list_runs(settings: Settings, **given: Any) -> None:
    """``runs list``."""
    if given["parent"] is not None:
        raise click.UsageError("A server does not list by parent.")
    unknown = {"waiting", "blocked"} & set(given["status"])
    if unknown:
        raise click.UsageError("To a server what waits, or is blocked, is running: --status running.")
    printer = Printer(settings)
    limit = None if given["everything"] else given["limit"]
    with remote(settings) as client:
        found, more = client.executions(
            limit,
            workflowId=given["workflow"],
            status=list(given["status"]),
            tag=[f"{name}:{value}" for name, value in pairs(given["label"], "--label").items()],
            queue=given["queue"],
            startedAfter=_millis(instant(given["since"], "--since")),
            startedBefore=_millis(instant(given["until"], "--until")),
        )
    now = SystemClock().now()
    printer.rows(_LIST, [_row(one, now, printer) for one in found], found)
    if not found:
        printer.say("No runs.")
    elif more and limit is not None:
        printer.say(f"There are more than these {limit}: --limit or --all.")


def _row(one: Json, now: float, printer: Printer) -> list[Span]:
    end = now if one["endTime"] is None else one["endTime"] / 1000
    took = "-" if one["status"] == "pending" else span(end - one["startTime"] / 1000)
    return [
        (one["executionId"], ""),
        (str(one["workflowId"]), ""),
        (one["status"], OF_STATUS[one["status"]]),
        (time_text(one["createdAt"] / 1000, now, printer.table_time), "dim"),
        (took, ""),
        (one["error"] or "", "dim"),
    ]


def show(settings: Settings, *, run_id: str, every: bool) -> None:
    """``runs show``: the steps as a table; the timeline needs the journal itself."""
    printer = Printer(settings)
    with remote(settings) as client:
        run = client.get(find(client, run_id))
        reason = client.why(run["executionId"])["why"]
    if printer.form != "table":
        printer.value({**run, "why": reason})
        return
    version = "" if run.get("version") is None else f" v{run['version']}"
    printer.text(f"{run['executionId']}  {run['workflowId']}{version}  {run['status']}")
    steps = list(run.get("stepResults", {}).values())
    if steps:
        printer.table(_STEPS, [_step(step) for step in steps])
    printer.text(reason)


def _step(step: Json) -> list[Span]:
    said = step.get("error") or ("" if step.get("result") is None else json_text(step["result"]))
    took = "" if step.get("duration") is None else span(step["duration"] / 1000)
    return [(step["stepId"], ""), (step["status"], ""), (str(step["attempts"]), "dim"), (took, ""), (said, "dim")]


def history(settings: Settings, *, run_id: str) -> None:
    """``runs history``."""
    printer = Printer(settings)
    with remote(settings) as client:
        events = client.history(find(client, run_id))
    now = SystemClock().now()
    rows: list[list[Span]] = []
    for event in events:
        when = time_text(event["time"] / 1000, now, printer.table_time)
        data = "" if event["data"] is None else json_text(event["data"])
        attempt = str(event["attempt"] or "")
        name = event["stepId"] or ""
        rows.append(
            [(str(event["seq"]), "dim"), (when, "dim"), (event["type"], ""), (name, ""), (attempt, ""), (data, "")]
        )
    printer.rows(_EVENTS, rows, events)


def why(settings: Settings, *, run_id: str) -> None:
    """``runs why``."""
    printer = Printer(settings)
    with remote(settings) as client:
        value = client.why(find(client, run_id))
    if printer.form == "table":
        printer.text(value["why"])
    else:
        printer.value(value)


def watch(settings: Settings, *, run_id: str) -> int:
    """``runs watch``: a line per event."""
    printer = Printer(settings)
    with remote(settings) as client:
        id = find(client, run_id)
        for event in client.events(id):
            if printer.form == "table":
                printer.text(f"{event['type']} {event['stepId'] or ''}".rstrip())
            else:
                printer.event(event)
        return int(_EXITS[client.get(id)["status"]])


def result(settings: Settings, *, run_id: str) -> None:
    """``runs result``."""
    with remote(settings) as client:
        _print_end(_ended(client, find(client, run_id), settings), Printer(settings))


def _ended(client: RemoteClient, id: str, settings: Settings) -> Json:
    """The execution when it has ended; a blocked one is not waited for."""
    clock = SystemClock()
    limit = None if settings.timeout is None else clock.monotonic() + settings.timeout
    run = client.get(id)
    pause = threading.Event()
    while run["status"] not in _ENDED:
        blocked = [one for one in run["waitingOn"] if one["kind"] == "blocked"]
        if blocked:
            raise Failure(f"Run {id} is blocked.", f"Look: durable runs why {id}", Exit.CONFLICT)
        if limit is not None and clock.monotonic() >= limit:
            raise Failure(f"Run {id} has not ended.", "It goes on; wait longer with --timeout.", Exit.TIMED_OUT)
        pause.wait(_LOOK_SECONDS)
        run = client.get(id)
    return run


def _print_end(run: Json, printer: Printer) -> None:
    id, status = run["executionId"], run["status"]
    if status == "completed":
        printer.value(run["output"])
        return
    word = "was cancelled" if status == "cancelled" else "failed"
    reason = run.get("error") or run.get("cancelReason") or "no reason was given"
    raise Failure(f"Run {id} {word}: {reason}", f"See where: durable runs show {id}", _EXITS[status])


# ── acting ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def start(settings: Settings, *, workflow: str, wait: bool, **given: Any) -> None:
    """``start``."""
    if looks_like_app(workflow):
        raise click.UsageError("Over a server, name a workflow that its workers have, not code of yours.")
    printer = Printer(settings)
    body: dict[str, Json] = {
        "executionId": given["run_id"],
        "onConflict": {"attach": "return", "reject": "fail", "replace": "restart"}[given["if_exists"]],
        "queue": given["queue"],
        "priority": given["priority"] or None,
        "tags": pairs(given["label"], "--label") or None,
        "delay": None if given["delay"] is None else round(seconds(given["delay"]) * 1000),
    }
    if given["input_text"] is not None:
        value = json_value(given["input_text"], "--input")
        # An object does for both kinds of workflows; whatever else is input for one that is code.
        body["context" if isinstance(value, dict) else "input"] = value
    with remote(settings) as client:
        # Without an id, the key lets the call be sent again when its answer is lost.
        key = given["request_id"] or client.token()
        started = client.start(workflow, key=key, **body)
        id = started["executionId"]
        if wait:
            printer.say(f"Started run {id}.", level=1)
            _print_end(_ended(client, id, settings), printer)
        elif printer.form == "table":
            printer.text(id)
        else:
            printer.value(started)


def signal(settings: Settings, *, run_id: str, name: str, payload: str | None, signal_id: str | None) -> None:
    """``runs signal``."""
    value = None if payload is None else json_value(payload, "--payload")
    with remote(settings) as client:
        id = find(client, run_id)
        client.signal(id, name, value, key=signal_id or client.token())
    Printer(settings).say(f"Signal {name} sent to run {id}.")


def fork(settings: Settings, *, run_id: str, at: str, new_id: str | None) -> None:
    """``runs fork``."""
    printer = Printer(settings)
    with remote(settings) as client:
        made = client.act(find(client, run_id), "fork", key=client.token(), executionId=new_id, **{"from": at})
    if printer.form == "table":
        printer.text(made["executionId"])
    else:
        printer.value(made)


def settle(
    settings: Settings, *, run_id: str, call: str, result_text: str | None, error: str | None, not_done: bool
) -> None:
    """``runs settle``."""
    if (result_text is not None) + (error is not None) + not_done != 1:
        raise click.UsageError("Give exactly one of --result, --error and --not-done.")
    with remote(settings) as client:
        id = find(client, run_id)
        if result_text is not None:
            client.act(id, "steps", call, "complete", result=json_value(result_text, "--result"))
        elif error is not None:
            client.act(id, "steps", call, "fail", error=error)
        else:
            client.act(id, "steps", call, "not-done")
    Printer(settings).say(f"Run {id}: settled.")


def _verb(done: str, *verb: str, **fixed: Json) -> Twin:
    def twin(
        settings: Settings, *, run_ids: tuple[str, ...], conditions: str | None, dry_run: bool, **more: Any
    ) -> int:
        if conditions is not None:
            raise click.UsageError("Over a server, give IDs; --filter needs the store itself.")
        if not run_ids:
            raise click.UsageError("Give IDs.")
        printer, code = Printer(settings), 0
        with remote(settings) as client:
            for id in dict.fromkeys(find(client, asked) for asked in run_ids):
                if dry_run:
                    printer.text(id)
                    continue
                try:
                    client.act(id, *verb, **fixed, **_members(more))
                except ApiError as error:
                    if len(run_ids) == 1 or error.status not in (404, 409):
                        raise
                    printer.say(str(error), level=-2)
                    code = max(code, int(Exit.CONFLICT))
                    continue
                if printer.form == "table":
                    printer.say(f"Run {id}: {done}.")
                else:
                    printer.event({"id": id, "done": done})
            if dry_run:
                printer.say(f"{many(len(run_ids), 'run')}.")
        return code

    return twin


def _members(more: Mapping[str, Any]) -> dict[str, Json]:
    members: dict[str, Json] = {}
    if more.get("reason"):
        members["reason"] = more["reason"]
    if more.get("from_step"):
        members["from"] = [more["from_step"]]
    return members


def _millis(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.timestamp() * 1000)


TWINS: Final[Mapping[str, Twin]] = {
    "start": start,
    "runs list": list_runs,
    "runs show": show,
    "runs history": history,
    "runs why": why,
    "runs watch": watch,
    "runs result": result,
    "runs signal": signal,
    "runs fork": fork,
    "runs settle": settle,
    "runs cancel": _verb("asked to end", "cancel"),
    "runs terminate": _verb("terminated", "cancel", mode="now"),
    "runs pause": _verb("asked to pause", "pause"),
    "runs resume": _verb("resumed", "resume"),
    "runs retry": _verb("begun again", "retry"),
}
"""The commands that work over a server, by their path; each takes the settings and what its twin takes."""
