"""``durable tokens create|list|revoke``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import click

from durable import Client
from durable.cli.connection import with_client
from durable.cli.failures import Exit, Failure
from durable.cli.ink import Span
from durable.cli.options import Command, Settings, seconds, settings_of
from durable.cli.output import Column, Printer
from durable.cli.text import time_text
from durable.clock import SystemClock
from durable_server.principals import ROLES
from durable_server.tokens import Token, Tokens

Json = Any

__all__ = ["TWINS", "tokens"]

_COLUMNS: Final[tuple[Column, ...]] = (
    ("id", "<"),
    ("name", "<"),
    ("roles", "<"),
    ("created", ">"),
    ("expires", ">"),
    ("used", ">"),
    ("state", "<"),
)


@click.group("tokens", short_help="Make, list and revoke tokens for the server.")
def tokens() -> None:
    """Tokens for `durable server`. The store keeps their hashes; a token's text is shown once, when it is made."""


@tokens.command("create", cls=Command)
@click.argument("name", metavar="NAME")
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice(ROLES),
    help="read looks; operate also starts, signals, cancels; worker settles steps; admin may do everything. "
    "Default: read. May be given several times.",
)
@click.option("--expires", metavar="DURATION", help="It is refused after this long: 30d. Default: never.")
@click.pass_context
def create(ctx: click.Context, *, name: str, roles: tuple[str, ...], expires: str | None) -> None:
    """Make a token for NAME and print it."""
    settings = settings_of(ctx)
    keep = None if expires is None else seconds(expires)

    async def work(client: Client) -> None:
        made = await Tokens(client).create(name, roles or ("read",), keep_seconds=keep)
        _print_new(settings, {**_value(made.token), "token": made.text})

    with_client(settings, work, create=True)


@tokens.command("list", cls=Command)
@click.pass_context
def list_tokens(ctx: click.Context) -> None:
    """List tokens, without their secrets."""
    settings = settings_of(ctx)

    async def work(client: Client) -> None:
        _print_all(settings, [_value(token) for token in await Tokens(client).list()])

    with_client(settings, work)


@tokens.command("revoke", cls=Command)
@click.argument("token_id", metavar="ID")
@click.pass_context
def revoke(ctx: click.Context, *, token_id: str) -> None:
    """Refuse a token from now on."""
    settings = settings_of(ctx)

    async def work(client: Client) -> None:
        if not await Tokens(client).revoke(token_id):
            raise Failure(f"There is no token {token_id!r}.", "See them: durable tokens list", Exit.NOT_FOUND)
        Printer(settings).say(f"Token {token_id} is refused from now on.")

    with_client(settings, work)


# ── over a server ────────────────────────────────────────────────────────────────────────────────────────────────────


def _create(settings: Settings, *, name: str, roles: tuple[str, ...], expires: str | None) -> None:
    from durable_server.remote.calls import remote

    body: dict[str, Json] = {"name": name, "roles": list(roles or ("read",))}
    if expires is not None:
        body["expiresIn"] = round(seconds(expires) * 1000)
    with remote(settings) as client:
        _print_new(settings, client.call("POST", "/tokens", body))


def _list(settings: Settings) -> None:
    from durable_server.remote.calls import remote

    with remote(settings) as client:
        _print_all(settings, client.call("GET", "/tokens"))


def _revoke(settings: Settings, *, token_id: str) -> None:
    from urllib.parse import quote

    from durable_server.remote.calls import remote

    with remote(settings) as client:
        client.call("DELETE", f"/tokens/{quote(token_id, safe='')}")
    Printer(settings).say(f"Token {token_id} is refused from now on.")


TWINS: Final[Mapping[str, Callable[..., None]]] = {
    "tokens create": _create,
    "tokens list": _list,
    "tokens revoke": _revoke,
}


# ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _value(token: Token) -> dict[str, Json]:
    def millis(at: float | None) -> int | None:
        return None if at is None else round(at * 1000)

    return {
        "id": token.id,
        "name": token.name,
        "roles": sorted(token.roles),
        "createdAt": millis(token.created_at),
        "expiresAt": millis(token.expires_at),
        "usedAt": millis(token.used_at),
        "revoked": token.revoked,
    }


def _print_new(settings: Settings, value: Json) -> None:
    printer = Printer(settings)
    if printer.form == "table":
        printer.say(f"Token {value['id']} of {value['name']} ({', '.join(value['roles'])}); it is shown this once:")
        printer.text(value["token"])
    else:
        printer.value(value)


def _print_all(settings: Settings, values: list[Json]) -> None:
    printer, now = Printer(settings), SystemClock().now()

    def when(at: int | None) -> str:
        return time_text(None if at is None else at / 1000, now, printer.table_time)

    rows: list[list[Span]] = [
        [
            (one["id"], ""),
            (one["name"], ""),
            (",".join(one["roles"]), ""),
            (when(one["createdAt"]), "dim"),
            (when(one["expiresAt"]), "dim"),
            (when(one["usedAt"]), "dim"),
            (_state(one, now), ""),
        ]
        for one in values
    ]
    printer.rows(_COLUMNS, rows, values)


def _state(one: Json, now: float) -> str:
    if one["revoked"]:
        return "revoked"
    return "expired" if one["expiresAt"] is not None and one["expiresAt"] / 1000 <= now else "good"
