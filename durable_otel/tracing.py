"""Spans of runs, activations, attempts and commits.

All spans of one generation of a run share its trace; those of its parts name its own span as their parent, whichever
worker makes them. The run's span itself is made by the worker that commits its end.
"""

from __future__ import annotations

from typing import Final, final

from opentelemetry import context as contexts
from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TracerProvider,
    get_tracer,
    set_span_in_context,
)

from durable.clock import Clock
from durable.observing import Activated, AttemptBegan, AttemptEnded, Event, RunChanged, RunCommitted
from durable.store import RunRecord
from durable_otel.identity import RunIds, caller_of, forced, span_of

__all__ = ["Tracing"]

_SCOPE: Final = "durable"
_ENDS: Final = frozenset({"completed", "failed", "cancelled", "continued"})
_Key = tuple[str, int, str, int]  # run, epoch, call, attempt


@final
class Tracing:
    """Makes spans of events.

    Args:
        provider: None for the global one.
    """

    def __init__(self, provider: TracerProvider | None, clock: Clock) -> None:
        self._tracer = get_tracer(_SCOPE, tracer_provider=provider)
        self._clock = clock
        self._attempts: dict[_Key, Span] = {}

    def observe(self, event: Event, /) -> None:
        """Make, or end, the span that belongs to an event."""
        match event:
            case AttemptBegan():
                self._begin(event)
            case AttemptEnded():
                self._end(event)
            case Activated():
                name = "replay" if event.replay else "activation"
                self._past(event.run, name, event.seconds, {"durable.entries": event.entries})
            case RunCommitted():
                self._past(event.run, "commit", event.seconds, {"durable.entries": event.entries})
            case RunChanged() if event.change in _ENDS:
                self._run(event)
            case _:
                pass

    # ── an attempt: its span is current while the step's code runs ───────────────────────────────────────────────

    def _begin(self, event: AttemptBegan) -> None:
        attributes = {
            **_attributes(event.run),
            "durable.step": event.step,
            "durable.call": event.call,
            "durable.attempt": event.attempt,
        }
        span = self._tracer.start_span(
            f"step {event.step}", context=_below(event.run), attributes=attributes, start_time=self._now()
        )
        self._attempts[event.run.id, event.run.epoch, event.call, event.attempt] = span
        contexts.attach(set_span_in_context(span))  # never detached: the context is the attempt's own and ends with it

    def _end(self, event: AttemptEnded) -> None:
        span = self._attempts.pop((event.run.id, event.run.epoch, event.call, event.attempt), None)
        if span is None:
            return
        span.set_attribute("durable.outcome", event.outcome)
        if event.outcome in ("failed", "retried"):
            span.set_status(Status(StatusCode.ERROR, event.error))
        span.end(self._now())

    # ── what is told when it is over ─────────────────────────────────────────────────────────────────────────────

    def _past(self, run: RunRecord, name: str, seconds: float, more: dict[str, int]) -> None:
        now = self._now()
        attributes = {**_attributes(run), **more}
        span = self._tracer.start_span(
            name, context=_below(run), attributes=attributes, start_time=now - int(seconds * 1e9)
        )
        span.end(now)

    def _run(self, event: RunChanged) -> None:
        run = event.run
        attributes = {**_attributes(run), "durable.change": event.change}
        if run.parent is not None:
            attributes["durable.parent_run_id"] = run.parent.run
        began = run.created_at if run.started_at is None else max(run.started_at, run.created_at)
        own, caller = span_of(run), caller_of(run)
        above = caller
        if not self._keeps_ids():
            above = own  # the best that can be had: the right trace, below a span that nobody exports
        with forced(own):
            span = self._tracer.start_span(
                f"run {run.workflow}",
                context=_context(above),
                kind=SpanKind.CONSUMER,
                attributes=attributes,
                start_time=_nanoseconds(began),
            )
        if event.change == "failed":
            span.set_status(Status(StatusCode.ERROR, event.detail))
        span.end(_nanoseconds(max(event.at, began)))

    def _keeps_ids(self) -> bool:
        tracer = getattr(self._tracer, "_tracer", self._tracer)  # the global provider's may be a stand-in for it
        return isinstance(getattr(tracer, "id_generator", None), RunIds)

    def _now(self) -> int:
        return _nanoseconds(self._clock.now())


def _below(run: RunRecord) -> Context:
    return _context(span_of(run))


def _context(above: SpanContext | None) -> Context:
    """A context of its own, whatever is current here."""
    return Context() if above is None else set_span_in_context(NonRecordingSpan(above), Context())


def _attributes(run: RunRecord) -> dict[str, str | int]:
    return {
        "durable.run_id": run.id,
        "durable.workflow": run.workflow,
        "durable.version": run.version or "",
        "durable.generation": run.generation,
        "durable.epoch": run.epoch,
    }


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
