"""Which fates are tried: all of them where there are few, else the ends of the range and draws from between."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence

from tests.power.disk import Fate, Piece
from tests.power.events import Renamed, Wrote

__all__ = ["choices"]

Fates = tuple[Fate, ...]


def choices(pieces: Sequence[Piece], count: int, dice: random.Random) -> Iterator[Fates]:
    """Up to ``count`` different fates of these pieces.

    First every combination of kept and lost, if there are no more than ``count``; otherwise the extremes (nothing, all,
    all but one, only one). Then draws: prefixes with a torn end, whole files, lengths without bytes, coins.
    """
    size = len(pieces)
    first: list[Fates]
    if 2**size <= count:
        first = list(itertools.product((Fate.KEPT, Fate.LOST), repeat=size))
    else:
        nothing, everything, *others = _extremes(size)
        dice.shuffle(others)
        first = [nothing, everything, *others[: count // 3]]
    seen: set[Fates] = set()
    for fates in itertools.chain(first, (_draw(pieces, dice) for _ in range(2 * count))):
        if len(seen) >= count:
            return
        if fates not in seen:
            seen.add(fates)
            yield fates


def _extremes(size: int) -> list[Fates]:
    def only(place: int, one: Fate, rest: Fate) -> Fates:
        return tuple(one if n == place else rest for n in range(size))

    ends = [(Fate.LOST,) * size, (Fate.KEPT,) * size]
    for place in range(size):
        ends.append(only(place, Fate.LOST, Fate.KEPT))
        ends.append(only(place, Fate.KEPT, Fate.LOST))
    return ends


def _draw(pieces: Sequence[Piece], dice: random.Random) -> Fates:
    size = len(pieces)
    kind = dice.randrange(4)
    if kind == 0:  # what was written up to a moment, whose last write was cut
        end = dice.randrange(size + 1)
        cut = dice.choice((Fate.TORN, Fate.STALE, Fate.LOST))
        fates = [Fate.KEPT] * end + [Fate.LOST] * (size - end)
        if end:
            fates[end - 1] = cut
    elif kind == 1:  # some files and names, and of the others nothing
        lucky = {place: dice.random() < 0.5 for place in {_place(piece) for piece in pieces}}
        fates = [Fate.KEPT if lucky[_place(piece)] else Fate.LOST for piece in pieces]
    elif kind == 2:  # lengths before bytes
        fates = [dice.choice((Fate.KEPT, Fate.STALE)) for _ in pieces]
    else:
        luck = dice.choice((0.1, 0.5, 0.9))
        torn = dice.choice((0.0, 0.1))
        fates = [
            Fate.TORN if dice.random() < torn else Fate.KEPT if dice.random() < luck else Fate.LOST for _ in pieces
        ]
    return tuple(_legal(piece, fate) for piece, fate in zip(pieces, fates, strict=True))


def _place(piece: Piece) -> int | None:
    return None if isinstance(piece, Renamed) else piece.file


def _legal(piece: Piece, fate: Fate) -> Fate:
    """Only writes are torn, or without their bytes."""
    if isinstance(piece, Wrote) or fate in (Fate.KEPT, Fate.LOST):
        return fate
    return Fate.LOST
