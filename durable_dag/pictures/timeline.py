"""When a run did what: a row for each call and a bar for each attempt, as SVG, and as a Mermaid chart."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal
from xml.sax.saxutils import escape

from durable_dag.pictures.drawing import SYMBOLS, printable

Stroke = Literal["ok", "bad", "busy", "backoff", "wait"]
Status = Literal["success", "failed", "running", "skipped", "pending"]

__all__ = ["Stretch", "Timeline", "Track", "gantt", "timeline_svg"]

_LABEL_WIDTH: Final = 230.0
_BARS_WIDTH: Final = 640.0
_TIME_WIDTH: Final = 80.0
_ROW: Final = 24.0
_HEAD: Final = 52.0
_LABEL_CHARS: Final = 28
_STYLE: Final = """
.back{fill:#fff}
text{font:12px system-ui,sans-serif;fill:#1f2328}
.title{font-size:14px;font-weight:600}
.dim{fill:#656d76}
.grid{stroke:#d0d7de;stroke-width:1}
.ok{fill:#1a7f37}.bad{fill:#cf222e}.busy{fill:#0969da}.wait{fill:#8a8f98}
.backoff{fill:none;stroke:#8a8f98;stroke-dasharray:3 3}
@media (prefers-color-scheme:dark){.back{fill:#0d1117}text{fill:#e6edf3}.dim{fill:#8b949e}.grid{stroke:#30363d}}
"""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of time, in seconds since the epoch: an attempt that went well, badly or goes on, or a wait."""

    start: float
    end: float
    stroke: Stroke


@dataclass(frozen=True, slots=True)
class Track:
    """One row.

    Attributes:
        note: Why it failed, or what it waits for; shown when a pointer rests on the row.
    """

    label: str
    status: Status
    stretches: tuple[Stretch, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Rows between two instants."""

    title: str
    start: float
    end: float
    tracks: tuple[Track, ...]

    @property
    def length(self) -> float:
        """Seconds; never 0."""
        return max(self.end - self.start, 1e-3)


def timeline_svg(timeline: Timeline) -> str:
    """The picture: one file without scripts, links or fonts, light and dark as its reader likes it."""
    width = _LABEL_WIDTH + _BARS_WIDTH + _TIME_WIDTH
    height = _HEAD + _ROW * max(len(timeline.tracks), 1) + 12
    rows = "".join(_row(timeline, track, _HEAD + _ROW * place) for place, track in enumerate(timeline.tracks))
    title = escape(printable(timeline.title, 120))
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size}><title>{title}</title>'
        f'<style>{_STYLE}</style><rect class="back" width="{width:g}" height="{height:g}"/>'
        f'<text class="title" x="12" y="20">{title}</text>{_scale(timeline, height)}{rows}</svg>\n'
    )


def _scale(timeline: Timeline, height: float) -> str:
    """Five lines from the begin to the end."""
    drawn: list[str] = []
    for quarter in range(5):
        x = _LABEL_WIDTH + _BARS_WIDTH * quarter / 4
        drawn.append(f'<line class="grid" x1="{x:g}" y1="{_HEAD - 8:g}" x2="{x:g}" y2="{height - 8:g}"/>')
        drawn.append(
            f'<text class="dim" text-anchor="middle" x="{x:g}" y="{_HEAD - 14:g}">'
            f"{_span(timeline.length * quarter / 4)}</text>"
        )
    return "".join(drawn)


def _row(timeline: Timeline, track: Track, top: float) -> str:
    label = escape(printable(f"{SYMBOLS[track.status]} {track.label}", _LABEL_CHARS))
    told = escape(printable(f"{track.label}: {track.note}" if track.note else track.label, 400))
    bars = "".join(_bar(timeline, stretch, top) for stretch in track.stretches)
    took = ""
    if track.stretches:
        seconds = max(one.end for one in track.stretches) - min(one.start for one in track.stretches)
        x = _LABEL_WIDTH + _BARS_WIDTH + 8
        took = f'<text class="dim" x="{x:g}" y="{top + 16:g}">{_span(seconds)}</text>'
    return f'<g><title>{told}</title><text x="12" y="{top + 16:g}">{label}</text>{bars}{took}</g>'


def _bar(timeline: Timeline, stretch: Stretch, top: float) -> str:
    start, end = (min(max(at - timeline.start, 0.0), timeline.length) for at in (stretch.start, stretch.end))
    x = _LABEL_WIDTH + _BARS_WIDTH * start / timeline.length
    wide = max(_BARS_WIDTH * (end - start) / timeline.length, 2.0)
    x = min(x, _LABEL_WIDTH + _BARS_WIDTH - 2.0)
    if stretch.stroke == "backoff":
        return f'<line class="backoff" x1="{x:.4g}" y1="{top + 12:g}" x2="{x + wide:.4g}" y2="{top + 12:g}"/>'
    high = 4.0 if stretch.stroke == "wait" else 14.0
    y = top + 12 - high / 2
    return f'<rect class="{stretch.stroke}" x="{x:.4g}" y="{y:g}" width="{wide:.4g}" height="{high:g}" rx="2"/>'


def gantt(timeline: Timeline) -> str:
    """The text of a Mermaid chart; its times are UTC."""
    words = {"success": "done, ", "failed": "crit, ", "running": "active, "}
    lines = ["gantt", f"    title {_plain(timeline.title, 120)}", "    dateFormat x", "    axisFormat %H:%M:%S"]
    for number, track in enumerate(timeline.tracks):
        if track.stretches:
            start = min(one.start for one in track.stretches)
            end = max(one.end for one in track.stretches)
            times = f"{round(start * 1000)}, {max(round(end * 1000), round(start * 1000) + 1)}"
            lines.append(f"    {_plain(track.label, 60)} :{words.get(track.status, '')}t{number}, {times}")
    began = datetime.fromtimestamp(timeline.start, UTC).isoformat(timespec="seconds")
    return "\n".join([*lines, f"    %% began {began}"]) + "\n"


def _plain(text: str, longest: int) -> str:
    """A chart's labels end at colons and know no quotes: whatever is more than a word's sign becomes a space."""
    shown = "".join(one if one.isalnum() or one in " ._-/()@" else " " for one in printable(text, longest))
    return " ".join(shown.split()) or "-"


def _span(seconds: float) -> str:
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 119.5:
        return f"{seconds:.1f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 2 * 86_400 else f"{seconds / 86_400:.1f} d"
