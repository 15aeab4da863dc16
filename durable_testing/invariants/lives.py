"""I9, I10, I17, I18, I19: how runs come to be, how they move, and how they end."""

from __future__ import annotations

from collections.abc import Iterator

from durable._core.state import DEADLINE
from durable._model.entries import AttemptBegun, CallKind, CancelAsked, Settled
from durable.store import (
    ENDED,
    TRANSITIONS,
    Continued,
    Created,
    Creation,
    Ended,
    MessageKind,
    Parent,
    RunStatus,
    VerbOutcome,
)
from durable_testing.invariants.history import History, RunSeen
from durable_testing.invariants.seen import (
    CommitSeen,
    EntrySeen,
    Generation,
)
from durable_testing.invariants.violation import Finding, invariant


@invariant("I9", "A run's status moves only as the table of moves allows; an end is left for a new generation alone.")
def moves_are_in_the_table(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for move in run.moves:
            if move.after not in TRANSITIONS[move.before] and move.why != "replace":
                yield Finding(run.id, f"it went from {move.before} to {move.after} ({move.why})", (move.event,))


@invariant("I9", "A claim hands a run out as the last write left it.")
def claims_hand_out_what_is_there(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for seen in run.claims:
            row = seen.claim.run
            status = seen.status if seen.status in ENDED else RunStatus.RUNNING
            told = (row.status, row.generation, row.position)
            expected = (status, seen.generation, seen.position)
            if told != expected:
                found = "it was claimed as {} in generation {} at position {}".format(*told)
                yield Finding(run.id, found + ", and was {} in {} at {}".format(*expected), (seen.event,))


@invariant("I9", "A verb answers with the status that the run has after it, the second time as the first.")
def verbs_tell_the_status(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for seen in run.controls:
            answer = seen.answer
            if seen.repeated or answer.outcome is VerbOutcome.NOT_ALLOWED or answer.status is seen.after:
                continue
            if answer.status is RunStatus.BLOCKED:
                continue  # a poll that finds the crash budget spent blocks a run without saying so
            verb = type(seen.control.verb).__name__.lower()
            found = f"{verb} answered {answer.outcome}, {answer.status}, and it is {seen.after}"
            yield Finding(run.id, found, (seen.event,))


@invariant("I9", "At the end the store holds each run with the status, generation and outcome of its last write.")
def rows_are_as_the_last_write_left_them(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        row = history.snapshot.runs.get(run.id)
        if row is None:
            continue
        last = run.moves[-1].event if run.moves else None
        if row.generation != run.generation.number:
            found = f"it stands in generation {row.generation}, and its last write left it in {run.generation.number}"
            yield Finding(run.id, found, (last,))
        elif row.status is not run.status and row.blocked_kind != "crash_budget":
            yield Finding(run.id, f"it is {row.status}, and its last write left it {run.status}", (last,))
        elif run.ended and history.snapshot.outcomes.get(run.id) != run.generation.outcome:
            yield Finding(run.id, "its outcome is not the one that was committed", (run.generation.ended_by,))


@invariant("I10", "A run that has received its cancel ends cancelled, and does not go on as another generation.")
def cancelled_runs_end_cancelled(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for seen in run.commits:
            then = seen.commit.then
            if not isinstance(then, Ended | Continued):
                continue
            cause = _cancel_cause(seen.generation)
            if cause is None or not isinstance(cause.entry, CancelAsked) or cause.entry.cause != "cancel":
                continue
            if isinstance(then, Continued) or then.status is not RunStatus.CANCELLED:
                how = "went on as another generation" if isinstance(then, Continued) else f"ended {then.status}"
                yield Finding(
                    run.id, f"it was cancelled at position {cause.position}, and {how}", (cause.event, seen.event)
                )


def _cancel_cause(generation: Generation) -> EntrySeen | None:
    """What has made the code end itself: the first cancel, or its own time limit."""
    for seen in generation.entries:
        if isinstance(seen.entry, CancelAsked) or (isinstance(seen.entry, Settled) and seen.entry.call == DEADLINE):
            return seen
    return None


@invariant("I10", "A second cancel changes nothing: a generation receives one.")
def cancels_are_received_once(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for generation in run.generations.values():
            cancels = [seen for seen in generation.entries if _is_cancel(seen)]
            if len(cancels) > 1:
                yield Finding(run.id, "it was cancelled twice", (cancels[0].event, cancels[1].event))


def _is_cancel(seen: EntrySeen) -> bool:
    return isinstance(seen.entry, CancelAsked) and seen.entry.cause == "cancel"


@invariant("I10", "A cancel is not read without being received, unless the run is ending already.")
def cancels_are_not_swallowed(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for seen in run.consumed:
            message = seen.message
            if message is None or message.message.kind is not MessageKind.CANCEL:
                continue
            number = seen.commit.generation.number
            if seen.id == f"cancel/{number}" and _cancel_cause(seen.commit.generation) is None:
                yield Finding(
                    run.id, f"{seen.id} was read, and nothing was made of it", (message.event, seen.commit.event)
                )


@invariant("I17", "Every run was started, forked, or is the child of a run that asked for it in that generation.")
def runs_have_an_origin(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        if not run.births:
            event = run.claims[0].event if run.claims else run.commits[0].event if run.commits else None
            yield Finding(run.id, "nobody has created it", (event,))
        for birth in run.births:
            creator, parent = birth.creator, birth.new.parent
            if creator is None:
                continue
            if parent is None or (parent.run, parent.generation) != (creator, birth.creator_generation):
                found = f"run {creator} has created it in generation {birth.creator_generation}"
                yield Finding(run.id, f"{found} as the child of another: {parent}", (birth.event,))
    for id in history.snapshot.runs:
        if id not in history.runs:
            yield Finding(id, "the store holds it, and nobody has created it")


@invariant("I17", "A step runs only in a worker that works on its run, in its generation.")
def steps_run_under_a_claim(history: History) -> Iterator[Finding]:
    for attempt in history.attempts:
        claim = attempt.claim
        if claim is None:
            found = f"{attempt.call} begins in {attempt.actor.name}, which does not work on the run"
            yield Finding(attempt.run, found, (attempt.event,))
        elif claim.claim.run.generation != attempt.generation:
            found = f"{attempt.call} of generation {attempt.generation} begins under a claim of generation"
            yield Finding(attempt.run, f"{found} {claim.claim.run.generation}", (claim.event, attempt.event))


@invariant("I17", "A step has a result only if it ran.")
def results_come_from_steps(history: History) -> Iterator[Finding]:
    if not history.ledger:
        return
    for run in history.runs.values():
        ran = {(attempt.generation, attempt.call) for attempt in run.attempts}
        for number, generation in run.generations.items():
            for seen in generation.entries:
                entry = seen.entry
                if isinstance(entry, AttemptBegun):
                    ran.add((number, entry.call))  # a check, or a person, may know its result
                elif (
                    isinstance(entry, Settled)
                    and _is_result(entry, seen)
                    and (generation.number, entry.call) not in ran
                ):
                    yield Finding(run.id, f"{entry.call} has a result, and never ran", (seen.event,))


def _is_result(entry: Settled, seen: EntrySeen) -> bool:
    """A step's result that its worker has committed, in this very journal."""
    return entry.kind is CallKind.STEP and entry.ok and not seen.copied and seen.epoch > 0


@invariant("I18", "When a run's children are said to be closed, each was asked to end as its policy says.")
def children_are_closed(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for seen, left in run.closings:
            for child in left:
                policy = "" if child.parent is None else child.parent.on_close
                found = f"its child {child.id} ({policy}) is {child.status}, and nobody has asked it to end"
                yield Finding(run.id, found, (seen.event,))


@invariant("I18", "What a run was to start on its completion is started when its children are closed.")
def completions_are_started(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        if not run.closings:
            continue
        claims = {claim.claim.run.epoch: claim.claim.run for claim in run.claims}
        for seen, _ in run.closings:
            claimed = claims.get(seen.commit.epoch)
            if claimed is None or not claimed.ended or claimed.on_complete is None:
                continue
            if not any(_is_follower(run, seen, new.parent) for new in seen.commit.children):
                yield Finding(run.id, "its on_complete was not started", (seen.event,))


def _is_follower(run: RunSeen, seen: CommitSeen, parent: Parent | None) -> bool:
    call = f"on_complete/{seen.generation.number}"
    return parent is not None and (parent.run, parent.call) == (run.id, call)


@invariant("I19", "An id is one run: it is created once, and every start under it is told what is there.")
def one_run_for_each_id(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        created = [birth for birth in run.births if birth.made.outcome is Creation.CREATED]
        if len(created) > 1:
            yield Finding(run.id, "it was created twice", (created[0].event, created[1].event))
        for birth in run.births:
            made: Created = birth.made
            if (made.digest, made.generation) != (birth.digest, birth.generation):
                found = f"a start was told digest {made.digest}, generation {made.generation}"
                expected = f"and the run has {birth.digest}, {birth.generation}"
                yield Finding(run.id, f"{found}, {expected}", (birth.event,))
