"""Trouble with the store, written into the store as soon as that is possible, so that others can see who had it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from durable._core.why import ago, instant
from durable._model.claims import WorkerSession
from durable._model.runs import RunRecord, RunStatus
from durable.clock import Clock
from durable.codec.redaction import redact
from durable.errors import StoreError
from durable.store import Store

__all__ = ["Reporter", "Trouble", "added_to", "troubles"]

_KIND: Final = "durable.weather"
_PATIENCE_SECONDS: Final = 3.0  # what passes sooner is nobody's business
_EVERY_SECONDS: Final = 10.0
_STANDS_SECONDS: Final = 60.0  # a worker that died in its trouble does not have it for ever
_REMEMBERED_SECONDS: Final = 3600.0


@final
@dataclass(frozen=True, slots=True)
class Trouble:
    """What one worker had to wait out.

    Attributes:
        session: Of the worker.
        worker: Its name.
        error: One line.
        since: Store time.
        until: Store time; None if it goes on.
    """

    session: str
    worker: str
    error: str
    since: float
    until: float | None

    def sentence(self, now: float) -> str:
        """For people."""
        if self.until is None:
            return f"Worker {self.worker} has trouble with the store since {instant(self.since, now)}: {self.error}"
        ended = f"{self.until - self.since:.0f} s, which ended {ago(self.until, now)}"
        return f"Worker {self.worker} had trouble with the store for {ended}: {self.error}"


@final
class Reporter:
    """A worker's own troubles, put into its store. What passes within three seconds is not written.

    Args:
        store: Which may refuse this, too; then it is tried again.
        now: Store time as the worker knows it.
    """

    def __init__(self, store: Store, clock: Clock, now: Callable[[], float], session: WorkerSession) -> None:
        self._store = store
        self._clock = clock
        self._now = now
        self._session = session
        self._over = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def heed(self, error: StoreError | None) -> None:
        """Trouble begins, or (None) is over."""
        if error is None:
            self._over.set()
            return
        self._over.clear()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._report(error), name="durable-troubles")

    async def stop(self) -> None:
        """Let go."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _report(self, error: StoreError) -> None:
        since = self._now()
        if await self._passes_within(_PATIENCE_SECONDS):
            return
        passed = False
        while not passed:
            await self._put(error, since, None)
            passed = await self._passes_within(_EVERY_SECONDS)
        await self._put(error, since, self._now())

    async def _passes_within(self, seconds: float) -> bool:
        timer = asyncio.ensure_future(self._clock.sleep(seconds))
        over = asyncio.ensure_future(self._over.wait())
        try:
            await asyncio.wait([timer, over], return_when=asyncio.FIRST_COMPLETED)
            return self._over.is_set()
        finally:
            timer.cancel()
            over.cancel()

    async def _put(self, error: StoreError, since: float, until: float | None) -> None:
        said = {
            "worker": self._session.name,
            "error": redact(f"{type(error).__name__}: {error}"),
            "since": since,
            "until": until,
        }
        keep = _STANDS_SECONDS if until is None else _REMEMBERED_SECONDS
        with contextlib.suppress(StoreError):
            await self._store.put_record(_KIND, self._session.id, json.dumps(said).encode(), keep_seconds=keep)


async def troubles(store: Store) -> list[Trouble]:
    """What workers have told: what goes on, and what passed within the last hour."""
    found: list[Trouble] = []
    for row in await store.list_records(_KIND, limit=100):
        told: dict[str, Any] = json.loads(row.value)
        found.append(Trouble(row.key, told["worker"], told["error"], told["since"], told["until"]))
    return found


def added_to(sentence: str, run: RunRecord, found: Sequence[Trouble], now: float) -> str:
    """What a run waits for, and the trouble that its worker has, or that any worker has if it waits for one."""
    if run.ended or run.status in (RunStatus.PAUSED, RunStatus.BLOCKED):
        return sentence
    due = run.due_at is not None and run.due_at <= now
    present = [one for one in found if one.until is None and (one.session == run.owner or (run.owner is None and due))]
    return " ".join([sentence, *(one.sentence(now) + "." for one in present[:1])])
