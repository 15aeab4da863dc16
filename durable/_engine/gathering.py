"""Calls of clients that are made while one is under way go with the next: a thousand starts are a few transactions."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, Generic, TypeVar, final

from durable._engine.weather import Weather
from durable._model import defaults
from durable.clock import Clock
from durable.errors import Corrupt, DurableError, StoreError

__all__ = ["Gathering"]

Item = TypeVar("Item")
Answer = TypeVar("Answer")

ITEMS_MAX: Final = 256  # of one call: other processes write, too, and whoever comes later waits for all of it


@final
class _Asked(Generic[Item, Answer]):
    """One item on its way, and who waits for its answer."""

    __slots__ = ("answer", "item", "size")

    def __init__(self, item: Item, size: int) -> None:
        self.item = item
        self.size = size
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()


@final
class Gathering(Generic[Item, Answer]):
    """One kind of call of one client.

    An item that is asked for alone goes out at once, in its asker's own task. Each item has its own answer or its own
    error: what fails in company is said again apart, until whoever is to blame is alone.

    Args:
        call: Of the store: takes items, answers each, and may be repeated.
        size: Of an item, in bytes.
        attempts: How long bad weather is waited out; see ``Weather.through``.
    """

    def __init__(
        self,
        call: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]],
        size: Callable[[Item], int],
        weather: Weather,
        clock: Clock,
        attempts: int,
    ) -> None:
        self._call = call
        self._size = size
        self._weather = weather
        self._clock = clock
        self._attempts = attempts
        self._waiting: deque[_Asked[Item, Answer]] = deque()
        self._under_way = 0
        self._flights: dict[asyncio.Task[None], list[_Asked[Item, Answer]]] = {}  # in the order in which they left
        self._closed = False

    async def ask(self, item: Item) -> Answer:
        """The store's answer to one item.

        Raises:
            StoreError: It is still bad after some seconds.
        """
        if not self._under_way and not self._waiting:
            return (await self._weather.through(lambda: self._say([item]), attempts=self._attempts))[0]
        return await self._join(item).answer

    async def ask_all(self, items: Sequence[Item]) -> list[Answer]:
        """The answers to several items, in order; they travel together as far as the limits allow.

        Raises:
            Exception: Of the first item that failed; all were asked.
        """
        asked = [self._join(item) for item in items]
        if not self._under_way:
            self._take_off()
        try:
            if asked:
                await asyncio.wait([one.answer for one in asked])
        finally:
            for one in asked:
                if not one.answer.cancel() and not one.answer.cancelled():
                    one.answer.exception()  # each counts as seen, though only the first is raised
        return [one.answer.result() for one in asked]

    async def close(self) -> None:
        """Nothing more is said; whoever still waits is told."""
        self._closed = True
        flights = list(self._flights)
        for flight in flights:
            flight.cancel()
        if flights:
            await asyncio.wait(flights)
        _fail(self._waiting, _closed())
        self._waiting.clear()

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _join(self, item: Item) -> _Asked[Item, Answer]:
        asked: _Asked[Item, Answer] = _Asked(item, self._size(item))
        self._waiting.append(asked)
        return asked

    async def _say(self, items: Sequence[Item]) -> Sequence[Answer]:
        """One call. What came meanwhile leaves when it is over, whatever became of it: nobody waits out its weather."""
        self._under_way += 1
        try:
            return await self._call(items)
        finally:
            self._over()

    def _over(self) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._take_off()

    def _take_off(self) -> None:
        batch = [] if self._closed else self._batch()
        if batch:
            flight = asyncio.get_running_loop().create_task(self._fly(batch))
            self._flights[flight] = batch
            flight.add_done_callback(self._landed)

    def _landed(self, flight: asyncio.Task[None]) -> None:
        error = None if flight.cancelled() else flight.exception()
        _fail(self._flights.pop(flight), error if isinstance(error, Exception) else _closed())

    def _batch(self) -> list[_Asked[Item, Answer]]:
        """Items at the head of the queue, as many as one call takes; one at least."""
        batch: list[_Asked[Item, Answer]] = []
        size = 0
        while self._waiting and len(batch) < ITEMS_MAX:
            asked = self._waiting[0]
            if not asked.answer.done():  # else whoever asked has given up
                size += asked.size
                if batch and size > defaults.COMMIT_BYTES_MAX:
                    break
                batch.append(asked)
            self._waiting.popleft()
        return batch

    async def _fly(self, batch: Sequence[_Asked[Item, Answer]]) -> None:
        await self._deliver(batch)
        self._under_way += 1
        try:
            await self._clock.sleep(0)  # whoever was answered just now and asks on does so in company, too
        finally:
            self._over()

    async def _deliver(self, batch: Sequence[_Asked[Item, Answer]]) -> None:
        """Say them together. After a store error one alone is said, another one each time: if it is taken, the error
        may have been some item's, and the others are said in halves.
        """
        said = batch
        tries = 0

        def attempt() -> Awaitable[Sequence[Answer]]:
            nonlocal said, tries
            said = batch if tries == 0 else [batch[(tries - 1) % len(batch)]]
            tries += 1
            return self._say([asked.item for asked in said])

        try:
            answers = await self._weather.through(attempt, attempts=self._attempts)
        except Exception as error:
            if len(batch) == 1 or (isinstance(error, StoreError) and not isinstance(error, Corrupt)):
                _fail(batch, error)
                return
            left = batch
        else:
            for asked, answer in zip(said, answers, strict=True):
                if not asked.answer.done():
                    asked.answer.set_result(answer)
            left = [asked for asked in batch if not asked.answer.done()]
        if left:
            middle = max(1, len(left) // 2)
            halves = [half for half in (left[:middle], left[middle:]) if half]
            await asyncio.gather(*(self._deliver(half) for half in halves))


def _fail(batch: Iterable[_Asked[Any, Any]], error: Exception) -> None:
    for asked in batch:
        if not asked.answer.done():
            asked.answer.set_exception(error)


def _closed() -> DurableError:
    return DurableError("This client was closed while the call was under way; it may have been done. Connect again.")
