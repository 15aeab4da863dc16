"""One statement for many rows that are given with it.

Each step of a statement lets go of the interpreter's lock, and a thread that computes gives it back after milliseconds
only: so that few steps are made matters more than how long they are.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final, final

__all__ = ["Given"]

# There are few sizes, so that the statements stay prepared; what is left over in one is given as empty bytes, which no
# text and no number is equal to. Up to Python 3.11 the driver looks for an adapter of NULL and of bytes, not of a
# bytearray: to bind those takes ten times as long.
_FEW: Final = 3  # are cheaper one by one
_SIZES: Final = (4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
_NAME: Final = re.compile(r"\bgiven\.(\w+)")


@final
class Given:
    """A statement over a table ``given``, which is not in the database: its rows come as parameters.

    Args:
        text: Says ``FROM given`` once, alone or joined with others; a row of empty bytes in it must find nothing.
        names: Columns of ``given``; two at least.
    """

    def __init__(self, text: str, *names: str) -> None:
        assert text.count(" FROM given ") == 1
        self._names = names
        self._text = text
        # For one row there is no table: what is given is bound where it is read. Parameters have no numbers, since
        # Python 3.12 up to 3.12.3 takes these for names, and warns.
        self._of_one = _NAME.sub("?", text.replace(" FROM given CROSS JOIN ", " FROM ").replace(" FROM given ", " "))
        self._order = itemgetter(*[names.index(name) for name in _NAME.findall(text)])
        self._of_many: dict[int, str] = {}

    def text(self, rows: int) -> str:
        """The statement for so many rows."""
        if rows == 1:
            return self._of_one
        text = self._of_many.get(rows)
        if text is None:
            row = f"({', '.join('?' * len(self._names))})"
            table = f"(WITH given ({', '.join(self._names)}) AS (VALUES {', '.join([row] * rows)}) {_ALL}) AS given"
            text = self._of_many[rows] = self._text.replace(" FROM given ", f" FROM {table} ")
        return text

    def write_one(self, raw: sqlite3.Connection, row: tuple[Any, ...]) -> int:
        """Run it for one row; returns how many rows it wrote."""
        return raw.execute(self._of_one, self._order(row)).rowcount

    def write(self, raw: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> int:
        """Run it for all of them, at most 256 at a time; returns how many rows it wrote."""
        written = 0
        if len(rows) <= _FEW:
            for row in rows:
                written += self.write_one(raw, row)
            return written
        for start in range(0, len(rows), _SIZES[-1]):
            part = rows[start : start + _SIZES[-1]]
            size = next(size for size in _SIZES if size >= len(part))
            values: list[Any] = []
            for row in part:
                values += row
            values += [_EMPTY] * ((size - len(part)) * len(self._names))
            written += raw.execute(self.text(size), values).rowcount
        return written


_EMPTY: Final = bytearray()
_ALL: Final = "SELECT * FROM given"
