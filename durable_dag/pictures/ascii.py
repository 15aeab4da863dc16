"""A drawing for terminals and logs: one line for a step, its sources beside it."""

from __future__ import annotations

from typing import Final

from durable_dag.graph import layers
from durable_dag.pictures.drawing import SYMBOLS, Drawing, printable

__all__ = ["ascii_text"]

_PLAIN: Final = {"success": "+", "failed": "x", "running": "*", "skipped": "-", "pending": "o"}


def ascii_text(drawing: Drawing, *, unicode: bool = True) -> str:
    """The steps by layer; with ``unicode=False`` nothing but ASCII."""
    symbols = SYMBOLS if unicode else _PLAIN
    marks = {mark.id: mark for mark in drawing.marks}
    incoming: dict[str, list[str]] = {mark.id: [] for mark in drawing.marks}
    for arrow in drawing.arrows:
        on = f" ({printable(arrow.on, 40)})" if arrow.on else ""
        incoming[arrow.target].append(printable(arrow.source, 40) + on)
    shown: list[str] = []
    for number, layer in enumerate(layers.layers(drawing.graph)):
        for id in layer:
            mark = marks[id]
            name = printable(mark.id, 40)
            label = "" if mark.label == mark.id else f"  {printable(mark.label, 40)}"
            arrow_sign = "←" if unicode else "<-"
            after = f"  {arrow_sign} {', '.join(incoming[id])}" if incoming[id] else ""
            shown.append(f"{'  ' * number}{symbols.get(mark.status, symbols['pending'])} {name}{label}{after}")
    text = "\n".join(shown) + "\n"
    return text if unicode else text.encode("ascii", "backslashreplace").decode()
