"""``durable db check|stats|gc``: looking after a store."""

from __future__ import annotations

from typing import Any

import click

from durable import Client
from durable.cli.connection import with_client
from durable.cli.failures import Exit, Failure
from durable.cli.options import Command, seconds, settings_of
from durable.cli.output import Printer
from durable.cli.text import many
from durable.store import PurgeQuery, RunStatus

__all__ = ["check", "gc", "stats"]


@click.command(cls=Command)
@click.pass_context
def check(ctx: click.Context) -> int:
    """Look the store over. Exit code 1 if it has problems; each is printed."""
    settings = settings_of(ctx)
    printer = Printer(settings)

    async def work(client: Client) -> int:
        problems = list(await client.store.check())
        if printer.form == "table":
            for problem in problems:
                printer.text(problem)
            printer.say(f"{many(len(problems), 'problem')}." if problems else "The store is sound.")
        else:
            printer.value({"ok": not problems, "problems": problems})
        return int(Exit.FAILED if problems else Exit.OK)

    return with_client(settings, work)


@click.command(cls=Command)
@click.pass_context
def stats(ctx: click.Context) -> None:
    """Count what is in the store, and its workers."""
    settings = settings_of(ctx)
    printer = Printer(settings)

    async def work(client: Client) -> None:
        figures = dict(await client.store.stats())
        figures["workers.alive"] = sum(session.alive for session in await client.store.sessions())
        if printer.form == "table":
            printer.fields({name: _figure(name, number) for name, number in sorted(figures.items())})
        else:
            printer.value(dict(sorted(figures.items())))

    with_client(settings, work)


def _figure(name: str, number: int) -> str:
    if name != "bytes":
        return f"{number:,}"
    size, unit = float(number), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{number:,} ({size:.1f} {unit})" if unit != "B" else f"{number:,}"


@click.command(cls=Command)
@click.option("--older-than", metavar="DURATION", help="Also those that ended longer ago than this: 30d, 0s.")
@click.option("--workflow", metavar="NAME", help="Of those, only runs of this workflow.")
@click.option(
    "--status",
    multiple=True,
    type=click.Choice(["completed", "failed", "cancelled"]),
    help="Of those, only this status; may be given several times.",
)
@click.pass_context
def gc(ctx: click.Context, *, older_than: str | None, workflow: str | None, status: tuple[Any, ...]) -> None:
    """Delete ended runs with everything that belongs to them.

    Without --older-than only those past their workflow's own retention, which workers delete by themselves, too.
    """
    settings = settings_of(ctx)
    printer = Printer(settings)
    age = None if older_than is None else seconds(older_than)
    if age is None and (workflow is not None or status):
        raise click.UsageError("--workflow and --status need --older-than (0s for all).", ctx)

    async def work(client: Client) -> None:
        expired = 0
        while count := await client.store.purge(PurgeQuery(expired=True, limit=100)):
            expired += count
        deleted = 0
        if age is not None:
            matching = tuple(RunStatus(one) for one in status) or None
            of = "" if workflow is None else f" of workflow {workflow}"
            which = " or ".join(status) if status else "ended"
            if not printer.confirm(f"Delete every {which} run{of} that ended more than {older_than} ago?"):
                raise Failure("Nothing was deleted but what was past its retention.", "", Exit.INTERRUPTED)
            deleted = await client.purge(older_than=age, workflow=workflow, status=matching)  # type: ignore[arg-type]
        if printer.form == "table":
            printer.text(f"{many(expired + deleted, 'run')} deleted, {expired} of them past their retention.")
        else:
            printer.value({"deleted": expired + deleted, "expired": expired})

    with_client(settings, work)
