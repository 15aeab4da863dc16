"""What a recording says, in order: writes, syncs, names, and what the store was asked for and has acknowledged.

A file is known by a number, as a disk knows it: names come and go, and a file may have two of them.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Acked", "Began", "Cut", "Event", "NamesSynced", "Renamed", "Synced", "Wrote"]


@dataclass(frozen=True, slots=True)
class Wrote:
    """Bytes were written into a file."""

    file: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Cut:
    """A file was given this length, in bytes."""

    file: int
    size: int


@dataclass(frozen=True, slots=True)
class Synced:
    """Everything that had been written into a file is safe."""

    file: int


@dataclass(frozen=True, slots=True)
class Renamed:
    """One operation on the directory, done whole or not at all: for each name, the file that it stands for now."""

    names: tuple[tuple[str, int | None], ...]


@dataclass(frozen=True, slots=True)
class NamesSynced:
    """Everything that had been done to the directory is safe."""


@dataclass(frozen=True, slots=True)
class Began:
    """The store was asked for an operation, by its place among all of them."""

    operation: int


@dataclass(frozen=True, slots=True)
class Acked:
    """The store has answered."""

    operation: int


Event = Wrote | Cut | Synced | Renamed | NamesSynced | Began | Acked
