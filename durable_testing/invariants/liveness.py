"""I16, I18, I25: what must happen, and does not. Most of it is checked only if the trace has a quiet period."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from durable._model.defaults import DRAIN_SECONDS, LEASE_SECONDS, POLL_SECONDS
from durable.store import InboxMessage, MessageKind, RunRecord, RunStatus, SessionRecord, Wait, WaitKind
from durable_testing.invariants.history import History
from durable_testing.invariants.seen import (
    ClaimSeen,
    PollSeen,
)
from durable_testing.invariants.stored import births_due_at, in_lanes, reads
from durable_testing.invariants.violation import Finding, invariant

QUIET_FACTOR: Final = 5.0
_AGED_SECONDS: Final = 60.0
_WAITS_SHOWN: Final = 20


def _patience(history: History) -> float:
    """Seconds within which whatever can happen has begun to: a lease may have to run out, then a poll must come."""
    leases = [session.lease_seconds for session in history.sessions.values()]
    return max([POLL_SECONDS, *leases] if leases else [LEASE_SECONDS, POLL_SECONDS])


def _has_rested(history: History) -> bool:
    if history.quiet is None:
        return False
    return history.end_at - history.quiet.at >= QUIET_FACTOR * _patience(history) - 1.0


@invariant("I16", "When faults have stopped, every run that has not ended moves on, or has a reason to rest.")
def runs_do_not_get_stuck(history: History) -> Iterator[Finding]:
    if not _has_rested(history):
        return
    living = [session for session in history.snapshot.sessions if session.alive]
    for row in history.snapshot.runs.values():
        if row.ended and not row.closing:
            continue
        found = _stuck(history, row, living)
        if found is not None:
            yield Finding(row.id, found, (history.quiet,))


def _stuck(history: History, row: RunRecord, living: list[SessionRecord]) -> str | None:
    """Why nothing will become of this run; None if there is a reason to rest."""
    if row.owner is not None:
        return _stuck_in_worker(history, row)
    if row.status is RunStatus.BLOCKED:
        return None
    if row.status is RunStatus.PAUSED:
        return "it is paused, and its cancel waits" if _unread(history, row, MessageKind.CANCEL) else None
    if row.due_at is not None:
        return _overdue(history, row, living)
    if row.status is not RunStatus.WAITING:
        return f"it is {row.status}, and will never be due"
    return _waits_in_vain(history, row)


def _stuck_in_worker(history: History, row: RunRecord) -> str | None:
    """A run that is held: by somebody alive, with an attempt under way or something done lately."""
    session = history.sessions.get(str(row.owner))
    if session is None or session.actor.down:
        lasts = any(one.id == row.owner and one.alive for one in history.snapshot.sessions)
        return None if lasts else f"{row.owner} holds it, and is gone"  # the store's clock may have been set back
    run = history.runs[row.id]
    if session.actor.name in history.pending.values():
        return None
    if any(attempt.end is None and attempt.actor is session.actor for attempt in run.attempts):
        return None
    last = max([run.claims[-1].event.at, *(seen.event.at for seen in run.commits[-1:])])
    if run.attempts:
        attempt = run.attempts[-1]
        last = max(last, (attempt.event if attempt.end is None else attempt.end).at)
    idle = history.end_at - last
    if idle > _patience(history):
        return f"{session.actor.name} holds it, and has done nothing for it in {idle:g} s"
    return None


def _overdue(history: History, row: RunRecord, living: list[SessionRecord]) -> str | None:
    assert row.due_at is not None
    late = history.snapshot.now - row.due_at
    if late <= _patience(history) or not (row.ended or _has_code(row, living)):
        return None
    for session in living:
        seen = history.sessions.get(session.id)
        if seen is None or seen.want is None or seen.actor.name in history.pending.values():
            continue
        drains = history.end_at - seen.polled_at > _patience(history) and late <= DRAIN_SECONDS + _patience(history)
        if seen.want.limit > 0 and not drains and in_lanes(row, seen.want):
            return f"it has been due for {late:g} s, {session.name} has its code and room, and nobody claims it"
    return None


def _has_code(row: RunRecord, living: list[SessionRecord]) -> bool:
    return any(
        row.queue in session.queues
        and any(name == row.workflow and row.version in (None, version) for name, version in session.registered)
        for session in living
    )


def _waits_in_vain(history: History, row: RunRecord) -> str | None:
    if not row.waits:
        return "it waits for nothing that could happen"
    if _unread(history, row, MessageKind.CANCEL):
        return "its cancel waits in the inbox, and nothing wakes it"
    for wait in row.waits:
        if wait.until is not None:
            return f"it waits for {wait.name} until {wait.until}, and nothing wakes it then"
        found = _in_vain(history, row, wait)
        if found is not None:
            return found
    return None


def _in_vain(history: History, row: RunRecord, wait: Wait) -> str | None:
    """Why this wait should be over."""
    if wait.kind is WaitKind.SIGNAL:
        if any(letter.message.name == wait.name for letter in _unread(history, row, MessageKind.SIGNAL)):
            return f"it waits for signal {wait.name!r}, and there is one in its inbox"
    elif wait.kind is WaitKind.CHILD:
        if any(letter.message.name == wait.call for letter in _unread(history, row, MessageKind.RESULT)):
            return f"it waits for child {wait.name}, and the result lies in its inbox"
        child = next((one for one in history.snapshot.runs.values() if one.id == wait.name), None)
        if child is None or child.ended:
            return f"it waits for child {wait.name}, which {'is not there' if child is None else 'has ended'}"
        if child.id == row.id:
            return "it waits for itself"
    elif wait.kind is WaitKind.STEP:
        return f"it waits for step {wait.name!r}, and nobody carries it out"
    return None


def _unread(history: History, row: RunRecord, kind: MessageKind) -> list[InboxMessage]:
    letters = history.snapshot.messages.get(row.id, ())
    return [letter for letter in letters if not letter.consumed and letter.message.kind is kind]


@invariant("I18", "When faults have stopped, no child outlives a parent that has asked it to end, but to clean up.")
def orphans_come_to_an_end(history: History) -> Iterator[Finding]:
    if not _has_rested(history):
        return
    rows = history.snapshot.runs
    for row in rows.values():
        parent = None if row.parent is None else rows.get(row.parent.run)
        if parent is None or row.parent is None or row.ended or row.parent.on_close == "abandon":
            continue
        if (
            parent.ended
            and not parent.closing
            and not any(
                letter.message.kind is MessageKind.CANCEL for letter in history.snapshot.messages.get(row.id, ())
            )
        ):
            yield Finding(row.id, f"its parent {parent.id} has ended, and nobody has asked it to end", (history.quiet,))


@invariant("I25", "Among runs that were never claimed, higher priority goes first, then what has been due for longer.")
def first_claims_are_in_order(history: History) -> Iterator[Finding]:
    if len(history.runs) < 2:
        return
    for poll in history.polls:
        fresh = [(seen, key) for seen in poll.new if (key := _claim_key(history, seen)) is not None]
        for (one, key), (other, later) in zip(fresh, fresh[1:], strict=False):
            if later < key:
                found = f"it was claimed before {other.claim.run.id}, which comes first"
                yield Finding(one.claim.run.id, found, (poll.event,))
        if fresh and len(poll.new) == poll.want.limit:
            yield from _passed_over(history, poll, *fresh[-1])


def _claim_key(history: History, seen: ClaimSeen) -> tuple[float, float] | None:
    """What a first claim is ordered by; None for others, and for those that have been due for so long that they age."""
    if seen.epoch != 0 or seen.claim.run.generation != 1:
        return None
    due_at = births_due_at(history.runs[seen.claim.run.id])
    if due_at is None or due_at + _AGED_SECONDS <= seen.event.data["now"]:
        return None
    return (-seen.claim.run.priority, due_at)


def _passed_over(history: History, poll: PollSeen, seen: ClaimSeen, key: tuple[float, float]) -> Iterator[Finding]:
    """Runs that the poll could have claimed in place of the last that it did."""
    now = poll.event.data["now"]
    for run in history.runs.values():
        first = run.claims[0].event.seq if run.claims else poll.event.seq + 1
        due_at = births_due_at(run)
        if first <= poll.event.seq or due_at is None or due_at > now or run.births[0].event.seq > poll.event.seq:
            continue
        new = run.births[0].new
        if not reads(poll.want, new.queue, new.workflow, new.version):
            continue
        if (-new.priority, due_at) < key:
            found = f"it was passed over: {seen.claim.run.id} was claimed, which comes later"
            yield Finding(run.id, found, (poll.event,))
