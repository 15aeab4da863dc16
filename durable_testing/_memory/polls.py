"""What workers ask for: poll, renew, leave."""

from __future__ import annotations

from collections.abc import Mapping

from durable.store import (
    PAGE_SIZE_MAX,
    Claim,
    Held,
    InboxMessage,
    Poll,
    RunId,
    RunStatus,
    SessionId,
    Want,
    WorkerSession,
)
from durable_testing._memory.rows import Run, Session
from durable_testing._memory.state import State

__all__ = ["leave", "poll", "renew"]

FORGET_SECONDS = 2 * 86_400.0  # dead sessions are remembered for a day at least; this is twice that


def poll(state: State, worker: WorkerSession, want: Want, now: float) -> Poll:
    """See ``Store.poll``; the numbers are its own."""
    session = state.session(worker, now)  # (1)
    reap(state, want.lonely_after, now)  # (2)
    held = {one.run: one for one in want.held}
    repeated = session.last_poll == want.poll_id
    reconcile(state, session, held, want, repeated, now)  # (3)
    if not repeated:
        session.last_poll = want.poll_id
        session.last_claims = claim(state, session, want, now)  # (4)
    owned = [one for one in want.held if owns(state, session, one.run, one.epoch)]
    session.lost_runs = session.lost_runs and len(owned) < len(want.held)
    return Poll(
        now=now,
        claims=tuple(
            answer(state.runs[run], lonely)
            for run, epoch, lonely in session.last_claims
            if owns(state, session, run, epoch)
        ),
        messages=tuple(news(state, owned)),
        lost=tuple(one.run for one in want.held if not owns(state, session, one.run, one.epoch)),
        next_due_at=next_due_at(state, session, want),
    )


def reap(state: State, lonely_after: int, now: float) -> None:
    """Sessions whose lease has run out lose what they hold; those long dead are forgotten."""
    for session in list(state.sessions.values()):
        if session.expires_at > now:
            continue
        if session.held:
            session.lost_runs = True
            for run in list(session.held.values()):
                state.release(run, now, strike=True, lonely_after=lonely_after)
            state.hints.give()
        elif session.expires_at + FORGET_SECONDS < now:
            del state.sessions[session.id]


def reconcile(
    state: State, session: Session, held: Mapping[RunId, Held], want: Want, repeated: bool, now: float
) -> None:
    """Runs that the session owns without knowing it are released: the answer that said so was lost."""
    claimed = {run: epoch for run, epoch, _ in session.last_claims} if repeated else {}
    for run in list(session.held.values()):
        named = held.get(run.id)
        if (named is None or named.epoch != run.epoch) and claimed.get(run.id) != run.epoch:
            state.release(run, now, strike=False, lonely_after=want.lonely_after)
            state.hints.give()


def claim(state: State, session: Session, want: Want, now: float) -> list[tuple[RunId, int, bool]]:
    """Take due runs, in order, until there are enough."""
    claims: list[tuple[RunId, int, bool]] = []
    later: list[tuple[Run, float]] = []
    pins = {lane.key: lane.pin for lane in want.lanes}
    due = state.due.due(pins, now)
    lonely_taken = False
    while len(claims) < want.limit and (run := next(due, None)) is not None:
        due_at = run.due_at
        assert due_at is not None
        state.due.discard(run)
        lonely = not run.ended and run.strikes >= want.lonely_after
        if lonely and run.strikes >= want.lonely_after + want.crash_budget:
            block(run)
            state.hints.give()
        elif lonely and lonely_taken:
            later.append((run, due_at))
        else:
            lonely_taken = lonely_taken or lonely
            take(state, session, run, pins[run.lane], now)
            claims.append((run.id, run.epoch, lonely))
    for run, due_at in later:
        state.due.put(run, due_at)
    return claims


def take(state: State, session: Session, run: Run, pin: str | None, now: float) -> None:
    run.epoch = max(run.epoch, state.epochs_purged)  # an earlier run of this id may have a worker that lives on
    run.raise_epoch()
    if not run.ended:
        run.pin(pin)
        run.status = RunStatus.RUNNING
        run.strikes += 1
        if run.started_at is None:
            run.started_at = run.at = max(now, run.at)
    state.give_to(run, session)


def block(run: Run) -> None:
    """The crash budget is spent. The strikes stay, for people to see; resume forgets them."""
    run.status = RunStatus.BLOCKED
    run.blocked_kind = "crash_budget"
    run.blocked = f"{run.strikes} workers claimed this run and none of them made progress."
    run.blocked_call = None


def owns(state: State, session: Session, id: RunId, epoch: int) -> bool:
    run = session.held.get(id)
    return run is not None and run.epoch == epoch


def answer(run: Run, lonely: bool) -> Claim:
    return Claim(run.record(), run.input, tuple(run.unread_after(0, PAGE_SIZE_MAX)), lonely)


def news(state: State, held: list[Held]) -> list[InboxMessage]:
    return [message for one in held for message in state.runs[one.run].unread_after(one.seen, PAGE_SIZE_MAX)]


def next_due_at(state: State, session: Session, want: Want) -> float | None:
    """The earliest due time in the lanes, or end of a lease that another session has on a run of theirs."""
    lanes = {lane.key for lane in want.lanes}
    instants = [
        other.expires_at
        for other in state.sessions.values()
        if other is not session and other.lanes and not lanes.isdisjoint(other.lanes)
    ]
    due_at = state.due.next_due_at(lanes)
    if due_at is not None:
        instants.append(due_at)
    return min(instants, default=None)


def renew(state: State, worker: WorkerSession, now: float) -> bool:
    """See ``Store.renew``; the bad news stays until a poll shows that it was heard: an answer may be late, or lost."""
    return not state.session(worker, now).lost_runs


def leave(state: State, id: SessionId, now: float) -> None:
    session = state.sessions.get(id)
    if session is None:
        return
    session.expires_at = min(session.expires_at, now)
    for run in list(session.held.values()):
        state.release(run, now, strike=False, lonely_after=None)
    state.hints.give()
