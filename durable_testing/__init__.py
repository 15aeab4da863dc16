"""What tests of durable code need. Importing this loads neither Hypothesis nor pytest."""

from __future__ import annotations

from durable_testing.clock import ManualClock
from durable_testing.memory import MemoryStore

__all__ = ["ManualClock", "MemoryStore"]
