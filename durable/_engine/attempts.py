"""An attempt as the step's own code sees it: its idempotency key and its heartbeat."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final, final

from durable._core.call import Call
from durable._model.ids import CallId
from durable._model.runs import RunRecord
from durable.clock import Clock
from durable.codec import Codec, ValueType
from durable.errors import DurableError

__all__ = ["Attempt", "attempt_number", "heartbeat", "idempotency_key"]

_JSON: ValueType[Any] = ValueType.of(Any)
_UNSET: Final = object()

current_attempt: ContextVar[Attempt | None] = ContextVar("durable_attempt", default=None)


@final
class Attempt:
    """One try of a step, in flight.

    Attributes:
        number: Counted from 1.
        began: Local monotonic seconds.
        ran: When the step's own code began, likewise; None before that.
        run: The row of the run it belongs to, as it was claimed.
        began_at: Store time, for people.
        noted: A begin note has been handed to the committer.
        dropped: Nobody wants its outcome any more.
        running: The step's own code has begun; before that it waits for its turn, which is no silence.
        over: Its outcome is settled; a thread of it may go on.
        ahead: Resolved when its write-ahead note is durable.
        progress: Sealed heartbeat details not yet noted; None if there are none.
        relay: In a process of its own: hands each beat, with its raw progress, to the worker's process.
    """

    # What most attempts never change is the class's: there are as many as steps.
    ahead: asyncio.Future[None] | None = None
    dropped = False
    expired = False
    noted = False
    over = False
    progress: bytes | None = None
    ran: float | None = None
    relay: Callable[[bytes | None], None] | None = None
    run: RunRecord | None = None
    running = False
    task: asyncio.Task[None] | None = None
    _lock = threading.Lock()  # one for all: beats are seldom, and held for a moment

    def __init__(self, call: Call, number: int, key: str, began_at: float, codec: Codec, clock: Clock) -> None:
        began = clock.monotonic()
        self.call = call
        self.call_id: CallId = call.id
        self.number = number
        self.key = key
        self.began = began
        self.began_at = began_at
        self.beaten = began
        self.noted_at = began
        self.previous: bytes | None = call.progress
        self._codec = codec
        self._clock = clock

    def beat(self, progress: Any) -> Any:
        """Record a sign of life; returns the latest progress known before it."""
        with self._lock:
            if self.dropped or self.over:
                raise asyncio.CancelledError("this attempt is not wanted any more")
            self.beaten = self._clock.monotonic()
            known = self.progress if self.progress is not None else self.previous
            raw = None
            if progress is not _UNSET:
                raw = _JSON.dump(progress, f"heartbeat of step {self.call.name!r}")
                self.progress = self._codec.seal(raw, f"heartbeat of step {self.call.name!r}")
            if self.relay is not None:
                self.relay(raw)
        return None if known is None else _JSON.load(self._codec.open(known), "heartbeat")

    def heard(self, raw: bytes | None) -> None:
        """A beat has come from the attempt's own process."""
        with self._lock:
            self.beaten = self._clock.monotonic()
            if raw is not None:
                self.progress = self._codec.seal(raw, f"heartbeat of step {self.call.name!r}")

    def known(self) -> bytes | None:
        """Raw progress of the attempts before this one."""
        return None if self.previous is None else self._codec.open(self.previous)

    def take_progress(self) -> bytes | None:
        """The progress to be written with the next note or outcome."""
        with self._lock:
            if self.progress is not None:
                self.previous, self.progress = self.progress, None
                return self.previous
            return None


def _running_attempt(what: str) -> Attempt:
    attempt = current_attempt.get()
    if attempt is None:
        raise DurableError(f"{what}() works only inside a step that a worker carries out.")
    return attempt


def idempotency_key() -> str:
    """The key of the step that runs here: the same over all its attempts and crashes, and unique to the call.

    Hand it to services that can refuse a repeat (``Idempotency-Key: ...``): then at-least-once becomes exactly-once.
    It is run id / generation / call.

    Raises:
        DurableError: Called outside a step.
    """
    return _running_attempt("idempotency_key").key


def attempt_number() -> int:
    """Which try of the step runs here, counted from 1; failed ones before a crash are counted too.

    Raises:
        DurableError: Called outside a step.
    """
    return _running_attempt("attempt_number").number


def heartbeat(progress: Any = _UNSET) -> Any:
    """Say that this attempt is alive, and how far it has come; works in threads too.

    Args:
        progress: JSON; the next attempt can read it, also after a crash. Written about once a second.

    Returns:
        The latest progress known before this call: at first that of the previous attempt, or None.

    Raises:
        DurableError: Called outside a step.
        asyncio.CancelledError: The attempt's outcome is not wanted any more (cancelled, timed out): stop here.
    """
    return _running_attempt("heartbeat").beat(progress)
