"""Coloured text as values: spans with a meaning, turned into ANSI codes (or not) at the very end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

__all__ = ["CODES", "Line", "Meaning", "Span", "painted", "plain"]

Meaning = Literal["", "ok", "bad", "busy", "wait", "dim", "bold"]
Span = tuple[str, Meaning]
Line = tuple[Span, ...]

CODES: Final[dict[Meaning, str]] = {
    "ok": "32",
    "bad": "31",
    "busy": "33",
    "wait": "36",
    "dim": "2",
    "bold": "1",
}

OF_STATUS: Final[dict[str, Meaning]] = {
    "pending": "dim",
    "running": "busy",
    "waiting": "wait",
    "paused": "wait",
    "blocked": "bad",
    "completed": "ok",
    "failed": "bad",
    "cancelled": "dim",
}


def painted(line: Iterable[Span], *, colored: bool) -> str:
    """A line for a terminal, without trailing spaces."""
    if not colored:
        return plain(line)
    return "".join(f"\x1b[{CODES[meaning]}m{text}\x1b[0m" if meaning else text for text, meaning in line).rstrip()


def plain(line: Iterable[Span]) -> str:
    """A line without colours."""
    return "".join(text for text, _ in line).rstrip()
