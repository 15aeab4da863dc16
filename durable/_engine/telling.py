"""What a worker tells of itself: a line in the log per move of a run, and events for its observer.

Nothing is told in replay, because it is told when the store has answered a commit, and replay commits nothing. With
no observer and the logger above INFO, telling costs one call a commit.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final, final

from durable._author.logs import logger
from durable._core.identity import name_of
from durable._engine.attempts import Attempt
from durable._engine.troubles import Reporter
from durable._model import defaults
from durable._model.commits import (
    Blocked,
    Closed,
    Commit,
    Committed,
    Continued,
    Ended,
    Paused,
    Released,
    Rewound,
    Running,
    Waiting,
)
from durable._model.entries import AttemptFailed, CallKind, Entry, Settled
from durable._model.runs import RunRecord, Wait
from durable.clock import Clock
from durable.codec import Codec, error_line
from durable.errors import StoreError
from durable.observing import (
    Activated,
    AttemptBegan,
    AttemptEnded,
    BatchWritten,
    Change,
    Event,
    Observer,
    Outcome,
    Polled,
    Pulse,
    RunChanged,
    RunCommitted,
    StoreRecovered,
    StoreTroubled,
)

__all__ = ["Teller", "tell_verb"]

_log = logger("durable.run")
_worker_log = logger("durable.worker")
_PULSE_SECONDS: Final = 1.0
_WAITS_SHOWN: Final = 3

_PHRASES: Final[dict[str, str]] = {
    "started": "starts",
    "claimed": "is taken up again",
    "waiting": "waits",
    "released": "is given back",
    "paused": "is paused",
    "blocked": "is blocked",
    "continued": "begins its next generation",
    "completed": "has completed",
    "failed": "has failed",
    "cancelled": "is cancelled",
    "lost": "belongs to another worker now",
    # Verbs that the store carries out at once, told where they were asked for.
    "resumed": "is resumed",
    "terminated": "is terminated",
    "retried": "is begun again from what failed",
    "settled": "is settled and goes on",
    "forked": "is the origin of a new run",
}


@final
class Teller:
    """One per worker.

    Args:
        worker: Its name.
        observer: Told of events; None: only the log is written.
        reporter: Told, too, of trouble with the store.

    Attributes:
        observed: Whether there is an observer.
        listened: Whether anybody wants to hear of the commits of the transaction that was written last.
    """

    def __init__(
        self,
        worker: str,
        clock: Clock,
        codec: Codec,
        observer: Observer | None,
        reporter: Reporter,
    ) -> None:
        self._worker = worker
        self._clock = clock
        self._codec = codec
        self._observer = observer
        self.observed = observer is not None
        self._reporter = reporter
        self._said = False
        self.listened = True
        self._batch_seconds = 0.0
        self._troubled_at = 0.0
        self._pulse_at = self._turned_at = clock.monotonic()
        self._lag_seconds = 0.0

    # ── a run's moves ────────────────────────────────────────────────────────────────────────────────────────────

    def claimed(self, run: RunRecord) -> None:
        """A claim begins to be worked on; that of an ended run, to close it, is no move."""
        if run.ended or not self._wanted():
            return
        fresh = run.position == 0 and not run.waits and run.strikes <= 1 and run.at == run.started_at
        self._changed(run, "started" if fresh and run.rewind is None else "claimed", "", run.at)

    def lost(self, run: RunRecord) -> None:
        """Another worker has it."""
        if not run.ended and self._wanted():
            self._changed(run, "lost", "", run.at)

    def committed(self, run: RunRecord, commit: Commit, entries: Sequence[Entry], answer: Committed) -> None:
        """The store has applied a commit of a run."""
        if self._observer is not None:
            self._tell(RunCommitted(run, len(entries), self._batch_seconds))
        if _log.isEnabledFor(logging.INFO):
            for entry in entries:
                if isinstance(entry, AttemptFailed) or (
                    isinstance(entry, Settled) and entry.kind is CallKind.STEP and not entry.ok
                ):
                    self._log_failure(run, entry)
        self._moved(run, commit, answer.at)

    def _moved(self, run: RunRecord, commit: Commit, at: float) -> None:
        match commit.then:
            case Waiting():
                self._changed(run, "waiting", _for_what(commit.waits), at)
            case Released():
                self._changed(run, "released", "", at)
            case Paused():
                self._changed(run, "paused", "", at)
            case Blocked(kind=kind, reason=reason):
                self._changed(run, "blocked", f"{kind}: {reason}", at)
            case Continued(workflow=workflow):
                self._changed(run, "continued", "" if workflow == run.workflow else f"as {workflow}", at)
            case Ended(status=status, error=error):
                self._changed(run, _ENDS[status.value], error or "", at)
            case Running() | Closed() | Rewound():
                pass

    def _changed(self, run: RunRecord, change: Change, detail: str, at: float) -> None:
        if _log.isEnabledFor(logging.INFO):
            said = f": {detail}" if detail else ""
            extra = _fields(run, change)
            _log.info("Run %s of %s %s%s", run.id, run.workflow, _PHRASES[change], said or ".", extra=extra)
        if self._observer is not None:
            self._tell(RunChanged(run, change, detail, at))

    def _log_failure(self, run: RunRecord, entry: AttemptFailed | Settled) -> None:
        step, error = name_of(entry.call), self._error(entry.payload)
        ends = "" if error is None else f": {error}"
        if isinstance(entry, AttemptFailed):
            change, next_one = "attempt_retried", f" and is tried again in {entry.delay_seconds:.3g} s"
        else:
            change, next_one = "attempt_failed", ""
        extra = _fields(run, change, step, entry.attempt)
        text = "Step %s of run %s failed in attempt %d%s%s"
        _log.info(text, step, run.id, entry.attempt, next_one, ends or ".", extra=extra)

    def _error(self, payload: bytes) -> str | None:
        return None if self._codec.hooked else error_line(self._codec.open(payload))

    # ── attempts and activations ─────────────────────────────────────────────────────────────────────────────────

    def attempt_began(self, attempt: Attempt) -> None:
        """Its code begins; called in its own task."""
        if self._observer is not None and attempt.run is not None:
            self._tell(AttemptBegan(attempt.run, attempt.call.name, attempt.call_id, attempt.number))

    def attempt_ended(self, attempt: Attempt, entry: Entry | None) -> None:
        """Its outcome is known; None if nobody wants it."""
        if self._observer is None or attempt.run is None or attempt.ran is None:
            return
        outcome: Outcome = "dropped"
        error = None
        if isinstance(entry, AttemptFailed):
            outcome, error = "retried", self._error(entry.payload)
        elif isinstance(entry, Settled):
            outcome, error = ("completed", None) if entry.ok else ("failed", self._error(entry.payload))
        seconds = self._clock.monotonic() - attempt.ran
        self._tell(
            AttemptEnded(
                attempt.run, attempt.call.name, attempt.call_id, attempt.number, outcome, max(seconds, 0.0), error
            )
        )

    def activated(self, run: RunRecord, began: float, entries: int, *, replay: bool = False) -> None:
        """Workflow code has run, since this local time."""
        if self._observer is not None:
            self._tell(Activated(run, entries, max(self._clock.monotonic() - began, 0.0), replay))

    # ── the worker itself ────────────────────────────────────────────────────────────────────────────────────────

    def moment(self) -> float:
        """Local time, for what is told with its length; 0.0 if nobody wants to know."""
        return 0.0 if self._observer is None else self._clock.monotonic()

    def wrote(self, commits: Sequence[Commit], began: float) -> None:
        """A transaction has been written; its runs are told next."""
        self.listened = self._wanted()
        if self._observer is not None:
            self._batch_seconds = max(self._clock.monotonic() - began, 0.0)
            entries = sum(len(commit.append) for commit in commits)
            self._tell(BatchWritten(len(commits), entries, self._batch_seconds))

    def polled(self, claims: int, lost: int, began: float) -> None:
        """The store has been asked for work."""
        if self._observer is not None:
            self._tell(Polled(claims, lost, max(self._clock.monotonic() - began, 0.0)))

    def weather(self, error: StoreError | None) -> None:
        """Trouble with the store begins, or (None) ends."""
        self._reporter.heed(error)
        now = self._clock.monotonic()
        if error is not None:
            self._troubled_at = now
        if self._observer is not None:
            self._tell(StoreRecovered(now - self._troubled_at) if error is None else StoreTroubled(error))

    def turned(self, held: int, cached: int) -> None:
        """The loop has turned; it should do so every tenth of a second."""
        if self._observer is None:
            return
        now = self._clock.monotonic()
        late = now - self._turned_at - defaults.STARTED_NOTE_SECONDS
        self._turned_at, self._lag_seconds = now, max(self._lag_seconds, late)
        if now - self._pulse_at >= _PULSE_SECONDS:
            self._tell(Pulse(self._worker, held, cached, self._lag_seconds))
            self._pulse_at, self._lag_seconds = now, 0.0

    async def close(self) -> None:
        """The worker stops."""
        await self._reporter.stop()

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _wanted(self) -> bool:
        return self._observer is not None or _log.isEnabledFor(logging.INFO)

    def _tell(self, event: Event) -> None:
        assert self._observer is not None
        try:
            self._observer.observe(event)
        except Exception:
            if not self._said:
                self._said = True
                _worker_log.exception(
                    "The observer failed at %s. Runs go on; its further errors are not told.", type(event).__name__
                )


_ENDS: Final[dict[str, Change]] = {"completed": "completed", "failed": "failed", "cancelled": "cancelled"}


def tell_verb(run: str, workflow: str | None, done: str) -> None:
    """Log what the store itself has just done to a run because somebody asked."""
    if _log.isEnabledFor(logging.INFO):
        fields = {"run_id": run, "workflow": workflow, "step": None, "attempt": None, "epoch": None, "change": done}
        _log.info("Run %s %s.", run, _PHRASES[done], extra=fields)


def _fields(run: RunRecord, change: str, step: str | None = None, attempt: int | None = None) -> dict[str, object]:
    return {
        "run_id": run.id,
        "workflow": run.workflow,
        "step": step,
        "attempt": attempt,
        "epoch": run.epoch,
        "change": change,
    }


def _for_what(waits: Sequence[Wait] | None) -> str:
    if not waits:
        return ""
    said = ", ".join(f"{wait.kind.value} {wait.name}" for wait in waits[:_WAITS_SHOWN])
    more = "" if len(waits) <= _WAITS_SHOWN else f" and {len(waits) - _WAITS_SHOWN} more"
    return f"{said}{more}"
