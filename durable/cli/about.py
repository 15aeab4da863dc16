"""``durable version``."""

from __future__ import annotations

import platform

import click

import durable
from durable.cli.options import Command, settings_of
from durable.cli.output import Printer

__all__ = ["version"]


@click.command(cls=Command)
@click.pass_context
def version(ctx: click.Context) -> None:
    """Print the version."""
    printer = Printer(settings_of(ctx))
    if printer.form == "table":
        printer.text(f"durable {durable.__version__} (Python {platform.python_version()})")
    else:
        printer.value({"durable": durable.__version__, "python": platform.python_version()})
