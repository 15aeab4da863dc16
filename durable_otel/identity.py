"""Which trace a run belongs to: made from the run itself, so that every worker finds the same without being told."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Protocol, final

from opentelemetry.trace import SpanContext, TraceFlags, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from durable.store import RunRecord

__all__ = ["Ids", "RunIds", "caller_of", "forced", "span_of", "trace_labels"]

_PROPAGATOR: Final = TraceContextTextMapPropagator()
_LABEL: Final = "traceparent"
_forced: ContextVar[SpanContext | None] = ContextVar("durable_otel_forced", default=None)


def trace_labels() -> dict[str, str]:
    """Labels that hang a run below the span that is current here: ``client.start(order, labels=trace_labels())``.

    Empty if there is no current span; the run is then a trace of its own.
    """
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return {_LABEL: carrier[_LABEL]} if _LABEL in carrier else {}


def caller_of(run: RunRecord) -> SpanContext | None:
    """The span that started the run, if its labels tell."""
    told = run.labels.get(_LABEL)
    if told is None:
        return None
    context = get_current_span(_PROPAGATOR.extract({_LABEL: told})).get_span_context()
    return context if context.is_valid else None


def span_of(run: RunRecord) -> SpanContext:
    """The run's own span: the same in every process, another for each generation.

    The run's seed goes in, so that one id used twice (in two stores, or again after a purge) is two traces. A trace
    that the caller did not sample is not sampled here.
    """
    told = hashlib.blake2b(f"{run.id}\0{run.generation}\0{run.seed}".encode(), digest_size=24).digest()
    caller = caller_of(run)
    trace = int.from_bytes(told[:16]) or 1
    flags = TraceFlags(TraceFlags.SAMPLED)
    if caller is not None:
        trace, flags = caller.trace_id, caller.trace_flags
    return SpanContext(trace, int.from_bytes(told[16:]) or 1, is_remote=True, trace_flags=flags)


class Ids(Protocol):
    """An id generator, as the SDK knows it."""

    def generate_span_id(self) -> int:
        """64 bits, not 0."""
        ...

    def generate_trace_id(self) -> int:
        """128 bits, not 0."""
        ...


@final
class RunIds:
    """An id generator for the SDK that lets a run's own span have the id its parts name as their parent.

    ``TracerProvider(id_generator=RunIds(RandomIdGenerator()))``; without it a run's parts are in one trace, below a
    span that is never exported.

    Args:
        others: Makes every other id.
    """

    def __init__(self, others: Ids) -> None:
        self._others = others

    def __getattr__(self, name: str) -> Any:
        return getattr(self._others, name)

    def generate_span_id(self) -> int:
        """The run's, while its span is made; else as ``others`` does."""
        wanted = _forced.get()
        return self._others.generate_span_id() if wanted is None else wanted.span_id

    def generate_trace_id(self) -> int:
        """Likewise."""
        wanted = _forced.get()
        return self._others.generate_trace_id() if wanted is None else wanted.trace_id


@contextmanager
def forced(ids: SpanContext) -> Generator[None, None, None]:
    """A span that is made in here has these ids, if the provider's generator is a ``RunIds``."""
    token = _forced.set(ids)
    try:
        yield
    finally:
        _forced.reset(token)
