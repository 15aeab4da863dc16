"""How often a worker speaks to its store: as often as it likes, or as the store asks (``durable.store.Rhythm``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from durable._model import defaults
from durable._model.claims import Poll, Want
from durable._model.rhythm import Rhythm
from durable.store import Paced, Store

__all__ = ["Pace", "rhythm_of"]


def rhythm_of(store: Store) -> Rhythm:
    """The store's own, or that of one whose calls cost nothing."""
    if isinstance(store, Paced):
        return store.rhythm
    seconds = defaults.POLL_SECONDS
    return Rhythm(seconds, seconds, defaults.POLL_UNHINTED_SECONDS)


@final
class Pace:
    """Of one worker.

    Args:
        lease_seconds: Of its session while it holds something.
        poll_seconds: What its owner has said; None: as the store asks.
        holds: Whether it holds a run.

    Attributes:
        idle_lease_seconds: For its polls to ask for; None: the same lease always, and a heartbeat that never rests.
    """

    def __init__(
        self, store: Store, lease_seconds: float, poll_seconds: float | None, holds: Callable[[], bool]
    ) -> None:
        self.rhythm = rhythm_of(store)
        self._store = store
        self._lease_seconds = lease_seconds
        self._poll_seconds = poll_seconds
        self._holds = holds
        longer = self.rhythm.idle_lease_seconds
        self.idle_lease_seconds = longer if longer is not None and longer > lease_seconds else None
        self._empty = False

    def polled(self, want: Want, poll: Poll) -> None:
        """A poll was answered. Only if nothing was held then has the session the long lease: a run may end since."""
        self._empty = not want.held and not poll.claims

    def idle(self) -> bool:
        """Whether nothing is held that a lease would keep, and the store would rather not hear of it."""
        return self.idle_lease_seconds is not None and self._empty and not self._holds()

    def rest_seconds(self) -> float:
        """Until the next look when nothing hints: three of them within the lease."""
        seconds = self._poll_seconds
        if seconds is None:
            seconds = self.rhythm.poll_seconds if self._store.hinted else self.rhythm.unhinted_seconds
        longer = self.idle_lease_seconds
        return min(seconds, (longer if longer is not None and self.idle() else self._lease_seconds) / 3)
