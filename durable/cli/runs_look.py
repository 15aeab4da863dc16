"""``durable runs show|history|why``: reading one run, from the store alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

import click

from durable import Client, HistoryEntry
from durable._engine.rewinder import read_journal
from durable._model.privacy import masked
from durable.cli.connection import with_client
from durable.cli.ids import find
from durable.cli.ink import Span
from durable.cli.options import Command, Settings, settings_of, terminal_columns
from durable.cli.output import Column, Printer
from durable.cli.picture import Picture, Row, picture_of
from durable.cli.run_rows import run_value
from durable.cli.text import TimeStyle, json_text, time_text, time_value
from durable.cli.timeline import Canvas, draw, headline
from durable.cli.wards import can_be_written
from durable.store import RunRecord

__all__ = ["hidden", "history", "history_value", "pictured", "show", "show_value", "why"]

_LATE_SECONDS: Final = 5.0

_HISTORY_COLUMNS: tuple[Column, ...] = (
    ("#", ">"),
    ("at", ">"),
    ("event", "<"),
    ("name", "<"),
    ("try", ">"),
    ("value or error", "<"),
)


def _canvas_of(settings: Settings, *, rows: int | None = None, every: bool = False) -> Canvas:
    """What the settings and the terminal allow to draw on."""
    return Canvas(terminal_columns(), settings.unicode(sys.stdout), rows, settings.time or "relative", every)


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
        picture, now = await pictured(client, record)
        reason = await client.handle(record.id).explain()
        if printer.form != "table":
            printer.value(show_value(record, picture, reason, printer.json_time))
            return
        canvas = _canvas_of(settings, every=every)
        printer.line(headline(record, now, canvas))
        for line in draw(picture, canvas):
            printer.line(line)
        printer.text(reason)

    with_client(settings, work)


async def pictured(client: Client, record: RunRecord) -> tuple[Picture, float]:
    """A run's picture, and the store's time of the look."""
    journal = await read_journal(client.store, record.id, record.generation)
    now = await client.store.now()
    return picture_of(record, journal, now, client.link.codec), now


def show_value(record: RunRecord, picture: Picture, reason: str, style: TimeStyle) -> dict[str, Any]:
    """A run with its calls, as JSON."""
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
    """Print a run's journal: one line per entry of its current generation.

    Texts under telling names (password, token, authorization, ...) are shown as [hidden].
    """
    settings = settings_of(ctx)
    printer = Printer(settings)

    async def work(client: Client) -> None:
        record = await find(client, run_id)
        entries = await client.handle(record.id).history()
        first = record.created_at if record.started_at is None else record.started_at
        rows = [_history_row(entry, first, settings.time) for entry in entries]
        printer.rows(_HISTORY_COLUMNS, rows, [history_value(entry, printer.json_time) for entry in entries])

    with_client(settings, work)


def _history_row(entry: HistoryEntry, first: float, style: TimeStyle | None) -> Sequence[Span]:
    at = entry.at.timestamp()
    when = f"+{at - first:.3f} s" if style in (None, "relative") else time_text(at, at, style or "iso")
    said: Span = ("" if entry.value is None else json_text(masked(entry.value)), "")
    if entry.error is not None:
        said = (entry.error, "bad")
    attempt = str(entry.attempt) if entry.attempt else ""
    return [(str(entry.position), "dim"), (when, "dim"), (entry.event, ""), (entry.name, ""), (attempt, "dim"), said]


def hidden(value: Any) -> Any:
    """A JSON value for people: texts under telling names are hidden."""
    return masked(value)


def history_value(entry: HistoryEntry, style: TimeStyle) -> dict[str, Any]:
    """One entry of a journal, as JSON."""
    return {
        "position": entry.position,
        "at": time_value(entry.at, style),
        "event": entry.event,
        "name": entry.name,
        "call": entry.call,
        "attempt": entry.attempt,
        "value": masked(entry.value),
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
        if await _is_left_alone(client, record) and not (writing := await can_be_written(client)).ok:
            sentence = f"{sentence} The store {writing.said}: {writing.items[0]}"
        if printer.form == "table":
            printer.text(sentence)
        else:
            printer.value({"id": record.id, "status": record.status.value, "why": sentence})

    with_client(settings, work)


async def _is_left_alone(client: Client, run: RunRecord) -> bool:
    """Whether its worker is gone, or it is due and nobody comes: perhaps because nobody can write the store."""
    if run.ended or (run.owner is None and run.due_at is None):
        return False
    if run.owner is None:
        return run.due_at is not None and await client.store.now() - run.due_at > _LATE_SECONDS
    return not any(session.id == run.owner and session.alive for session in await client.store.sessions())
