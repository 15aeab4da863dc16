"""A drawing in the language of Graphviz."""

from __future__ import annotations

from typing import Final

from durable_dag.pictures.drawing import SYMBOLS, Drawing, printable

__all__ = ["dot"]

_COLOURS: Final = {"success": "#1a7f37", "failed": "#cf222e", "running": "#0969da"}


def dot(drawing: Drawing) -> str:
    """The text."""
    lines = [f"digraph {_quoted(drawing.title)} {{", "    rankdir=LR;", "    node [shape=box, style=rounded];"]
    for mark in drawing.marks:
        symbol = "" if mark.status == "pending" else SYMBOLS.get(mark.status, "") + " "
        more = f", color={_quoted(_COLOURS[mark.status])}" if mark.status in _COLOURS else ""
        more += ", shape=diamond" if mark.kind != "plain" else ""
        lines.append(f"    {_quoted(mark.id)} [label={_quoted(symbol + mark.label)}{more}];")
    for arrow in drawing.arrows:
        options = [f"label={_quoted(arrow.on)}"] if arrow.on else []
        options += ["style=dashed"] if arrow.state in ("dead", "broken") else []
        more = f" [{', '.join(options)}]" if options else ""
        lines.append(f"    {_quoted(arrow.source)} -> {_quoted(arrow.target)}{more};")
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    escaped = printable(text, 200).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
