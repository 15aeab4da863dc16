"""The picture of a run as lines of text: icons, attempts, times, and bars in eighths of a column."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from durable.cli.ink import OF_STATUS, Line, Meaning, Span
from durable.cli.picture import Bar, Picture, Row, RowState, Stroke
from durable.cli.run_rows import begun_at
from durable.cli.text import TimeStyle, cut, pad, safe, span, time_text
from durable.cli.text import width as width_of
from durable.store import RunRecord

__all__ = ["Canvas", "draw", "grouped", "headline"]

_BARS_FROM: Final = 70  # columns; a bar in less says nothing
_ROWS_MAX: Final = 60
_LABEL_MAX: Final = 32

_ICONS: Final[dict[RowState, tuple[str, str, Meaning]]] = {
    "ok": ("✓", "+", "ok"),
    "failed": ("✗", "x", "bad"),
    "running": ("●", "*", "busy"),
    "backoff": ("◌", "~", "busy"),
    "waiting": ("○", "o", "wait"),
    "unknown": ("?", "?", "bad"),
    "dropped": ("⤼", "/", "dim"),
}

_STATUS_ICONS: Final[dict[str, tuple[str, str]]] = {
    "pending": ("○", "o"),
    "running": ("●", "*"),
    "waiting": ("○", "o"),
    "paused": ("‖", "="),
    "blocked": ("!", "!"),
    "completed": ("✓", "+"),
    "failed": ("✗", "x"),
    "cancelled": ("⤼", "/"),
}

_MEANINGS: Final[dict[Stroke, Meaning]] = {"ok": "ok", "bad": "bad", "busy": "busy", "backoff": "dim", "wait": "wait"}
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_FILLS: Final[dict[Stroke, tuple[str, str]]] = {
    "ok": ("█", "="),
    "bad": ("█", "x"),
    "busy": ("█", "#"),
    "backoff": ("╌", "-"),
    "wait": ("─", "."),
}


@dataclass(frozen=True, slots=True)
class Canvas:
    """What is drawn on.

    Attributes:
        rows: At most so many; None for the usual 60.
        time: How instants are written.
    """

    columns: int
    unicode: bool = True
    rows: int | None = None
    time: TimeStyle = "relative"
    every: bool = False

    def pick(self, pair: tuple[str, str]) -> str:
        """The first, or the second where only ASCII can be shown."""
        return pair[0] if self.unicode else pair[1]

    @property
    def ellipsis(self) -> str:
        """What stands for text that was cut."""
        return "…" if self.unicode else "..."


def headline(run: RunRecord, now: float, canvas: Canvas) -> Line:
    """Id, workflow, status and time of a run."""
    status = run.status.value
    word = "terminated" if run.terminated else status
    version = "" if run.version is None else f" v{safe(run.version)}"
    parts: list[Span] = [
        (f"{canvas.pick(_STATUS_ICONS[status])} ", OF_STATUS[status]),
        (safe(run.id), "bold"),
        (f"  {safe(run.workflow)}{version}  ", ""),
        (word, OF_STATUS[status]),
    ]
    begun = begun_at(run)
    if begun is not None:
        end = now if run.ended_at is None else run.ended_at
        parts.append((f"  {span(end - begun)}", ""))
        parts.append((f"  started {time_text(begun, now, canvas.time)}", "dim"))
    else:
        parts.append((f"  created {time_text(run.created_at, now, canvas.time)}", "dim"))
    if run.generation > 1:
        parts.append((f"  generation {run.generation}", "dim"))
    return tuple(parts)


def draw(picture: Picture, canvas: Canvas) -> list[Line]:
    """The rows under a head; nothing for a run without any."""
    rows, left_out = grouped(picture.rows, canvas)
    if not rows:
        return []
    labels = [_label(row) for row in rows]
    wide = min(max(map(width_of, [*labels, "STEP"])), _LABEL_MAX, max(canvas.columns - 20, 8))
    room = canvas.columns - (2 + wide + 1 + 3 + 1 + 8 + 2)
    scale = _Scale(picture.start, picture.end, room) if canvas.columns >= _BARS_FROM else None
    lines: list[Line] = [_head(wide, scale)]
    middle = len(rows) // 2 if left_out else -1
    for place, (row, label) in enumerate(zip(rows, labels, strict=True)):
        if place == middle:
            lines.append(((f"  {canvas.ellipsis} {left_out} more", "dim"),))
        lines.append(_row(row, label, wide, scale, picture.end, canvas))
        if row.note:
            lines.append(((f"  {canvas.pick(('╰ ', '` '))}{cut(row.note, canvas.columns - 4)}", "dim"),))
    return lines


def grouped(rows: Sequence[Row], canvas: Canvas) -> tuple[list[Row], int]:
    """At most as many rows as fit, calls of one name drawn together if there are too many; and how many are missing."""
    most = _ROWS_MAX if canvas.rows is None else max(min(canvas.rows, _ROWS_MAX), 4)
    if canvas.every or len(rows) <= most:
        return list(rows), 0
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.kind, row.name.rpartition("#")[0] or row.name), []).append(row)
    merged = [_merged(name, members) for (_, name), members in groups.items()]
    if len(merged) <= most:
        return merged, 0
    return merged[: most // 2] + merged[-(most - most // 2) :], len(merged) - most


_GRAVEST: Final[tuple[RowState, ...]] = ("unknown", "failed", "backoff", "running", "waiting", "dropped", "ok")


def _merged(name: str, members: list[Row]) -> Row:
    if len(members) == 1:
        return members[0]
    first = members[0]
    state = next(state for state in _GRAVEST if any(row.state == state for row in members))
    failed = [row for row in members if row.state == "failed"]
    note = f"{len(failed)} failed, the last: {failed[-1].note}" if failed else ""
    ends = [row.end for row in members]
    return replace(
        first,
        name=name,
        begin=min(row.begin for row in members),
        end=None if None in ends else max(end for end in ends if end is not None),
        state=state,
        attempts=sum(row.attempts for row in members),
        bars=_united([bar for row in members for bar in row.bars]),
        note=note,
        count=len(members),
        finished=sum(row.finished for row in members),
    )


_STROKES: Final[tuple[Stroke, ...]] = ("wait", "backoff", "ok", "busy", "bad")


def _united(bars: Sequence[Bar]) -> list[Bar]:
    """Bars of one stroke that touch become one; what matters most is drawn last, over the others."""
    united: list[Bar] = []
    for stroke in _STROKES:
        for bar in sorted((bar for bar in bars if bar.stroke == stroke), key=lambda bar: bar.start):
            last = united[-1] if united else None
            if last is not None and last.stroke == stroke and bar.start <= last.end:
                united[-1] = replace(last, end=max(last.end, bar.end))
            else:
                united.append(bar)
    return united


def _label(row: Row) -> str:
    name = safe(row.name)
    label = name if row.kind == "step" else f"{row.kind} {name}"
    if row.count == 1:
        return label
    return f"{label} x{row.count}" if row.finished == row.count else f"{label} {row.finished}/{row.count}"


@dataclass(frozen=True, slots=True)
class _Scale:
    """From instants to columns."""

    start: float
    end: float
    columns: int

    def at(self, instant: float) -> float:
        length = max(self.end - self.start, 1e-9)
        return min(max((instant - self.start) / length, 0.0), 1.0) * self.columns


def _head(wide: int, scale: _Scale | None) -> Line:
    head = f"  {pad('STEP', wide)} {'TRY':>3} {'TIME':>8}"
    if scale is None:
        return ((head, "dim"),)
    length = scale.end - scale.start
    right = span(length)
    middle = span(length / 2) if scale.columns > 40 else ""
    left = pad(pad("0", scale.columns // 2) + middle, scale.columns - len(right))
    return ((f"{head}  {left}{right}", "dim"),)


def _row(row: Row, label: str, wide: int, scale: _Scale | None, now: float, canvas: Canvas) -> Line:
    rich_icon, ascii_icon, meaning = _ICONS[row.state]
    tries = str(row.attempts) if row.attempts else ""
    took = span((now if row.end is None else row.end) - row.begin)
    tried: Meaning = "busy" if row.attempts > row.count else "dim"
    line: list[Span] = [
        (f"{canvas.pick((rich_icon, ascii_icon))} ", meaning),
        (pad(cut(label, wide, ellipsis=canvas.ellipsis), wide), "dim" if row.state == "dropped" else ""),
        (f" {tries:>3}", tried),
        (f" {took:>8}", ""),
    ]
    if scale is not None:
        line += [("  ", ""), *_bars(row.bars, scale, canvas)]
    return tuple(line)


def _bars(bars: Iterable[Bar], scale: _Scale, canvas: Canvas) -> list[Span]:
    cells: list[tuple[str, Meaning]] = [(" ", "")] * scale.columns
    for bar in bars:
        _stroke(cells, scale.at(bar.start), scale.at(bar.end), bar.stroke, canvas)
    spans: list[Span] = []
    for text, meaning in cells:
        if spans and spans[-1][1] == meaning:
            spans[-1] = (spans[-1][0] + text, meaning)
        else:
            spans.append((text, meaning))
    return spans


def _stroke(cells: list[tuple[str, Meaning]], start: float, end: float, stroke: Stroke, canvas: Canvas) -> None:
    """Fill the cells between two positions; whatever is too short to see gets the thinnest mark there is."""
    if not cells:
        return
    meaning, fill = _MEANINGS[stroke], canvas.pick(_FILLS[stroke])
    first, last = min(int(start), len(cells) - 1), min(int(end), len(cells) - 1)
    if not canvas.unicode or stroke in ("backoff", "wait"):
        stop = last + 1 if end > last or last == first else last
        if stroke == "backoff" and last == first:
            return
        for place in range(first, stop):
            cells[place] = (fill, meaning)
        return
    if first == last:
        cells[first] = (_EIGHTHS[min(max(round((end - start) * 8), 1), 8)], meaning)
        return
    cells[first] = (_head_cell(1 - (start - first)), meaning)
    for place in range(first + 1, last):
        cells[place] = (fill, meaning)
    tail = round((end - last) * 8)
    if tail:
        cells[last] = (_EIGHTHS[min(tail, 8)], meaning)


def _head_cell(covered: float) -> str:
    """The first cell of a bar, covered from somewhere to its right edge: there are glyphs for 1/8, 1/2 and all."""
    if covered > 0.75:
        return "█"
    return "▐" if covered > 0.25 else "▕"
