"""I20, I22, I24: what is left in the store, and what is taken from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from durable.store import CLOSING_LANE, RunRecord, RunStatus, Want
from durable_testing.invariants.history import History, RunSeen
from durable_testing.invariants.seen import (
    AttemptSeen,
)
from durable_testing.invariants.violation import Finding, invariant


@invariant("I20", "Runs whose start was acknowledged are in the store, unless they were purged after their end.")
def acknowledged_runs_are_there(history: History) -> Iterator[Finding]:
    missing = [run for run in history.runs.values() if run.births and run.id not in history.snapshot.runs]
    room = history.purged - len(history.gone)
    for run in missing:
        acked = [birth for birth in run.births if birth.event.data["op"] in history.acked]
        if run.ended and room > 0:
            room -= 1
        elif acked:
            yield Finding(run.id, "its start was acknowledged, and the store does not hold it", (acked[0].event,))


@invariant("I20", "Messages whose sending was acknowledged are in their inboxes.")
def acknowledged_messages_are_there(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        if run.id not in history.snapshot.runs or not run.inbox:
            continue
        kept = {letter.message.id for letter in history.snapshot.messages.get(run.id, ())}
        for id, seen in run.inbox.items():
            if id not in kept and seen.event.data["op"] in history.acked:
                yield Finding(run.id, f"message {id!r} was acknowledged, and is not in its inbox", (seen.event,))


@invariant("I20", "What a run has published is there, as it was published last.")
def published_values_are_there(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        if run.id not in history.snapshot.runs:
            continue
        kept = history.snapshot.values.get(run.id, {})
        for key in sorted({*kept, *run.values}):
            if kept.get(key) != run.values.get(key):
                event = next((seen.event for seen in reversed(run.commits) if key in dict(seen.commit.values)), None)
                found = f"its value {key!r} is {kept.get(key)!r}, and {run.values.get(key)!r} was committed"
                yield Finding(run.id, found, (event,))


@invariant("I22", "Nobody does the same thing again and again while nothing happens and no time passes.")
def nothing_spins(history: History) -> Iterator[Finding]:
    for burst in history.bursts:
        yield Finding("", f"{burst.what}: {burst.count} times within a tenth of a second", (burst.event,))


@invariant("I22", "An attempt does not outlive its run in a living worker.")
def attempts_end_with_their_runs(history: History) -> Iterator[Finding]:
    if history.quiet is None:
        return
    for attempt in history.attempts:
        run = history.runs[attempt.run]
        generation = run.generations.get(attempt.generation)
        ended = None if generation is None else generation.ended_by
        if attempt.end is not None or attempt.actor.down or ended is None:
            continue
        if history.end_at - max(ended.at, history.quiet.at) > 1.0:
            found = f"{attempt.call} is still under way in {attempt.actor.name}, and the run has ended"
            yield Finding(attempt.run, found, (attempt.event, ended))


@invariant("I24", "A run that rests has no owner, and takes up no room in any worker.")
def resting_runs_have_no_owner(history: History) -> Iterator[Finding]:
    held: Counter[str] = Counter()
    for row in history.snapshot.runs.values():
        if row.owner is None:
            continue
        held[row.owner] += 1
        if row.status is not RunStatus.RUNNING and not (row.ended and row.closing):
            yield Finding(row.id, f"it is {row.status}, and session {row.owner} holds it")
    for session in history.snapshot.sessions:
        if session.held != held[session.id]:
            found = f"{session.name} is said to hold {session.held} runs, and {held[session.id]} name it as their owner"
            yield Finding("", found)


@invariant("I24", "A poll hands out no more than was asked for, from the lanes asked for, of lonely runs one at most.")
def polls_hand_out_what_was_asked_for(history: History) -> Iterator[Finding]:
    for poll in history.polls:
        if not poll.new:
            continue
        if len(poll.new) > poll.want.limit:
            found = f"{len(poll.new)} runs were claimed, and {poll.want.limit} asked for"
            yield Finding("", found, (poll.event,))
        for seen in poll.new:
            if not in_lanes(seen.claim.run, poll.want):
                yield Finding(seen.claim.run.id, "it was claimed from a lane that was not asked for", (poll.event,))
        if sum(seen.claim.lonely for seen in poll.new) > 1:
            yield Finding("", "two lonely runs were claimed at once", (poll.event,))


def in_lanes(row: RunRecord, want: Want) -> bool:
    """Whether this run lies in one of the lanes that a poll reads."""
    if row.ended:
        return CLOSING_LANE in want.lanes
    return reads(want, row.queue, row.workflow, row.version)


def reads(want: Want, queue: str, workflow: str, version: str | None) -> bool:
    """Whether a poll reads runs of this queue, workflow and version."""
    return any(
        (lane.queue, lane.workflow) == (queue, workflow) and (version is None or version in (lane.version, lane.pin))
        for lane in want.lanes
    )


@invariant("I24", "No worker holds more runs of a workflow than that workflow's concurrency allows.")
def concurrency_is_kept(history: History) -> Iterator[Finding]:
    for poll in history.polls:
        if not poll.holding:
            continue
        held = Counter(history.runs[id].workflow for id in poll.holding)
        for workflow, limit in poll.session.actor.limits.items():
            if held[workflow] > limit:
                found = f"{poll.session.actor.name} holds {held[workflow]} runs of {workflow}, and its limit is {limit}"
                yield Finding("", found, (poll.event,))


@invariant("I24", "A run that workers have died of is tried alone: nothing else runs beside its steps.")
def lonely_runs_are_alone(history: History) -> Iterator[Finding]:
    for lonely in history.attempts:
        if lonely.claim is None or not lonely.claim.claim.lonely:
            continue
        for other in history.attempts:
            if other.actor is lonely.actor and other.run != lonely.run and _overlap(lonely, other):
                found = f"{lonely.call} is tried alone, and {other.call} of run {other.run} runs beside it"
                yield Finding(lonely.run, found, (lonely.event, other.event))


def _overlap(one: AttemptSeen, other: AttemptSeen) -> bool:
    return not _before(one, other) and not _before(other, one)


def _before(one: AttemptSeen, other: AttemptSeen) -> bool:
    return one.end is not None and one.end.seq < other.event.seq


def births_due_at(run: RunSeen) -> float | None:
    """Store time from which a run that was never claimed could be; None if something else has moved it."""
    if len(run.births) != 1 or run.controls:
        return None
    birth = run.births[0]
    now: float = birth.event.data["now"]
    return now + birth.new.delay_seconds
