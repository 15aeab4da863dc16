"""``durable runs export``: a run as JSON or as a picture, of definitions and of code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import click

from durable import Client
from durable.cli.connection import with_client
from durable.cli.failures import Exit, Failure
from durable.cli.ids import find
from durable.cli.options import Command, settings_of
from durable.cli.output import Printer
from durable.cli.picture import Picture, Row
from durable.cli.runs_look import hidden, history_value, pictured, show_value
from durable.cli.text import json_text
from durable_dag.cli.engines import told_well
from durable_dag.cli.export_command import print_lines
from durable_dag.engine import DAG, Engine
from durable_dag.pictures import Drawing, Stretch, Timeline, Track, dot, gantt, mermaid, svg, timeline_svg

Json: TypeAlias = Any

__all__ = ["FORMS", "drawn", "export", "no_graph", "told_timeline"]

FORMS: Final = ("json", "svg", "mermaid", "dot")
_GRAPHS: Final = {"svg": svg, "mermaid": mermaid, "dot": dot}
_TIMELINES: Final = {"svg": timeline_svg, "mermaid": gantt}
_STATUSES: Final[Mapping[str, Any]] = {
    "ok": "success",
    "failed": "failed",
    "running": "running",
    "backoff": "running",
    "waiting": "running",
    "unknown": "running",
    "dropped": "skipped",
}


@click.command("export", cls=Command, short_help="Write one run as JSON or as a picture.")
@click.argument("run_id", metavar="ID")
@click.option("--format", "form", required=True, type=click.Choice(FORMS), help="json has its history, too.")
@click.option("--timeline", is_flag=True, help="Draw times, where a definition's run is drawn as a graph.")
@click.pass_context
def export(ctx: click.Context, *, run_id: str, form: str, timeline: bool) -> None:
    """Write one run to stdout: as JSON, or as a picture of its state.

    A run of a definition is drawn as its graph, a run of code as a timeline. In JSON, texts under telling names
    (password, token, authorization, ...) are shown as [hidden].
    """
    settings = settings_of(ctx)
    printer = Printer(settings)

    async def work(client: Client) -> str:
        record = await find(client, run_id)
        is_graph = record.workflow == DAG
        if form == "json":
            return json_text(await _value(client, record, is_graph, printer), indent=2)
        if is_graph and not timeline:
            return drawn(await Engine(client).drawing(record.id), form)
        picture, _ = await pictured(client, record)
        title = f"{record.id}  {record.workflow}  {record.status.value}"
        return told_timeline(_timeline(title, picture), form)

    with told_well():
        print_lines(printer, with_client(settings, work))


async def _value(client: Client, record: Any, is_graph: bool, printer: Printer) -> Json:
    history = [history_value(entry, printer.json_time) for entry in await client.handle(record.id).history()]
    if is_graph:
        execution = hidden(await Engine(client).get(record.id))
    else:
        picture, _ = await pictured(client, record)
        execution = show_value(record, picture, await client.handle(record.id).explain(), printer.json_time)
    return {"execution": execution, "history": history}


def drawn(drawing: Drawing, form: str) -> str:
    """A graph."""
    return _GRAPHS[form](drawing)


def told_timeline(timeline: Timeline, form: str) -> str:
    """A timeline.

    Raises:
        Failure: Times cannot be said in this form.
    """
    if form not in _TIMELINES:
        raise no_graph()
    return _TIMELINES[form](timeline)


def no_graph() -> Failure:
    """Times and calls of code are no graph."""
    return Failure("Only a definition's run has a graph.", "A timeline is svg or mermaid.", Exit.CONFLICT)


def _timeline(title: str, picture: Picture) -> Timeline:
    return Timeline(title, picture.start, picture.end, tuple(_track(row) for row in picture.rows))


def _track(row: Row) -> Track:
    label = row.name if row.kind == "step" else f"{row.kind} {row.name}"
    stretches = tuple(Stretch(bar.start, bar.end, bar.stroke) for bar in row.bars)
    return Track(label, _STATUSES[row.state], stretches, row.note)
