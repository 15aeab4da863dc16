"""Python source as a tree of pieces, laid out in lines of at most so many characters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

Json: TypeAlias = Any

__all__ = ["COLUMNS", "Atom", "Group", "Node", "call", "laid_out", "literal", "quoted"]

COLUMNS: Final = 120
_PIECE_CHARS: Final = 80


@dataclass(frozen=True, slots=True)
class Atom:
    """A piece that stays on one line."""

    text: str


@dataclass(frozen=True, slots=True)
class Group:
    """Pieces between brackets: on one line, or each on a line of its own.

    Attributes:
        items: (what stands before it, the piece): ``("name=", ...)``, ``('"key": ', ...)``.
        comma: Whether they are separated by commas; pieces of one text are not.
    """

    opening: str
    items: Sequence[tuple[str, Node]]
    closing: str
    comma: bool = True


Node = Atom | Group


def call(function: str, *arguments: Node, **named: Node) -> Group:
    """``function(argument, name=argument)``."""
    items = [*(("", one) for one in arguments), *((f"{name}=", one) for name, one in named.items())]
    return Group(f"{function}(", items, ")")


def quoted(text: str) -> str:
    """A text as a literal, in double quotes where that needs no escapes; whatever does not print is escaped."""
    shown = repr(text)
    body = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in shown)
    return f'"{body[1:-1]}"' if body[0] == "'" and '"' not in text else body


def literal(value: Json) -> Node:
    """A JSON value as Python writes it."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return Group("[", [("", literal(one)) for one in value], "]")
    if isinstance(value, Mapping):
        return Group("{", [(f"{quoted(name)}: ", literal(one)) for name, one in value.items()], "}")
    return Atom(repr(value))


def _text(value: str) -> Node:
    """A long text in pieces, which Python puts together."""
    if len(value) <= _PIECE_CHARS and "\n" not in value:
        return Atom(quoted(value))
    pieces = [
        line[at : at + _PIECE_CHARS]
        for line in value.splitlines(keepends=True)
        for at in range(0, len(line), _PIECE_CHARS)
    ]
    if len(pieces) == 1:
        return Atom(quoted(value))
    return Group("(", [("", Atom(quoted(piece))) for piece in pieces], ")", comma=False)


def laid_out(node: Node, indent: int = 0, taken: int = 0, after: int = 0) -> str:
    """The source of a piece.

    Args:
        indent: Of the line that it begins on.
        taken: Characters that stand on this line before it.
        after: Characters that will follow on its last line.
    """
    flat = _flat(node)
    if isinstance(node, Atom) or (taken + len(flat) + after <= COLUMNS and not _is_broken(node)):
        return flat
    inner = " " * (indent + 4)
    lines = [node.opening]
    for before, one in node.items:
        comma = "," if node.comma else ""
        text = laid_out(one, indent + 4, len(inner) + len(before), len(comma))
        lines.append(f"{inner}{before}{text}{comma}")
    return "\n".join([*lines, " " * indent + node.closing])


def _flat(node: Node) -> str:
    if isinstance(node, Atom):
        return node.text
    separator = ", " if node.comma else " "
    return node.opening + separator.join(before + _flat(one) for before, one in node.items) + node.closing


def _is_broken(node: Node) -> bool:
    """A text in pieces is always read line by line."""
    if isinstance(node, Atom):
        return False
    return not node.comma or any(_is_broken(one) for _, one in node.items)
