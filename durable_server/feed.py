"""What changes in the store, looked up once for everybody who watches."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any, Final, final

from durable import Client
from durable.errors import DurableError
from durable.store import ENDED, RunId, RunQuery, RunRecord, RunStatus

Json = Any

__all__ = ["Feed", "Subscription", "moved_at"]

_EVERY_SECONDS: Final = 0.25
"""Of a run that changes all the time a watcher sees at most four states a second."""
_IDLE_SECONDS: Final = 5.0
_NEWEST: Final = 1_000
_LIVE: Final = tuple(status for status in RunStatus if status not in ENDED)

Stand = tuple[str, int, int, int]


def _stand(run: RunRecord) -> Stand:
    return (run.status.value, run.generation, run.position, run.epoch)


@final
class Subscription:
    """One watcher: the newest row of each run that has changed since it last asked."""

    def __init__(self) -> None:
        self._changed: OrderedDict[str, RunRecord] = OrderedDict()
        self._event = asyncio.Event()

    def put(self, run: RunRecord) -> None:
        """A run has changed. However slow the watcher, there is one row per run."""
        self._changed[run.id] = run
        self._event.set()

    async def take(self) -> list[RunRecord]:
        """Wait for changes."""
        await self._event.wait()
        self._event.clear()
        changed = list(self._changed.values())
        self._changed.clear()
        return changed


@final
class Feed:
    """Watches the newest and the live runs while anybody listens."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._listeners: set[Subscription] = set()
        self._stands: dict[str, Stand] = {}
        self._task: asyncio.Task[None] | None = None

    def listen(self) -> Subscription:
        """From now on; the first look tells nobody anything, since it knows of no change."""
        subscription = Subscription()
        self._listeners.add(subscription)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._watch())
        return subscription

    def leave(self, subscription: Subscription) -> None:
        """No more; with the last one the watch ends."""
        self._listeners.discard(subscription)
        if not self._listeners and self._task is not None:
            self._task.cancel()
            self._task = None
            self._stands = {}

    async def recent(self, since: int) -> list[RunRecord]:
        """Runs of the newest and the live ones that have changed after an instant, in milliseconds; the latest last."""
        runs = [run for run in (await self._look()).values() if moved_at(run) > since]
        return sorted(runs, key=moved_at)

    async def _watch(self) -> None:
        link = self._client.link
        known = False
        while True:
            change = link.changes.future()
            try:
                runs = await self._look()
            except DurableError:
                change.cancel()
                await link.clock.sleep(_IDLE_SECONDS)
                continue
            self._tell(runs, quietly=not known)
            known = True
            await link.clock.sleep(_EVERY_SECONDS)
            await link.changes.wait(change, min(link.changes.interval, _IDLE_SECONDS))

    def _tell(self, runs: dict[str, RunRecord], *, quietly: bool) -> None:
        stands = {id: _stand(run) for id, run in runs.items()}
        if not quietly:
            for id, stand in stands.items():
                if self._stands.get(id) != stand:
                    for listener in self._listeners:
                        listener.put(runs[id])
        self._stands = stands

    async def _look(self) -> dict[str, RunRecord]:
        link = self._client.link
        newest = await link.reach(lambda: link.store.list(RunQuery(), _NEWEST))
        live = await link.reach(lambda: link.store.list(RunQuery(statuses=_LIVE), _NEWEST))
        found: dict[str, RunRecord] = {run.id: run for run in (*live.runs, *newest.runs)}
        gone = [id for id in self._stands if id not in found][:_NEWEST]  # they ended, and are not among the newest
        if gone:
            rows = await link.reach(lambda: link.store.get([RunId(id) for id in gone]))
            found |= {run.id: run for run in rows if run is not None and _stand(run) != self._stands[run.id]}
        return found


def moved_at(run: RunRecord) -> int:
    """When a run last changed, in milliseconds since the epoch."""
    return round(max(run.at, run.created_at, run.ended_at or 0.0) * 1000)
