"""What tests of durable code need. Importing this loads neither Hypothesis nor pytest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from durable_testing.memory import MemoryStore

if TYPE_CHECKING:
    from durable_testing.clock import ManualClock
    from durable_testing.crash import Crashes, crash_everywhere
    from durable_testing.determinism import Cause, Determinism, Difference, NotDeterministic, check_determinism
    from durable_testing.effects import StepRun
    from durable_testing.exploring import ScheduleFailed, explore, replay
    from durable_testing.fault_store import FaultStore
    from durable_testing.faults import Fault, FaultKind, Faults, SimCrash
    from durable_testing.invariants import INVARIANTS, Violation, check
    from durable_testing.loop import SimulationError
    from durable_testing.replays import Fit, NewCall, Rehearsal, replay_all
    from durable_testing.schedules import Schedule
    from durable_testing.sim import Sim, SimHandle
    from durable_testing.snapshot import Snapshot, take_snapshot
    from durable_testing.sync import SyncSim
    from durable_testing.trace import Event, Trace
    from durable_testing.trial import Trial

__all__ = [
    "INVARIANTS",
    "Cause",
    "Crashes",
    "Determinism",
    "Difference",
    "Event",
    "Fault",
    "FaultKind",
    "FaultStore",
    "Faults",
    "Fit",
    "ManualClock",
    "MemoryStore",
    "NewCall",
    "NotDeterministic",
    "Rehearsal",
    "Schedule",
    "ScheduleFailed",
    "Sim",
    "SimCrash",
    "SimHandle",
    "SimulationError",
    "Snapshot",
    "StepRun",
    "SyncSim",
    "Trace",
    "Trial",
    "Violation",
    "check",
    "check_determinism",
    "crash_everywhere",
    "explore",
    "replay",
    "replay_all",
    "take_snapshot",
]

# Loaded when they are first asked for: a program on memory:// imports this package and needs none of them.
_HOMES = {
    "ManualClock": "clock",
    "Crashes": "crash",
    "crash_everywhere": "crash",
    "Cause": "determinism",
    "Determinism": "determinism",
    "Difference": "determinism",
    "NotDeterministic": "determinism",
    "check_determinism": "determinism",
    "StepRun": "effects",
    "ScheduleFailed": "exploring",
    "explore": "exploring",
    "replay": "exploring",
    "FaultStore": "fault_store",
    "Fault": "faults",
    "FaultKind": "faults",
    "Faults": "faults",
    "SimCrash": "faults",
    "INVARIANTS": "invariants",
    "Violation": "invariants",
    "check": "invariants",
    "SimulationError": "loop",
    "Fit": "replays",
    "NewCall": "replays",
    "Rehearsal": "replays",
    "replay_all": "replays",
    "Schedule": "schedules",
    "Sim": "sim",
    "SimHandle": "sim",
    "Snapshot": "snapshot",
    "take_snapshot": "snapshot",
    "SyncSim": "sync",
    "Event": "trace",
    "Trace": "trace",
    "Trial": "trial",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'durable_testing' has no attribute {name!r}")
    import importlib

    found = getattr(importlib.import_module(f"durable_testing.{home}"), name)
    globals()[name] = found
    return found
