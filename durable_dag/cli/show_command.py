"""``durable dag show``."""

from __future__ import annotations

import sys
from typing import Any, Final, TypeAlias

import click

from durable.cli.ink import Span
from durable.cli.options import Command, Settings, settings_of
from durable.cli.output import Column, Printer
from durable.cli.text import safe, span
from durable_dag.cli.sources import Source, from_either
from durable_dag.graph.definition import PLAIN_SUCCESS, StepDef, read_definition
from durable_dag.graph.plan import Plan
from durable_dag.pictures import ascii_text, drawing_of

Json: TypeAlias = Any

__all__ = ["show", "tell_source"]

_COLUMNS: Final[tuple[Column, ...]] = (
    ("step", "<"),
    ("action", "<"),
    ("after", "<"),
    ("tries", ">"),
    ("runs if", "<"),
    ("name", "<"),
)


@click.command(cls=Command)
@click.argument("what", metavar="ID|FILE")
@click.option("--version", metavar="N", type=click.IntRange(1), help="Default: the newest.")
@click.pass_context
def show(ctx: click.Context, *, what: str, version: int | None) -> None:
    """Draw one definition, and list its steps; with -o json, print the definition itself."""
    settings = settings_of(ctx)
    tell_source(settings, from_either(settings, what, version))


def tell_source(settings: Settings, source: Source) -> None:
    """Print a definition that is known to be good, or good enough to be drawn."""
    printer = Printer(settings)
    if printer.form != "table":
        printer.value(dict(source.document))
        return
    plan = Plan.of(read_definition(source.document))
    definition = plan.definition
    version = "" if source.version is None else f" v{source.version}"
    label = "" if definition.name == definition.id else f"  {safe(definition.name)}"
    off = "" if source.enabled else "  takes no starts"
    printer.line(((f"{safe(definition.id)}{version}", "bold"), (label, ""), (off, "bad")))
    if definition.description:
        printer.line(((safe(definition.description), "dim"),))
    printer.text("")
    for line in ascii_text(drawing_of(plan), unicode=settings.unicode(sys.stdout)).splitlines():
        printer.text(line)
    printer.text("")
    printer.table(_COLUMNS, [_row(step) for step in plan.steps.values()])


def _row(step: StepDef) -> list[Span]:
    after = ", ".join(edge.step + ("" if edge.on == PLAIN_SUCCESS else f" ({edge.on})") for edge in step.edges)
    tries = int(step.retry.max_attempts)
    first = f", first wait {span(step.retry.initial_delay / 1000)}" if tries > 1 else ""
    conditions = [] if step.join == "active" else [f"join {step.join}"]
    conditions += [] if step.when is None else [f"when {step.when}"]
    conditions += [] if step.critical else ["not critical"]
    return [
        (step.id, ""),
        (step.action, ""),
        (after, ""),
        (f"{tries}{first}", "dim"),
        (", ".join(conditions), "dim"),
        (step.name if step.name != step.id else "", "dim"),
    ]
