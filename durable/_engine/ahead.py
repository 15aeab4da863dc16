"""Polls that go along with a write of the same process, in its transaction: a run is claimed as it is created."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar, final

from durable._model.claims import Poll, Want
from durable.clock import Clock
from durable.store import Joining, Store

T = TypeVar("T")

__all__ = ["Ahead", "Asked", "Company"]

Ask = Callable[[Want], Coroutine[Any, Any, Poll]]
Listen = Callable[[], "asyncio.Future[None]"]


@final
class Asked:
    """One poll.

    Args:
        ask: The store.
        listen: A future, done at the next hint.
        early: Ask now, in a task of its own, rather than when the answer is wanted.

    Attributes:
        hint: Done at the first that comes after the asking; after the answer, if that is fresh.
        at: When it was asked for, in seconds since boot: the lease is counted from here.
    """

    def __init__(self, want: Want, ask: Ask, listen: Listen, clock: Clock, *, early: bool = False) -> None:
        self.want = want
        self.at = clock.since_boot()
        self.hint = listen()
        self._ask = ask
        self._listen = listen
        self._early = asyncio.get_running_loop().create_task(self._say()) if early else None

    def answer(self) -> Awaitable[Poll]:
        """The answer; at the second call, after an error, the same is asked again."""
        early, self._early = self._early, None
        return self._say() if early is None else early

    async def _say(self) -> Poll:
        poll = await self._ask(self.want)
        if poll.fresh:  # here, where no turn of the loop lies between: a hint of that turn would be lost
            self.hint.cancel()
            self.hint = self._listen()
        return poll

    def cancel(self) -> None:
        """Nobody wants the answer."""
        if self._early is not None:
            self._early.cancel()


@final
class Ahead:
    """A worker that rests between two polls, and may be taken along.

    Args:
        want: What it would ask for now; None if it has no room.
        ask: The store.
        listen: Done at the next hint.
    """

    def __init__(self, want: Callable[[], Want | None], ask: Ask, listen: Listen, clock: Clock) -> None:
        self._want = want
        self._ask = ask
        self._listen = listen
        self._clock = clock
        self._resting: asyncio.Future[Asked] | None = None
        self._missed = False

    def rest(self) -> asyncio.Future[Asked]:
        """Done if it is taken along, at once if it would have been while it polled."""
        self._resting = asyncio.get_running_loop().create_future()
        if self._missed:
            self.go()
        return self._resting

    def wake(self) -> Asked | None:
        """It rests no more; its poll, if it was taken along meanwhile."""
        resting, self._resting = self._resting, None
        return resting.result() if resting is not None and resting.done() else None

    def close(self) -> None:
        """The worker stops."""
        asked = self.wake()
        if asked is not None:
            asked.cancel()

    def go(self) -> None:
        """Ask for a poll here and now, if it has room; when it rests again, if it does not rest."""
        resting = self._resting
        self._missed = resting is None
        if resting is not None and not resting.done():
            want = self._want()
            if want is not None:
                resting.set_result(Asked(want, self._ask, self._listen, self._clock, early=True))


@final
class Company:
    """The workers of one client.

    Attributes:
        workers: Those that have started.
    """

    def __init__(self, store: Store) -> None:
        self.workers: dict[Ahead, None] = {}
        self._joins = isinstance(store, Joining)

    async def take_along(self, write: Coroutine[Any, Any, T]) -> T:
        """Carry out a write that may give them something to do, with their polls close behind it."""
        if not (self._joins and self.workers):
            return await write
        writing = asyncio.get_running_loop().create_task(write)
        for worker in list(self.workers):
            worker.go()  # its task begins right after the write's: nothing comes in between
        return await writing
