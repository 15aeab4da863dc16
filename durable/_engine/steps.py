"""The attempts of one held run: begun, watched, dropped. What they come to goes to the run's outbox."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, final

from durable._author.calls import StepSpec
from durable._core.call import Call
from durable._core.identity import idempotency_key
from durable._engine.attempts import Attempt
from durable._engine.outbox import Outbox
from durable._engine.services import Services
from durable._model import defaults
from durable._model.entries import AttemptBegun, AttemptFailed, Entry
from durable._model.ids import CallId
from durable._model.runs import RunRecord

__all__ = ["Steps"]

_PROGRESS_SECONDS: Final = 1.0


@final
class Steps:
    """The executor's sink for one run.

    Attributes:
        running: The attempt of each call that has one.
    """

    def __init__(self, run: RunRecord, services: Services, outbox: Outbox) -> None:
        self.running: dict[CallId, Attempt] = {}
        self.attempt_runs = services.teller.attempt_began  # see ``Sink``, as ``may_begin``
        self.may_begin = services.may_begin
        self._run = run
        self._services = services
        self._outbox = outbox
        self._aheads: dict[CallId, asyncio.Future[None]] = {}
        self._closed = False

    def key(self, call: Call) -> str:
        """The idempotency key of a call of this run."""
        return idempotency_key(self._run.id, self._run.generation, call.id)

    def begin(self, call: Call) -> None:
        """The next attempt of a call, with the number that follows from the journal."""
        call.retry_at = None
        number = max(call.failed, call.begun, call.not_done) + 1
        attempt = self._services.executor.begin(self, call, number, self.key(call))
        attempt.run = self._run
        self.running[call.id] = attempt

    def drop(self, call: CallId) -> None:
        """Nobody wants this call's outcome any more."""
        self._outbox.forget(call)
        attempt = self.running.pop(call, None)
        if attempt is not None:
            attempt.dropped = True
            if attempt.task is not None:
                attempt.task.cancel()

    def drop_all(self) -> None:
        """The run blocks, or leaves this worker."""
        for call in list(self.running):
            self.drop(call)

    def close(self) -> None:
        """The run leaves this worker: what still comes is ignored."""
        self._closed = True
        self.drop_all()
        for ahead in self._aheads.values():
            ahead.cancel()

    def is_durable(self, call: CallId) -> None:
        """The begin note of this call is in the store: its attempt may go on."""
        ahead = self._aheads.pop(call, None)
        if ahead is not None and not ahead.done():
            ahead.set_result(None)

    def any_noted(self) -> bool:
        """Whether people have been told of an attempt that still runs."""
        return any(attempt.noted for attempt in self.running.values())

    def since(self) -> dict[str, float]:
        """When each running attempt began, in store time."""
        return {attempt.call_id: attempt.began_at for attempt in self.running.values()}

    def sweep(self, now: float) -> None:
        """Called ten times a second: slow attempts get a note, silent ones are given up."""
        for attempt in self.running.values():
            if not attempt.running:
                continue
            spec: StepSpec = attempt.call.spec
            limit = spec.policy.heartbeat
            if limit is not None and now - attempt.beaten > limit and not attempt.expired and attempt.task is not None:
                attempt.expired = True
                attempt.task.cancel()
                continue
            fresh = not attempt.noted and now - attempt.began >= defaults.STARTED_NOTE_SECONDS
            if fresh or (attempt.progress is not None and now - attempt.noted_at >= _PROGRESS_SECONDS):
                attempt.noted, attempt.noted_at = True, now
                self._outbox.put(_begun(attempt), noted=True)

    # ── Sink: what the executor says ─────────────────────────────────────────────────────────────────────────────

    def attempt_ended(self, attempt: Attempt, entry: Entry | None) -> None:
        if self._services.teller.observed:
            self._services.teller.attempt_ended(attempt, entry)
        attempt.task = None  # the task's context holds the attempt: no cycle is left for the collector
        if self.running.get(attempt.call_id) is attempt:
            del self.running[attempt.call_id]
        if self._closed or entry is None:
            return
        if attempt.progress is not None:
            self._outbox.put(_begun(attempt))
        self._outbox.put(entry, noted=entry.__class__ is AttemptFailed)

    def write_ahead(self, attempt: Attempt) -> Awaitable[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._aheads[attempt.call_id] = future
        attempt.noted = True
        self._outbox.put(_begun(attempt), noted=True)
        return future


def _begun(attempt: Attempt) -> AttemptBegun:
    return AttemptBegun(attempt.call_id, attempt.call.fingerprint, attempt.number, attempt.take_progress())
