"""``durable runs signal|cancel|terminate|pause|resume|retry|fork|settle``: acting on runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import click

from durable import Client, DurableError, Handle, StepError
from durable.cli.connection import with_client
from durable.cli.failures import Exit, Failure, told
from durable.cli.ids import find
from durable.cli.inputs import instant, json_value, pairs
from durable.cli.options import Command, settings_of
from durable.cli.output import Printer
from durable.cli.text import many
from durable.store import RunQuery, RunStatus

__all__ = ["cancel", "fork", "pause", "resume", "retry", "settle", "signal", "terminate"]

Verb = Callable[[Handle[Any]], Awaitable[None]]


# ── many at once ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _bulk(command: Callable[..., Any]) -> Callable[..., Any]:
    """IDs, or a filter that names them."""
    options = [
        click.argument("run_ids", metavar="ID...", nargs=-1),
        click.option(
            "--filter",
            "conditions",
            metavar="'NAME=VALUE ...'",
            help="Instead of IDs: workflow=, status=, queue=, since=, label.NAME=. Counts and asks first.",
        ),
        click.option("--dry-run", is_flag=True, help="Only say which runs it would be."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _each(
    ctx: click.Context, done: str, verb: Verb, run_ids: tuple[str, ...], conditions: str | None, dry: bool
) -> int:
    """Do it to each run; go on after a refusal, and end with the gravest exit code."""
    settings = settings_of(ctx)
    printer = Printer(settings)
    if bool(run_ids) == (conditions is not None):
        raise click.UsageError("Give IDs or --filter, one of the two.", ctx)
    query = None if conditions is None else _query(conditions)

    async def work(client: Client) -> int:
        ids: list[str]
        if query is None:
            ids = [(await find(client, asked)).id for asked in run_ids]
        else:
            ids = await _selected(client, query)
            if ids and not dry and not printer.confirm(f"{many(len(ids), 'run')} would be {done}. Go on?"):
                raise Failure("Nothing was done.", "", Exit.INTERRUPTED)
        code = 0
        for id in dict.fromkeys(ids):
            code = max(code, 0 if dry else await _one(client.handle(id), verb, printer), key=_gravity)
            if dry:
                printer.text(id)
        if dry or query is not None:
            printer.say(f"{many(len(ids), 'run')}{'.' if dry else ' done.'}")
        return code

    async def _one(handle: Handle[Any], verb: Verb, printer: Printer) -> int:
        try:
            await verb(handle)
        except DurableError as error:
            failure = told(error)
            if failure is None or len(run_ids) == 1:
                raise
            printer.say(f"{failure.what}", level=-2)
            return int(failure.code)
        if printer.form == "table":
            printer.say(f"Run {handle.id}: {done}.")
        else:
            printer.event({"id": handle.id, "done": done})
        return 0

    return with_client(settings, work)


def _gravity(code: int) -> int:
    return (0, int(Exit.CONFLICT), int(Exit.NOT_FOUND), int(Exit.USAGE), int(Exit.UNREACHABLE)).index(code)


def _query(conditions: str) -> RunQuery:
    workflow: str | None = None
    queue: str | None = None
    statuses: tuple[RunStatus, ...] = ()
    since: datetime | None = None
    labels: dict[str, str] = {}
    for name, value in pairs(conditions.split(), "--filter").items():
        match name.partition("."):
            case ("workflow", "", _):
                workflow = value
            case ("queue", "", _):
                queue = value
            case ("since", "", _):
                since = instant(value, "--filter")
            case ("status", "", _):
                try:
                    statuses = tuple(RunStatus(one) for one in value.split(","))
                except ValueError:
                    raise click.BadParameter(f"{value!r} is not a status.", param_hint="--filter") from None
            case ("label", ".", label) if label:
                labels[label] = value
            case _:
                raise click.BadParameter(
                    f"{name!r} is none of workflow, status, queue, since, label.NAME.", param_hint="--filter"
                )
    after = None if since is None else since.timestamp()
    return RunQuery(workflow, statuses, labels, after, None, None, None, queue)


async def _selected(client: Client, query: RunQuery) -> list[str]:
    ids: list[str] = []
    cursor: str | None = None
    while True:
        page = await client.store.list(query, 1000, cursor)
        ids += [record.id for record in page.runs]
        cursor = page.cursor
        if cursor is None:
            return ids


_REASON = click.option("--reason", default="", metavar="TEXT", help="Kept with the run.")


@click.command(cls=Command)
@_bulk
@_REASON
@click.pass_context
def cancel(ctx: click.Context, *, run_ids: tuple[str, ...], conditions: str | None, dry_run: bool, reason: str) -> int:
    """Ask runs to end. Their code may clean up first; `terminate` does not let it."""
    return _each(ctx, "asked to end", lambda handle: handle.cancel(reason), run_ids, conditions, dry_run)


@click.command(cls=Command)
@_bulk
@_REASON
@click.pass_context
def terminate(
    ctx: click.Context, *, run_ids: tuple[str, ...], conditions: str | None, dry_run: bool, reason: str
) -> int:
    """End runs now, without clean-up."""
    return _each(ctx, "terminated", lambda handle: handle.terminate(reason), run_ids, conditions, dry_run)


@click.command(cls=Command)
@_bulk
@click.pass_context
def pause(ctx: click.Context, *, run_ids: tuple[str, ...], conditions: str | None, dry_run: bool) -> int:
    """Begin no new step; those in flight end."""
    return _each(ctx, "asked to pause", lambda handle: handle.pause(), run_ids, conditions, dry_run)


@click.command(cls=Command)
@_bulk
@click.pass_context
def resume(ctx: click.Context, *, run_ids: tuple[str, ...], conditions: str | None, dry_run: bool) -> int:
    """Go on after a pause, or when what blocked the run is mended."""
    return _each(ctx, "resumed", lambda handle: handle.resume(), run_ids, conditions, dry_run)


@click.command(cls=Command)
@_bulk
@click.option("--from-step", metavar="STEP", help="Cut before this step's outcome, instead of at the last failure.")
@click.pass_context
def retry(
    ctx: click.Context, *, run_ids: tuple[str, ...], conditions: str | None, dry_run: bool, from_step: str | None
) -> int:
    """Begin ended runs again, keeping what their journals have before the failure."""
    return _each(ctx, "begun again", lambda handle: handle.retry(from_step=from_step), run_ids, conditions, dry_run)


# ── one run ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@click.command(cls=Command)
@click.argument("run_id", metavar="ID")
@click.argument("name", metavar="NAME")
@click.option("-p", "--payload", metavar="JSON|@FILE|-", help="What it carries. Default: null.")
@click.option("--id", "signal_id", metavar="ID", help="Sent twice with one id, it is received once.")
@click.pass_context
def signal(ctx: click.Context, *, run_id: str, name: str, payload: str | None, signal_id: str | None) -> None:
    """Send a signal to a run; it is kept until the run asks for it."""
    value = None if payload is None else json_value(payload, "--payload")
    settings = settings_of(ctx)

    async def work(client: Client) -> None:
        record = await find(client, run_id)
        await client.signal(record.id, name, value, id=signal_id)
        Printer(settings).say(f"Signal {name} sent to run {record.id}.")

    with_client(settings, work)


@click.command(cls=Command)
@click.argument("run_id", metavar="ID")
@click.option("--at", required=True, metavar="STEP", help="The first step that the new run carries out itself.")
@click.option("--id", "new_id", metavar="ID", help="Of the new run. Default: random.")
@click.pass_context
def fork(ctx: click.Context, *, run_id: str, at: str, new_id: str | None) -> None:
    """Make a new run with this run's input and its journal before a step, and print the new id."""
    settings = settings_of(ctx)
    printer = Printer(settings)

    async def work(client: Client) -> None:
        record = await find(client, run_id)
        handle = await client.handle(record.id).fork(at=at, id=new_id)
        if printer.form == "table":
            printer.text(handle.id)
        else:
            printer.value({"id": handle.id, "forked_from": record.id, "at": at})

    with_client(settings, work)


@click.command(cls=Command)
@click.argument("run_id", metavar="ID")
@click.argument("call", metavar="STEP")
@click.option("--result", "result_text", metavar="JSON|@FILE|-", help="It happened, with this result.")
@click.option("--error", metavar="TEXT", help="It failed so.")
@click.option("--not-done", is_flag=True, help="It did not happen: it is tried again.")
@click.pass_context
def settle(
    ctx: click.Context, *, run_id: str, call: str, result_text: str | None, error: str | None, not_done: bool
) -> None:
    """Say what became of a step whose outcome is unknown; the run goes on from there.

    STEP is its name as `runs why` gives it.
    """
    if (result_text is not None) + (error is not None) + not_done != 1:
        raise click.UsageError("Give exactly one of --result, --error and --not-done.", ctx)
    settings = settings_of(ctx)

    async def work(client: Client) -> None:
        handle = client.handle((await find(client, run_id)).id)
        if result_text is not None:
            await handle.settle(call, result=json_value(result_text, "--result"))
        else:
            await handle.settle(call, error=None if error is None else StepError(error), not_done=not_done)
        Printer(settings).say(f"Run {handle.id}: step {call} is settled.")

    with_client(settings, work)
