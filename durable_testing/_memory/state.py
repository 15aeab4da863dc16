"""The tables of one data set, and the few moves that every operation is made of."""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from typing import final

from durable.store import (
    CLOSING_LANE,
    UNREAD_SIGNALS_MAX,
    Created,
    Creation,
    Message,
    MessageId,
    MessageKind,
    NewRun,
    RecordRow,
    RunId,
    RunStatus,
    Sent,
    SessionId,
    WorkerSession,
)
from durable_testing._memory.hints import Hints
from durable_testing._memory.index import DueIndex
from durable_testing._memory.rows import Run, Session

__all__ = ["State", "back_off"]


def back_off(strikes: int, lonely_after: int) -> float:
    """Seconds before a run is claimable again whose owner was lost."""
    return 0.0 if strikes < lonely_after else min(60.0, 2.0 ** min(strikes - lonely_after, 6))


@final
class State:
    """One data set, shared by every store that was opened on it. Whoever calls holds ``lock``."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.runs: dict[RunId, Run] = {}
        self.by_creation: list[tuple[float, RunId]] = []  # ascending; list reads it from the end
        self.ended: dict[RunId, Run] = {}  # in the order of their ends
        self.children: dict[RunId, dict[RunId, Run]] = {}  # by parent
        self.sessions: dict[SessionId, Session] = {}
        self.records: dict[tuple[str, str], RecordRow] = {}
        self.due = DueIndex()
        self.hints = Hints()
        self.epochs_purged = 0  # the highest epoch of any run that was purged
        self._serial = 0

    # ── rows come and go ─────────────────────────────────────────────────────────────────────────────────────────

    def add(self, new: NewRun, now: float) -> Run:
        self._serial += 1
        run = Run(new, self._serial, now)
        self.runs[run.id] = run
        insort(self.by_creation, (now, run.id))
        if new.parent is not None:
            self.children.setdefault(new.parent.run, {})[run.id] = run
        self.due.put(run, now + new.delay_seconds)
        return run

    def create(self, new: NewRun, now: float) -> Created:
        run = self.runs.get(new.id)
        if run is None:
            return created(Creation.CREATED, self.add(new, now))
        if new.replace is None:
            return created(Creation.EXISTED, run)
        if new.replace != run.replaced_by:
            self.replace(run, new, now)
        return created(Creation.REPLACED, run)

    def replace(self, run: Run, new: NewRun, now: float) -> None:
        self.take_away(run)
        for letter in list(run.unread.values()):
            # Not deleted: its id stays known, so that a repeat of an old signal does not reach the new generation.
            run.consume(letter.message.id, dead="The run was replaced.")
        self.ended.pop(run.id, None)
        run.values.clear()
        run.replaced_by = new.replace
        run.closing = run.closing or run.id in self.children
        run.next_generation()
        run.begin(new)
        if run.parent is not None and new.parent is not None and run.parent.run == new.parent.run:
            run.parent = new.parent
        self.due.put(run, now + new.delay_seconds)

    def child(self, new: NewRun, now: float) -> Created:
        """A child of a commit: one whose id exists is left alone, whatever it asks for."""
        run = self.runs.get(new.id)
        if run is None:
            return created(Creation.CREATED, self.add(new, now))
        return created(Creation.EXISTED, run)

    def remove(self, run: Run) -> None:
        self.due.discard(run)
        del self.runs[run.id]
        self.ended.pop(run.id, None)
        del self.by_creation[bisect_left(self.by_creation, (run.created_at, run.id))]
        if run.parent is not None and run.parent.run in self.children:
            siblings = self.children[run.parent.run]
            siblings.pop(run.id, None)
            if not siblings:
                del self.children[run.parent.run]

    # ── ownership ────────────────────────────────────────────────────────────────────────────────────────────────

    def session(self, session: WorkerSession, now: float) -> Session:
        """The session's row, its lease renewed."""
        row = self.sessions.get(session.id)
        if row is None:
            row = self.sessions[session.id] = Session(session, now)
        else:
            row.beat(session, now)
        return row

    def give_to(self, run: Run, session: Session) -> None:
        run.owner = session.id
        session.held[run.id] = run
        session.lanes[run.lane] = session.lanes.get(run.lane, 0) + 1

    def drop_owner(self, run: Run) -> None:
        """The run has no owner. Call it before the run changes its lane."""
        if run.owner is None:
            return
        session = self.sessions[run.owner]
        run.owner = None
        del session.held[run.id]
        session.lanes[run.lane] -= 1
        if session.lanes[run.lane] == 0:
            del session.lanes[run.lane]

    def take_away(self, run: Run) -> None:
        """No owner, fenced out if there was one, and nowhere due."""
        if run.owner is not None:
            run.raise_epoch()
        self.drop_owner(run)
        self.due.discard(run)

    def release(self, run: Run, now: float, *, strike: bool, lonely_after: int | None) -> None:
        """The owner is gone without a commit: claimable at once, or after a back-off."""
        self.drop_owner(run)
        if run.ended:
            self.due.put(run, now)
            return
        if not strike:
            run.strikes = max(0, run.strikes - 1)
        self.due.put(run, now if lonely_after is None else now + back_off(run.strikes, lonely_after))

    def hold(self, run: Run, status: RunStatus, due_at: float | None) -> None:
        """The run rests: a live status, no owner, due then (or not)."""
        self.drop_owner(run)
        self.due.discard(run)
        run.status = status
        self.due.put(run, due_at)

    # ── inbox ────────────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, message: Message, now: float, *, limited: bool = True) -> Sent:
        run = self.runs.get(message.run)
        if run is None:
            return Sent.NOT_FOUND
        if message.id in run.letters_by_id:
            return Sent.DUPLICATE
        if run.ended:
            return Sent.ENDED
        if limited and message.kind is MessageKind.SIGNAL and run.unread_signals >= UNREAD_SIGNALS_MAX:
            return Sent.INBOX_FULL
        run.receive(message, now)
        if run.status is RunStatus.WAITING and run.owner is None and (run.due_at is None or run.due_at > now):
            self.due.discard(run)
            self.due.put(run, now)
        return Sent.ACCEPTED

    # ── ends ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def end(
        self, run: Run, status: RunStatus, outcome: bytes, error: str | None, ended_at: float, now: float, closing: bool
    ) -> None:
        """The run has ended; while it is closing it stands in the closing lane, due now."""
        self.drop_owner(run)
        self.due.discard(run)
        run.clear_blocked()
        run.status = status
        run.outcome = outcome
        run.error = error
        run.ended_at = ended_at
        run.keep_seconds = None
        run.strikes = 0
        run.closing = run.closing or closing
        run.enter_closing_lane()
        self.ended[run.id] = run
        if run.closing:
            self.due.put(run, now)

    def tell_parent(self, run: Run, now: float) -> None:
        """The store has ended this run itself, so nobody else would tell."""
        parent = run.parent
        if parent is None or not parent.notify:
            return
        assert run.outcome is not None
        id = MessageId(f"result/{run.id}/{run.generation}")
        self.send(Message(parent.run, id, MessageKind.RESULT, parent.call, run.outcome, parent.generation), now)

    def problems(self) -> list[str]:
        """One line for each thing that cannot be."""
        lines = list(self.due.problems(self.runs.values()))
        for run in self.runs.values():
            if run.owner is not None and run.due_at is not None:
                lines.append(f"run {run.id}: owned and due")
            if run.owner is not None and run.id not in self.sessions[run.owner].held:
                lines.append(f"run {run.id}: its owner does not hold it")
            if run.ended != (run.outcome is not None) or run.ended != (run.id in self.ended):
                lines.append(f"run {run.id}: half ended")
            if run.ended and (run.lane != CLOSING_LANE.key or (run.due_at is not None and not run.closing)):
                lines.append(f"run {run.id}: ended, and still in a lane")
        return lines


def created(outcome: Creation, run: Run) -> Created:
    return Created(outcome, run.workflow, run.digest, run.parent, run.generation, run.status)
