"""The invariants of the engine, each a small function over what a trace and a store's snapshot tell."""

from __future__ import annotations

from durable_testing.invariants import (
    attempts,
    fences,
    inboxes,
    journals,
    liveness,
    lives,
    outcomes,
    stored,
    timers,
)
from durable_testing.invariants.checking import check
from durable_testing.invariants.violation import INVARIANTS, Invariant, Violation
from durable_testing.snapshot import Snapshot, take_snapshot

ROOMS = (attempts, fences, inboxes, journals, lives, liveness, outcomes, stored, timers)
"""Importing one registers its invariants."""

INVARIANTS.sort(key=lambda rule: int(rule.number[1:]))

__all__ = ["INVARIANTS", "Invariant", "Snapshot", "Violation", "check", "take_snapshot"]
