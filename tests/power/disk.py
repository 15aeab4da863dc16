"""What a disk may hold after a power cut: pure, from the events before it and the fate of each write.

The rules are those of POSIX and of SQLite's documentation, and no milder:

* what was synced is there; what was not may be there or not, each sector by itself, in any combination;
* a sector that was being written may hold its new bytes up to some point and its old ones from there on, and bytes
  beside a write are left alone (SQLite's "powersafe overwrite", which it assumes on every disk by default);
* a file that has grown may have got its length and not its bytes: then anything may stand there;
* names that were made or removed may be there or not, each operation by itself, until their directory is synced.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Final, final

from tests.power.events import Acked, Began, Cut, Event, NamesSynced, Renamed, Synced, Wrote

__all__ = ["SECTORS", "Disk", "Fate", "Image", "Piece"]

SECTORS: Final = (512, 4096)
"""Bytes that a disk writes at once, of old ones and of new ones."""

Image = Mapping[str, bytes]
"""The files of the directory, by name."""
Piece = Wrote | Cut | Renamed
"""What the power cut may have kept or lost by itself."""


class Fate(enum.Enum):
    """What became of a piece."""

    KEPT = "kept"
    LOST = "lost"
    TORN = "torn"  # of a write: its first half
    STALE = "stale"  # of a write that makes a file longer: its place, without its bytes


@final
class Disk:
    """The directory at one moment: what is safe, and what is under way.

    Args:
        base: What was there, safely, before the recording.
    """

    def __init__(self, base: Image | None = None) -> None:
        found = {} if base is None else base
        self.names: dict[str, int] = {name: number for number, name in enumerate(sorted(found))}
        self.contents: dict[int, bytes] = {self.names[name]: data for name, data in found.items()}
        self.under_way: list[Piece] = []

    def apply(self, event: Event) -> None:
        """One more event."""
        match event:
            case Wrote() | Cut() | Renamed():
                self.under_way.append(event)
            case Synced(file=file):
                content = bytearray(self.contents.get(file, b""))
                others: list[Piece] = []
                for piece in self.under_way:
                    if isinstance(piece, Renamed) or piece.file != file:
                        others.append(piece)
                    else:
                        _put(content, piece, Fate.KEPT, 0)
                self.contents[file] = bytes(content)
                self.under_way = others
            case NamesSynced():
                for piece in self.under_way:
                    if isinstance(piece, Renamed):
                        _rename(self.names, piece)
                self.under_way = [piece for piece in self.under_way if not isinstance(piece, Renamed)]
            case Began() | Acked():
                pass

    def pieces(self, sector: int) -> list[Piece]:
        """What is under way, in its order, writes cut at the borders of sectors."""
        return [part for piece in self.under_way for part in _split(piece, sector)]

    def image(self, pieces: Sequence[Piece], fates: Sequence[Fate], noise: int = 0) -> Image:
        """The files as they are found when the power is back.

        Args:
            pieces: All that were under way.
            fates: One for each of them.
            noise: 0 to 255; what stands where a file has grown without its bytes.
        """
        names = dict(self.names)
        contents = {file: bytearray(data) for file, data in self.contents.items()}
        for piece, fate in zip(pieces, fates, strict=True):
            if fate is Fate.LOST:
                continue
            if isinstance(piece, Renamed):
                _rename(names, piece)
            else:
                _put(contents.setdefault(piece.file, bytearray()), piece, fate, noise)
        return {name: bytes(contents.get(file, b"")) for name, file in names.items()}


def _split(piece: Piece, sector: int) -> list[Piece]:
    if not isinstance(piece, Wrote):
        return [piece]
    start, end = piece.offset, piece.offset + len(piece.data)
    borders = [start, *range((start // sector + 1) * sector, end, sector), end]
    return [Wrote(piece.file, a, piece.data[a - start : b - start]) for a, b in zip(borders, borders[1:], strict=False)]


def _put(content: bytearray, piece: Wrote | Cut, fate: Fate, noise: int) -> None:
    if isinstance(piece, Cut):
        del content[piece.size :]
        content.extend(bytes(piece.size - len(content)))
        return
    end = piece.offset + len(piece.data)
    old = len(content)
    if fate is Fate.STALE:
        if end > old:
            content.extend(bytes(max(0, piece.offset - old)))
            content.extend(bytes([noise]) * (end - len(content)))
        return
    data = piece.data if fate is Fate.KEPT else piece.data[: len(piece.data) // 2]
    content.extend(bytes(max(0, piece.offset - old)))
    content[piece.offset : piece.offset + len(data)] = data


def _rename(names: dict[str, int], change: Renamed) -> None:
    for name, file in change.names:
        if file is None:
            names.pop(name, None)
        else:
            names[name] = file
