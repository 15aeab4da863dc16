"""The blocks of the README, each by its heading and its number under it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["BLOCKS", "Block", "block", "definition_in"]

PAGE = Path(__file__).with_name("seed-004.md")


@dataclass(frozen=True, slots=True)
class Block:
    """What stands between two fences.

    Attributes:
        number: Among the blocks under one heading, from 0.
        language: ``bash``, ``json``, ``typescript``; nothing for a drawing.
    """

    heading: str
    number: int
    language: str
    text: str

    @property
    def value(self) -> Any:
        """Of a block that is JSON."""
        return json.loads(self.text)


def _blocks() -> Iterator[Block]:
    heading, number, language, lines = "", 0, None, list[str]()
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("```") and language is None:
            language, lines = line.removeprefix("```"), []
        elif line.startswith("```"):
            assert language is not None
            yield Block(heading, number, language, "\n".join(lines))
            number, language = number + 1, None
        elif language is not None:
            lines.append(line)
        elif line.startswith("#"):
            heading, number = line.lstrip("# "), 0


BLOCKS = tuple(_blocks())
_FOUND = {(one.heading, one.number): one for one in BLOCKS}


def block(heading: str, number: int = 0) -> Block:
    """One block."""
    return _FOUND[heading, number]


def definition_in(heading: str) -> Any:
    """The definition that the command under a heading registers."""
    text = block(heading).text.replace("'\\''", "\0")  # how a shell says a quote inside quotes
    return json.loads(text.partition("-d '")[2].partition("'")[0].replace("\0", "'"))
