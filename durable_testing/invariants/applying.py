"""Commits in the checker's picture: what an applied one changes, and what the others tell."""

from __future__ import annotations

from durable._model.entries import Settled
from durable.store import (
    Blocked,
    Closed,
    Commit,
    Committed,
    Continued,
    Created,
    Creation,
    Ended,
    NewRun,
    Paused,
    Released,
    Rewound,
    Running,
    RunStatus,
    Verdict,
    Waiting,
)
from durable_testing.invariants import rows
from durable_testing.invariants.history import History, RunSeen
from durable_testing.invariants.seen import (
    CommitSeen,
    EntrySeen,
)
from durable_testing.trace import Event

__all__ = ["applied", "is_orphan", "refused"]


def applied(history: History, run: RunSeen, event: Event, commit: Commit, answer: Committed) -> bool:
    """Carry an applied commit out; False if it was not applied now."""
    if answer.verdict is not Verdict.APPLIED:
        return False
    seen = _seen(run, event, commit, answer)
    run.commits.append(seen)
    run.by_fence.setdefault((commit.epoch, commit.seq), seen)
    then = commit.then
    progress = bool(commit.append) or not isinstance(then, Running | Released)
    if progress:
        run.strikes = 0
    run.seq, run.at = commit.seq + 1, answer.at
    if commit.append:
        seen.entries = rows.append(run, event, answer.at, commit.epoch, commit.append)
    for letter in commit.dead:  # first: a signal that cannot be read is passed over by the next one's entry
        rows.consume(run, seen, letter.id, dead=True)
    for id in commit.consumed:
        rows.consume(run, seen, id)
    if commit.values:
        run.values.update(commit.values)
    for new, made in zip(commit.children, answer.children, strict=False):
        _child(history, run, event, commit, new, made)
    for message in commit.messages:
        rows.deliver(history, event, message, sender=seen)
    if then.__class__ is not Running:
        _then(history, run, seen)
    return True


def refused(run: RunSeen, event: Event, commit: Commit, answer: Committed) -> bool:
    """Note a commit that changed nothing; whether the answer says that the run is somebody else's now."""
    seen = _seen(run, event, commit, answer)
    if answer.verdict is Verdict.ALREADY_APPLIED:
        seen.first = run.by_fence.get((commit.epoch, commit.seq))
        run.repeats.append(seen)
    else:
        run.refusals.append(seen)
    return answer.verdict is Verdict.LEASE_LOST


def _seen(run: RunSeen, event: Event, commit: Commit, answer: Committed) -> CommitSeen:
    position = len(run.generation.entries)
    return CommitSeen(event, commit, answer, run.generation, run.status, run.epoch, run.seq, position, run.owner)


def _child(history: History, run: RunSeen, event: Event, commit: Commit, new: NewRun, made: Created) -> None:
    if made.outcome is Creation.CREATED or new.id not in history.runs:
        rows.born(history, event, new, made, run)
    else:
        rows.noted(history.runs[new.id], event, new, made, run)


def _then(history: History, run: RunSeen, seen: CommitSeen) -> None:
    event, then = seen.event, seen.commit.then
    match then:
        case Waiting():
            _rests(run, seen, RunStatus.WAITING)
        case Released():
            if run.ended:
                run.held.pop(event.actor, None)
                rows.drop_owner(run)
            else:
                run.strikes = max(0, run.strikes - 1)
                _rests(run, seen, RunStatus.WAITING)
        case Paused():
            # A resume that came first has read the message: the pause does not stand.
            stands = not any(consumed.again for consumed in run.consumed if consumed.commit is seen)
            _rests(run, seen, RunStatus.PAUSED if stands else RunStatus.WAITING)
        case Blocked():
            _rests(run, seen, RunStatus.BLOCKED)
        case Ended():
            run.held.pop(event.actor, None)
            rows.end(run, event, then.status, then.outcome, "commit")
        case Continued():
            _rests(run, seen, RunStatus.PENDING)
            rows.next_generation(run)
            run.digest, run.workflow = then.digest, then.workflow
        case Rewound():
            _rewound(history, run, seen, then)
        case Closed():
            run.closings.append((seen, _left_open(run)))
            if run.ended:
                run.held.pop(event.actor, None)
                rows.drop_owner(run)
        case _:
            pass


def _rests(run: RunSeen, seen: CommitSeen, status: RunStatus) -> None:
    run.held.pop(seen.event.actor, None)
    rows.drop_owner(run)
    rows.move(run, seen.event, status, "commit")


def _rewound(history: History, run: RunSeen, seen: CommitSeen, then: Rewound) -> None:
    source = history.runs.get(then.source)
    generation = None if source is None else source.generations.get(then.generation)
    known = [] if generation is None else generation.entries
    for position in then.keep:
        if position < len(known):
            old = known[position]
            entries = run.generation.entries
            entries.append(EntrySeen(len(entries), old.at, old.entry, old.data, seen.event, old.epoch, copied=True))
    for seen_entry in run.generation.entries:
        if isinstance(seen_entry.entry, Settled):
            run.settled.setdefault((run.generation.number, seen_entry.entry.call), seen_entry)
    rows.unconsume(run, then.unread)


def _left_open(run: RunSeen) -> list[RunSeen]:
    """Children whom the run is done with, and whom nobody has told so."""
    return [child for child in run.children if is_orphan(run, child) and not _on_its_way(child)]


def is_orphan(run: RunSeen, child: RunSeen) -> bool:
    """Whether this child lives, and should not for long."""
    parent = child.parent
    if parent is None or parent.run != run.id or parent.on_close == "abandon" or child.ended:
        return False
    return run.ended or parent.generation < run.generation.number


def _on_its_way(child: RunSeen) -> bool:
    """Whether somebody has asked the child to end; one that was to be terminated would have ended at once."""
    assert child.parent is not None
    return child.parent.on_close == "cancel" and any(id.startswith("cancel/") for id in child.inbox)
