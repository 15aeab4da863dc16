"""A drawing as a Mermaid flowchart, for READMEs and issues."""

from __future__ import annotations

from durable_dag.pictures.drawing import SYMBOLS, Drawing, Mark, printable

__all__ = ["mermaid"]


def mermaid(drawing: Drawing) -> str:
    """The text; boxes are numbered, so that no id is ever taken for syntax."""
    names = {mark.id: f"s{number}" for number, mark in enumerate(drawing.marks)}
    lines = ["flowchart LR"]
    lines += [f"    {names[mark.id]}{_shape(mark)}" for mark in drawing.marks]
    for arrow in drawing.arrows:
        middle = f"|{_text(arrow.on, 40)}|" if arrow.on else ""
        stroke = "-.->" if arrow.state in ("dead", "broken") else "-->"
        lines.append(f"    {names[arrow.source]} {stroke}{middle} {names[arrow.target]}")
    return "\n".join(lines) + "\n"


def _shape(mark: Mark) -> str:
    symbol = "" if mark.status == "pending" else SYMBOLS.get(mark.status, "") + " "
    text = f'"{symbol}{_text(mark.label, 80)}"'
    return f"{{{{{text}}}}}" if mark.kind != "plain" else f"[{text}]"


def _text(text: str, longest: int) -> str:
    """Mermaid has entities of its own: a number sign, a code, a semicolon."""
    safe = printable(text, longest)
    return "".join(
        character if character.isalnum() or character in " .,:_-/()…✓✗●○⤼" else f"#{ord(character)};"
        for character in safe
    )
