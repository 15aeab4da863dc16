"""``durable run`` and ``durable start``."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import click

from durable import Client, Handle, Invocation, Worker, Workflow
from durable.cli.apps import load_app, looks_like_app, one_workflow
from durable.cli.connection import with_client
from durable.cli.failures import Exit, Failure
from durable.cli.inputs import json_value, pairs
from durable.cli.options import Command, Settings, seconds, settings_of
from durable.cli.output import Printer
from durable.cli.views import view_on
from durable.cli.waiting import tell_end, until_ended

__all__ = ["run", "start"]

_ABSENT: Final[Any] = object()
_DRAIN_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Order:
    """How a run is to be started; ``input`` is ``_ABSENT`` where none was given."""

    input: Any
    id: str | None
    if_exists: Any
    request_id: str | None
    labels: dict[str, str]
    queue: str | None
    priority: int
    delay: float | None


def _starting(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how a run starts."""
    options = [
        click.option("-i", "--input", "input_text", metavar="JSON|@FILE|-", help="Its input. Default: none."),
        click.option("--id", "run_id", metavar="ID", help="Of the run; the same id again is the same run."),
        click.option(
            "--if-exists",
            type=click.Choice(["attach", "reject", "replace"]),
            default="attach",
            show_default=True,
            help="If the id is taken: go on with that run, refuse, or begin it anew.",
        ),
        click.option("--request-id", metavar="ID", help="Makes a replace repeatable; random by default."),
        click.option("--label", multiple=True, metavar="NAME=VALUE", help="To list and count by."),
        click.option("--queue", metavar="NAME", help="Which workers may take it."),
        click.option("--priority", type=int, default=0, help="Higher is taken up first."),
        click.option("--delay", metavar="DURATION", help="Not before this much time has passed."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _order(**given: Any) -> Order:
    text, delay = given["input_text"], given["delay"]
    return Order(
        _ABSENT if text is None else json_value(text, "--input"),
        given["run_id"],
        given["if_exists"],
        given["request_id"],
        pairs(given["label"], "--label"),
        given["queue"],
        given["priority"],
        None if delay is None else seconds(delay),
    )


# ── run ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@click.command(cls=Command)
@click.argument("app", metavar="APP:WORKFLOW")
@_starting
@click.pass_context
def run(ctx: click.Context, /, *, app: str, **given: Any) -> None:
    """Start a run, work on it in this process, show it live, and print its result as JSON.

    With --id it is resumable: the same command again goes on where it was. Several parameters are given as a JSON
    object by name, or as an array.
    """
    settings, order = settings_of(ctx), _order(**given)
    printer = Printer(settings)
    loaded = load_app(app)
    workflow = one_workflow(loaded, app)
    started: list[str] = []

    async def work(client: Client) -> None:
        read: list[str] = [*loaded.queues, *([order.queue] if order.queue else [])]
        queues = tuple(dict.fromkeys(read))
        worker = Worker(client, workflows=loaded.workflows, steps=loaded.steps, queues=queues, drain=_DRAIN_SECONDS)
        async with worker:
            handle = await _start(client, workflow, order)
            started.append(handle.id)
            ended = await until_ended(client, handle.id, view_on(client, printer, sys.stderr), leave_blocked=True)
        await tell_end(client, ended, printer)

    try:
        with_client(settings, work, create=True)
    except KeyboardInterrupt:
        raise _interrupted(started, app, settings) from None


def _interrupted(started: list[str], app: str, settings: Settings) -> Failure:
    if not started:
        return Failure("Interrupted.", "", Exit.INTERRUPTED)
    again = f"durable run {app} --id {started[0]}" if settings.store is None else ""
    return Failure(
        f"Interrupted. Run {started[0]} is kept and goes on when a worker has it.",
        f"Go on with the same input: {again}" if again else "Go on: the same command with --id " + started[0],
        Exit.INTERRUPTED,
    )


# ── start ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@click.command(cls=Command)
@click.argument("workflow", metavar="WORKFLOW")
@_starting
@click.option("--wait", is_flag=True, help="Follow it, and print its result.")
@click.pass_context
def start(ctx: click.Context, /, *, workflow: str, wait: bool, **given: Any) -> None:
    """Start a run for workers to take up, and print its id.

    WORKFLOW is a name that a worker of the store has registered, or APP:WORKFLOW: the code itself, which checks the
    input.
    """
    settings, order = settings_of(ctx), _order(**given)
    printer = Printer(settings)
    by_code = looks_like_app(workflow)
    target: Any = one_workflow(load_app(workflow), workflow) if by_code else workflow

    async def work(client: Client) -> None:
        handle = await _start(client, target, order)
        if not wait:
            if printer.form == "table":
                printer.text(handle.id)
            else:
                printer.value({"id": handle.id})
            return
        printer.say(f"Started run {handle.id}.", level=1)
        ended = await until_ended(client, handle.id, view_on(client, printer, sys.stderr), leave_blocked=True)
        await tell_end(client, ended, printer)

    with_client(settings, work, create=by_code)


async def _start(client: Client, workflow: Any, order: Order) -> Handle[Any]:
    replacing = order.if_exists == "replace" and order.request_id is None
    options: dict[str, Any] = {
        "id": order.id,
        "if_exists": order.if_exists,
        "labels": order.labels,
        "queue": order.queue,
        "priority": order.priority,
        "delay": order.delay,
        "request_id": client.link.clock.token() if replacing else order.request_id,
    }
    if isinstance(workflow, Workflow):
        return await client.start(_bound(workflow, order.input), **options)
    given = () if order.input is _ABSENT else (order.input,)
    return await client.start(workflow, *given, **options)


def _bound(workflow: Workflow[..., Any], value: Any) -> Invocation[Any]:
    """The workflow with its arguments: one parameter takes the input whole; of several, an object gives them by name
    and an array by position."""
    what = f"input of workflow {workflow.name!r}"
    parameters = list(inspect.signature(workflow.fn).parameters.values())[1:]
    document: Any
    if value is _ABSENT:
        document = []
    elif len(parameters) == 1 or not parameters:
        document = [value]
    elif isinstance(value, dict):
        document = {"args": [], "kwargs": value}
    elif isinstance(value, list):
        document = value
    else:
        names = ", ".join(parameter.name for parameter in parameters)
        raise Failure(
            f"Workflow {workflow.name!r} takes several parameters ({names}).",
            "Give --input as a JSON object by name, or as an array.",
        )
    args, kwargs = workflow.arguments.load(json.dumps(document).encode(), what)
    return workflow.bind(*args, **kwargs)
