"""The observer that speaks OpenTelemetry."""

from __future__ import annotations

from typing import final

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from durable.clock import Clock, SystemClock
from durable.observing import Event
from durable_otel.metering import Metering
from durable_otel.tracing import Tracing

__all__ = ["Telemetry"]


@final
class Telemetry:
    """Spans and metrics of workers: ``Worker(client, ..., observer=Telemetry())``. One may watch several workers.

    Args:
        tracer_provider: Default: the process's global one.
        meter_provider: Default: the process's global one.
        clock: Wall-clock time for spans.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._tracing = Tracing(tracer_provider, SystemClock() if clock is None else clock)
        self._metering = Metering(meter_provider)

    def observe(self, event: Event, /) -> None:
        """See ``durable.observing.Observer``."""
        self._tracing.observe(event)
        self._metering.observe(event)
