"""``durable doctor``: everything that an operator would look at first, looked at."""

from __future__ import annotations

import click

from durable import Client
from durable.cli.connection import with_client
from durable.cli.failures import Exit
from durable.cli.options import Command, settings_of
from durable.cli.output import Printer
from durable.cli.premises import look_around, sqlite_file
from durable.cli.verdicts import Verdict, tell
from durable.cli.wards import can_be_written, gather, look_into
from durable.errors import StoreError
from durable.store import shown_url

__all__ = ["doctor"]


@click.command(cls=Command)
@click.pass_context
def doctor(ctx: click.Context) -> int:
    """Look at the store, its workers and its runs, and say what needs somebody's attention.

    Exit codes: 0 nothing to look at, 1 something to look at, 5 the store cannot be opened or written.
    """
    settings = settings_of(ctx)
    printer = Printer(settings)
    file = sqlite_file(settings.url)
    verdicts: list[Verdict] = []

    async def work(client: Client) -> int:
        verdicts.append(Verdict("store", True, f"{shown_url(settings.url)} opens"))
        writing = await can_be_written(client)
        verdicts.append(writing)
        verdicts.extend(await look_into(client, await gather(client.store, client.link.clock), file))
        if not writing.ok:
            return Exit.UNREACHABLE
        return Exit.OK if all(verdict.ok for verdict in verdicts) else Exit.FAILED

    if file is not None and file.is_file():
        verdicts.extend(look_around(file))
    try:
        code = int(with_client(settings, work))
    except StoreError as error:
        verdicts.append(
            Verdict("store", False, f"{shown_url(settings.url)} cannot be used", (f"{type(error).__name__}: {error}",))
        )
        code = int(Exit.UNREACHABLE)
    tell(printer, verdicts)
    return code
