"""``durable dag register``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import click

from durable.cli.failures import Exit
from durable.cli.options import Command, settings_of
from durable.cli.output import Printer
from durable.cli.text import safe
from durable_dag.cli.documents import Document, read_document
from durable_dag.cli.engines import with_engine
from durable_dag.cli.findings import tell_findings
from durable_dag.cli.validate_command import checked_with
from durable_dag.engine import Engine

Json: TypeAlias = Any

__all__ = ["register", "tell_refusal", "tell_registered"]


@click.command(cls=Command)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--if-match", metavar="N", type=click.IntRange(0), help="Only if N is the newest version; 0 for none.")
@click.option("--strict", is_flag=True, help="Refuse definitions with warnings, too.")
@click.option("--app", metavar="APP", help="Knows the actions of this program's durable_dag.Engine.")
@click.option("--allow-unknown", is_flag=True, help="A worker may bring further actions later.")
@click.pass_context
def register(ctx: click.Context, /, *, files: tuple[str, ...], if_match: int | None, strict: bool, **given: Any) -> int:
    """Keep definitions: each as the next version of its id, unless the newest is the same already.

    All files are checked before any is kept.
    """
    settings = settings_of(ctx)
    printer = Printer(settings)
    _only_one(files, if_match, ctx)
    documents = [read_document(file) for file in files]

    async def work(engine: Engine) -> int:
        found = [await checked_with(engine, document.value, strict=strict) for document in documents]
        good = True
        for document, checked in zip(documents, found, strict=True):
            if not checked["valid"]:
                tell_refusal(printer, document, checked)
                good = False
        if not good:
            return int(Exit.FAILED)
        for document, checked in zip(documents, found, strict=True):
            kept = await engine.register_workflow(document.value, if_match=if_match)
            answer = {"workflowId": kept.id, "version": kept.version, "created": kept.created}
            tell_registered(printer, document, {**answer, "warnings": checked["warnings"]})
        return int(Exit.OK)

    return with_engine(settings, work, app=given["app"], allow_unknown=given["allow_unknown"], create=True)


def _only_one(files: tuple[str, ...], if_match: int | None, ctx: click.Context) -> None:
    if if_match is not None and len(files) > 1:
        raise click.UsageError("--if-match is for one FILE.", ctx)


def tell_refusal(printer: Printer, document: Document, checked: Mapping[str, Json]) -> None:
    """What is wrong with a definition that was not kept."""
    if printer.form in ("json", "jsonl"):
        printer.event({"file": document.name, "registered": False, **checked})
    else:
        tell_findings(printer, document, checked["errors"], checked["warnings"])
    printer.say(f"{document.name} was not registered.", level=-1)


def tell_registered(printer: Printer, document: Document, answer: Mapping[str, Json]) -> None:
    """What became of one file; ``answer`` is a server's."""
    if printer.form in ("json", "jsonl"):
        printer.event({"file": document.name, "registered": True, **answer})
        return
    tell_findings(printer, document, (), answer["warnings"])
    word = "registered as" if answer["created"] else "unchanged, still"
    printer.line(((f"{safe(answer['workflowId'])}: {word} version {answer['version']}", ""),))
