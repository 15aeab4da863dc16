"""What must hold after the storm, each claim a function from the evidence to what speaks against it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Final

from tests.storm.app import PAUSE_SECONDS, RETRY_SECONDS, SIGNALS
from tests.storm.client import run_id
from tests.storm.evidence import Evidence, Line

__all__ = ["CLAIMS", "against"]

_WAL_BYTES_MAX: Final = 64 * 1024 * 1024
# A stalled worker may have been stopped between its last look at the lease and the line; then the line comes right
# after it goes on.
_AFTER_STALL_SECONDS: Final = 1.0


def every_run_ends_as_without_faults(seen: Evidence) -> Iterator[str]:
    """Each run is terminal, with the reference's result (I11, I16)."""
    for id, expected in seen.expected.items():
        run = seen.runs[id]
        if (run.state, run.result) != (expected.state, expected.result):
            yield f"{id}: {run.state}, {run.result!r}; without faults {expected.state}, {expected.result!r}"


def what_was_acknowledged_is_there(seen: Evidence) -> Iterator[str]:
    """Starts and signals that were acknowledged survived every kill (I20)."""
    for number in sorted(seen.acks.started):
        if seen.runs[run_id(number)].state == "missing":
            yield f"{run_id(number)} was acknowledged and is gone"
    for number, n in sorted(seen.acks.signals):
        if n not in _heard(seen, run_id(number)):
            yield f"{run_id(number)}: signal {n} was acknowledged and never received"


def signals_come_once_and_in_order(seen: Evidence) -> Iterator[str]:
    """Though sent again and again, by clients that were killed (I6)."""
    for id in seen.runs:
        heard = _heard(seen, id)
        if heard != list(range(SIGNALS)):
            yield f"{id} received {heard}"


def _heard(seen: Evidence, id: str) -> list[object]:
    return [entry.value for entry in seen.runs[id].journal if entry.event == "signal_received"]


def every_call_is_committed_once(seen: Evidence) -> Iterator[str]:
    """The journal has one outcome for each call of the reference, and no other (I2)."""
    for id, expected in seen.expected.items():
        wanted = Counter((e.event, e.call) for e in expected.journal if e.event in _OUTCOMES)
        found = Counter((e.event, e.call) for e in seen.runs[id].journal if e.event in _OUTCOMES)
        if found != wanted:
            yield f"{id}: too few {dict(wanted - found)}, too many {dict(found - wanted)}"


_OUTCOMES: Final = ("step_completed", "step_failed", "timer_fired", "signal_received")


def every_commit_was_begun(seen: Evidence) -> Iterator[str]:
    """No result without a step that ran: begun and ended before, under the epoch that committed it (I17)."""
    lines: dict[tuple[str, str, int, str], float] = {}
    for line in seen.ledger:
        lines.setdefault((line.run, line.call, line.epoch, line.phase), line.at)
    for id, run in seen.runs.items():
        for entry in run.journal:
            if entry.event == "step_completed":
                for phase in ("begin", "end"):
                    at = lines.get((id, entry.call, entry.epoch, phase))
                    if at is None or at > entry.at:
                        yield f"{id} {entry.call}: committed at {entry.at:.6f} in epoch {entry.epoch}, {phase} at {at}"


def nothing_begins_after_its_commit(seen: Evidence) -> Iterator[str]:
    """A call whose outcome is durable does not begin again where that can be known (I3)."""
    committed = {
        (id, entry.call): entry
        for id, run in seen.runs.items()
        for entry in run.journal
        if entry.event == "step_completed"
    }
    for line in seen.ledger:
        entry = committed.get((line.run, line.call))
        if entry is None or line.phase != "begin":
            continue
        if line.epoch > entry.epoch:
            yield f"{line}: its epoch was claimed after the commit in epoch {entry.epoch}"
        elif line.at > entry.at and not (line.epoch < entry.epoch and _just_woken(seen, line)):
            yield f"{line}: begun after the commit at {entry.at:.6f} in epoch {entry.epoch}"


def _just_woken(seen: Evidence, line: Line) -> bool:
    return any(
        stall.pid == line.pid and stall.began <= line.at <= stall.ended + _AFTER_STALL_SECONDS for stall in seen.stalls
    )


def an_epoch_belongs_to_one_process(seen: Evidence) -> Iterator[str]:
    """And begins each attempt once (I3, I5)."""
    owners: dict[tuple[str, int], set[int]] = defaultdict(set)
    for line in seen.ledger:
        owners[line.run, line.epoch].add(line.pid)
    for (run, epoch), pids in owners.items():
        if len(pids) > 1:
            yield f"{run}, epoch {epoch}: processes {sorted(pids)}"
    begins = Counter((line.run, line.call, line.epoch, line.attempt) for line in seen.ledger if line.phase == "begin")
    for what, times in begins.items():
        if times > 1:
            yield f"{what} began {times} times"


def nothing_comes_early(seen: Evidence) -> Iterator[str]:
    """A timer fires after its time (I8), an attempt begins after its back-off (I15)."""
    failed: dict[tuple[str, str, int], float] = {}
    for id, run in seen.runs.items():
        set_at = 0.0
        for entry in run.journal:
            if entry.event == "timer_fired" and entry.at < set_at + PAUSE_SECONDS:
                yield f"{id}: the timer fired {entry.at - set_at:.6f} s after it was set"
            if entry.event == "step_completed":
                set_at = entry.at
            if entry.event == "attempt_failed":
                failed[id, entry.call, entry.attempt + 1] = entry.at
    for line in seen.ledger:
        at = failed.get((line.run, line.call, line.attempt))
        if at is not None and line.phase == "begin" and line.at < at + RETRY_SECONDS:
            yield f"{line}: {line.at - at:.6f} s after the attempt before it had failed"


def the_store_is_sound(seen: Evidence) -> Iterator[str]:
    """By its own checks and SQLite's, with a log that stays small; nobody died or stayed behind."""
    yield from seen.said
    if seen.wal_bytes >= _WAL_BYTES_MAX:
        yield f"the write-ahead log grew to {seen.wal_bytes} bytes"


CLAIMS: Final[tuple[Callable[[Evidence], Iterator[str]], ...]] = (
    every_run_ends_as_without_faults,
    what_was_acknowledged_is_there,
    signals_come_once_and_in_order,
    every_call_is_committed_once,
    every_commit_was_begun,
    nothing_begins_after_its_commit,
    an_epoch_belongs_to_one_process,
    nothing_comes_early,
    the_store_is_sound,
)


def against(seen: Evidence) -> list[str]:
    """Everything that speaks against any claim."""
    return [f"{claim.__name__}: {what}" for claim in CLAIMS for what in claim(seen)]
