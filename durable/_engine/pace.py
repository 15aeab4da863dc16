"""How often a worker speaks to its store: as often as it likes, or as the store asks (``durable.store.Rhythm``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import final

from durable._model import defaults
from durable._model.claims import WorkerSession
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
        poll_seconds: What its owner has said; None: as the store asks.
        holds: Whether it holds a run.
    """

    def __init__(
        self, store: Store, session: WorkerSession, poll_seconds: float | None, holds: Callable[[], bool]
    ) -> None:
        self.rhythm = rhythm_of(store)
        self._store = store
        self._poll_seconds = poll_seconds
        self._holds = holds
        self._busy_session = session
        longer = self.rhythm.idle_lease_seconds
        spared = longer is not None and longer > session.lease_seconds
        self._idle_session = replace(session, lease_seconds=longer) if spared and longer is not None else None

    def idle(self) -> bool:
        """Whether nothing is held that a lease would keep, and the store would rather not hear of it."""
        return self._idle_session is not None and not self._holds()

    def session(self) -> WorkerSession:
        """As the next poll says it: with a longer lease while it is only a sign of life."""
        session = self._idle_session
        return self._busy_session if session is None or self._holds() else session

    def rest_seconds(self) -> float:
        """Until the next look when nothing hints: three of them within the lease."""
        seconds = self._poll_seconds
        if seconds is None:
            seconds = self.rhythm.poll_seconds if self._store.hinted else self.rhythm.unhinted_seconds
        return min(seconds, self.session().lease_seconds / 3)
