"""The catalogue: small scenarios, each for one part of the engine, that must hold under any schedule of faults."""

from __future__ import annotations

from typing import Final

from durable_testing.catalogue import combined, deploys, families, lives, rare, sequences, starts, together, waits
from durable_testing.catalogue.entry import Entry

__all__ = ["ENTRIES", "Entry", "entry"]

ENTRIES: Final[tuple[Entry, ...]] = (
    *sequences.ENTRIES,
    *waits.ENTRIES,
    *together.ENTRIES,
    *families.ENTRIES,
    *lives.ENTRIES,
    *starts.ENTRIES,
    *deploys.ENTRIES,
    *combined.ENTRIES,
    *rare.ENTRIES,
)


def entry(name: str) -> Entry:
    """The entry of this name.

    Raises:
        KeyError: There is none.
    """
    return {each.name: each for each in ENTRIES}[name]
