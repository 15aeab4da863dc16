"""The one way in which a worker writes: fence, then apply whole."""

from __future__ import annotations

from typing import Final, assert_never

from durable.store import (
    Blocked,
    Closed,
    Commit,
    Committed,
    Continued,
    Created,
    Creation,
    Ended,
    Paused,
    Released,
    Rewound,
    Running,
    RunStatus,
    Verdict,
    Waiting,
)
from durable_testing._memory.rows import Run, lane_key
from durable_testing._memory.state import State, created

__all__ = ["commit", "hints"]

_APPLIED: Final = Verdict.APPLIED  # to look up a member of an enumeration is dear


def commit(state: State, asked: Commit, now: float) -> Committed:
    """Check the fence, in the order that ``Store.commit`` gives, and apply.

    A repeat is recognised before the owner is looked at: the commit that gave the run up has no owner either, and its
    lost answer must come again as it was.
    """
    run = state.runs.get(asked.run)
    if run is None or run.epoch != asked.epoch:
        return Committed(Verdict.LEASE_LOST, 0.0, now)
    stamps = run.stamps
    if asked.seq < len(stamps):
        children = tuple([repeated_child(state, asked, n) for n in range(len(asked.children))])
        return Committed(Verdict.ALREADY_APPLIED, stamps[asked.seq], now, children)
    if run.owner is None or asked.seq != len(stamps) or asked.position != len(run.journal):
        return Committed(Verdict.LEASE_LOST, 0.0, now)
    if not may(state, run, asked):
        return Committed(Verdict.LEASE_LOST, 0.0, now)
    if asked.not_before is not None and now < asked.not_before:
        return Committed(Verdict.NOT_DUE, 0.0, now)
    return apply(state, run, asked, now)


def hints(asked: Commit) -> bool:
    """Whether somebody may have something to do or to read after this commit."""
    if asked.then.__class__ is not Running:
        return True
    return bool(asked.messages) or bool(asked.children) or bool(asked.emits) or bool(asked.values)


def may(state: State, run: Run, asked: Commit) -> bool:
    """Whether the run can make this move at all: nothing is appended after an end (I1), no end is left so (I9)."""
    if run.ended and (asked.append or not isinstance(asked.then, Running | Released | Closed)):
        return False
    if not isinstance(asked.then, Rewound):
        return True
    source = state.runs.get(asked.then.source)
    journal = [] if source is None else source.journals.get(asked.then.generation, [])
    fits = all(position < len(journal) for position in asked.then.keep)
    return run.rewind is not None and not run.journal and not asked.append and fits


def repeated_child(state: State, asked: Commit, n: int) -> Created:
    new = asked.children[n]
    run = state.runs.get(new.id)
    if run is None:  # purged since
        return Created(Creation.EXISTED, new.workflow, new.digest, new.parent, 1, RunStatus.PENDING)
    return created(Creation.EXISTED, run)


def apply(state: State, run: Run, asked: Commit, now: float) -> Committed:
    at = now if now > run.at else run.at
    run.at = at
    then = asked.then
    if asked.append:
        run.strikes = 0
        journal = run.journal
        for data in asked.append:
            journal.append((at, data))
    elif then.__class__ is not Running and then.__class__ is not Released:
        run.strikes = 0
    if asked.flushed is not None:
        run.flushed = asked.flushed
    if asked.waits is not None:
        run.waits = asked.waits
    if then.__class__ is Running and asked.alone:
        run.stamps.append(at)
        return Committed(_APPLIED, at, now)
    unread = [run.consume(id) for id in asked.consumed]
    for letter in asked.dead:
        run.consume(letter.id, letter.reason)
    if asked.values:
        run.values.update(asked.values)
    for emit in asked.emits:
        run.streams.setdefault(emit.stream, []).append(emit.item)
    for part in asked.parts:
        run.parts.setdefault(part.hash, part.data)
    # Children before messages: a commit may create a run and signal it. Both before the move: a run that signals
    # itself and then waits must find the message.
    children = tuple([state.child(new, now) for new in asked.children])
    for message in asked.messages:
        state.send(message, now, limited=False)
    if then.__class__ is not Running:
        move(state, run, asked, now, stands=all(unread))
    run.stamps.append(run.at)
    return Committed(_APPLIED, run.at, now, children)


def move(state: State, run: Run, asked: Commit, now: float, *, stands: bool) -> None:
    """What ``then`` says; a pause that a resume has taken back (its message was read already) does not stand."""
    match asked.then:
        case Running():
            pass
        case Waiting(wake_at=wake_at, seen=seen):
            state.hold(run, RunStatus.WAITING, now if run.has_unread_after(seen) else wake_at)
        case Released():
            release(state, run, asked, now)
        case Paused():
            if stands:
                state.hold(run, RunStatus.PAUSED, None)
            else:
                state.hold(run, RunStatus.WAITING, now)
        case Blocked(kind=kind, reason=reason, call=call):
            state.hold(run, RunStatus.BLOCKED, None)
            run.blocked, run.blocked_kind, run.blocked_call = reason, kind, call
        case Ended() as end:
            state.end(run, end.status, end.outcome, end.error, run.at, now, end.closing)
            run.keep_seconds = end.keep_seconds
        case Continued() as next:
            continue_as(state, run, next, now)
        case Rewound() as rewound:
            rewind(state, run, rewound)
        case Closed() as closed:
            run.closing = False
            if run.ended:
                state.drop_owner(run)
                if run.keep_seconds is None:
                    run.keep_seconds = closed.keep_seconds
        case _ as never:
            assert_never(never)


def release(state: State, run: Run, asked: Commit, now: float) -> None:
    """Drained. Without an entry there was no progress either, so older strikes stand; only this claim's goes."""
    if not run.ended:
        run.strikes = max(0, run.strikes - 1)
        state.hold(run, RunStatus.WAITING, now)
        return
    state.drop_owner(run)
    state.due.put(run, now)


def continue_as(state: State, run: Run, next: Continued, now: float) -> None:
    state.drop_owner(run)
    run.next_generation()
    run.status = RunStatus.PENDING
    run.workflow = next.workflow
    run.version = next.version
    run.lane = lane_key(run.queue, next.workflow, next.version)
    run.input = next.input
    run.digest = next.digest
    run.seed = next.seed
    run.tries = next.tries
    run.started_at = None
    run.rewind = None
    state.due.put(run, now + next.delay_seconds)


def rewind(state: State, run: Run, order: Rewound) -> None:
    source = state.runs.get(order.source)
    if source is not None and order.keep:
        kept = source.journals[order.generation]
        run.journal.extend([kept[position] for position in order.keep])
    if source is not None and source is not run:
        # The store cannot know which parts the copied entries name, and the source may be purged first.
        for hash, data in source.parts.items():
            run.parts.setdefault(hash, data)
    run.unconsume(order.unread)
    run.flushed = order.flushed
    run.rewind = None
    assert run.started_at is not None
    run.at = run.journal[-1][0] if run.journal else run.started_at
