"""When a worker looks at its store, and what for."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from typing import Any, final

from durable._author.logs import logger
from durable._engine.ahead import Ahead, Asked
from durable._engine.link import Link
from durable._engine.pace import Pace
from durable._engine.services import Services
from durable._engine.session import Lease
from durable._engine.slots import Slots
from durable._model import defaults
from durable._model.claims import Poll, Want, WorkerSession
from durable.errors import Corrupt

__all__ = ["Polling"]

_log = logger("durable.worker")


@final
class Polling:
    """Of one worker that has started.

    Args:
        link: Whose store is asked, and whose hints wake it.
        slots: What it holds and has room for.
        stopping: Set when it is to look no more.
        freed: Set when a run has gone.

    Attributes:
        ahead: How a write of the same process takes it along.
    """

    def __init__(
        self,
        link: Link,
        session: WorkerSession,
        lease: Lease,
        pace: Pace,
        slots: Slots,
        services: Services,
        stopping: asyncio.Event,
        freed: asyncio.Event,
    ) -> None:
        self._link = link
        self._session = session
        self._lease = lease
        self._pace = pace
        self._slots = slots
        self._services = services
        self._stopping = stopping
        self._freed = freed
        self._polls = 0
        self.ahead = Ahead(self._want_along, self._ask, link.work.future, link.clock)

    async def run(self) -> None:
        """Look until the worker stops.

        Whatever goes wrong in one look must not leave a worker that beats on and takes nothing (B14).

        Raises:
            Corrupt: The store holds what nobody can have written.
        """
        while not self._stopping.is_set():
            try:
                await self._look_until_asked()
            except Corrupt:
                raise
            except Exception:
                _log.exception("The worker could not look for work; it tries again in a second.")
                await self._link.clock.sleep(1.0)

    async def _look_until_asked(self) -> None:
        along: Asked | None = None
        while along is not None or not self._stopping.is_set():  # what was asked for may have claimed
            along = await self._look(along or Asked(self._want(), self._ask, self._link.work.future, self._link.clock))

    async def _look(self, asked: Asked) -> Asked | None:
        """One look and the rest behind it; the next look, if it was taken along meanwhile."""
        want, began = asked.want, self._services.teller.moment()
        named = {held.run: held.epoch for held in want.held}
        try:
            poll = await self._services.weather.through(asked.answer)
            self._lease.renewed(asked.at)
            self._services.time.heard(poll.now)
            self._services.teller.polled(len(poll.claims), len(poll.lost), began)
            self._pace.polled(want, poll)
            self._slots.reconcile(poll, named)
            if (len(poll.claims) >= max(want.limit, 1) and self._slots.free() > 0) or self._slots.lacks_messages(poll):
                return None
            await self._rest(asked.hint, self.ahead.rest(), want, poll)
            return self.ahead.wake()
        finally:
            asked.hint.cancel()

    async def _rest(self, hint: asyncio.Future[None], taken: asyncio.Future[Asked], want: Want, poll: Poll) -> None:
        """Until a hint, the next due time, room for more, the time to look anyway, or it is taken along."""
        seconds = self._pace.rest_seconds()
        due, free = math.inf, self._slots.free()
        if poll.next_due_at is not None and free > 0:
            due = max(poll.next_due_at - self._services.time.now(), 0.0) + defaults.LATE_SECONDS
        pause = asyncio.ensure_future(self._link.clock.pause(seconds, due))
        waits: list[asyncio.Future[Any]] = [hint, taken, pause]
        more = poll.next_due_at is not None and poll.next_due_at <= poll.now
        if free == 0 or more or not self._slots.wants_all(want.lanes):
            waits.append(asyncio.ensure_future(self._freed.wait()))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits[2:]:
                wait.cancel()

    def _ask(self, want: Want) -> Coroutine[Any, Any, Poll]:
        return self._link.store.poll(self._session, want)

    def _want_along(self) -> Want | None:
        return self._want(ahead=True) if self._slots.free() > 0 else None

    def _want(self, *, ahead: bool = False) -> Want:
        self._polls += 1
        self._freed.clear()  # the room that there is now is asked for
        return Want(
            f"{self._session.id}/{self._polls}",
            self._slots.lanes(),
            self._slots.free(),
            self._slots.named(),
            idle_lease_seconds=self._pace.idle_lease_seconds,
            ahead=ahead,
        )
