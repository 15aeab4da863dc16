"""The catalogue under random schedules of every kind of fault, on the memory store and on SQLite."""

from pathlib import Path

import pytest

from durable_testing import explore
from durable_testing.catalogue import ENTRIES, Entry, entry

SHORT = [each for each in ENTRIES if not each.long]
ON_SQLITE = (
    "tickets",
    "at most once, with a check",
    "signal with a timeout",
    "children awaited",
    "retry of a failed run",
)


@pytest.mark.needs("polling", reason="hints are lost on purpose: somebody has to look")
@pytest.mark.slow
@pytest.mark.parametrize("entry", SHORT, ids=str)
async def test_an_entry_holds_under_random_faults(entry: Entry) -> None:
    await explore(entry.scenario, examples=60, crashes=3, **entry.options())


@pytest.mark.slow
@pytest.mark.parametrize("name", ON_SQLITE)
async def test_an_entry_holds_on_sqlite_in_the_simulated_loop(name: str, tmp_path: Path) -> None:
    of = entry(name)
    store = f"sqlite:///{tmp_path}/{{}}.db?durability=relaxed"
    await explore(of.scenario, examples=12, crashes=3, store=store, **of.options())


@pytest.mark.nightly
@pytest.mark.parametrize("entry", ENTRIES, ids=str)
async def test_an_entry_holds_under_many_random_faults_at_once(entry: Entry) -> None:
    await explore(entry.scenario, examples=1000, crashes=8, **entry.options())


@pytest.mark.nightly
@pytest.mark.parametrize("entry", ENTRIES, ids=str)
async def test_an_entry_holds_on_sqlite_under_random_faults(entry: Entry, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/{{}}.db?durability=relaxed"
    await explore(entry.scenario, examples=60, crashes=4, store=store, **entry.options())
