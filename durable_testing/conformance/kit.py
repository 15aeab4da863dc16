"""The whole kit in one class, Hypothesis included."""

from __future__ import annotations

from durable_testing.conformance.contract import StoreContract
from durable_testing.conformance.differential import DifferentialContract
from durable_testing.conformance.repeats import RepeatContract
from durable_testing.conformance.schedules import ScheduleContract

__all__ = ["StoreKit"]


class StoreKit(StoreContract, ScheduleContract, RepeatContract, DifferentialContract):
    """All four contracts at once: the one class that an adapter's test needs.

    Implement ``make_store``; ``second`` too, if another process would open the data otherwise than ``dedicated`` does.
    """
