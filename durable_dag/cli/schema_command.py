"""``durable dag schema``."""

from __future__ import annotations

import click

from durable.cli.options import Command, settings_of
from durable.cli.output import Printer
from durable_dag.cli.engines import engine_of
from durable_dag.graph.actions import BUILT_IN
from durable_dag.validation import definition_schema

__all__ = ["schema"]


@click.command(cls=Command)
@click.option("--app", metavar="APP", help="Name the actions of this program's durable_dag.Engine, too.")
@click.pass_context
def schema(ctx: click.Context, *, app: str | None) -> None:
    """Print the JSON Schema of definitions, for editors."""
    actions = BUILT_IN if app is None else engine_of(app).executors.schemas()
    Printer(settings_of(ctx)).value(definition_schema(actions))
