"""How a node may have ended, kind by kind, given how its parts have: asyncio's rules, and those of the Context.

Each function answers with all legal ends. A cancel is legal where a scope around the node has let go of it (``cut``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from durable_testing.workloads import nodes

Json = Any
CANCELLED: Final[Json] = ["cancelled"]
TIMED_OUT: Final[Json] = ["error", ["TimeoutError", ""]]

__all__ = [
    "CANCELLED",
    "NEVER",
    "TIMED_OUT",
    "Part",
    "cancel",
    "gather",
    "group",
    "limit",
    "parallel",
    "race",
    "sequence",
]


@dataclass(frozen=True, slots=True)
class Part:
    """What became of a node.

    Attributes:
        end: How it ended; None if it is open or never began.
        at: The mark of its end; 0 without one.
        begun: Whether it ever began.
    """

    end: Json = None
    at: int = 0
    begun: bool = False

    @property
    def ok(self) -> bool:
        return self.end is not None and self.end[0] == "ok"

    @property
    def failed(self) -> bool:
        return self.end is not None and self.end[0] == "error"


NEVER: Final = Part()


def _or_cut(ends: list[Json], cut: bool) -> list[Json]:
    return [*ends, CANCELLED] if cut else ends


def sequence(parts: Sequence[Part]) -> list[Json]:
    """One after the other, up to the first that does not succeed."""
    for place, part in enumerate(parts):
        if not part.ok:
            skipped = not any(later.begun for later in parts[place + 1 :])
            return [part.end] if part.end is not None and skipped else []
    return [["ok", [part.end[1] for part in parts]]]


def gather(keep: bool, parts: Sequence[Part], cut: bool) -> list[Json]:
    """All results in order, or the error that came first; with ``keep`` errors are results."""
    if keep:
        if all(part.ok or part.failed for part in parts):
            return _or_cut([["ok", [part.end[1] if part.ok else part.end for part in parts]]], cut)
        return _or_cut([], cut)
    if all(part.ok for part in parts):
        return _or_cut([["ok", [part.end[1] for part in parts]]], cut)
    failed = sorted((part for part in parts if part.failed), key=lambda part: part.at)
    return _or_cut([failed[0].end] if failed else [], cut)


def group(parts: Sequence[Part], cut: bool) -> list[Json]:
    """All results, or all errors together; everything has ended."""
    failed = sorted((part for part in parts if part.failed), key=lambda part: part.at)
    if failed:
        return _or_cut([["error", ["ExceptionGroup", [part.end[1] for part in failed]]]], cut)
    return _or_cut([["ok", [part.end[1] for part in parts]]] if all(part.ok for part in parts) else [], cut)


def parallel(parts: Sequence[Part], tolerate: int, cut: bool) -> list[Json]:
    """Results in order, tolerated failures left out; one failure too many is raised."""
    failed = [part for part in parts if part.failed]
    if len(failed) > tolerate:
        return _or_cut([part.end for part in failed], cut)
    if all(part.ok or part.failed for part in parts):
        return _or_cut([["ok", [part.end[1] for part in parts if part.ok]]], cut)
    return _or_cut([], cut)


def race(parts: Sequence[Part], won: Sequence[int] | None, cut: bool) -> list[Json]:
    """The ends of those who ended first; the others ended afterwards."""
    if not won:
        return _or_cut([], cut)
    losers = [part for place, part in enumerate(parts) if place not in won]
    last = max(parts[place].at for place in won)
    fair = all(parts[place].end is not None for place in won)
    if not fair or any(part.begun and part.at <= last for part in losers):
        return _or_cut([], cut)
    return _or_cut([["ok", [[place, parts[place].end] for place in won]]], cut)


def limit(node: nodes.Limit, body: Part, fired: bool, cut: bool) -> list[Json]:
    """As the body ends; a body that was cut by this very timeout makes a ``TimeoutError``.

    Args:
        fired: Whether the timeout may have passed.
    """
    if body.end not in (None, CANCELLED):
        return [body.end]
    if not body.begun and not (node.how == "wait_for" and node.seconds == 0):
        return []
    if body.begun and body.end is None:
        return []
    return _or_cut([TIMED_OUT] if fired else [], cut)


def cancel(body: Part, asked: bool | None, cut: bool) -> list[Json]:
    """The end of the task, as a value."""
    if asked is None or body.begun and body.end is None or not (body.begun or asked):
        return _or_cut([], cut)
    return _or_cut([["ok", CANCELLED if body.end is None else body.end]], cut)
