"""The table of moves between statuses, walked from end to end."""

import pytest

from durable._model.runs import ENDED, TRANSITIONS
from durable.store import RunStatus


def reachable(start: RunStatus) -> set[RunStatus]:
    seen: set[RunStatus] = set()
    edge = {start}
    while edge:
        seen |= edge
        edge = {move for status in edge for move in TRANSITIONS[status]} - seen
    return seen


def test_every_status_is_in_the_table_and_every_move_leads_to_one() -> None:
    assert set(TRANSITIONS) == set(RunStatus)
    assert all(isinstance(move, RunStatus) for moves in TRANSITIONS.values() for move in moves)


def test_no_status_moves_to_itself() -> None:
    assert [status for status, moves in TRANSITIONS.items() if status in moves] == []


@pytest.mark.parametrize("status", sorted(ENDED))
def test_what_has_ended_only_begins_anew(status: RunStatus) -> None:
    assert TRANSITIONS[status] == {RunStatus.PENDING}


@pytest.mark.parametrize("status", sorted(RunStatus))
def test_every_status_is_reached_from_pending_and_can_end(status: RunStatus) -> None:
    assert status in reachable(RunStatus.PENDING)
    assert reachable(status) & ENDED == ENDED


@pytest.mark.parametrize("status", sorted(set(RunStatus) - ENDED))
def test_whatever_lives_can_be_cancelled_at_once(status: RunStatus) -> None:
    assert RunStatus.CANCELLED in TRANSITIONS[status]


def test_only_a_running_run_completes_or_fails() -> None:
    for end in (RunStatus.COMPLETED, RunStatus.FAILED):
        assert [status for status, moves in TRANSITIONS.items() if end in moves] == [RunStatus.RUNNING]
