"""What the demo shows while it runs: a live board on a terminal, a line per second elsewhere."""

from __future__ import annotations

import sys
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol

from durable.cli.demo.crew import Crew, Kill
from durable.cli.demo.ledger import Line as LedgerLine
from durable.cli.demo.ledger import parsed
from durable.cli.demo.till import Till
from durable.cli.ink import Line, Meaning, Span
from durable.cli.options import terminal_columns
from durable.cli.output import Printer
from durable.cli.text import cut, safe, span
from durable.cli.views import LiveLines

__all__ = ["Board", "Figures", "LineBoard", "LiveBoard"]

_WINDOW_SECONDS: Final = 3.0
_NEWS: Final = 6
_KILLS: Final = 3


@dataclass(slots=True)
class Figures:
    """What both boards know: read from the ledger as it grows, and told by those who act."""

    till: Till
    crew: Crew
    ledger: Path
    since: float
    planned: int | None
    seconds: float | None
    steps: int = 0
    chaotic: bool = False
    news: deque[tuple[float, Span]] = field(default_factory=lambda: deque(maxlen=_NEWS))
    kills: deque[tuple[float, Span]] = field(default_factory=lambda: deque(maxlen=_KILLS))
    _offset: int = 0
    _recent: deque[float] = field(default_factory=deque)
    _told: int = 0

    def killed(self, kill: Kill) -> None:
        """A worker was killed."""
        text = f"kill -9  worker {kill.place} (process {kill.pid}, {span(kill.lived)} old)"
        self.kills.append((kill.at, (text, "bad")))

    def read(self) -> None:
        """What the ledger has beyond what was read before."""
        if not self.ledger.exists():
            return
        with self.ledger.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data.rfind(b"\n") + 1
        self._offset += whole
        for raw in data[:whole].splitlines():
            line = parsed(raw)
            if line is not None and line.mark != "begin":
                self._ended(line)

    def _ended(self, line: LedgerLine) -> None:
        self.steps += 1
        self._recent.append(line.at)
        mark: tuple[str, Meaning] = ("", "dim") if line.mark == "end" else (f": {line.error}", "busy")
        self.news.append((line.at, (f"order {line.order}  {line.step}{mark[0]}", mark[1])))

    def rate(self, now: float) -> float:
        """Steps per second, lately."""
        while self._recent and self._recent[0] < now - _WINDOW_SECONDS:
            self._recent.popleft()
        return len(self._recent) / max(min(now - self.since, _WINDOW_SECONDS), 0.1)


class Board(Protocol):
    """Shows the figures."""

    def __enter__(self) -> Board: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def draw(self, figures: Figures, now: float) -> None:
        """As they are now."""
        ...


class LineBoard:
    """A line per second on stderr."""

    def __init__(self, printer: Printer) -> None:
        self._printer = printer
        self._last = 0.0

    def __enter__(self) -> LineBoard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def draw(self, figures: Figures, now: float) -> None:
        """If a second has passed."""
        if now - self._last < 1.0:
            return
        self._last = now
        states = figures.till.states
        kills = f", {len(figures.crew.kills)} kills" if figures.chaotic else ""
        self._printer.say(
            f"{now - figures.since:5.1f} s  {len(figures.till.in_flight)} orders in flight, "
            f"{states['completed']} completed, {states['refused']} refused; "
            f"{figures.steps} steps, {figures.rate(now):.0f}/s{kills}"
        )


class LiveBoard:
    """A few lines, drawn over themselves."""

    def __init__(self, printer: Printer) -> None:
        self._lines = LiveLines(sys.stderr, printer.settings)
        self._unicode = printer.settings.unicode(sys.stderr)

    def __enter__(self) -> LiveBoard:
        self._lines.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lines.__exit__(kind, error, traceback)

    def draw(self, figures: Figures, now: float) -> None:
        """Everything."""
        columns = min(terminal_columns(), 100)
        self._lines.draw([*_top(figures, now, columns, self._unicode), *_news(figures, columns)])


def _top(figures: Figures, now: float, columns: int, unicode: bool) -> list[Line]:
    till, crew = figures.till, figures.crew
    done = till.states["completed"] + till.states["refused"] + till.states["other"]
    orders: Line = (
        ("  orders   ", "dim"),
        (f"{till.states['completed']} completed", "ok"),
        (f"   {till.states['refused']} refused", "busy"),
        (f"   {len(till.in_flight)} in flight", "wait"),
    )
    steps: Line = (("  steps    ", "dim"), (f"{figures.steps:,}   {figures.rate(now):.0f}/s", ""))
    workers: Line = (("  workers  ", "dim"), (f"{len(crew)} alive", ""))
    if figures.chaotic:
        workers = (*workers, (f"   {len(crew.kills)} killed", "bad"))
    clock = f"{now - figures.since:.0f} s"
    if figures.seconds is not None:
        clock += f" of {figures.seconds:.0f} s" if now - figures.since < figures.seconds else ", finishing"
        share = min((now - figures.since) / figures.seconds, 1.0)
    else:
        share = done / max(figures.planned or 1, 1)
    width = columns - 4 - len(clock)
    full, empty = ("━", "━") if unicode else ("#", "-")
    filled = round(share * width)
    bar: Line = ((f"  {full * filled}", "ok"), (f"{empty * (width - filled)} ", "dim"), (clock, ""))
    return [bar, orders, steps, workers, ()]


def _news(figures: Figures, columns: int) -> list[Line]:
    lines: list[Line] = []
    for at, (text, meaning) in sorted([*figures.kills, *figures.news], key=lambda item: item[0]):
        clock = datetime.fromtimestamp(at, UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
        lines.append(((f"  {clock}  ", "dim"), (cut(safe(text), columns - 18), meaning)))
    most = _NEWS + (_KILLS if figures.chaotic else 0)
    return [*lines, *[()] * (most - len(lines))]
