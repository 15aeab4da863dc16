"""``durable webhooks list|redeliver``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

import click

from durable import Client
from durable.cli.connection import with_client
from durable.cli.failures import Exit, Failure
from durable.cli.ink import Span
from durable.cli.options import Command, Settings, settings_of
from durable.cli.output import Column, Printer
from durable.cli.text import time_text
from durable.clock import SystemClock
from durable_server.problems import Problem

Json = Any

__all__ = ["TWINS", "webhooks"]

_COLUMNS: Final[tuple[Column, ...]] = (
    ("delivery", "<"),
    ("execution", "<"),
    ("event", "<"),
    ("status", "<"),
    ("created", ">"),
    ("error", "<"),
)


@click.group("webhooks", short_help="Look at webhook deliveries, and send them again.")
def webhooks() -> None:
    """What executions of definitions have told others; what could not be delivered is a dead letter."""


@webhooks.command("list", cls=Command)
@click.option("--execution", metavar="ID", help="Only of this execution.")
@click.option("--status", metavar="WORD", help="Only waiting, sending, delivered, dead, ...")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1000), help="At most so many.")
@click.pass_context
def list_deliveries(ctx: click.Context, *, execution: str | None, status: str | None, limit: int) -> None:
    """List deliveries, newest first."""
    settings = settings_of(ctx)

    async def work(client: Client) -> None:
        found = await _layer(client).deliveries(execution, status, limit, None)
        _print(settings, list(found.values))

    _with_problems(settings, work)


@webhooks.command("redeliver", cls=Command)
@click.argument("delivery_id", metavar="ID")
@click.pass_context
def redeliver(ctx: click.Context, *, delivery_id: str) -> None:
    """Send a dead letter again."""
    settings = settings_of(ctx)

    async def work(client: Client) -> None:
        await _layer(client).redeliver(delivery_id)
        Printer(settings).say(f"Delivery {delivery_id} will be sent again.")

    _with_problems(settings, work)


def _layer(client: Client) -> Any:
    from durable_dag import Engine
    from durable_server.engines import EngineDefinitions

    return EngineDefinitions(Engine(client))


def _with_problems(settings: Settings, work: Any) -> None:
    try:
        with_client(settings, work)
    except Problem as problem:
        code = Exit.NOT_FOUND if problem.status == 404 else Exit.USAGE
        raise Failure(problem.message, "See what there is: durable webhooks list", code) from problem


# ── over a server ────────────────────────────────────────────────────────────────────────────────────────────────────


def _list(settings: Settings, *, execution: str | None, status: str | None, limit: int) -> None:
    from durable_server.remote.calls import remote

    params = {"executionId": execution, "status": status, "limit": limit}
    given = {name: value for name, value in params.items() if value is not None}
    with remote(settings) as client:
        _print(settings, client.call("GET", "/webhook-deliveries", params=given))


def _redeliver(settings: Settings, *, delivery_id: str) -> None:
    from durable_server.remote.calls import remote

    with remote(settings) as client:
        client.call("POST", f"/webhook-deliveries/{quote(delivery_id, safe='')}/redeliver", {})
    Printer(settings).say(f"Delivery {delivery_id} will be sent again.")


TWINS: Final[Mapping[str, Callable[..., None]]] = {"webhooks list": _list, "webhooks redeliver": _redeliver}


def _print(settings: Settings, values: list[Json]) -> None:
    printer, now = Printer(settings), SystemClock().now()
    rows: list[list[Span]] = [
        [
            (one["deliveryId"], ""),
            (one["executionId"] or "", ""),
            (one["event"] or "", ""),
            (one["status"], ""),
            (time_text(one["createdAt"] / 1000, now, printer.table_time), "dim"),
            (one["error"] or "", "dim"),
        ]
        for one in values
    ]
    printer.rows(_COLUMNS, rows, values)
    if not values:
        printer.say("No deliveries.")
