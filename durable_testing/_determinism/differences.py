"""Where two takes of one run part, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from durable_testing._determinism.scene import Read
from durable_testing._determinism.takes import Issued, Take, Turn

__all__ = ["Cause", "Difference", "HINTS", "difference", "told"]

HINTS: Final = {
    "clock": ("reads the clock", "use ctx.now(), or read it in a step"),
    "dice": ("draws from the global random numbers", "use ctx.random"),
    "entropy": (
        "draws randomness from the operating system (os.urandom, secrets, uuid.uuid4)",
        "use ctx.uuid() or ctx.random, or draw it in a step",
    ),
    "environ": ("reads environment variables", "read them in a step, or give their values as input"),
    "zone": ("depends on the machine's time zone", "name the time zone: ZoneInfo(...), or UTC"),
    "locale": ("depends on the machine's locale", "format without it, or in a step"),
    "replaying": ("branches on ctx.is_replaying", "never do: it is for metrics and prints"),
    "hash": (
        "depends on the hashes of texts: it iterates over a set, or calls hash()",
        "sort what it iterates over, or use a dict or list",
    ),
    "process": (
        "depends on the process: memory addresses (id(), repr() or sets of plain objects), its number or its directory",
        "give things names of their own, and read the rest in a step",
    ),
    "state": (
        "keeps something outside of the run: a global counter, a cache, an iterator, a clock or dice of a library",
        "hand it over as input, or ask for it in a step",
    ),
}


@dataclass(frozen=True, slots=True)
class Cause:
    """What a difference comes from.

    Attributes:
        part: ``clock``, ``dice``, ``entropy``, ``environ``, ``zone``, ``locale``, ``replaying``, ``hash``, ``process``
            or ``state``.
        reads: Where in users' code it was looked at, as far as that can be seen.
    """

    part: str
    reads: tuple[Read, ...] = ()

    def __str__(self) -> str:
        what, todo = HINTS[self.part]
        seen = ", ".join(f"{read.what} at {read.place}" for read in self.reads[:3])
        return f"it {what}{f' ({seen})' if seen else ''}: {todo}"


@dataclass(frozen=True, slots=True)
class Difference:
    """The first thing in which two takes part.

    Attributes:
        after: The entry behind which it happens.
        first: What the first take issued there; None if nothing more.
        other: What the other one issued instead.
        ends: How each take ended, where only that differs.
    """

    after: str
    first: Issued | None
    other: Issued | None
    ends: tuple[str, str] | None = None

    def __str__(self) -> str:
        if self.ends is not None:
            return f"At its end it first {self.ends[0]}, and then {self.ends[1]}."
        lines = [f"{self.after[:1].upper()}{self.after[1:]}, the first time:", *_shown(self.first)]
        return "\n".join([*lines, "and the other time:", *_shown(self.other)])


def _shown(issued: Issued | None) -> list[str]:
    if issued is None:
        return ["    nothing more"]
    given = f" with {issued.given}" if issued.given else ""
    place = f" ({issued.place})" if issued.place else ""
    return [f"    {issued.shown}{given}{place}", *([f"    > {issued.line}"] if issued.line else [])]


def difference(first: Take, other: Take) -> Difference | None:
    """The first difference; None if the other take did all that the first one did."""
    for one, two in zip_longest(first.turns, other.turns):
        if one is None or two is None:
            break
        found = _of_turns(one, two)
        if found is not None:
            return found
    if len(other.turns) < len(first.turns) or other.stopped != first.stopped:
        last = first.turns[min(len(other.turns), len(first.turns)) - 1]
        return Difference(last.after, None, None, (first.end or "goes on", other.stopped or "stops"))
    if first.end != other.end:
        return Difference("", None, None, (first.end or "goes on", other.end or "goes on"))
    return None


def _of_turns(one: Turn, two: Turn) -> Difference | None:
    for left, right in zip_longest(one.issued, two.issued):
        if left != right:
            return Difference(one.after, left, right)
    return None


def told(name: str, found: Difference, causes: Sequence[Cause], varied: str) -> str:
    """The message of a ``NotDeterministic``."""
    head = f"Workflow {name!r} is not deterministic: replayed against its own journal{varied}, it does something else."
    if not causes:
        why = "No single cause shows it alone: several things outside of the run are looked at together."
    elif len(causes) == 1:
        why = f"Probably {causes[0]}."
    else:
        why = "Probably " + "; and ".join(map(str, causes)) + "."
    return f"{head}\n{found}\n{why}"
