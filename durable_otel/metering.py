"""Counters, histograms and gauges of workers; no attribute of theirs is a run's id."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, assert_never, final

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter

from durable.observing import (
    Activated,
    AttemptBegan,
    AttemptEnded,
    BatchWritten,
    Event,
    Polled,
    Pulse,
    RunChanged,
    RunCommitted,
    StoreRecovered,
    StoreTroubled,
)

__all__ = ["Metering"]

_SCOPE: Final = "durable"


@final
class Metering:
    """Counts events.

    Args:
        provider: None for the global one.
    """

    def __init__(self, provider: MeterProvider | None) -> None:
        meter = get_meter(_SCOPE, meter_provider=provider)
        self._changes = meter.create_counter("durable.run.changes", description="Moves of runs.")
        self._attempts = meter.create_histogram("durable.step.duration", "s", "Of ended attempts, by their outcome.")
        self._running = meter.create_up_down_counter("durable.step.running", description="Attempts in flight.")
        self._activations = meter.create_histogram("durable.activation.duration", "s", "Of workflow code.")
        self._commits = meter.create_counter("durable.commits", description="Commits of runs.")
        self._batches = meter.create_histogram("durable.batch.duration", "s", "Of transactions.")
        self._sizes = meter.create_histogram("durable.batch.size", "{commit}", "Commits in one transaction.")
        self._polls = meter.create_histogram("durable.poll.duration", "s", "Of looks for work.")
        self._claims = meter.create_counter("durable.claims", description="Runs taken up.")
        self._lost = meter.create_counter("durable.lost", description="Runs that other workers took over.")
        self._troubles = meter.create_counter("durable.store.troubles", description="Times it could not be used.")
        self._trouble = meter.create_histogram("durable.store.trouble.duration", "s", "Until it could be used again.")
        self._lag = meter.create_histogram("durable.loop.lag", "s", "How late the event loop was, at most, per second.")
        self._pulses: dict[str, Pulse] = {}
        meter.create_observable_gauge(
            "durable.runs.held", [self._gauge(lambda pulse: pulse.held)], description="Runs that a worker works on."
        )
        meter.create_observable_gauge(
            "durable.runs.cached", [self._gauge(lambda pulse: pulse.cached)], description="Waiting runs in memory."
        )

    def observe(self, event: Event, /) -> None:
        """Count one."""
        match event:
            case RunChanged():
                self._changes.add(1, {"durable.workflow": event.run.workflow, "durable.change": event.change})
            case AttemptBegan():
                self._running.add(1, _step(event))
            case AttemptEnded():
                self._running.add(-1, _step(event))
                self._attempts.record(event.seconds, {**_step(event), "durable.outcome": event.outcome})
            case Activated():
                told: dict[str, str | bool] = {"durable.workflow": event.run.workflow, "durable.replay": event.replay}
                self._activations.record(event.seconds, told)
            case RunCommitted():
                self._commits.add(1, {"durable.workflow": event.run.workflow})
            case BatchWritten():
                self._batches.record(event.seconds)
                self._sizes.record(event.commits)
            case Polled():
                self._polls.record(event.seconds)
                self._claims.add(event.claims)
                self._lost.add(event.lost)
            case StoreTroubled():
                self._troubles.add(1, {"error.type": type(event.error).__name__})
            case StoreRecovered():
                self._trouble.record(event.seconds)
            case Pulse():
                self._pulses[event.worker] = event
                self._lag.record(max(event.lag_seconds, 0.0), {"durable.worker": event.worker})
            case _ as never:
                assert_never(never)

    def _gauge(self, figure: Callable[[Pulse], int]) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def look(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(figure(pulse), {"durable.worker": pulse.worker}) for pulse in self._pulses.values()]

        return look


def _step(event: AttemptBegan | AttemptEnded) -> dict[str, str]:
    return {"durable.workflow": event.run.workflow, "durable.step": event.step}
