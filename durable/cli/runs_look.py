"""``durable runs list|show|history|why``: reading, from the store alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from durable import Client, HistoryEntry
from durable._engine.handle import summary
from durable._engine.rewinder import read_journal
from durable.cli.connection import with_client
from durable.cli.ids import find
from durable.cli.ink import OF_STATUS, Span
from durable.cli.inputs import instant, pairs
from durable.cli.options import Command, Settings, settings_of, terminal_columns
from durable.cli.output import Column, Printer
from durable.cli.picture import Picture, Row, picture_of
from durable.cli.text import TimeStyle, json_text, span, time_text, time_value
from durable.cli.timeline import Canvas, draw, headline
from durable.store import RunQuery, RunRecord, RunStatus

__all__ = ["canvas_of", "history", "list_runs", "run_value", "show", "why"]

_LIST_COLUMNS: tuple[Column, ...] = (
    ("id", "<"),
    ("workflow", "<"),
    ("status", "<"),
    ("created", ">"),
    ("took", ">"),
    ("error", "<"),
)
_HISTORY_COLUMNS: tuple[Column, ...] = (
    ("#", ">"),
    ("at", ">"),
    ("event", "<"),
    ("name", "<"),
    ("try", ">"),
    ("value or error", "<"),
)


def run_value(record: RunRecord, style: TimeStyle) -> dict[str, Any]:
    """A run as JSON."""
    row = summary(record)
    return {
        "id": row.id,
        "workflow": row.workflow,
        "version": row.version,
        "status": row.state,
        "queue": row.queue,
        "labels": dict(row.labels),
        "generation": record.generation,
        "created_at": time_value(row.created_at, style),
        "started_at": time_value(row.started_at, style),
        "ended_at": time_value(row.ended_at, style),
        "error": row.error,
        "parent": row.parent,
    }


def canvas_of(settings: Settings, *, rows: int | None = None, every: bool = False) -> Canvas:
    """What the settings and the terminal allow to draw on."""
    return Canvas(terminal_columns(), settings.unicode(sys.stdout), rows, settings.time or "relative", every)


# ── list ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


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
    took = "-"
    if record.started_at is not None:
        took = span((now if record.ended_at is None else record.ended_at) - record.started_at)
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


# ── show ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@click.command(cls=Command)
@click.argument("run_id", metavar="ID")
@click.option("--all", "every", is_flag=True, help="Draw every step in a row of its own, however many there are.")
@click.pass_context
def show(ctx: click.Context, *, run_id: str, every: bool) -> None:
    """Draw one run as a timeline."""
    settings = settings_of(ctx)
    printer = Printer(settings)

    async def work(client: Client) -> None:
        record = await find(client, run_id)
        journal = await read_journal(client.store, record.id, record.generation)
        now = await client.store.now()
        picture = picture_of(record, journal, now, client.link.codec)
        reason = await client.handle(record.id).explain()
        if printer.form != "table":
            printer.value(_show_value(record, picture, reason, printer.json_time))
            return
        canvas = canvas_of(settings, every=every)
        printer.line(headline(record, now, canvas))
        for line in draw(picture, canvas):
            printer.line(line)
        printer.text(reason)

    with_client(settings, work)


def _show_value(record: RunRecord, picture: Picture, reason: str, style: TimeStyle) -> dict[str, Any]:
    return {**run_value(record, style), "why": reason, "steps": [_row_value(row, style) for row in picture.rows]}


def _row_value(row: Row, style: TimeStyle) -> dict[str, Any]:
    return {
        "call": row.call,
        "kind": row.kind,
        "name": row.name,
        "state": row.state,
        "attempts": row.attempts,
        "began_at": time_value(row.begin, style),
        "ended_at": time_value(row.end, style),
        "note": row.note or None,
    }


# ── history ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@click.command(cls=Command)
@click.argument("run_id", metavar="ID")
@click.pass_context
def history(ctx: click.Context, *, run_id: str) -> None:
    """Print a run's journal: one line per entry of its current generation."""
    settings = settings_of(ctx)
    printer = Printer(settings)

    async def work(client: Client) -> None:
        record = await find(client, run_id)
        entries = await client.handle(record.id).history()
        first = record.created_at if record.started_at is None else record.started_at
        rows = [_history_row(entry, first, settings.time) for entry in entries]
        printer.rows(_HISTORY_COLUMNS, rows, [_history_value(entry, printer.json_time) for entry in entries])

    with_client(settings, work)


def _history_row(entry: HistoryEntry, first: float, style: TimeStyle | None) -> Sequence[Span]:
    at = entry.at.timestamp()
    when = f"+{at - first:.3f} s" if style in (None, "relative") else time_text(at, at, style or "iso")
    said: Span = ("" if entry.value is None else json_text(entry.value), "")
    if entry.error is not None:
        said = (entry.error, "bad")
    attempt = str(entry.attempt) if entry.attempt else ""
    return [(str(entry.position), "dim"), (when, "dim"), (entry.event, ""), (entry.name, ""), (attempt, "dim"), said]


def _history_value(entry: HistoryEntry, style: TimeStyle) -> dict[str, Any]:
    return {
        "position": entry.position,
        "at": time_value(entry.at, style),
        "event": entry.event,
        "name": entry.name,
        "call": entry.call,
        "attempt": entry.attempt,
        "value": entry.value,
        "error": entry.error,
    }


# ── why ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@click.command(cls=Command)
@click.argument("run_id", metavar="ID")
@click.pass_context
def why(ctx: click.Context, *, run_id: str) -> None:
    """Say in one sentence what a run waits for, and what to do about it."""
    settings = settings_of(ctx)
    printer = Printer(settings)

    async def work(client: Client) -> None:
        record = await find(client, run_id)
        sentence = await client.handle(record.id).explain()
        if printer.form == "table":
            printer.text(sentence)
        else:
            printer.value({"id": record.id, "status": record.status.value, "why": sentence})

    with_client(settings, work)
