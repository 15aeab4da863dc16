"""The checker: a trace and a snapshot in, what is wrong out. It knows the protocol, and nothing of any workload."""

from __future__ import annotations

from durable_testing.invariants.reading import read
from durable_testing.invariants.violation import INVARIANTS, Violation
from durable_testing.snapshot import Snapshot
from durable_testing.trace import Trace

__all__ = ["check"]


def check(trace: Trace, snapshot: Snapshot) -> list[Violation]:
    """Look for whatever contradicts an invariant.

    Args:
        trace: Of a whole simulation, from its first operation on.
        snapshot: Of its store, after the last one.

    Returns:
        What was found, in the order of ``INVARIANTS``; nothing if all is well. Liveness is judged only if the trace has
        a quiet period, long enough.

    Raises:
        Corrupt: An entry of the trace cannot be read.
    """
    history = read(trace, snapshot)
    return [violation for rule in INVARIANTS for violation in rule.violations(history)]
