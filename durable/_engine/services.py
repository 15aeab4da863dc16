"""What every runner of a worker shares."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import final

from durable._author.registry import Registry
from durable._engine.committer import Committer
from durable._engine.executor import Executor
from durable._engine.telling import Teller
from durable._engine.weather import Weather
from durable._model.ids import RunId
from durable._model.runs import RunRecord
from durable.clock import Clock
from durable.codec import Codec
from durable.store import Store

__all__ = ["Services", "StoreTime"]


@final
class StoreTime:
    """Store time as a worker knows it: the last answer's, carried forward by the local monotonic clock.

    It lags behind by an answer's travel time, so that nothing begins too early.
    """

    __slots__ = ("_clock", "_offset")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset: float | None = None

    def heard(self, now: float) -> None:
        """An answer with this store time has just arrived."""
        self._offset = now - self._clock.monotonic()

    def now(self) -> float:
        """Store time now."""
        return self._clock.monotonic() + (self._offset or 0.0)


@final
@dataclass(slots=True)
class Services:
    """The rooms a runner needs.

    Attributes:
        may_begin: None if the worker's lease is known to hold, else something to await until it is.
        ending: Told of each run whose end is about to be committed here, for those who wait for it in this process.
        ended: Told of its end, and of the outcome, once it is.
    """

    store: Store
    codec: Codec
    clock: Clock
    registry: Registry
    time: StoreTime
    weather: Weather
    committer: Committer
    executor: Executor
    may_begin: Callable[[], Awaitable[None] | None]
    ending: Callable[[RunId], None]
    ended: Callable[[RunRecord, bytes], None]
    teller: Teller
