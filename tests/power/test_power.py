"""Power cuts, in short; ``python -m tests.power --minutes 10`` is the same for as long as you like."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from durable_sqlite import files
from durable_sqlite.connection import Transactions
from tests.power.events import NamesSynced, Synced
from tests.power.trial import BEGINNINGS, FULL, RELAXED, Effort, Outcome, examine, run_trial, workspace
from tests.power.workload import UNPROMISED, VERBS, Recording, record

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Directories are not synced there.")

_SHORT = Effort(steps=20, share=0.1, per_moment=4, pages=60)
_SHORTER = Effort(steps=8, share=0.05, per_moment=3)
_WORDS = ("is lost", "by half", "does not open", "does not pass", "cannot be read")


@pytest.fixture
def place() -> Iterator[Path]:
    with workspace() as directory:
        yield directory


@functools.cache
def cut(options: str, beginning: str) -> Outcome:
    """One trial; several tests look at it."""
    seed = 10 * BEGINNINGS.index(beginning) + 4
    with workspace() as directory:
        effort = _SHORT if beginning == "nothing" else _SHORTER
        return asyncio.run(run_trial(directory, seed, options, beginning, effort))


@pytest.mark.slow
@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_a_power_cut_costs_nothing_acknowledged_at_full_durability(beginning: str) -> None:
    outcome = cut(FULL, beginning)
    assert outcome.violations == ()
    assert outcome.opened > 25


@pytest.mark.slow
@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_a_power_cut_costs_at_most_the_last_operations_at_relaxed_durability(beginning: str) -> None:
    outcome = cut(RELAXED, beginning)
    assert outcome.violations == ()
    assert outcome.opened > 25


@pytest.mark.slow
def test_only_claims_and_heartbeats_may_be_lost_at_full_durability_and_are() -> None:
    lost = cut(FULL, "nothing").lost
    assert lost["poll"] > 0
    assert lost["renew"] > 0
    assert set(lost) <= UNPROMISED


@pytest.mark.slow
def test_the_last_operations_are_really_lost_at_relaxed_durability() -> None:
    assert set(cut(RELAXED, "nothing").lost) > UNPROMISED & {"poll"}


@pytest.mark.slow
def test_every_verb_that_writes_is_recorded() -> None:
    kinds = cut(FULL, "nothing").kinds + cut(RELAXED, "nothing").kinds + cut(FULL, "an older schema").kinds
    assert set(kinds) == VERBS | {"open", "close", "checkpoint"}


@pytest.mark.slow
async def test_power_may_be_cut_again_when_it_has_just_come_back(place: Path) -> None:
    (first := place / "first").mkdir()
    (again := place / "again").mkdir()
    left = (await run_trial(first, 5, effort=_SHORTER)).left
    assert left is not None
    image, state = left
    outcome = await run_trial(again, 6, FULL, image, _SHORTER)
    assert outcome.operations[0].state == state
    assert outcome.violations == ()


# ── The proof can fail ───────────────────────────────────────────────────────────────────────────────────────────────


def synchronous(level: str) -> Any:
    """A store that asks SQLite for less than it promises."""

    def set_level(_: Transactions, raw: sqlite3.Connection, synced: bool) -> None:
        raw.execute(f"PRAGMA synchronous = {level}")

    return mock.patch.object(Transactions, "_set_level", set_level)


async def examined(directory: Path, recording: Recording) -> Counter[str]:
    """What is found, by the kind of sentence."""
    outcome = await examine(directory / "image", recording, 3, Effort(share=0.05, per_moment=4, violations=12))
    return Counter(words for line in outcome.violations for words in _WORDS if words in line)


async def recorded(directory: Path, options: str = FULL, pages: int = 1000) -> Recording:
    (home := directory / "recorded").mkdir()
    return await record(home, 3, 12, options, pages)


@pytest.mark.slow
async def test_a_store_that_does_not_sync_is_found_to_lose_what_it_acknowledged(place: Path) -> None:
    with synchronous("OFF"):
        recording = await recorded(place)
    assert (await examined(place, recording))["is lost"] > 0


@pytest.mark.slow
async def test_a_store_that_syncs_only_at_checkpoints_is_found_to_lose_what_it_acknowledged(place: Path) -> None:
    with synchronous("NORMAL"):
        recording = await recorded(place)
    found = await examined(place, recording)
    assert found["is lost"] > 0
    assert set(found) == {"is lost"}, "nothing but the last operations is lost"


@pytest.mark.slow
async def test_relaxed_durability_is_found_to_lose_what_full_durability_promises(place: Path) -> None:
    recording = await recorded(place, RELAXED)
    found = await examined(place, dataclasses.replace(recording, options=FULL))
    assert found["is lost"] > 0


@pytest.mark.slow
async def test_a_relaxed_store_that_never_syncs_is_found_to_lose_more_than_the_last_operations(place: Path) -> None:
    with synchronous("OFF"):
        recording = await recorded(place, RELAXED, pages=6)
    found = await examined(place, recording)
    assert found.total() > found["is lost"]


@pytest.mark.slow
async def test_a_disk_that_lies_about_syncs_is_found(place: Path) -> None:
    recording = await recorded(place)
    log = tuple(event for event in recording.log if not isinstance(event, Synced))
    assert (await examined(place, dataclasses.replace(recording, log=log))).total() > 0


@pytest.mark.slow
async def test_a_store_whose_name_was_not_synced_is_found_to_be_gone(place: Path) -> None:
    with mock.patch.object(files, "_sync_directory", lambda path: None):
        recording = await recorded(place)
    # SQLite syncs the directory too, at its log's first commit: what is left to show is the moment of open()'s answer.
    assert any(isinstance(event, NamesSynced) for event in recording.log)
    assert (await examined(place, recording))["does not open"] > 0
