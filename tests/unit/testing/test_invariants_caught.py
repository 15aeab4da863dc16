"""Every invariant is seen to break: real traces are made to lie in one place, and the checker says where."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the helpers beside this file

from invariant_doctoring import Doctored, claims, ends, has

from durable._model.entries import (
    AttemptBegun,
    AttemptFailed,
    CallKind,
    NotDone,
    Settled,
    decode_entry,
    encode_entry,
)
from durable.store import (
    RunId,
    Sent,
    Settle,
    Waiting,
)
from durable_testing.invariants import INVARIANTS, check
from durable_testing.trace import Trace

RETRIED = has(AttemptFailed)


def step_settled(call: str) -> Any:
    return has(Settled, call=call)


# ── journals ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_i1_a_commit_that_was_applied_at_another_position() -> None:
    lie = Doctored.of("steps")
    at = next(lie.commits(step_settled("0/step/one#2")))
    lie.alter_commit(at, position=lie.commit(at).position + 1)
    assert lie.numbers() == {"I1"}


def test_i1_a_commit_after_the_end() -> None:
    lie = Doctored.of("steps")
    first, last = next(lie.commits(step_settled("0/step/one#0"))), next(lie.commits(ends))
    end = lie.commit(last)
    late = replace(lie.commit(first), position=end.position, epoch=end.epoch, seq=end.seq + 1)
    event, answer = lie.events[first[0]], lie.events[last[0]].data["answer"][0]
    lie.events.insert(last[0] + 1, replace(event, data={**event.data, "asked": ([late],), "answer": [answer]}))
    assert "I1" in lie.numbers()
    assert any("completed run" in violation.found for violation in lie.violations())


def test_i1_a_stamp_that_goes_back() -> None:
    lie = Doctored.of("steps")
    at = next(lie.commits(step_settled("0/step/slow#0")))
    lie.alter_committed(at, at=1.0)
    assert lie.numbers() == {"I1"}
    assert any("stamped 1.0, after" in violation.found for violation in lie.violations())


def test_i1_a_read_that_shows_something_else() -> None:
    lie = Doctored.of("steps", "1w/1/12:crash-after")
    index = lie.find("effect journal", lambda event: bool(event.data["answer"].rows))
    page = lie.events[index].data["answer"]
    lie.alter(index, answer=replace(page, rows=(replace(page.rows[0], data=b"{}\n"), *page.rows[1:])))
    assert lie.numbers() == {"I1"}


def test_i1_a_read_of_an_entry_that_nobody_has_committed() -> None:
    lie = Doctored.of("steps", "1w/1/12:crash-after")
    index = lie.find("effect journal", lambda event: bool(event.data["answer"].rows))
    page = lie.events[index].data["answer"]
    lie.alter(index, answer=replace(page, rows=(*page.rows, replace(page.rows[-1], position=len(page.rows)))))
    assert lie.numbers() == {"I1"}


@pytest.mark.parametrize("lost", [slice(0, -1), slice(1, None)], ids=["its last entry", "its first entry"])
def test_i1_a_journal_that_has_lost(lost: slice) -> None:
    lie = Doctored.of("steps")
    key = (RunId("s"), 1)
    rows = lie.snapshot.journals[key][lost]
    rows = tuple(replace(row, position=position) for position, row in enumerate(rows))
    lie.snapshot = replace(lie.snapshot, journals={**lie.snapshot.journals, key: rows})
    assert lie.numbers() == {"I1"}


def test_i2_two_outcomes_of_one_call() -> None:
    lie = Doctored.of("steps")
    at = next(lie.commits(step_settled("0/step/one#2")))
    lie.alter_commit(at, append=lie.commit(at).append * 2)
    assert "I2" in lie.numbers()


def test_i2_two_outcomes_of_one_attempt() -> None:
    lie = Doctored.of("steps")
    at = next(lie.commits(RETRIED))
    lie.alter_commit(at, append=lie.commit(at).append * 2)
    assert "I2" in lie.numbers()


# ── attempts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def begins(call: str, attempt: int = 1) -> Any:
    return lambda event: (event.data["call"], event.data["attempt"]) == (call, attempt)


def test_i3_a_step_that_runs_after_its_outcome_was_committed() -> None:
    lie = Doctored.of("steps")
    begin = lie.find("step.begin", begins("0/step/one#1"))
    committed = next(lie.commits(step_settled("0/step/one#1")))
    lie.repeat(begin, committed[0] + 1)
    assert "I3" in lie.numbers()


def test_i3_two_attempts_of_one_call_side_by_side() -> None:
    lie = Doctored.of("steps")
    begin = lie.find("step.begin", begins("0/step/one#1"))
    lie.repeat(begin, begin + 1)
    assert "I3" in lie.numbers()


@pytest.mark.needs("polling", reason="who was killed says nothing: another one has to look")
def test_i3_an_attempt_that_begins_after_the_lease() -> None:
    lie = Doctored.of("steps")
    begin = lie.find("step.begin", begins("0/step/one#1"))
    lie.alter(begin, at=lie.events[begin].at + 16.0)
    assert lie.numbers() == {"I3"}


@pytest.mark.parametrize("number", [1, 3])
def test_i14_an_attempt_with_a_number_that_does_not_follow(number: int) -> None:
    lie = Doctored.of("steps")
    lie.alter(lie.find("step.begin", begins("0/step/shaky#0", 2)), attempt=number)
    assert "I14" in lie.numbers()


def test_i14_an_attempt_that_begins_twice_under_one_claim() -> None:
    lie = Doctored.of("steps")
    begin = lie.find("step.begin", begins("0/step/one#1"))
    end = lie.find("step.end", begins("0/step/one#1"))
    lie.repeat(begin, end + 1)
    assert "I14" in lie.numbers()


def test_i14_attempts_that_fail_in_another_order() -> None:
    lie = Doctored.of("steps")
    at = next(lie.commits(has(AttemptFailed, attempt=2)))
    lie.alter_entry(at, 0, attempt=1)
    assert "I14" in lie.numbers()


@pytest.mark.parametrize("fields", [{"strikes": 2}, {"strikes": 0}])
def test_i14_a_claim_that_counts_wrongly(fields: dict[str, int]) -> None:
    lie = Doctored.of("signals")
    index = list(lie.all("effect poll", claims))[1]
    lie.alter_claim(index, **fields)
    assert lie.numbers() == {"I14"}


def test_i14_a_run_that_is_tried_alone_without_need() -> None:
    lie = Doctored.of("signals")
    index = list(lie.all("effect poll", claims))[1]
    answer = lie.events[index].data["answer"]
    lie.alter(index, answer=replace(answer, claims=(replace(answer.claims[0], lonely=True),)))
    assert lie.numbers() == {"I14"}


CUT = "1w/1/8:crash-before"
"""Under it the at-most-once step of ``careful`` is cut in the middle; a person says that it did not happen."""


@pytest.mark.needs("polling", reason="who was killed says nothing: another one has to look")
def test_i14_an_at_most_once_step_that_runs_again_without_leave() -> None:
    lie = Doctored.of("careful", CUT)
    index = lie.find("effect control", lambda event: isinstance(event.data["asked"][0][0].verb, Settle))
    control = lie.events[index].data["asked"][0][0]
    not_done = decode_entry(control.verb.entry)
    assert isinstance(not_done, NotDone)
    entry = encode_entry(AttemptBegun(not_done.call, not_done.fingerprint, not_done.attempt))
    lie.alter(index, asked=([replace(control, verb=replace(control.verb, entry=entry))],))
    found = [violation for violation in lie.violations() if violation.number == "I14"]
    assert any("nothing on record lets it run again" in violation.found for violation in found)


def test_i14_an_at_most_once_step_that_begins_before_that_is_on_record() -> None:
    lie = Doctored.of("careful")
    begin = lie.find("step.begin", begins("0/step/once#0"))
    lie.alter(begin, effect="at_most_once")
    assert lie.numbers() == set()
    lie.move(begin, next(lie.commits(has(AttemptBegun, call="0/step/once#0")))[0])
    assert "I14" in lie.numbers()


def test_i14_an_at_most_once_step_that_runs_twice() -> None:
    lie = Doctored.of("careful")
    begin = lie.find("step.begin", begins("0/step/once#0"))
    lie.repeat(begin, lie.find("step.end", begins("0/step/once#0")) + 1)
    assert any("nothing on record lets it run again" in violation.found for violation in lie.violations())


@pytest.mark.needs("polling", reason="who was killed says nothing: another one has to look")
def test_i14_a_deadly_run_that_is_claimed_without_a_pause() -> None:
    lie = Doctored.of("killer")
    index = lie.find("effect poll", lambda event: any(claim.lonely for claim in event.data["answer"].claims))
    lie.alter(index, now=lie.events[index].data["now"] - 0.9)
    assert "I14" in lie.numbers()


@pytest.mark.needs("polling", reason="who was killed says nothing: another one has to look")
def test_i14_a_run_that_is_claimed_although_its_crash_budget_is_spent() -> None:
    lie = Doctored.of("killer")
    index = list(lie.all("effect poll", lambda event: any(claim.lonely for claim in event.data["answer"].claims)))[-1]
    session, want = lie.events[index].data["asked"]
    lie.alter(index, asked=(session, replace(want, crash_budget=2)))
    assert any(v.number == "I14" and "it is claimed although" in v.found for v in lie.violations())


def test_i15_an_attempt_that_does_not_wait_for_its_back_off() -> None:
    lie = Doctored.of("steps")
    begin = lie.find("step.begin", begins("0/step/shaky#0", 2))
    lie.alter(begin, at=lie.events[begin].at - 1.0)
    assert lie.numbers() == {"I15"}


# ── who may write ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "fields", [{"epoch": 7}, {"seq": 9}], ids=["of another epoch", "that is not the next of its epoch"]
)
def test_i4_an_applied_commit(fields: dict[str, int]) -> None:
    lie = Doctored.of("steps")
    lie.alter_commit(next(lie.commits(step_settled("0/step/one#2"))), **fields)
    assert "I4" in lie.numbers()


def test_i4_a_commit_from_a_worker_that_does_not_hold_the_run() -> None:
    lie = Doctored.of("steps")
    at = next(lie.commits(step_settled("0/step/one#2")))
    lie.alter(at[0], actor="worker-9.1")
    assert lie.numbers() == {"I4"}


def test_i4_a_commit_after_the_run_was_given_up() -> None:
    lie = Doctored.of("signals")
    waiting = next(lie.commits(lambda commit, _: isinstance(commit.then, Waiting)))
    lie.alter_commit(waiting, seq=lie.commit(waiting).seq + 1)
    lie.repeat(waiting[0], waiting[0] + 1)
    lie.alter_commit((waiting[0], 0), seq=lie.commit(waiting).seq - 1)
    assert "I4" in lie.numbers()


def repeated() -> tuple[Doctored, tuple[int, int]]:
    """A commit whose first answer was lost, said again."""
    lie = Doctored.of("steps", "1w/1/9:unknown")
    for index in lie.all("effect commit"):
        if lie.events[index].data["answer"][0].verdict == "already_applied":
            return lie, (index, 0)
    raise AssertionError("nothing was said again")


def test_i4_a_repeat_with_other_words() -> None:
    lie, at = repeated()
    lie.alter_commit(at, append=(*lie.commit(at).append, b"more"))
    assert lie.numbers() == {"I4"}


def test_i4_a_repeat_with_another_stamp() -> None:
    lie, at = repeated()
    lie.alter_committed(at, at=1.0)
    assert lie.numbers() == {"I4"}


def test_i4_a_commit_that_was_never_applied_and_is_said_to_be() -> None:
    lie, at = repeated()
    lie.alter_commit(at, seq=50)
    assert lie.numbers() == {"I4"}


def test_i5_an_epoch_that_does_not_rise() -> None:
    lie = Doctored.of("signals")
    index = list(lie.all("effect poll", claims))[2]
    lie.alter_claim(index, epoch=1)
    assert "I5" in lie.numbers()


def test_i5_a_claim_of_a_run_that_somebody_else_holds() -> None:
    lie = Doctored.of("steps", "2w/1")
    index = lie.find("effect poll", claims)
    other = lie.find("effect poll", lambda event: event.actor != lie.events[index].actor)
    answer = lie.events[index].data["answer"]
    row = replace(answer.claims[0].run, epoch=2)
    stolen = replace(answer, claims=(replace(answer.claims[0], run=row),))
    event = lie.events[other]
    data = {**event.data, "answer": stolen, "asked": (event.data["asked"][0], replace(event.data["asked"][1], limit=9))}
    lie.events.insert(index + 1, replace(event, data=data))
    assert "I5" in lie.numbers()


# ── messages ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def sends(id: str) -> Any:
    return lambda event: event.data["asked"][0][0].id == f"sig/{id}"


def test_i6_signals_that_are_received_in_another_order() -> None:
    lie = Doctored.of("onward")
    first, second = lie.find("effect send", sends("n0")), lie.find("effect send", sends("n1"))
    one, other = lie.events[first].data["asked"], lie.events[second].data["asked"]
    lie.alter(first, asked=other)
    lie.alter(second, asked=one)
    assert lie.numbers() == {"I6"}


def test_i6_a_signal_that_is_received_twice() -> None:
    lie = Doctored.of("onward")
    first, second = list(lie.commits(has(Settled, kind=CallKind.SIGNAL)))[:2]
    lie.alter_commit(second, consumed=(*lie.commit(second).consumed, *lie.commit(first).consumed))
    assert lie.numbers() == {"I6"}


def test_i6_a_signal_that_nobody_has_sent() -> None:
    lie = Doctored.of("onward")
    lie.drop(lie.find("effect send", sends("n1")))
    assert "I6" in lie.numbers()


def test_i6_an_entry_made_of_a_message_that_stays_unread() -> None:
    lie = Doctored.of("onward")
    lie.alter_commit(next(lie.commits(has(Settled, kind=CallKind.SIGNAL))), consumed=())
    assert "I6" in lie.numbers()


@pytest.mark.parametrize(
    ("id", "answer"),
    [("go-1", Sent.ENDED), ("go-1", Sent.DUPLICATE), ("go-1", Sent.NOT_FOUND)],
)
def test_i6_a_signal_that_is_refused_without_reason(id: str, answer: Sent) -> None:
    lie = Doctored.of("signals")
    lie.alter(lie.find("effect send", sends(id)), answer=[answer])
    assert "I6" in lie.numbers()


def test_i6_a_repeat_that_is_accepted() -> None:
    lie = Doctored.of("signals")
    again = list(lie.all("effect send", sends("go-1")))[-1]
    lie.alter(again, answer=[Sent.ACCEPTED])
    assert lie.numbers() == {"I6"}


def test_i6_a_signal_that_an_ended_run_accepts() -> None:
    lie = Doctored.of("onward")
    event = lie.events[lie.find("effect send", sends("n1"))]
    late = replace(event.data["asked"][0][0], id="late")
    lie.events.append(replace(event, data={**event.data, "asked": ([late],), "op": -1}))
    assert lie.numbers() == {"I6"}


@pytest.mark.parametrize("consumed", [True, False])
def test_i6_a_message_whose_mark_is_wrong(consumed: bool) -> None:
    lie = Doctored.of("onward" if not consumed else "cancels")
    run, letters = next(
        (run, letters)
        for run, letters in lie.snapshot.messages.items()
        if any(letter.consumed is not consumed for letter in letters)
    )
    wrong = tuple(replace(letter, consumed=consumed) for letter in letters)
    lie.snapshot = replace(lie.snapshot, messages={**lie.snapshot.messages, run: wrong})
    assert lie.numbers() == {"I6"}


def test_i7_a_signal_for_a_wait_that_has_timed_out() -> None:
    lie = Doctored.of("signals")
    timer = next(lie.commits(has(Settled, kind=CallKind.TIMER)))
    later = next(at for at in lie.commits(has(Settled, kind=CallKind.SIGNAL)) if at[0] > timer[0])
    waiting = next(
        lie.commit(at).waits
        for at in reversed(list(lie.commits(lambda commit, _: bool(commit.waits))))
        if at[0] < timer[0]
    )
    assert waiting is not None
    lie.alter_entry(later, 0, call=waiting[0].call)
    assert "I7" in lie.numbers()


def test_i7_a_signal_behind_another_entry() -> None:
    lie = Doctored.of("signals")
    at = next(lie.commits(has(Settled, kind=CallKind.SIGNAL)))
    other = encode_entry(Settled(CallKind.TIMER, "0/timer/sleep#9", "1", True, b"", due=1.0))  # type: ignore[arg-type]
    lie.alter_commit(at, append=(other, *lie.commit(at).append))
    assert "I7" in lie.numbers()


# ── timers ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_i8_a_timer_that_fires_early() -> None:
    lie = Doctored.of("signals")
    at = next(lie.commits(has(Settled, kind=CallKind.TIMER)))
    lie.alter(at[0], now=lie.events[at[0]].data["now"] - 2.0)
    assert lie.numbers() == {"I8"}


def test_i8_a_deadline_that_moves() -> None:
    lie = Doctored.of("signals")
    at = next(lie.commits(lambda commit, _: any(wait.until is not None for wait in commit.waits or ())))
    moved = tuple(replace(wait, until=(wait.until or 0.0) + 1.0) for wait in lie.commit(at).waits or ())
    lie.alter_commit(at, waits=moved)
    lie.repeat(at[0], at[0] + 1)
    lie.alter_commit((at[0] + 1, at[1]), waits=tuple(replace(wait, until=1.0) for wait in moved))
    assert "I8" in lie.numbers()


# ── what a user reads ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_violation_says_what_must_hold_what_was_found_and_where() -> None:
    lie = Doctored.of("steps")
    at = next(lie.commits(step_settled("0/step/one#2")))
    lie.alter_commit(at, position=lie.commit(at).position + 1)
    violation = next(one for one in lie.violations() if one.number == "I1")
    event = lie.events[at[0]]
    assert str(violation) == (
        f"I1, run s: a commit at position {violation.found.split()[4]} was applied to a journal of 2 entries "
        f"[event {event.seq}]\n    must hold: {violation.sentence}"
    )


def test_every_invariant_that_the_checker_has_is_caught_by_a_test_here() -> None:
    here = "".join(page.read_text() for page in Path(__file__).parent.glob("test_invariants_caught*.py"))
    untested = {rule.number for rule in INVARIANTS if f"def test_{rule.number.lower()}_" not in here}
    assert untested == set()


def test_an_empty_trace_and_an_empty_store_agree() -> None:
    from durable_testing.invariants import Snapshot

    assert check(Trace(), Snapshot(0.0)) == []
