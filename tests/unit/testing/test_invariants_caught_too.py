"""More invariants are seen to break: real traces are made to lie in one place, and the checker says where."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the helpers beside this file

from invariant_doctoring import Doctored, claims, ends, has

from durable import Context, step, workflow
from durable._model.entries import (
    AttemptFailed,
    CancelAsked,
    Settled,
)
from durable.codec import dump_error
from durable.errors import Transient
from durable.store import (
    Blocked,
    Continued,
    Created,
    Creation,
    Ended,
    MessageKind,
    RunId,
    RunStatus,
    Waiting,
)
from durable_testing.invariants.outcomes import CANARY
from durable_testing.schedules import Schedule
from durable_testing.sim import Sim, code_of
from durable_testing.trace import Event
from durable_testing.trial import Setting, carry_out

RETRIED = has(AttemptFailed)


def step_settled(call: str) -> Any:
    return has(Settled, call=call)


def begins(call: str, attempt: int = 1) -> Any:
    return lambda event: (event.data["call"], event.data["attempt"]) == (call, attempt)


# ── lives ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_i9_a_move_that_is_not_in_the_table() -> None:
    lie = Doctored.of("steps")
    lie.drop(lie.find("effect poll", claims))
    assert "I9" in lie.numbers()


@pytest.mark.parametrize("fields", [{"position": 5}, {"generation": 2}, {"status": RunStatus.WAITING}], ids=str)
def test_i9_a_claim_that_hands_out_something_else(fields: dict[str, Any]) -> None:
    lie = Doctored.of("signals")
    lie.alter_claim(list(lie.all("effect poll", claims))[1], **fields)
    assert "I9" in lie.numbers()


def test_i9_a_verb_that_tells_another_status() -> None:
    lie = Doctored.of("pauses")
    index = lie.find("effect control")
    answer = lie.events[index].data["answer"][0]
    lie.alter(index, answer=[replace(answer, status=RunStatus.COMPLETED)])
    assert lie.numbers() == {"I9"}


@pytest.mark.parametrize("fields", [{"status": RunStatus.FAILED}, {"generation": 2}], ids=str)
def test_i9_a_row_that_is_not_as_it_was_left(fields: dict[str, Any]) -> None:
    lie = Doctored.of("steps")
    lie.alter_row("s", **fields)
    assert lie.numbers() == {"I9"}


def test_i9_an_outcome_that_is_not_the_committed_one() -> None:
    lie = Doctored.of("steps")
    lie.snapshot = replace(lie.snapshot, outcomes={RunId("s"): b"completed\n0"})
    assert lie.numbers() == {"I9"}


@pytest.mark.parametrize("how", ["completes", "goes on"])
def test_i10_a_cancelled_run_that(how: str) -> None:
    lie = Doctored.of("cancels")
    at = next(at for at in lie.commits(ends) if lie.commit(at).run == "c")
    then: Any = Ended(RunStatus.COMPLETED, b"completed\n1")
    if how == "goes on":
        then = Continued("lasting", "1", b"", "", "")
    lie.alter_commit(at, then=then)
    assert "I10" in lie.numbers()


def test_i10_a_run_that_is_cancelled_twice() -> None:
    lie = Doctored.of("cancels")
    at = next(lie.commits(has(CancelAsked)))
    lie.alter_commit(at, append=lie.commit(at).append * 2)
    assert "I10" in lie.numbers()


def test_i10_a_cancel_that_is_read_and_forgotten() -> None:
    lie = Doctored.of("cancels")
    lie.alter_commit(next(lie.commits(has(CancelAsked))), append=())
    assert "I10" in lie.numbers()


def test_i17_a_run_that_nobody_has_started() -> None:
    lie = Doctored.of("steps")
    lie.drop(*lie.all("effect create"))
    assert "I17" in lie.numbers()


def test_i17_a_run_in_the_store_that_never_was() -> None:
    lie = Doctored.of("steps")
    row = replace(lie.snapshot.runs[RunId("s")], id=RunId("ghost"))
    lie.snapshot = replace(lie.snapshot, runs={**lie.snapshot.runs, RunId("ghost"): row})
    assert lie.numbers() == {"I17"}


def test_i17_a_child_of_somebody_else() -> None:
    lie = Doctored.of("children")
    at = next(lie.commits(lambda commit, _: bool(commit.children)))
    commit = lie.commit(at)
    strange = [replace(new, parent=new.parent and replace(new.parent, generation=7)) for new in commit.children]
    lie.alter_commit(at, children=tuple(strange))
    assert "I17" in lie.numbers()


def test_i17_a_step_in_a_worker_that_does_not_hold_the_run() -> None:
    lie = Doctored.of("steps")
    lie.alter(lie.find("step.begin", begins("0/step/one#1")), actor="worker-9.1")
    assert "I17" in lie.numbers()


def test_i17_a_step_after_the_run_was_given_up() -> None:
    lie = Doctored.of("onward")
    begin = lie.find("step.begin")
    waiting = next(at for at in lie.commits(lambda commit, _: isinstance(commit.then, Waiting)) if at[0] > begin)
    lie.move(begin, waiting[0] + 1)
    assert "I17" in lie.numbers()


def test_i17_a_step_of_another_generation() -> None:
    lie = Doctored.of("onward")
    begin = lie.find("step.begin")
    lie.alter(begin, generation=2)
    assert "I17" in lie.numbers()


def test_i17_a_result_of_a_step_that_never_ran() -> None:
    lie = Doctored.of("steps")
    lie.drop(lie.find("step.begin", begins("0/step/one#1")))
    assert lie.numbers() == {"I17"}


def controls(run: str) -> Any:
    return lambda event: any(control.run.startswith(run) for control in event.data["asked"][0])


def test_i18_a_child_that_nobody_has_asked_to_end() -> None:
    lie = Doctored.of("children")
    lie.drop(*lie.all("effect control", controls("p.")))
    assert "I18" in lie.numbers()


def test_i18_a_completion_that_is_not_started() -> None:
    lie = Doctored.of("children")
    at = next(lie.commits(lambda commit, _: type(commit.then).__name__ == "Closed" and bool(commit.children)))
    lie.alter_commit(at, children=())
    assert "I18" in lie.numbers()


def test_i19_an_id_that_is_created_twice() -> None:
    lie = Doctored.of("steps")
    index = list(lie.all("effect create"))[1]
    answer: Created = lie.events[index].data["answer"][0]
    lie.alter(index, answer=[replace(answer, outcome=Creation.CREATED)])
    assert "I19" in lie.numbers()


@pytest.mark.parametrize("fields", [{"digest": "other"}, {"generation": 4}], ids=str)
def test_i19_a_start_that_is_told_of_another_run(fields: dict[str, Any]) -> None:
    lie = Doctored.of("steps")
    index = list(lie.all("effect create"))[1]
    lie.alter(index, answer=[replace(lie.events[index].data["answer"][0], **fields)])
    assert lie.numbers() == {"I19"}


# ── the store ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_i20_a_run_that_is_not_there() -> None:
    lie = Doctored.of("steps")
    lie.snapshot = replace(lie.snapshot, runs={}, journals={}, values={}, outcomes={})
    assert lie.numbers() == {"I20"}


def test_i20_a_run_that_was_purged_is_not_missed() -> None:
    lie = Doctored.of("steps")
    lie.snapshot = replace(lie.snapshot, runs={}, journals={}, values={}, outcomes={})
    last = lie.events[-1]
    purge = {"op": -1, "method": "purge", "asked": (None,), "answer": 1, "now": lie.snapshot.now}
    lie.events.append(Event(last.seq + 1, last.at, "client", "effect", purge))
    assert lie.numbers() == set()


def test_i20_a_message_that_is_not_there() -> None:
    lie = Doctored.of("onward")
    messages = {run: letters[1:] for run, letters in lie.snapshot.messages.items()}
    lie.snapshot = replace(lie.snapshot, messages=messages)
    assert lie.numbers() == {"I20"}


def test_i20_a_published_value_that_is_not_there() -> None:
    lie = Doctored.of("steps")
    lie.snapshot = replace(lie.snapshot, values={})
    assert lie.numbers() == {"I20"}


def test_i22_a_worker_that_goes_round_and_round() -> None:
    lie = Doctored.of("steps")
    index = list(lie.all("effect poll"))[-1]
    for _ in range(60):
        lie.repeat(index, index)
    assert lie.numbers() == {"I22"}


def test_i22_an_attempt_that_outlives_its_run() -> None:
    lie = rested("signal")
    lie.drop(lie.find("step.end", lambda event: event.data["run"] == "ended"))
    assert "I22" in lie.numbers()


def test_i24_a_run_that_rests_and_has_an_owner() -> None:
    lie = Doctored.of("steps")
    lie.alter_row("s", owner=lie.snapshot.sessions[0].id)
    assert lie.numbers() == {"I24"}


@pytest.mark.parametrize("fields", [{"limit": 0}, {"lanes": ()}], ids=str)
def test_i24_a_claim_that_was_not_asked_for(fields: dict[str, Any]) -> None:
    lie = Doctored.of("steps")
    index = lie.find("effect poll", claims)
    session, want = lie.events[index].data["asked"]
    lie.alter(index, asked=(session, replace(want, **fields)))
    assert "I24" in lie.numbers()


def test_i24_more_runs_of_a_workflow_than_its_concurrency_allows() -> None:
    lie = Doctored.of("crowds")
    lie.alter(lie.find("up"), concurrency={"crowd": 2})
    assert lie.numbers() == set()
    lie.alter(lie.find("up"), concurrency={"crowd": 1})
    assert lie.numbers() == {"I24"}


def test_i24_a_lonely_run_that_has_company() -> None:
    lie = Doctored.of("crowds")
    index = lie.find("effect poll", claims)
    answer = lie.events[index].data["answer"]
    lie.alter(index, answer=replace(answer, claims=(replace(answer.claims[0], lonely=True), *answer.claims[1:])))
    assert {"I14", "I24"} <= lie.numbers()


# ── what does not belong there ───────────────────────────────────────────────────────────────────────────────────────


def test_i21_an_attempt_with_the_key_of_another_run() -> None:
    lie = Doctored.of("steps")
    lie.alter(lie.find("step.begin"), key="other/1/0/step/one#0")
    assert lie.numbers() == {"I21"}


def test_i21_a_result_that_is_not_the_childs() -> None:
    lie = Doctored.of("children")
    at = next(lie.commits(lambda commit, _: any(m.kind is MessageKind.RESULT for m in commit.messages)))
    lie.alter_commit(at, messages=tuple(replace(m, payload=b"completed\n99") for m in lie.commit(at).messages))
    assert lie.numbers() == {"I21"}


def test_i23_an_error_of_the_store_as_the_outcome_of_a_step() -> None:
    lie = Doctored.of("steps")
    at = next(lie.commits(RETRIED))
    lie.alter_entry(at, 0, payload=dump_error(Transient("busy")))
    assert "I23" in lie.numbers()


def test_i23_an_error_of_the_store_as_the_end_of_a_run() -> None:
    lie = Doctored.of("steps")
    failed = Ended(RunStatus.FAILED, b"failed\n" + dump_error(Transient("busy")))
    lie.alter_commit(next(lie.commits(ends)), then=failed)
    assert "I23" in lie.numbers()


def test_i23_a_run_that_an_error_of_the_engine_blocks() -> None:
    lie = Doctored.of("signals")
    at = next(lie.commits(lambda commit, _: isinstance(commit.then, Waiting)))
    lie.alter_commit(at, then=Blocked("engine", "KeyError: 1"))
    assert "I23" in lie.numbers()


@pytest.mark.parametrize("where", ["value", "journal", "outcome", "error"])
def test_i29_a_secret_in_clear_in(where: str) -> None:
    lie = Doctored.of("steps")
    if where == "value":
        lie.alter_commit(next(lie.commits(lambda commit, _: bool(commit.values))), values=(("total", CANARY.encode()),))
    elif where == "journal":
        lie.alter_entry(next(lie.commits(step_settled("0/step/one#1"))), 0, payload=CANARY.encode())
    elif where == "outcome":
        lie.snapshot = replace(lie.snapshot, outcomes={RunId("s"): CANARY.encode()})
    else:
        lie.alter_row("s", error=f"it was {CANARY}")
    assert "I29" in lie.numbers()


# ── liveness ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@step
async def note(n: int) -> int:
    return n


@workflow
async def resting(ctx: Context, what: str) -> None:
    await ctx.step(note, 1)
    if what == "timer":
        await ctx.sleep("30d")
    elif what == "child":
        await ctx.child(resting, "signal")
    await ctx.wait_for_signal("never")


def rested(what: str) -> Doctored:
    """A run that has a good reason to rest, at the end of a quiet period; beside it one that has ended."""

    async def told(sim: Sim) -> None:
        await sim.start(resting, what, id="r")
        ended = await sim.start(resting, "signal", id="ended")
        await sim.advance(seconds=1)
        await ended.signal("never")
        await ended.result()

    trial = carry_out(Setting(told, code_of([resting], (), None, None)), Schedule())
    assert (trial.error, trial.violations) == (None, [])
    assert trial.snapshot is not None
    return Doctored(list(trial.trace.events), trial.snapshot)


@pytest.mark.parametrize("what", ["timer", "signal", "child"])
def test_i16_a_run_with_a_reason_to_rest_is_not_stuck(what: str) -> None:
    assert rested(what).numbers() == set()


@pytest.mark.parametrize(
    ("what", "fields", "found"),
    [
        ("timer", {"due_at": None}, "nothing wakes it then"),
        ("timer", {"due_at": 1.0}, "nobody claims it"),
        ("signal", {"waits": ()}, "waits for nothing"),
        ("signal", {"status": RunStatus.RUNNING}, "will never be due"),
        ("signal", {"status": RunStatus.PENDING}, "will never be due"),
        ("signal", {"owner": "gone"}, "is gone"),
    ],
)
def test_i16_a_run_that_is_stuck(what: str, fields: dict[str, Any], found: str) -> None:
    lie = rested(what)
    lie.alter_row("r", **fields)
    assert any(violation.number == "I16" and found in violation.found for violation in lie.violations())


def test_i16_a_run_whose_worker_does_nothing_for_it() -> None:
    lie = rested("signal")
    alive = next(session for session in lie.snapshot.sessions if session.alive)
    lie.alter_row("r", status=RunStatus.RUNNING, owner=alive.id)
    assert any(v.number == "I16" and "has done nothing" in v.found for v in lie.violations())


def test_i16_a_run_whose_signal_lies_in_its_inbox() -> None:
    lie = rested("signal")
    letter = next(letters[0] for letters in lie.snapshot.messages.values() if letters)
    message = replace(letter.message, run=RunId("r"))
    unread = replace(letter, message=message, consumed=False)
    lie.snapshot = replace(lie.snapshot, messages={**lie.snapshot.messages, RunId("r"): (unread,)})
    assert any(v.number == "I16" and "there is one in its inbox" in v.found for v in lie.violations())


def test_i16_a_run_that_waits_for_a_child_that_has_ended() -> None:
    lie = rested("child")
    child = next(run for run, row in lie.snapshot.runs.items() if row.parent is not None)
    lie.alter_row(child, status=RunStatus.COMPLETED)
    assert any(v.number == "I16" and "which has ended" in v.found for v in lie.violations())


def test_i16_without_a_quiet_period_nothing_is_said_of_liveness() -> None:
    lie = rested("timer")
    lie.alter_row("r", due_at=None)
    assert "I16" in lie.numbers()
    lie.drop(lie.find("quiet"))
    assert lie.numbers() == set()


def test_i18_a_child_that_outlives_its_parent() -> None:
    lie = rested("child")
    lie.alter_row("r", status=RunStatus.COMPLETED)
    assert "I18" in lie.numbers()


@pytest.mark.parametrize("place", [0, 1], ids=["before one of the same poll", "and another is passed over"])
def test_i25_a_run_of_lower_priority_is_claimed(place: int) -> None:
    lie = Doctored.of("crowds")
    index = lie.find("effect poll", lambda event: len(event.data["answer"].claims) > 1)
    answer = lie.events[index].data["answer"]
    claims = list(answer.claims)
    claims[place] = replace(claims[place], run=replace(claims[place].run, priority=place - 1))
    lie.alter(index, answer=replace(answer, claims=tuple(claims)))
    assert lie.numbers() == {"I25"}
