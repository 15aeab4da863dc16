"""The trace: everything that happened in one simulation, in one total order. Its hash tells two runs apart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, final

__all__ = ["Event", "Trace"]


@final
@dataclass(slots=True)
class Event:
    """One thing that happened.

    Attributes:
        seq: Its place in the total order, 0, 1, 2, ...
        at: True time of the world, seconds since the epoch; no actor's clock, nor the store's, shows it.
        actor: Who did it: ``client``, ``worker-1.1`` (its first life), ``world``.
        kind: One of the kinds below.
        data: What belongs to the kind.

    Kinds, and their data:

    * ``begin`` ``{op, method, asked}``: a store operation has been asked for; ``op`` numbers them from 0.
    * ``effect`` ``{op, method, asked, answer, now}``: the store has carried it out; ``now`` is store time. Emitted at
      the point of commit, whether or not anybody hears of it; twice if the operation was said twice.
    * ``end`` ``{op, error}``: the caller has heard; ``error`` is None, or the class of what was raised.
    * ``step.begin`` ``{run, generation, call, attempt, key, name, effect}`` and ``step.end`` ``{..., error}``: the
      effect ledger. What a step of a killed worker would still have done is not in it.
    * ``up`` ``{registered, concurrency}``, ``drain`` (it is asked to stop), ``down`` ``{how}`` (``kill`` or ``drain``),
      ``stop``, ``cont``, ``evict``, ``jump`` ``{seconds}``: a worker's life.
    * ``fault`` ``{what}``: a planned fault strikes.
    * ``quiet``: from here on no fault strikes and every worker is up.
    """

    seq: int
    at: float
    actor: str
    kind: str
    data: dict[str, Any]

    def __str__(self) -> str:
        said = " ".join(f"{key}={value!r}" for key, value in self.data.items())
        return f"{self.seq} {self.at:.6f} {self.actor} {self.kind} {said}"


@final
@dataclass(slots=True)
class Trace:
    """What happened, oldest first."""

    events: list[Event] = field(default_factory=list)

    def add(self, at: float, actor: str, kind: str, **data: Any) -> None:
        """One more."""
        self.events.append(Event(len(self.events), at, actor, kind, data))

    def of(self, *kinds: str) -> Iterator[Event]:
        """Those of these kinds."""
        return (event for event in self.events if event.kind in kinds)

    def hash(self) -> str:
        """SHA-256 of the whole trace, in hexadecimal: the same seed gives the same, in every process."""
        digest = hashlib.sha256()
        for event in self.events:
            digest.update(str(event).encode("utf-8", "backslashreplace"))
            digest.update(b"\n")
        return digest.hexdigest()

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)
