"""Does the code still do what the journal says? The check, and the report for a person."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from durable._core.identity import kind_of, name_of

__all__ = ["Mismatch", "found_in_code", "report"]

_VERBS = {"step": "step", "timer": "timer", "signal": "wait for signal", "child": "child workflow"}


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One disagreement between journal and code.

    Attributes:
        position: Of the entry that does not fit.
        expected: Identity in the journal; None when the code makes a call where the journal has an end.
        found: What the code now calls or does instead, in words.
        why: ``absent``, ``arguments`` or ``ended``.
    """

    run: str
    position: int
    expected: str
    found: str
    why: str


def described(call: str) -> str:
    """``step "charge"`` for ``0/step/charge#0``."""
    return f'{_VERBS.get(kind_of(call), "call")} "{name_of(call)}"'


def found_in_code(pending: Iterable[tuple[str, str | None]], new: Iterable[str]) -> str:
    """What the code waits for now: calls the journal does not know first, each with its place in the source.

    Args:
        pending: (identity, source place) of calls in the order in which they were made.
        new: Identities that no entry of the journal names.
    """
    unknown = set(new)
    calls = sorted(pending, key=lambda item: item[0] not in unknown)
    if not calls:
        return "calls nothing"
    words = [f"calls {described(call)}" + (f" ({place})" if place else "") for call, place in calls[:3]]
    return " and ".join(words) + (" and more" if len(calls) > 3 else "")


def report(mismatch: Mismatch) -> str:
    """The message of the ``NonDeterminismError``: where, what was expected, what was found, what to do."""
    asked = described(mismatch.expected)
    head = f"Run {mismatch.run} is blocked at entry {mismatch.position}: "
    if mismatch.why == "arguments":
        body = f"the journal has {asked} with other arguments than the code now gives ({mismatch.found})."
    elif mismatch.why == "ended":
        body = f"the journal has {asked} where the code now {mismatch.found}."
    else:
        body = f"the journal has {asked} where the code now {mismatch.found}."
    return (
        f"{head}{body}\nThe code changed while the run was in flight, or it is not deterministic. Deploy the old code "
        'for this run, guard the change with ctx.patched("..."), or register the new code as another version; then '
        "resume it."
    )
