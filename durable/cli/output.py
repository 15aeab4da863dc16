"""What a command prints: data to stdout in the form asked for, messages and progress to stderr."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Final, TextIO

import click

from durable.cli.ink import Line, Meaning, Span, painted
from durable.cli.options import Output, Settings, terminal_columns
from durable.cli.text import TimeStyle, cut, json_text, pad, safe, width
from durable.codec.redaction import redact

__all__ = ["Column", "Printer"]

Column = tuple[str, str]
"""(name, alignment): alignment is ``<`` or ``>``."""

_GAP: Final = "  "
_NARROWEST: Final = 12


class Printer:
    """Both streams of one invocation."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.form: Output = settings.output
        self.json_time: TimeStyle = "unix" if settings.time == "unix" else "iso"
        self.table_time: TimeStyle = settings.time or "relative"

    # ── data ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def value(self, value: Any) -> None:
        """One JSON value: indented, or on a line with ``jsonl``."""
        if self.form == "none":
            return
        ascii_only = not self.settings.unicode(sys.stdout)
        self._out(json_text(value, indent=None if self.form == "jsonl" else 2, ascii_only=ascii_only))

    def event(self, value: Any) -> None:
        """One JSON value of a stream of them: a line each, whatever the form."""
        if self.form != "none":
            self._out(json_text(value, ascii_only=not self.settings.unicode(sys.stdout)))

    def rows(self, columns: Sequence[Column], rows: Sequence[Sequence[Span]], values: Sequence[Any]) -> None:
        """A list: as a table, one JSON array, or a JSON line each.

        Args:
            rows: For the table; their texts are made safe here.
            values: The same, for JSON.
        """
        match self.form:
            case "table":
                self.table(columns, rows)
            case "json":
                self.value(list(values))
            case "jsonl":
                for value in values:
                    self.value(value)
            case "none":
                pass

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[Span]]) -> None:
        """Aligned columns; on a terminal the last one is cut to fit."""
        texts = [[safe(text) for text, _ in row] for row in rows]
        widths = [
            max([width(name), *(width(row[place]) for row in texts)], default=0)
            for place, (name, _) in enumerate(columns)
        ]
        if sys.stdout.isatty():
            widths = _fitted(widths, terminal_columns())
        heads: list[Span] = [(name.upper(), "dim") for name, _ in columns]
        self.line(_row([text for text, _ in heads], [meaning for _, meaning in heads], columns, widths))
        for row, cells in zip(rows, texts, strict=True):
            self.line(_row(cells, [meaning for _, meaning in row], columns, widths))

    def fields(self, fields: Mapping[str, str]) -> None:
        """Names and values, one per line; on a terminal a long value goes on under itself."""
        longest = max(map(width, fields), default=0)
        room = max(terminal_columns() - longest - len(_GAP), 20) if sys.stdout.isatty() else 10_000
        for name, text in fields.items():
            for place, part in enumerate(textwrap.wrap(safe(text), room) or [""]):
                self.line(((pad("" if place else name, longest) + _GAP, "dim"), (part, "")))

    def line(self, line: Line) -> None:
        """A line of data whose texts are safe already."""
        if self.form != "none":
            self._out(painted(line, colored=self.settings.colored(sys.stdout)))

    def text(self, text: str) -> None:
        """A line of data as it came from a user."""
        self.line(((safe(text), ""),))

    # ── messages ─────────────────────────────────────────────────────────────────────────────────────────────────

    def say(self, message: str, *, level: int = 0) -> None:
        """A message on stderr, if the verbosity reaches its level."""
        if self.settings.verbosity >= level:
            self.progress(((safe(message), ""),))

    def progress(self, line: Line) -> None:
        """A line on stderr whose texts are safe already; silent with ``-q``."""
        if self.settings.verbosity >= 0:
            self._write(painted(line, colored=self.settings.colored(sys.stderr)), sys.stderr)

    def confirm(self, question: str) -> bool:
        """Ask on stderr; ``-y`` answers. Where nobody can answer, the answer is a usage error."""
        if self.settings.yes:
            return True
        if not sys.stdin.isatty():
            raise click.UsageError(f"{question} Nobody is here to answer: say -y if you mean it.")
        return click.confirm(safe(question), err=True)

    def _out(self, text: str) -> None:
        self._write(text, sys.stdout)

    def _write(self, text: str, stream: TextIO) -> None:
        text = redact(text)
        encoding = stream.encoding or "utf-8"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()


def _fitted(widths: list[int], columns: int) -> list[int]:
    """The widest columns give way until the row fits."""
    widths = list(widths)
    while sum(widths) + len(_GAP) * (len(widths) - 1) > columns and max(widths) > _NARROWEST:
        widths[max(range(len(widths)), key=lambda place: (widths[place], place))] -= 1
    return widths


def _row(texts: Sequence[str], meanings: Sequence[Meaning], columns: Sequence[Column], widths: Sequence[int]) -> Line:
    line: list[Span] = []
    for place, (text, meaning, (_, align)) in enumerate(zip(texts, meanings, columns, strict=True)):
        if place:
            line.append((_GAP, ""))
        last = place == len(columns) - 1 and align == "<"
        fitted = cut(text, widths[place])
        line.append((fitted if last else pad(fitted, widths[place], right=align == ">"), meaning))
    return tuple(line)
