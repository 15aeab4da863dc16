"""Values given on the command line: JSON, ``@file`` or ``-`` for stdin."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from durable.cli.options import seconds
from durable.clock import SystemClock

__all__ = ["instant", "json_value", "pairs"]


def json_value(text: str, option: str) -> Any:
    """The value of an option that takes JSON.

    Raises:
        click.BadParameter: It is not JSON, with the place; or the file cannot be read.
    """
    source = option
    if text == "-":
        text, source = sys.stdin.read(), "stdin"
    elif text.startswith("@"):
        source = text[1:]
        try:
            text = Path(source).read_text("utf-8")
        except (OSError, ValueError) as error:
            raise click.BadParameter(f"{source} cannot be read: {error}", param_hint=option) from None
    try:
        return json.loads(text, parse_constant=_refused)
    except RecursionError:
        raise click.BadParameter(f"{source} is nested too deeply.", param_hint=option) from None
    except json.JSONDecodeError as error:
        hint = f"; text needs its quotes: {option} '\"{text}\"'" if text.isalnum() else ""
        where = f"line {error.lineno}, column {error.colno}"
        raise click.BadParameter(f"{source} is not JSON: {error.msg} at {where}{hint}.", param_hint=option) from None
    except ValueError as error:
        raise click.BadParameter(f"{source} is not JSON: {error}.", param_hint=option) from None


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is not a JSON number")


def pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """``("team=ops", "x=y")`` as a mapping."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{text!r} is not name=value.", param_hint=option)
        found[name] = value
    return found


def instant(text: str | None, option: str) -> datetime | None:
    """``1d`` (that long ago) or an ISO date and time; without a zone it is UTC."""
    if text is None:
        return None
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        try:
            return datetime.fromtimestamp(SystemClock().now() - seconds(text), UTC)
        except click.BadParameter:
            raise click.BadParameter(
                f"{text!r} is neither a duration like 1d nor a time like 2026-01-31T12:00.", param_hint=option
            ) from None
    return given if given.tzinfo is not None else given.replace(tzinfo=UTC)
