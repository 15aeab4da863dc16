"""``durable runs watch|result``: until the end of a run that others work on."""

from __future__ import annotations

import sys

import click

from durable import Client
from durable.cli.connection import with_client
from durable.cli.happenings import exit_of
from durable.cli.ids import find
from durable.cli.options import Command, settings_of
from durable.cli.output import Printer
from durable.cli.views import LogView, view_on
from durable.cli.waiting import tell_end, until_ended

__all__ = ["result", "watch"]


@click.command(cls=Command)
@click.argument("run_id", metavar="ID")
@click.pass_context
def watch(ctx: click.Context, *, run_id: str) -> int:
    """Follow one run until it ends: a live picture on a terminal, else a line per event.

    The exit code is 0 if it completed, 1 if it failed, 7 if it was cancelled.
    """
    settings = settings_of(ctx)
    printer = Printer(settings)

    async def work(client: Client) -> int:
        record = await find(client, run_id)
        ended = await until_ended(client, record.id, view_on(client, printer, sys.stdout), leave_blocked=False)
        return int(exit_of(ended))

    return with_client(settings, work)


@click.command(cls=Command)
@click.argument("run_id", metavar="ID")
@click.pass_context
def result(ctx: click.Context, *, run_id: str) -> None:
    """Wait for a run's end and print its result as JSON.

    A blocked run is not waited for: exit code 4. With --timeout 0 nothing is waited for.
    """
    settings = settings_of(ctx)
    printer = Printer(settings)

    async def work(client: Client) -> None:
        record = await find(client, run_id)
        silent = LogView(client, lambda run, happening: None)
        ended = await until_ended(client, record.id, silent, leave_blocked=True)
        await tell_end(client, ended, printer)

    with_client(settings, work)
