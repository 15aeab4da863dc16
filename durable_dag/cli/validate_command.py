"""``durable dag validate``: everything that is wrong with definitions, without a store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import click

from durable.cli.failures import Exit
from durable.cli.ink import Span
from durable.cli.options import Command, settings_of
from durable.cli.output import Printer
from durable.cli.text import safe
from durable_dag.cli.documents import Document, Unreadable, read_document
from durable_dag.cli.engines import engine_of
from durable_dag.cli.findings import counted, finding_value, tell_findings
from durable_dag.engine import Engine

Json: TypeAlias = Any

__all__ = ["checked_with", "each_document", "tell_checks", "validate"]


@click.command(cls=Command)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--strict", is_flag=True, help="Warnings are problems, too.")
@click.option("--app", metavar="APP", help="Knows the actions of this program's durable_dag.Engine.")
@click.option("--allow-unknown", is_flag=True, help="A worker may bring further actions later.")
@click.pass_context
def validate(ctx: click.Context, *, files: tuple[str, ...], strict: bool, app: str | None, allow_unknown: bool) -> int:
    """Say everything that is wrong with definitions, each with its place; exit code 1 if there is anything.

    Needs no store. With --server, the server checks, with the actions that it knows.
    """

    async def work() -> list[tuple[Document, Json]]:
        engine = engine_of(app, allow_unknown=allow_unknown)
        found: list[tuple[Document, Json]] = []
        try:
            for document, unreadable in each_document(files):
                checked = unreadable or await checked_with(engine, document.value, strict=strict)
                found.append((document, checked))
        finally:
            await engine.close()
        return found

    return tell_checks(Printer(settings_of(ctx)), asyncio.run(work()))


def each_document(files: Sequence[str]) -> Iterator[tuple[Document, Json]]:
    """Every file; one that cannot be read comes with the check that says so, others with None."""
    for file in files:
        try:
            yield read_document(file), None
        except Unreadable as error:
            problem = {"path": "", "code": "invalid_json", "message": error.problem}
            yield error.document, {"valid": False, "errors": [problem], "warnings": [], "layers": []}


async def checked_with(engine: Engine, value: Json, *, strict: bool) -> dict[str, Json]:
    """A check in the shape in which a server answers it."""
    checked = await engine.validate(value)
    return {
        "valid": checked.valid and not (strict and checked.warnings),
        "errors": [one.as_json() for one in checked.errors],
        "warnings": [one.as_json() for one in checked.warnings],
        "layers": checked.layers,
    }


def tell_checks(printer: Printer, found: Sequence[tuple[Document, Json]]) -> int:
    """Print the checks of several files; the exit code."""
    for document, checked in found:
        if printer.form == "table":
            tell_findings(printer, document, checked["errors"], checked["warnings"])
            word: Span = ("ok", "ok") if checked["valid"] else ("not ok", "bad")
            printer.line(((f"{safe(document.name)}: ", ""), word, (counted(checked), "")))
        elif printer.form == "jsonl":
            printer.event(finding_value(document, checked))
    if printer.form == "json":
        printer.value([finding_value(document, checked) for document, checked in found])
    return int(Exit.OK if all(checked["valid"] for _, checked in found) else Exit.FAILED)
