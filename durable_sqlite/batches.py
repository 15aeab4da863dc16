"""A batch of items in one transaction, of which a bad one does not spoil the others."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import TypeVar

from durable_sqlite.failures import is_weather

__all__ = ["Apart", "apply_each"]

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Apart(Exception):
    """This batch cannot be applied as a whole, though its items may be: nothing of it must stand."""


def apply_each(
    raw: sqlite3.Connection,
    items: Sequence[Item],
    apply: Callable[[sqlite3.Connection, Item, float], Answer],
    now: float,
) -> tuple[list[Answer], Exception | None]:
    """Apply each item on its own, after a surprise: all but the bad ones. Also: the first bad one's error.

    The store's own troubles (busy, full, damaged) are nobody's fault and are raised.
    """
    answers: list[Answer] = []
    first: Exception | None = None
    for item in items:
        raw.execute("SAVEPOINT item")
        try:
            answers.append(apply(raw, item, now))
        except Exception as error:
            if is_weather(error):
                raise
            raw.execute("ROLLBACK TO item")
            first = error if first is None else first
        raw.execute("RELEASE item")
    return answers, first
