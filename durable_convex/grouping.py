"""Group commit: one call in flight, and what is asked meanwhile goes with the next one.

A call is one transaction, so whatever throws in it undoes all of it; it is then said again in halves, until the culprit
is alone. Items are kept in the order in which they were asked, and so are the commits of a run.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

from durable.clock import Clock, SystemClock
from durable.errors import InvalidInput, OutcomeUnknown, PayloadTooLarge, StoreError, Transient
from durable_convex.failures import FunctionFailed
from durable_convex.transport import Kind, Transport
from durable_convex.wire import JsonValue

__all__ = ["Group", "Item", "Limits", "batched", "single"]

_ALONE_TRIES: Final = 3
_ALONE_WAIT_SECONDS: Final = 0.2
_BREATH_SECONDS: Final = 0.003


@final
@dataclass(frozen=True, slots=True)
class Limits:
    """How much one call takes. Convex ends a function at 4,096 index ranges and 16 MiB of arguments.

    Attributes:
        items: Items at most.
        ranges: Index ranges at most, as estimated item by item.
        characters: Of JSON text at most.
        flights: Calls in flight at most.
    """

    items: int
    ranges: int
    characters: int
    flights: int = 1


@final
@dataclass(slots=True, eq=False)
class Item:
    """One thing to ask.

    Attributes:
        head: JSON text before it: of a batch, up to the array's bracket; items of one head travel as one operation.
        body: Its own JSON text.
        tail: JSON text after it.
        batch: Whether its operation takes several and answers each.
        ranges: Index ranges that it may read, estimated.
        guilty: Whether, if it alone throws, the fault is its own: it is then refused instead of tried on.
        answer: What the deployment answers, as JSON.
    """

    head: str
    body: str
    tail: str
    batch: bool
    ranges: int
    guilty: bool
    answer: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def characters(self) -> int:
        return len(self.head) + len(self.body) + len(self.tail) + 1


def text(data: JsonValue) -> str:
    """JSON as it goes over the wire.

    Raises:
        InvalidInput: A text has a lone surrogate, so it is no text.
    """
    said = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        said.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"A text cannot be stored: {error.reason}. Nothing of this item was written.") from None
    return said


def single(data: dict[str, JsonValue], *, ranges: int = 1, guilty: bool = False) -> Item:
    """An operation by itself."""
    return Item("", text(data), "", False, ranges, guilty)


def batched(op: str, name: str, datum: JsonValue, ranges: int) -> Item:
    """One of a batch: it joins its neighbours of the same kind."""
    return Item(f'{{"op":"{op}","{name}":[', text(datum), "]}", True, ranges, True)


@final
class Group:
    """Sends items to one function, several at a time.

    Args:
        function: Of the component.
        argument: The name of its array.
        well: Whether the deployment answers at all; asked before an item is held guilty.
        heard: Told each answer as a whole.
    """

    def __init__(
        self,
        transport: Transport,
        function: str,
        kind: Kind,
        argument: str,
        limits: Limits,
        well: Callable[[], Awaitable[None]],
    ) -> None:
        self._transport = transport
        self._function = function
        self._kind: Kind = kind
        self._argument = argument
        self._limits = limits
        self._well = well
        self._clock: Clock = SystemClock()  # waiting for the network is done in real time
        self._waiting: deque[Item] = deque()
        self._flights: set[asyncio.Task[None]] = set()
        self._closed = False
        self.calls = 0

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def ask(self, items: Sequence[Item]) -> list[Any]:
        """The answers, in order. The items travel together as far as the limits allow.

        Raises:
            Transient, OutcomeUnknown, InvalidInput: Of the first item that failed; all have been asked.
        """
        if self._closed:
            raise StoreError("This store is closed.")
        self._waiting.extend(items)
        self._take_off()
        answers = [item.answer for item in items]
        try:
            await asyncio.wait(answers)
        finally:
            for answer in answers:
                if not answer.cancel():  # given up ourselves: what has not gone out yet need not
                    answer.exception()  # each error counts as seen, though only one is told
        return [answer.result() for answer in _failed_first(answers)]

    async def one(self, item: Item) -> Any:
        """The answer to one item."""
        return (await self.ask([item]))[0]

    async def close(self) -> None:
        """Nothing more is sent; whoever still waits is told."""
        self._closed = True
        flights = list(self._flights)
        for flight in flights:
            flight.cancel()
        if flights:
            await asyncio.wait(flights)
        while self._waiting:
            _fail([self._waiting.popleft()], Transient("The store was closed before this was sent."))

    # ── flying ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _take_off(self) -> None:
        if self._waiting and not self._closed and len(self._flights) < self._limits.flights:
            flight = asyncio.get_running_loop().create_task(self._fly())
            self._flights.add(flight)
            flight.add_done_callback(self._landed)

    def _landed(self, flight: asyncio.Task[None]) -> None:
        self._flights.discard(flight)
        if self._closed or not self._waiting:
            return
        if len(self._waiting) >= self._limits.items:
            self._take_off()
        else:  # whoever was just answered mostly has something to ask, and need not wait for a whole call more
            asyncio.get_running_loop().call_later(_BREATH_SECONDS, self._take_off)

    async def _fly(self) -> None:
        batch = self._batch()
        if len(self._waiting) > 0:
            self._take_off()
        try:
            await self._say(batch)
        finally:
            _fail(batch, OutcomeUnknown("The store was closed while this was under way; it may have been done."))

    def _batch(self) -> list[Item]:
        """The items at the head of the queue that fit into one call; one at least."""
        batch: list[Item] = []
        ranges = characters = 0
        while self._waiting:
            item = self._waiting[0]
            if item.answer.done():  # whoever asked has given up
                self._waiting.popleft()
                continue
            ranges, characters = ranges + item.ranges, characters + item.characters
            limits = self._limits
            if batch and (len(batch) >= limits.items or ranges > limits.ranges or characters > limits.characters):
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _say(self, batch: Sequence[Item]) -> None:
        if not batch:
            return
        operations, counts = _operations(batch)
        try:
            self.calls += 1
            answer = await self._transport.ask(self._function, self._kind, f',"{self._argument}":[{operations}]')
            _deliver(batch, counts, answer)
        except (FunctionFailed, InvalidInput, PayloadTooLarge) as error:
            await self._halve(batch, error)
        except Exception as error:
            _fail(batch, error)

    async def _halve(self, batch: Sequence[Item], error: Exception) -> None:
        """Something in the batch cannot be done; nothing of it was."""
        if len(batch) == 1:
            await self._alone(batch[0], error)
            return
        middle = len(batch) // 2
        await self._say(batch[:middle])
        await self._say(batch[middle:])

    async def _alone(self, item: Item, error: Exception) -> None:
        """One item throws by itself: is it the item, or everything?"""
        operations, counts = _operations([item])
        for tried in range(1, _ALONE_TRIES):
            await self._clock.sleep(_ALONE_WAIT_SECONDS * tried * (0.5 + self._clock.random()))
            try:
                self.calls += 1
                answer = await self._transport.ask(self._function, self._kind, f',"{self._argument}":[{operations}]')
            except (FunctionFailed, InvalidInput, PayloadTooLarge) as again:
                error = again
            except Exception as other:
                _fail([item], other)
                return
            else:
                _deliver([item], counts, answer)
                return
        try:
            await self._well()
        except Exception as sick:
            _fail([item], Transient(f"The deployment does not work at the moment: {sick}"))
            return
        refused = PayloadTooLarge if isinstance(error, PayloadTooLarge) else InvalidInput
        kind = refused if item.guilty else Transient
        failure = kind(f"Convex refuses this: {error} Nothing of it was written.")
        failure.__cause__ = error
        _fail([item], failure)


# ── packing and unpacking ────────────────────────────────────────────────────────────────────────────────────────────


def _operations(batch: Sequence[Item]) -> tuple[str, list[int]]:
    """The operations as JSON text, and how many items each has; neighbours of one kind share one."""
    texts: list[str] = []
    counts: list[int] = []
    start = 0
    while start < len(batch):
        first = batch[start]
        end = start + 1
        while first.batch and end < len(batch) and batch[end].head == first.head:
            end += 1
        texts.append(first.head + ",".join(item.body for item in batch[start:end]) + first.tail)
        counts.append(end - start)
        start = end
    return ",".join(texts), counts


def _deliver(batch: Sequence[Item], counts: Sequence[int], answer: Any) -> None:
    results = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(results, list) or len(results) != len(counts):
        raise StoreError("The component's answer has not one result per operation: it is not this package's component.")
    now = answer.get("now")
    items = iter(batch)
    for result, count in zip(results, counts, strict=True):
        some = [next(items) for _ in range(count)]
        if not some[0].batch:
            _settle(some[0], (result, now))
            continue
        if not isinstance(result, list) or len(result) != count:
            raise StoreError("The component's answer has not one result per item: it is not this package's component.")
        for item, one in zip(some, result, strict=True):
            _settle(item, (one, now))


def _settle(item: Item, value: Any) -> None:
    if not item.answer.done():
        item.answer.set_result(value)


def _fail(batch: Sequence[Item], error: Exception) -> None:
    for item in batch:
        if not item.answer.done():
            item.answer.set_exception(error)


def _failed_first(answers: list[asyncio.Future[Any]]) -> list[asyncio.Future[Any]]:
    """All of them; but if some have failed, the first of these alone, and the others' errors count as seen."""
    failed = [answer for answer in answers if answer.cancelled() or answer.exception() is not None]
    return failed[:1] or answers
