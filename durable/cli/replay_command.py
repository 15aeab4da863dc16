"""``durable replay``: runs against the code as it is now, one report each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import click

from durable import Client
from durable._engine.rehearsal import Rehearsal
from durable._engine.survey import Survey
from durable.cli.apps import load_app
from durable.cli.connection import with_client
from durable.cli.failures import Exit
from durable.cli.ids import find
from durable.cli.options import Command, settings_of
from durable.cli.output import Printer
from durable.cli.rehearsals import MEANINGS, finding_value, survey_of, verdict
from durable.cli.text import many, safe
from durable.store import RunQuery

__all__ = ["replay"]


@click.command(cls=Command)
@click.argument("app", metavar="APP")
@click.argument("run_ids", metavar="[RUN]...", nargs=-1)
@click.option("--workflow", metavar="NAME", help="Without RUN: only runs of this workflow.")
@click.pass_context
def replay(ctx: click.Context, *, app: str, run_ids: tuple[str, ...], workflow: str | None) -> int:
    """Replay the journals of RUNs (default: every open one) against the code of APP, and report on each.

    No step runs and nothing is written; workers may work on. Exit code 1 if one of them could not go on with this code.
    """
    settings = settings_of(ctx)
    if run_ids and workflow is not None:
        raise click.UsageError("Give RUNs or --workflow, not both.", ctx)
    printer = Printer(settings)
    loaded = load_app(app)

    async def work(client: Client) -> int:
        survey = await survey_of(client, app, loaded)
        kept: list[dict[str, Any]] = []
        seen = stuck = 0
        async for found in _asked(client, survey, run_ids, workflow):
            seen += 1
            stuck += not found.fit.goes_on
            if printer.form == "json":
                kept.append(_value(found))
            elif printer.form == "jsonl":
                printer.value(_value(found))
            else:
                _tell(printer, found)
        if printer.form == "json":
            printer.value(kept)
        printer.say(f"{many(seen, 'run')} replayed; {stuck} could not go on with this code.")
        return int(Exit.FAILED if stuck else Exit.OK)

    return with_client(settings, work)


async def _asked(
    client: Client, survey: Survey, run_ids: Sequence[str], workflow: str | None
) -> AsyncIterator[Rehearsal]:
    if not run_ids:
        async for found in survey.runs(RunQuery(workflow)):
            yield found
    rows = [await find(client, asked) for asked in run_ids]  # a wrong id is said before anything is reported
    for row in rows:
        one = await survey.run(row, ended=True)
        if one is not None:
            yield one


def _tell(printer: Printer, found: Rehearsal) -> None:
    head = f"{found.run}  {found.workflow}" + (f" v{found.version}" if found.version else "")
    entries = many(found.entries, "entry").replace("entrys", "entries")
    printer.line(
        ((safe(f"{head}  {found.status}  {entries}  "), ""), (safe(verdict(found)), MEANINGS[found.fit])),
    )
    lines = [found.line] if found.line else [call.line for call in found.gains if call.line]
    for text in dict.fromkeys(lines):
        printer.line(((f"    > {safe(text)}", "dim"),))
    for text in found.reason.splitlines():
        printer.line(((f"    {safe(text)}", ""),))


def _value(found: Rehearsal) -> dict[str, Any]:
    return {
        "id": found.run,
        "workflow": found.workflow,
        "version": found.version,
        "status": found.status,
        "generation": found.generation,
        "entries": found.entries,
        "in_motion": found.in_motion,
        "goes_on": found.fit.goes_on,
        "position": found.position,
        **finding_value(found),
    }
