"""One step of a random sequence, and how often each kind of step comes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from durable.store import Store

__all__ = ["KINDS", "RUNS", "Ask", "Both", "Step"]

RUNS: Final = ("a", "b", "c", "a%")
Ask = Callable[[Store], Awaitable[object]]
Both = Callable[[int, Ask], Awaitable[Any]]
"""Asks the model and one session of the store under test; the answers must be the same. Returns the model's."""


@dataclass(frozen=True)
class Step:
    """One operation. ``pick``, ``mood`` and ``twist`` choose among what is possible when its turn comes."""

    kind: str
    run: int
    worker: int
    pick: int
    mood: int
    twist: int


KINDS: Final = (
    "rest",  # what superfluous steps shrink to, since sequences have a least length
    *("create",) * 2,
    *("poll",) * 6,
    *("commit",) * 10,
    *("send",) * 3,
    *("control",) * 4,
    *("advance",) * 3,
    *("crash",) * 3,
    *("repeat", "create_again", "renew", "leave", "purge", "record", "jump", "commit_all"),
    *("read", "page"),
)
