"""``durable runs list``."""

from __future__ import annotations

from datetime import datetime

import click

from durable import Client
from durable.cli.connection import with_client
from durable.cli.ids import find
from durable.cli.ink import OF_STATUS, Span
from durable.cli.inputs import instant, pairs
from durable.cli.options import Command, settings_of
from durable.cli.output import Column, Printer
from durable.cli.run_rows import begun_at, run_value
from durable.cli.text import TimeStyle, span, time_text
from durable.store import RunQuery, RunRecord, RunStatus

__all__ = ["list_runs"]

_LIST_COLUMNS: tuple[Column, ...] = (
    ("id", "<"),
    ("workflow", "<"),
    ("status", "<"),
    ("created", ">"),
    ("took", ">"),
    ("error", "<"),
)


@click.command("list", cls=Command)
@click.option("--workflow", metavar="NAME", help="Only runs of this workflow.")
@click.option(
    "--status",
    multiple=True,
    type=click.Choice([status.value for status in RunStatus]),
    help="Only this status; may be given several times.",
)
@click.option("--label", multiple=True, metavar="NAME=VALUE", help="Only with this label.")
@click.option("--queue", metavar="NAME", help="Only on this queue.")
@click.option("--parent", metavar="ID", help="Only children of this run.")
@click.option("--since", metavar="TIME", help="Created after this: 1d, 30m, or an ISO time.")
@click.option("--until", metavar="TIME", help="Created before this.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="At most so many.")
@click.option("--all", "everything", is_flag=True, help="No limit.")
@click.pass_context
def list_runs(
    ctx: click.Context,
    *,
    workflow: str | None,
    status: tuple[str, ...],
    label: tuple[str, ...],
    queue: str | None,
    parent: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    everything: bool,
) -> None:
    """List runs, newest first."""
    settings = settings_of(ctx)
    printer = Printer(settings)
    labels, after, before = pairs(label, "--label"), instant(since, "--since"), instant(until, "--until")

    async def work(client: Client) -> None:
        query = RunQuery(
            workflow,
            tuple(RunStatus(one) for one in status),
            labels,
            _seconds(after),
            _seconds(before),
            None if parent is None else (await find(client, parent)).id,
            None,
            queue,
        )
        found, more = await _pages(client, query, None if everything else limit)
        now = await client.store.now()
        rows = [_list_row(record, now, printer.table_time) for record in found]
        printer.rows(_LIST_COLUMNS, rows, [run_value(record, printer.json_time) for record in found])
        if not found:
            printer.say("No runs.")
        elif more:
            printer.say(f"There are more than these {limit}: --limit or --all.")

    with_client(settings, work)


async def _pages(client: Client, query: RunQuery, limit: int | None) -> tuple[list[RunRecord], bool]:
    found: list[RunRecord] = []
    cursor: str | None = None
    while True:
        size = 1000 if limit is None else min(limit - len(found), 1000)
        page = await client.store.list(query, size, cursor)
        found += page.runs
        cursor = page.cursor
        if cursor is None or (limit is not None and len(found) >= limit):
            return found, cursor is not None


def _list_row(record: RunRecord, now: float, style: TimeStyle) -> list[Span]:
    status = record.status.value
    begun = begun_at(record)
    took = "-" if begun is None else span((now if record.ended_at is None else record.ended_at) - begun)
    error = record.error if record.ended else record.blocked
    return [
        (record.id, ""),
        (record.workflow, ""),
        ("terminated" if record.terminated else status, OF_STATUS[status]),
        (time_text(record.created_at, now, style), "dim"),
        (took, ""),
        (error or "", "dim"),
    ]


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
