"""Text for terminals: nothing that a user's data says can steer the screen, and time is written for people."""

from __future__ import annotations

import json
import unicodedata
from datetime import UTC, datetime
from typing import Any, Literal

__all__ = ["TimeStyle", "cut", "json_text", "many", "pad", "safe", "span", "time_text", "time_value", "width"]

TimeStyle = Literal["relative", "iso", "unix"]


def safe(text: str) -> str:
    """``text`` with every character that does not print written as its escape.

    Control characters, ANSI sequences, line breaks and bidirectional overrides would let a run's name or an error
    message write what it likes on the operator's screen.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def json_text(value: Any, *, indent: int | None = None, ascii_only: bool = False) -> str:
    """JSON that is safe on a screen: what does not print is escaped as JSON escapes it, so that it reads back equal."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent, default=str)
    if ascii_only:
        return text
    # Line breaks between values are ours (indent); inside texts json.dumps has escaped them already.
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def width(text: str) -> int:
    """Columns that ``text`` takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, columns: int, *, ellipsis: str = "…") -> str:
    """``text`` in at most so many columns, its end replaced by an ellipsis if it does not fit."""
    if width(text) <= columns:
        return text
    kept, used = "", len(ellipsis)
    for character in text:
        used += _columns(character)
        if used > columns:
            break
        kept += character
    return (kept + ellipsis)[: max(columns, 0)]


def pad(text: str, columns: int, *, right: bool = False) -> str:
    """``text`` filled with spaces to so many columns."""
    fill = " " * max(columns - width(text), 0)
    return fill + text if right else text + fill


def span(seconds: float) -> str:
    """A length of time in at most eight columns: ``12 ms``, ``3.1 s``, ``4m 10s``, ``2h 05m``, ``12d 3h``."""
    seconds = max(seconds, 0.0)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d {whole % 86_400 // 3600}h"


def many(count: int, thing: str) -> str:
    """``1 run``, ``3 runs``."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def time_text(at: float | datetime | None, now: float, style: TimeStyle) -> str:
    """An instant for a table; a dash for none."""
    if at is None:
        return "-"
    seconds = at.timestamp() if isinstance(at, datetime) else at
    if style == "unix":
        return f"{seconds:.3f}"
    if style == "iso":
        return _iso(seconds)
    away = now - seconds
    return f"{span(away)} ago" if away >= 0 else f"in {span(-away)}"


def time_value(at: float | datetime | None, style: TimeStyle) -> str | float | None:
    """An instant for JSON: text in UTC, or a number with ``--time unix``."""
    if at is None:
        return None
    seconds = at.timestamp() if isinstance(at, datetime) else at
    return round(seconds, 6) if style == "unix" else _iso(seconds)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
