"""A short storm in every run of the tests; and each claim about it finds what it is there to find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.storm.client import Acks, run_id
from tests.storm.crew import Stall
from tests.storm.evidence import Entry, Evidence, Line, Run, reference
from tests.storm.proof import CLAIMS, against
from tests.storm.storm import Plan, storm

RUN = run_id(0)
PID = 17


@pytest.mark.slow
async def test_forty_runs_at_once_survive_a_short_storm(tmp_path: Path) -> None:
    told = await storm(tmp_path, Plan(8.0, runs=40, seed=3))
    assert against(told.evidence) == [], str(told)
    assert told.crew.kills >= 10
    assert len(told.crew.stalls) >= 2
    assert len(told.evidence.runs) >= 40


@pytest.mark.nightly
@pytest.mark.skipif("not config.getoption('-m')", reason="long: by its marker, or python -m tests.storm")
async def test_two_hundred_runs_at_once_survive_a_minute_of_storm(tmp_path: Path) -> None:
    told = await storm(tmp_path, Plan(60.0))
    assert against(told.evidence) == [], str(told)


# ── each claim finds what it is there to find ────────────────────────────────────────────────────────────────────────


async def clean(tmp_path: Path) -> Evidence:
    """One run that nothing happened to, and the ledger and notes that it would have left."""
    expected = await reference([0])
    run = replace(expected[RUN], journal=tuple(replace(entry, epoch=1) for entry in expected[RUN].journal))
    acks = Acks(tmp_path / "acks")
    acks.started.add(0)
    acks.signals.update((0, n) for n in range(3))
    ledger = [
        Line(entry.at + offset, PID, 1, RUN, entry.call, entry.attempt, phase)
        for entry in run.journal
        if entry.event == "step_completed"
        for phase, offset in (("begin", 0.0), ("end", 0.0))
    ]
    return Evidence({RUN: run}, expected, ledger, acks, [], lease=1.5)


def journal(seen: Evidence, change: Callable[[list[Entry]], list[Entry]]) -> None:
    run = seen.runs[RUN]
    seen.runs[RUN] = replace(run, journal=tuple(change(list(run.journal))))


def begin(seen: Evidence, **changes: object) -> Line:
    """A first line of the ledger, changed."""
    return replace(seen.ledger[0], phase="begin", **changes)  # type: ignore[arg-type]


def lose(seen: Evidence) -> None:
    seen.runs[RUN] = Run(RUN, "missing", None, ())


def twist(seen: Evidence) -> None:
    seen.runs[RUN] = replace(seen.runs[RUN], result=["another"])


def swap_signals(seen: Evidence) -> None:
    def swapped(entries: list[Entry]) -> list[Entry]:
        first, second = [i for i, entry in enumerate(entries) if entry.event == "signal_received"][:2]
        entries[first], entries[second] = entries[second], entries[first]
        return entries

    journal(seen, swapped)


def forget_last_signal(seen: Evidence) -> None:
    journal(seen, lambda entries: [e for e in entries if not (e.event == "signal_received" and e.value == 2)])


def commit_twice(seen: Evidence) -> None:
    journal(seen, lambda entries: [*entries, entries[0]])


def commit_without_end(seen: Evidence) -> None:
    seen.ledger = [line for line in seen.ledger if line.phase == "begin"]


def begin_in_a_later_epoch(seen: Evidence) -> None:
    seen.ledger.append(begin(seen, epoch=2, at=0.0, pid=18))


def begin_after_the_commit(seen: Evidence) -> None:
    seen.ledger.append(begin(seen, at=seen.ledger[0].at + 0.001))


def begin_as_a_zombie(seen: Evidence) -> None:
    seen.ledger.append(begin(seen, epoch=0, pid=18, at=seen.ledger[0].at + 0.001))


def share_an_epoch(seen: Evidence) -> None:
    seen.ledger.append(begin(seen, pid=18, attempt=9))


def begin_twice(seen: Evidence) -> None:
    seen.ledger.append(begin(seen))


def fire_early(seen: Evidence) -> None:
    journal(seen, lambda entries: [replace(e, at=e.at - 0.1) if e.event == "timer_fired" else e for e in entries])


def retry_early(seen: Evidence) -> None:
    failed = next(entry for entry in seen.runs[RUN].journal if entry.event == "attempt_failed")
    seen.ledger.append(Line(failed.at + 0.01, PID, 1, RUN, failed.call, failed.attempt + 1, "begin"))


def leave_somebody(seen: Evidence) -> None:
    seen.said.append("process 1 was left behind")


def fill_the_log(seen: Evidence) -> None:
    seen.wal_bytes = 2**26


FAULTS = {
    lose: "what_was_acknowledged_is_there",
    twist: "every_run_ends_as_without_faults",
    swap_signals: "signals_come_once_and_in_order",
    forget_last_signal: "what_was_acknowledged_is_there",
    commit_twice: "every_call_is_committed_once",
    commit_without_end: "every_commit_was_begun",
    begin_in_a_later_epoch: "nothing_begins_after_its_commit",
    begin_after_the_commit: "nothing_begins_after_its_commit",
    begin_as_a_zombie: "nothing_begins_after_its_commit",
    share_an_epoch: "an_epoch_belongs_to_one_process",
    begin_twice: "an_epoch_belongs_to_one_process",
    fire_early: "nothing_comes_early",
    retry_early: "nothing_comes_early",
    leave_somebody: "the_store_is_sound",
    fill_the_log: "the_store_is_sound",
}


@pytest.mark.slow
async def test_every_claim_holds_where_nothing_happened_and_finds_its_fault(tmp_path: Path) -> None:
    assert against(await clean(tmp_path)) == []
    assert set(FAULTS.values()) == {claim.__name__ for claim in CLAIMS}
    untouched = await clean(tmp_path)
    for fault, claim in FAULTS.items():
        seen = replace(
            untouched, runs=dict(untouched.runs), ledger=list(untouched.ledger), said=list(untouched.said)
        )  # fmt: skip
        fault(seen)
        found = against(seen)
        assert any(line.startswith(claim + ":") for line in found), (fault.__name__, found)


@pytest.mark.slow
async def test_a_worker_that_was_stopped_at_the_wrong_moment_is_no_finding(tmp_path: Path) -> None:
    seen = await clean(tmp_path)
    begin_as_a_zombie(seen)
    at = seen.ledger[-1].at
    seen.stalls.append(Stall(18, at - 2.0, at - 0.1))
    assert against(seen) == []
