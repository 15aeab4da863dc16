"""The one pass over a trace: every event is put where the invariants look for it.

Each operation moves the checker's picture of a row (``rows``) exactly as the protocol says that a store would, and
notes how the row stood before. What the store answers is believed: whether it may answer so is for the invariants.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from durable.store import (
    Claim,
    Creation,
    Poll,
    RunStatus,
    Want,
)
from durable_testing.invariants import rows
from durable_testing.invariants.applying import applied, refused
from durable_testing.invariants.history import History, RunSeen
from durable_testing.invariants.operators import controlled
from durable_testing.invariants.seen import (
    ActorSeen,
    AttemptSeen,
    BurstSeen,
    ClaimSeen,
    PollSeen,
    ReadSeen,
    SessionSeen,
)
from durable_testing.snapshot import Snapshot
from durable_testing.trace import Event, Trace

__all__ = ["read"]

BURST_SECONDS: Final = 0.1
_WRITES: Final = frozenset({"create", "commit", "send", "control", "leave"})


def read(trace: Trace, snapshot: Snapshot) -> History:
    """Everything that happened, sorted by run."""
    reader = Reader(snapshot)
    for event in trace.events:
        take = reader.takers.get(event.kind)
        if take is not None:
            take(event)
    if trace.events:
        reader.history.end_at = trace.events[-1].at
    return reader.history


@final
class Reader:
    """Takes one event after the other."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.history = History(snapshot)
        self.takers: dict[str, Callable[[Event], None]] = {
            "begin": self.begin,
            "effect": self.effect,
            "end": self.heard,
            "step.begin": self.step_begin,
            "step.end": self.step_end,
            "up": self.up,
            "down": self.down,
            "fault": self.fault,
            "stop": self.stop,
            "quiet": self.quiet,
        }
        self.effects: dict[str, Callable[[Event], None]] = {
            "create": self.create,
            "poll": self.poll,
            "renew": self.renew,
            "leave": self.leave,
            "commit": self.commit,
            "send": self.send,
            "control": lambda event: controlled(self.history, event),
            "journal": self.journal,
            "purge": self.purge,
        }
        self._asked_at: dict[int, float] = {}  # polls and heartbeats under way
        self._leases: dict[int, SessionSeen] = {}
        self._losses: dict[int, list[tuple[RunSeen, str, int]]] = {}  # claims whose loss an answer tells, by epoch
        self._suspends = False  # the next who stands still is suspended with its machine
        self._bursts: dict[str, list[float]] = {}  # by actor: when it began, and how many since

    # ── processes ────────────────────────────────────────────────────────────────────────────────────────────────

    def actor(self, name: str) -> ActorSeen:
        found = self.history.actors.get(name)
        if found is None:
            found = self.history.actors[name] = ActorSeen(name)
        return found

    def up(self, event: Event) -> None:
        self.actor(event.actor).limits.update(event.data.get("concurrency", {}))

    def down(self, event: Event) -> None:
        self.actor(event.actor).down = True

    def fault(self, event: Event) -> None:
        self._suspends = ":suspend" in event.data["what"]

    def stop(self, event: Event) -> None:
        if self._suspends:
            self.actor(event.actor).suspended = True
        self._suspends = False

    def quiet(self, event: Event) -> None:
        self.history.quiet = event

    # ── operations ───────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, event: Event) -> None:
        if self.history.quiet is None:
            self.history.pending[event.data["op"]] = event.actor
        if event.data["method"] in ("poll", "renew"):
            self._asked_at[event.data["op"]] = event.at

    def effect(self, event: Event) -> None:
        method = event.data["method"]
        if method in _WRITES:
            self._bursts.clear()
        take = self.effects.get(method)
        if take is not None:
            take(event)

    def heard(self, event: Event) -> None:
        op = event.data["op"]
        self.history.pending.pop(op, None)
        asked_at = self._asked_at.pop(op, None)
        if event.data["error"] is not None:
            return
        self.history.acked.add(op)
        session = self._leases.pop(op, None)
        if session is not None and asked_at is not None:
            session.actor.believed_until = max(session.actor.believed_until, asked_at + session.lease_seconds)
        for run, actor, epoch in self._losses.pop(op, ()):
            held = run.held.get(actor)
            if held is not None and held.claim.run.epoch == epoch:  # else it has claimed it anew meanwhile
                del run.held[actor]

    def create(self, event: Event) -> None:
        for new, made in zip(event.data["asked"][0], event.data["answer"], strict=True):
            known = self.history.runs.get(new.id)
            if made.outcome is Creation.CREATED or known is None:
                rows.born(self.history, event, new, made)
                continue
            if made.outcome is Creation.REPLACED and new.replace != known.replaced_by:
                rows.replaced(known, event, new)
            rows.noted(known, event, new, made)

    def send(self, event: Event) -> None:
        for message, answer in zip(event.data["asked"][0], event.data["answer"], strict=True):
            rows.deliver(self.history, event, message, answer)

    def commit(self, event: Event) -> None:
        for commit, answer in zip(event.data["asked"][0], event.data["answer"], strict=True):
            run = self.history.run(commit.run)
            if not applied(self.history, run, event, commit, answer):
                lost = refused(run, event, commit, answer)
                if lost:
                    self._losses.setdefault(event.data["op"], []).append((run, event.actor, commit.epoch))
                else:
                    self._burst(event, f"commit of {run.id} that is not due")

    def journal(self, event: Event) -> None:
        id, generation = event.data["asked"][0], event.data["asked"][1]
        run = self.history.runs.get(id)
        known = None if run is None else run.generations.get(generation)
        length = 0 if known is None else len(known.entries)
        self.history.reads.append(ReadSeen(event, id, known, event.data["answer"].rows, length))

    def purge(self, event: Event) -> None:
        self.history.purged += event.data["answer"]

    # ── sessions and claims ──────────────────────────────────────────────────────────────────────────────────────

    def session(self, event: Event) -> SessionSeen:
        worker = event.data["asked"][0]
        found = self.history.sessions.get(worker.id)
        if found is None:
            found = SessionSeen(worker.id, self.actor(event.actor), worker.lease_seconds)
            self.history.sessions[worker.id] = found
        found.expires_at = event.data["now"] + found.lease_seconds
        self._leases[event.data["op"]] = found
        return found

    def renew(self, event: Event) -> None:
        known = event.data["asked"][0].id in self.history.sessions
        session = self.session(event)
        if not event.data["answer"] and known:
            del self._leases[event.data["op"]]  # it hears that it has lost its runs
        self._burst(event, f"renewal by {session.actor.name}")

    def leave(self, event: Event) -> None:
        session = self.history.sessions.get(event.data["asked"][0])
        if session is None:
            return
        session.expires_at = min(session.expires_at, event.data["now"])
        for id in list(session.held):
            rows.released(self.history.run(id))

    def poll(self, event: Event) -> None:
        session, now = self.session(event), event.data["now"]
        want: Want = event.data["asked"][1]
        answer: Poll = event.data["answer"]
        for other in self.history.sessions.values():
            if other is not session and other.held and other.expires_at <= now:
                self._reap(other, now, want.lonely_after)
        self._reconcile(session, want, answer)
        new: list[ClaimSeen] = []
        for claim in answer.claims:
            run = self.history.run(claim.run.id)
            if run.owner is not session or run.epoch != claim.run.epoch:  # else a repeated poll's
                new.append(self._claimed(event, session, want, claim, run))
        session.want, session.polled_at = want, event.at
        if new:
            self._bursts.clear()
        else:
            self._burst(event, f"poll by {event.actor} that finds nothing")
        holding = tuple(session.held) if session.actor.limits else ()
        self.history.polls.append(PollSeen(event, session, want, new, holding))

    def _reap(self, session: SessionSeen, now: float, lonely_after: int) -> None:
        """Its lease is over: what it held is free, at once or after a back-off, and its strikes stand."""
        for id in list(session.held):
            run = self.history.run(id)
            rows.drop_owner(run)
            if not run.ended and run.strikes >= lonely_after:
                run.free_from = now + min(60.0, 2.0 ** min(run.strikes - lonely_after, 6))

    def _reconcile(self, session: SessionSeen, want: Want, answer: Poll) -> None:
        """What the session holds and does not name, nobody has told it of: it is released."""
        if not session.held:
            return
        named = {(held.run, held.epoch) for held in want.held}
        named.update((claim.run.id, claim.run.epoch) for claim in answer.claims)
        for id, epoch in list(session.held.items()):
            if (id, epoch) not in named:
                rows.released(self.history.run(id))

    def _claimed(self, event: Event, session: SessionSeen, want: Want, claim: Claim, run: RunSeen) -> ClaimSeen:
        owner = run.owner
        seen = ClaimSeen(
            event,
            session,
            claim,
            want,
            run.epoch,
            run.status,
            run.strikes,
            len(run.generation.entries),
            run.generation.number,
            owner,
            0.0 if owner is None else owner.expires_at,
            run.free_from,
        )
        run.claims.append(seen)
        rows.drop_owner(run)
        run.owner, run.epoch, run.seq = session, claim.run.epoch, 0
        session.held[run.id] = run.epoch
        run.free_from = 0.0
        run.held[event.actor] = seen
        if not claim.run.ended:
            rows.move(run, event, RunStatus.RUNNING, "claim")
            run.strikes += 1
            run.at = claim.run.at
        return seen

    def _burst(self, event: Event, what: str) -> None:
        """Count what leads nowhere, until something happens or time passes."""
        since = self._bursts.get(event.actor)
        if since is None or event.at - since[0] >= BURST_SECONDS:
            self._bursts[event.actor] = [event.at, 1]
            return
        since[1] += 1
        if since[1] == 50:
            self.history.bursts.append(BurstSeen(event, event.actor, what, 50))

    # ── the effect ledger ────────────────────────────────────────────────────────────────────────────────────────

    def step_begin(self, event: Event) -> None:
        data = event.data
        run, generation, call = self.history.run(data["run"]), data["generation"], data["call"]
        actor = self.actor(event.actor)
        claim = run.held.get(event.actor)
        place = (event.actor, generation, call)
        attempt = AttemptSeen(
            event,
            actor,
            run.id,
            generation,
            call,
            data["attempt"],
            data["key"],
            data["name"],
            claim,
            run.settled.get((generation, call)),
            run.open_attempts.get(place),
            0.0 if actor.suspended else event.at - actor.believed_until,
            data.get("effect") == "at_most_once",
        )
        run.open_attempts[place] = attempt
        run.attempts.append(attempt)
        self.history.attempts.append(attempt)
        self.history.ledger = True
        self._bursts.clear()

    def step_end(self, event: Event) -> None:
        data = event.data
        run = self.history.run(data["run"])
        attempt = run.open_attempts.pop((event.actor, data["generation"], data["call"]), None)
        if attempt is not None:
            attempt.end = event
