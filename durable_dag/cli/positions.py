"""Where things stand in a text that is known to be JSON: from a JSON Pointer to a line and a column."""

from __future__ import annotations

import re
from json import JSONDecoder
from typing import Final, final

from durable_dag.problems import pointer

__all__ = ["Place", "json_places", "nearest_place"]

Place = tuple[int, int]
"""(line, column), both counted from 1."""

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_DECODER: Final = JSONDecoder(strict=False)
_PLAIN: Final = re.compile(r"[^\s,\]}]+")


def json_places(text: str) -> dict[str, Place]:
    """The place of every value, by its JSON Pointer; of a member, where its name stands."""
    reader = _Reader(text)
    reader.value(0, "", 0)
    return reader.placed()


def nearest_place(places: dict[str, Place], path: str) -> Place | None:
    """The place of a value; for one that is not there, that of what it is missing from."""
    while path not in places:
        if not path:
            return None
        path = path.rpartition("/")[0]
    return places[path]


@final
class _Reader:
    """Reads a text once, and notes where values begin."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._offsets: dict[str, int] = {}

    def placed(self) -> dict[str, Place]:
        """Offsets as lines and columns."""
        starts = [0, *(found.end() for found in re.finditer("\n", self._text))]
        places: dict[str, Place] = {}
        line = 0
        for path, offset in sorted(self._offsets.items(), key=lambda one: one[1]):
            while line + 1 < len(starts) and starts[line + 1] <= offset:
                line += 1
            places[path] = (line + 1, offset - starts[line] + 1)
        return places

    def value(self, at: int, path: str, shown: int | None = None) -> int:
        """A value that begins at or behind an offset; where it ends."""
        at = self._skip(at)
        self._offsets[path] = shown if shown else at
        first = self._text[at]
        if first == "{":
            return self._object(at, path)
        if first == "[":
            return self._list(at, path)
        if first == '"':
            return self._string(at)[1]
        found = _PLAIN.match(self._text, at)
        assert found is not None
        return found.end()

    def _object(self, at: int, path: str) -> int:
        at = self._skip(at + 1)
        while self._text[at] != "}":
            name, end = self._string(at)
            at = self._skip(self.value(self._skip(end) + 1, path + pointer(name), at))
            if self._text[at] == ",":
                at = self._skip(at + 1)
        return at + 1

    def _list(self, at: int, path: str) -> int:
        at, index = self._skip(at + 1), 0
        while self._text[at] != "]":
            at = self._skip(self.value(at, path + pointer(index)))
            index += 1
            if self._text[at] == ",":
                at = self._skip(at + 1)
        return at + 1

    def _string(self, at: int) -> tuple[str, int]:
        return _DECODER.raw_decode(self._text, at)

    def _skip(self, at: int) -> int:
        found = _SPACE.match(self._text, at)
        assert found is not None
        return found.end()
