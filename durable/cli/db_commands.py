"""``durable db check|stats|gc``: looking after a store."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import click

from durable import Client
from durable.cli.connection import with_client
from durable.cli.failures import Exit, Failure
from durable.cli.options import Command, seconds, settings_of
from durable.cli.output import Printer
from durable.cli.sweep import Sweep
from durable.cli.text import many
from durable.store import PurgeQuery, RunStatus, Store, Upkeep

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
@click.option("--dry-run", is_flag=True, help="Count them, and change nothing.")
@click.pass_context
def gc(
    ctx: click.Context, *, older_than: str | None, workflow: str | None, status: tuple[str, ...], dry_run: bool
) -> None:
    """Delete ended runs with everything that belongs to them, and give the room back to the file system.

    Without --older-than only those past their workflow's own retention, which workers delete by themselves, too.
    Workers may go on meanwhile. Interrupted, it leaves whole runs deleted and all others as they were.
    """
    settings = settings_of(ctx)
    printer = Printer(settings)
    age = None if older_than is None else seconds(older_than)
    if age is None and (workflow is not None or status):
        raise click.UsageError("--workflow and --status need --older-than (0s for all).", ctx)

    async def work(client: Client) -> None:
        edge = None if age is None else await client.store.now() - age
        matching = PurgeQuery(edge, workflow=workflow, statuses=tuple(RunStatus(one) for one in status))
        if dry_run:
            await _foresee(client.store, printer, None if age is None else matching)
            return
        sweep = Sweep(client, printer)
        expired = await sweep.purge(PurgeQuery(expired=True))
        deleted = 0
        if age is not None:
            of = "" if workflow is None else f" of workflow {workflow}"
            which = " or ".join(status) if status else "ended"
            if not printer.confirm(f"Delete every {which} run{of} that ended more than {older_than} ago?"):
                raise Failure("Nothing was deleted but what was past its retention.", "", Exit.INTERRUPTED)
            deleted = await sweep.purge(matching)
        freed = await sweep.shrink()
        if printer.form == "table":
            printer.text(f"{many(expired + deleted, 'run')} deleted, {expired} of them past their retention.")
            printer.text(f"{freed:,} bytes given back to the file system.")
        else:
            printer.value({"deleted": expired + deleted, "expired": expired, "bytes_freed": freed})

    with_client(settings, work)


async def _foresee(store: Store, printer: Printer, matching: PurgeQuery | None) -> None:
    """What would go, by status; what is past its retention goes first, and is not counted again."""
    if not isinstance(store, Upkeep):
        raise Failure("This store cannot count what would be deleted.", "List it: durable runs list --status completed")
    expired = Counter(dict(await store.purgeable(PurgeQuery(expired=True))))
    others: Counter[RunStatus] = Counter()
    if matching is not None:
        others = Counter(dict(await store.purgeable(matching)))
        others -= Counter(dict(await store.purgeable(replace(matching, expired=True))))
    total = expired + others
    if printer.form == "table":
        by = ", ".join(f"{total[status]:,} {status.value}" for status in RunStatus if total[status])
        printer.text(
            f"{many(total.total(), 'run')} would be deleted{f' ({by})' if by else ''}, "
            f"{expired.total()} of them past their retention. Nothing was changed."
        )
    else:
        by_status = {status.value: total[status] for status in RunStatus if total[status]}
        printer.value({"would_delete": total.total(), "expired": expired.total(), "by_status": by_status})
