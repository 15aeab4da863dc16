"""A drawing as SVG: one file without scripts, links or fonts, light and dark as its reader likes it."""

from __future__ import annotations

from typing import Final
from unicodedata import east_asian_width
from xml.sax.saxutils import escape, quoteattr

from durable_dag.graph.layout import Box, Line
from durable_dag.pictures.drawing import SYMBOLS, Drawing, Mark, printable

__all__ = ["svg"]

_LABEL_CHARS: Final = 22
_STYLE: Final = """
.box{fill:#fff;stroke:#8a8f98;stroke-width:1.5}
.success{stroke:#1a7f37}.failed{stroke:#cf222e}.running{stroke:#0969da}.skipped{stroke-dasharray:4 3}
text{font:13px system-ui,sans-serif;fill:#1f2328}
.line{fill:none;stroke:#8a8f98;stroke-width:1.5}
.live{stroke:#1a7f37}.dead{stroke-dasharray:4 3}.broken{stroke:#cf222e;stroke-dasharray:4 3}
.on{font-size:11px;fill:#656d76;stroke:#fff;stroke-width:4px;stroke-linejoin:round;paint-order:stroke}
@media (prefers-color-scheme:dark){.box{fill:#161b22}text{fill:#e6edf3}.on{fill:#8b949e;stroke:#0d1117}}
"""


def svg(drawing: Drawing) -> str:
    """The picture."""
    placed = drawing.layout
    marks = {mark.id: mark for mark in drawing.marks}
    lines = "".join(_line(line, drawing) for line in placed.lines)
    boxes = "".join(_box(box, marks[box.id]) for box in placed.boxes)
    size = f'width="{placed.width:g}" height="{placed.height:g}" viewBox="0 0 {placed.width:g} {placed.height:g}"'
    title = escape(printable(drawing.title, 200))
    arrow = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#8a8f98"/></marker></defs>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size}><title>{title}</title>'
        f"<style>{_STYLE}</style>{arrow}{lines}{boxes}</svg>\n"
    )


def _box(box: Box, mark: Mark) -> str:
    name = printable(mark.label, 200)
    shown = escape(_fitting(printable(f"{SYMBOLS.get(mark.status, '○')} {mark.label}", 200)))
    corner = 20 if mark.kind != "plain" else 6
    kind = mark.status if mark.status in SYMBOLS else "pending"
    return (
        f"<g><title>{escape(name)}</title>"
        f'<rect class="box {kind}" x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}"'
        f' rx="{corner}" data-step={quoteattr(printable(mark.id, 200))}/>'
        f'<text x="{box.x + 12:g}" y="{box.y + box.height / 2 + 4:g}">{shown}</text></g>'
    )


def _fitting(text: str) -> str:
    """As much as a box has room for; characters of East Asian scripts take the room of two."""
    room = _LABEL_CHARS
    for place, char in enumerate(text):
        room -= 2 if east_asian_width(char) in ("W", "F") else 1
        if room < 0:
            return f"{text[: place - 1]}…"
    return text


def _line(line: Line, drawing: Drawing) -> str:
    arrows = drawing.arrows_between(line.source, line.target)
    state = arrows[0].state if arrows else "open"
    (x, y), *others = line.points
    way = [f"M{x:g} {y:g}"]
    for next_x, next_y in others:
        middle = (x + next_x) / 2
        way.append(f"C{middle:g} {y:g} {middle:g} {next_y:g} {next_x:g} {next_y:g}")
        x, y = next_x, next_y
    label = " / ".join(arrow.on for arrow in arrows if arrow.on)
    path = f'<path class="line {state}" d="{"".join(way)}" marker-end="url(#tip)"/>'
    if not label:
        return path
    (left, top), (right, bottom) = line.points[0], line.points[1]
    return path + (
        f'<text class="on" text-anchor="middle" x="{(left + right) / 2:g}" y="{(top + bottom) / 2 - 4:g}">'
        f"{escape(printable(label, 24))}</text>"
    )
