"""How often a worker and its clients speak to a store when there is nothing to say."""

from __future__ import annotations

from dataclasses import dataclass

from durable._model import defaults

__all__ = ["Rhythm"]


@dataclass(frozen=True, slots=True)
class Rhythm:
    """What a store may ask of those who use it; one whose calls cost money asks for fewer.

    Attributes:
        poll_seconds: Between a worker's looks for work while the store hints at changes.
        look_seconds: Between the looks of a client that waits for a run, while the store hints at changes.
        unhinted_seconds: Between either's looks while the store does not.
        idle_lease_seconds: The lease of a worker that holds nothing: its polls ask for it (``Want``), and its heartbeat
            rests until it holds something. None: it beats always, for its own lease.
        purge_seconds: Between two looks for runs past their retention, at most; None: as the engine likes.
    """

    poll_seconds: float = defaults.POLL_SECONDS
    look_seconds: float = defaults.POLL_SECONDS
    unhinted_seconds: float = defaults.POLL_UNHINTED_SECONDS
    idle_lease_seconds: float | None = None
    purge_seconds: float | None = None
