"""The catalogue, with every mishap at every store operation."""

import pytest

from durable_testing import FaultKind, crash_everywhere
from durable_testing.catalogue import ENTRIES, Entry
from durable_testing.trial import Trial

SHORT = [entry for entry in ENTRIES if not entry.long]
SMALL = [entry for entry in ENTRIES if entry.small]


def ends_alike(calm: Trial, other: Trial) -> None:
    """Whatever went wrong on the way, every run has ended as it does when nothing goes wrong."""
    assert calm.snapshot is not None
    assert other.snapshot is not None
    assert other.snapshot.outcomes == calm.snapshot.outcomes
    assert other.snapshot.values == calm.snapshot.values


@pytest.mark.needs("polling", reason="who was killed says nothing: another one has to look")
@pytest.mark.slow
@pytest.mark.parametrize("entry", SHORT, ids=str)
async def test_a_crash_before_or_after_any_store_operation_does_no_harm(entry: Entry) -> None:
    confirm = ends_alike if entry.confluent else None
    faults = (FaultKind.CRASH_BEFORE, FaultKind.CRASH_AFTER)
    tried = await crash_everywhere(entry.scenario, faults=faults, confirm=confirm, **entry.options())
    assert tried.trials == 2 * tried.operations >= 10


@pytest.mark.nightly
@pytest.mark.parametrize("entry", ENTRIES, ids=str)
async def test_any_mishap_at_any_store_operation_does_no_harm(entry: Entry) -> None:
    confirm = ends_alike if entry.confluent else None
    tried = await crash_everywhere(entry.scenario, confirm=confirm, **entry.options())
    assert tried.trials == 12 * tried.operations


@pytest.mark.nightly
@pytest.mark.parametrize("entry", SMALL, ids=str)
async def test_a_second_mishap_during_the_recovery_from_the_first_does_no_harm(entry: Entry) -> None:
    confirm = ends_alike if entry.confluent else None
    await crash_everywhere(entry.scenario, pairs=True, confirm=confirm, **entry.options())
