"""``durable dag export``: a definition as a program, a picture, or itself."""

from __future__ import annotations

import asyncio
import json
from typing import Any, TypeAlias

import click

from durable.cli.failures import Exit, Failure
from durable.cli.options import Command, Settings, settings_of
from durable.cli.output import Printer
from durable.cli.text import safe
from durable_dag.cli.engines import engine_of
from durable_dag.cli.sources import Source, from_either, good_plan
from durable_dag.engine import Engine
from durable_dag.export import NotExportable, python_program
from durable_dag.pictures import dot, drawing_of, mermaid, svg

Json: TypeAlias = Any

__all__ = ["export", "print_lines", "tell_export"]

_PICTURES = {"mermaid": mermaid, "dot": dot, "svg": svg}


@click.command(cls=Command)
@click.argument("what", metavar="FILE|ID")
@click.option(
    "--format",
    "form",
    required=True,
    type=click.Choice(["python", "mermaid", "dot", "svg", "json"]),
    help="python is a program with one workflow, for `durable run`; json is the definition itself.",
)
@click.option("--version", metavar="N", type=click.IntRange(1), help="Of a registered one. Default: the newest.")
@click.pass_context
def export(ctx: click.Context, *, what: str, form: str, version: int | None) -> None:
    """Write a definition to stdout in another form.

    Words about it, as what a program leaves out, go to stderr.
    """
    settings = settings_of(ctx)
    tell_export(settings, from_either(settings, what, version), form)


def tell_export(settings: Settings, source: Source, form: str) -> None:
    """Print it.

    Raises:
        Failure: The definition is not good, or cannot be said in this form.
    """
    printer = Printer(settings)
    if form == "json":
        print_lines(printer, json.dumps(source.document, indent=2, ensure_ascii=False))
        return

    async def work() -> str:
        engine: Engine = engine_of(None, allow_unknown=True)
        try:
            plan = await good_plan(engine, source)
        finally:
            await engine.close()
        if form != "python":
            return _PICTURES[form](drawing_of(plan))
        text, left_out = python_program(plan, version=source.version)
        for one in left_out:
            printer.say(f"Not in the program: {one}.")
        return text

    try:
        print_lines(printer, asyncio.run(work()))
    except NotExportable as error:
        raise Failure(
            f"{source.name} cannot be written in {form}: {error.reasons[0]}", "; ".join(error.reasons[1:]), Exit.FAILED
        ) from error


def print_lines(printer: Printer, text: str) -> None:
    """A text of several lines as data; nothing in it can steer a terminal."""
    for line in text.splitlines():
        printer.line(((safe(line), ""),))
