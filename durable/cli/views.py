"""Where progress goes: a live picture on a terminal, a line per event elsewhere, or nowhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Protocol, TextIO

from durable import Client
from durable.cli.follow import Look
from durable.cli.happenings import Teller
from durable.cli.ink import Line, Meaning
from durable.cli.options import Settings, terminal_columns
from durable.cli.output import Printer
from durable.cli.picture import picture_of
from durable.cli.text import cut, safe
from durable.cli.timeline import Canvas, draw, headline

__all__ = ["LiveLines", "LogView", "PictureView", "View", "view_on"]

_STYLES: Final[dict[Meaning, str]] = {
    "": "",
    "ok": "green",
    "bad": "red",
    "busy": "yellow",
    "wait": "cyan",
    "dim": "dim",
    "bold": "bold",
}


class View(Protocol):
    """Shows a run while it goes on."""

    def __enter__(self) -> View: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def show(self, look: Look, reason: str) -> None:
        """A new look at the run; ``reason`` is its why line."""
        ...


class LogView:
    """A line per event."""

    def __init__(self, client: Client, write: Callable[[str, Any], None]) -> None:
        self._teller = Teller(client.link.codec)
        self._write = write

    def __enter__(self) -> LogView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def show(self, look: Look, reason: str) -> None:
        for happening in self._teller.tell(look):
            self._write(look.run.id, happening)


class LiveLines:
    """Lines that are drawn over themselves, with rich; nothing else in this package imports it."""

    def __init__(self, stream: TextIO, settings: Settings) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=stream, no_color=not settings.colored(stream), highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")

    @property
    def height(self) -> int:
        """Lines of the terminal."""
        return self._console.size.height

    def __enter__(self) -> LiveLines:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def draw(self, lines: list[Line]) -> None:
        """Replace what is shown."""
        from rich.text import Text

        text = Text(no_wrap=True, overflow="crop", end="")
        for place, line in enumerate(lines):
            text.append("\n" if place else "")
            for part, meaning in line:
                text.append(part, _STYLES[meaning])
        self._live.update(text, refresh=True)


class PictureView:
    """The timeline, drawn anew at each look; its last state stays on the screen."""

    def __init__(self, client: Client, stream: TextIO, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._unicode = settings.unicode(stream)
        self._lines = LiveLines(stream, settings)

    def __enter__(self) -> PictureView:
        self._lines.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lines.__exit__(kind, error, traceback)

    def show(self, look: Look, reason: str) -> None:
        columns = terminal_columns()
        canvas = Canvas(
            columns, self._unicode, max((self._lines.height - 6) // 2, 4), self._settings.time or "relative"
        )
        picture = picture_of(look.run, look.journal, look.now, self._client.link.codec)
        lines = [headline(look.run, look.now, canvas), *draw(picture, canvas)]
        lines.append(((cut(safe(reason), columns - 3), ""),))  # room for the ^C that a terminal echoes
        self._lines.draw(lines)


def view_on(client: Client, printer: Printer, stream: TextIO) -> View:
    """The view that fits a stream: stderr for progress, stdout where watching is the command."""
    settings = printer.settings
    unicode = settings.unicode(stream)
    if stream is sys.stdout:
        if printer.form in ("json", "jsonl"):
            return LogView(client, lambda run, happening: printer.event(happening.value(run, printer.json_time)))
        if printer.form == "none":
            return LogView(client, lambda run, happening: None)
        if settings.live(stream):
            return PictureView(client, stream, settings)
        return LogView(client, lambda run, happening: printer.line(happening.line(unicode=unicode)))
    if settings.verbosity >= 0 and settings.live(stream):
        return PictureView(client, stream, settings)
    return LogView(client, lambda run, happening: printer.progress(happening.line(unicode=unicode)))
