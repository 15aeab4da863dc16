"""``durable dag list``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import click

from durable.cli.ink import Span
from durable.cli.inputs import pairs
from durable.cli.options import Command, Settings, settings_of
from durable.cli.output import Column, Printer
from durable.cli.text import time_text
from durable.clock import SystemClock
from durable_dag.cli.engines import with_engine
from durable_dag.engine import Engine

Json: TypeAlias = Any

__all__ = ["list_definitions", "tell_list"]

_PAGE: Final = 200
_COLUMNS: Final[tuple[Column, ...]] = (
    ("id", "<"),
    ("version", ">"),
    ("steps", ">"),
    ("registered", ">"),
    ("starts", "<"),
    ("name", "<"),
)


@click.command("list", cls=Command)
@click.argument("text", metavar="[TEXT]", required=False)
@click.option("--tag", multiple=True, metavar="NAME=VALUE", help="Only with this tag.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1000), help="At most so many.")
@click.pass_context
def list_definitions(ctx: click.Context, *, text: str | None, tag: tuple[str, ...], limit: int) -> None:
    """List the newest version of each definition; with TEXT, of those with it in their id, name or description."""
    settings = settings_of(ctx)
    tags = pairs(tag, "--tag")

    async def work(engine: Engine) -> list[Json]:
        return await _found(engine, text, tags, limit + 1)

    tell_list(settings, with_engine(settings, work), limit)


async def _found(engine: Engine, text: str | None, tags: Mapping[str, str], most: int) -> list[Json]:
    found: list[Json] = []
    after = ""
    while True:
        heads = await engine.versions.list(after=after, limit=_PAGE)
        for head in heads:
            stored = await engine.get_workflow(head.id)
            if _fits(stored.document, text, tags):
                about = {"version": stored.version, "createdAt": round(stored.created_at * 1000)}
                found.append({**stored.document, **about, "enabled": head.enabled})
            if len(found) >= most:
                return found
        if len(heads) < _PAGE:
            return found
        after = heads[-1].id


def _fits(document: Mapping[str, Json], text: str | None, tags: Mapping[str, str]) -> bool:
    given: Mapping[str, Json] = document.get("tags") or {}
    if any(given.get(name) != wanted for name, wanted in tags.items()):
        return False
    said = f"{document['id']}\n{document.get('name', '')}\n{document.get('description', '')}".casefold()
    return text is None or text.casefold() in said


def tell_list(settings: Settings, found: Sequence[Json], limit: int) -> None:
    """Print definitions in the shape in which a server lists them; one more than the limit says that there are more."""
    printer, now = Printer(settings), SystemClock().now()
    shown = list(found[:limit])
    printer.rows(_COLUMNS, [_row(one, now, printer) for one in shown], shown)
    if not shown:
        printer.say("No definitions.")
    elif len(found) > limit:
        printer.say(f"There are more than these {limit}: --limit.")


def _row(one: Mapping[str, Json], now: float, printer: Printer) -> list[Span]:
    return [
        (str(one["id"]), ""),
        (str(one["version"]), ""),
        (str(len(one["steps"])), ""),
        (time_text(one["createdAt"] / 1000, now, printer.table_time), "dim"),
        ("yes", "ok") if one["enabled"] else ("no", "bad"),
        (str(one.get("name", "")), "dim"),
    ]
