"""The ring, for one held run: activation → commands → attempts → outcomes → commit → delivery → activation.

Law: an outcome is durable before workflow code sees it; what the store has refused is forgotten, state and all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, assert_never, final

from durable._author.calls import why_unreadable
from durable._author.definitions import Workflow
from durable._author.logs import logger
from durable._core import plan
from durable._core.call import Call
from durable._core.inbox import Selection, select
from durable._core.state import RunState
from durable._engine import endings, summary, takeup
from durable._engine.alarm import Alarm
from durable._engine.attempts import Attempt
from durable._engine.doubts import Doubts
from durable._engine.draft import Draft, Fence
from durable._engine.guard import activation
from durable._engine.outbox import Outbox
from durable._engine.pausing import Pausing
from durable._engine.recording import Recorder, recorder_of
from durable._engine.services import Services
from durable._engine.steps import Steps
from durable._engine.terminations import Terminations
from durable._model import defaults
from durable._model.claims import Claim
from durable._model.commands import StartChild
from durable._model.commits import (
    Blocked,
    Closed,
    Commit,
    Committed,
    Continued,
    Ended,
    Paused,
    Released,
    Rewound,
    Running,
    Then,
    Verdict,
    Waiting,
)
from durable._model.entries import (
    AttemptBegun,
    AttemptFailed,
    CallKind,
    Entry,
    NotDone,
    PatchMarked,
    Settled,
)
from durable._model.ids import MessageId, RunId
from durable._model.messages import InboxMessage
from durable._model.runs import NewRun, Wait
from durable.codec.exceptions import readable, text_of
from durable.codec.redaction import redact
from durable.errors import NonDeterminismError

__all__ = ["Runner"]

_log = logger("durable.worker")
_RUNNING: Final = Running()
_STEP: Final = CallKind.STEP  # to look up a member of an enumeration is dear
_TIMER: Final = CallKind.TIMER
_LOST: Final = Verdict.LEASE_LOST
_NOT_DUE: Final = Verdict.NOT_DUE


@final
class Runner:
    """One claim being worked on.

    Args:
        claim: From the store.
        workflow: The code that the claim's lane promises.
        services: Of the worker.
        gone: Called once, when the worker holds the run no longer; with the state if it may be kept in the cache.
    """

    def __init__(
        self,
        claim: Claim,
        workflow: Workflow[..., Any],
        services: Services,
        gone: Callable[[Runner, RunState | None], None],
    ) -> None:
        self.run = claim.run
        self.id: RunId = claim.run.id
        self.epoch = claim.run.epoch
        self.lonely = claim.lonely
        self.workflow = workflow
        self.seen = claim.messages[-1].seq if claim.messages else 0
        self.draining = False
        self._claim = claim
        self._services = services
        self._gone = gone
        self._state: RunState | None = None
        self._seq = 0
        self._unread: list[InboxMessage] = list(claim.messages)
        self._outbox = Outbox(self._dirty)
        self._steps = Steps(claim.run, services, self._outbox)
        self._final: Then | None = None
        self._in_commit = False
        self._gives_up = False  # what the commit on its way says
        self._closed = False
        self._live = False
        self._pausing = Pausing(self.id, services, self._dirty, self._resumed)
        self._terminations = Terminations(services, self._dirty)
        self._alarm = Alarm(services.time, self._woken)
        self._due = False  # a timer is, and the next commit shall take it
        self._retrying: list[Call] = []
        self._doubts = Doubts(services, self._steps.key, self._known)
        self._pending: Draft | None = None
        self._shown = bool(claim.run.waits)
        self._woken_in_commit = False

    # ── taking the run up ────────────────────────────────────────────────────────────────────────────────────────

    async def begin(self, cached: RunState | None) -> None:
        """Replay, unless the cached state is at this very position, then go live."""
        try:
            await self._take_up(cached)
        except NonDeterminismError as error:
            self._block("non_determinism", str(error))
            return
        except Exception as error:
            self.broken(error)
            return
        if self._closed or self._final is not None:
            return
        self._live = True
        self._pausing.look(self._unread)
        try:
            self._look(everything=True)
        except Exception as error:
            self.broken(error)

    async def _take_up(self, cached: RunState | None) -> None:
        services = self._services
        if len(self._unread) >= defaults.PAGE_SIZE_MAX:  # a claim brings one page of the inbox
            for message in await takeup.unread_after(self.id, self.seen, services):
                self.receive(message)
        if cached is not None:
            self._state = cached
            cached.facts = takeup.run_facts(self.run, self.workflow)
        else:
            began = services.teller.moment()
            taken = await takeup.replayed(self._claim, self.workflow, services)
            if isinstance(taken, Blocked):
                self._block(taken.kind, taken.reason)
                return
            if self._closed:
                with activation:
                    taken.close()  # lost while it was being replayed: nobody else will close it
                return
            self._state = taken
            services.teller.activated(self.run, began, self.run.position, replay=self.run.position > 0)
            self._refuse(await takeup.strangers(taken, services))
            for child in await takeup.never_started(taken, self.run, self._unread, services):
                taken.fire_again(StartChild(child))
        for call in takeup.cut_by_a_crash(self._live_state()):
            known = await takeup.what_became_of(call, self._steps.key(call), services)
            if isinstance(known, Blocked):
                self._block(known.kind, known.reason, known.call)
                return
            self._outbox.put(known)

    async def write(self, *commits: Commit) -> Committed:
        """Commits before the run goes live (closing children, rewinding), in one transaction of the shared committer;
        the answer to the last of them, or to the first that was refused.
        """
        self._in_commit, self._gives_up = True, any(isinstance(commit.then, Closed) for commit in commits)
        answers = await self._services.committer.write(*commits)
        self._in_commit = False
        for answer in answers:
            if answer.verdict is Verdict.LEASE_LOST:
                self.drop()
                return answer
            self._seq += 1
        return answers[-1]

    @property
    def leaving(self) -> bool:
        """Whether a commit is on its way that gives the run up: a poll that finds it gone does not say it was taken."""
        return self._in_commit and self._gives_up

    @property
    def attempts(self) -> list[Attempt]:
        """Those in flight."""
        return list(self._steps.running.values())

    @property
    def commits_made(self) -> int:
        """The ``seq`` of the next commit."""
        return self._seq

    def next_commit(self, then: Then, **fields: Any) -> Commit:
        """A prelude commit with the right fence."""
        return Commit(self.id, self.epoch, self._seq, self.run.position, then=then, **fields)

    def rebase(self, claim: Claim) -> None:
        """The claim has changed under a rewind: go on from how it stands now."""
        known = max((item.seq for item in (*self._claim.messages, *claim.messages)), default=0)
        late = [item for item in self._unread if item.seq > known]  # came with a poll while the inbox was being read
        self._claim, self.run = claim, claim.run
        self._unread = [*claim.messages, *late]
        self.seen = max(self.seen, known)

    # ── what happens to a held run ───────────────────────────────────────────────────────────────────────────────

    def receive(self, message: InboxMessage) -> None:
        """A message for this run has come with a poll."""
        if self._closed or message.seq <= self.seen:
            return
        self.seen = message.seq
        self._unread.append(message)
        if self._live:
            self._pausing.look(self._unread)
            self._dirty()

    def drain(self) -> None:
        """Begin no more attempts; give the run back when those in flight have ended."""
        self.draining = True
        if self._live:
            self._dirty()

    def drop(self) -> None:
        """The store says the run is not ours (any more): forget everything, write nothing."""
        self._leave(keep=False)

    def broken(self, error: BaseException) -> None:
        """An engine error that concerns this run alone: show it as blocked, keep the worker alive."""
        if self._closed:
            return
        if isinstance(error, NonDeterminismError):
            self._in_commit, self._pending = False, None
            self._block("non_determinism", str(error))
            return
        _log.error("Run %s cannot go on: %s", self.id, text_of(error), exc_info=error)
        if isinstance(self._final, Blocked) and self._final.kind == "engine":
            self.drop()
            return
        self._in_commit = False
        self._pending = None
        self._outbox.clear()
        self._block("engine", f"{type(error).__name__}: {text_of(error)}")

    def sweep(self, now: float) -> None:
        """Called ten times a second."""
        self._steps.sweep(now)

    # ── Writer: what the committer asks ──────────────────────────────────────────────────────────────────────────

    def build(self) -> Commit | None:
        """The next commit, if there is anything to say."""
        if self._closed or self._in_commit or self._state is None and self._final is None:
            return None
        state = self._state
        if state is None or isinstance(self._final, Blocked):
            return self._commit(Draft([], None), self._final or _RUNNING)
        if self._live and self._is_plain(state):
            if self._outbox.entries:
                return self._commit(Draft(self._take(state, defaults.COMMIT_ITEMS_MAX), state.flushed_now()), _RUNNING)
            if self._steps.running:
                return None  # the usual end of an activation: its steps are under way, and nothing is to be said
        flushed = plan.flush(state)
        if flushed.closes and not self._terminations.settled(flushed.closes):
            return None
        room = defaults.COMMIT_ITEMS_MAX - len(flushed.notes)
        chosen = self._choose(state, room) if flushed.complete else Selection()
        entries = flushed.notes + chosen.entries
        if flushed.complete and not state.finished:
            entries += self._take(state, room - len(chosen.entries))
        then = self._then(state, flushed, bool(entries) or chosen.more)
        nothing = not (entries or flushed.count or chosen)
        if nothing and isinstance(then, Running):
            return None
        return self._commit(Draft(entries, flushed.flushed, flushed, chosen), then)

    def committed(self, commit: Commit, answer: Committed) -> None:
        """The store has answered; what it applied is now delivered, in order."""
        self._in_commit = False
        if self._closed:
            return
        draft, self._pending = self._pending, None
        assert draft is not None
        if answer.verdict is _LOST:
            self._services.teller.lost(self.run)
            self.drop()
            return
        if answer.verdict is _NOT_DUE:
            self._not_due(draft, answer)
            return
        self._seq += 1
        if self._services.teller.listened:
            self._services.teller.committed(self.run, commit, draft.entries, answer)
        if draft.flush is not None:
            self._refuse(takeup.strangers_among(draft.flush.children, answer.children))
        if draft.flushed is not None and self._state is not None:
            self._state.taken(0 if draft.flush is None else draft.flush.count, draft.flushed)
        if commit.consumed or commit.dead:
            gone = {*commit.consumed, *(letter.id for letter in commit.dead)}
            self._unread = [item for item in self._unread if item.message.id not in gone]
        self._deliver(draft.entries, answer.at)
        self._follow(commit.then)

    # ── inside: building ─────────────────────────────────────────────────────────────────────────────────────────

    def _choose(self, state: RunState, room: int) -> Selection:
        if self._pausing.asked or state.finished:
            return Selection()
        now = self._services.time.now()
        if not (self._unread or self._due) and (self._alarm.instant is None or now < self._alarm.instant):
            return Selection()
        chosen = select(state, self._unread, now, partial(why_unreadable, self._services.codec), room=room)
        self._due = chosen.more
        return chosen

    def _then(self, state: RunState, flushed: plan.Flush, has_entries: bool) -> Then:
        if not flushed.complete:
            return Running()
        if state.finished:
            return self._final or Running()
        if has_entries or self._outbox.entries or self._steps.running or self._doubts:
            return Running()
        if self._final is not None:
            return self._final
        if any(takeup.has_chosen_id(child) for child in flushed.children):
            return Running()  # the answer may be that the id is a stranger's
        if self._pausing.asked:
            if self._pausing.confirmed:
                return Paused()
            self._pausing.confirm()
            return Running()
        if self.draining:
            return Released()
        wake = plan.next_wake(state)
        if wake is not None and wake - self._services.time.now() < defaults.LINGER_SECONDS:
            self._alarm.set(wake)
            return Running()
        return Waiting(wake, self.seen)

    def _take(self, state: RunState, room: int) -> list[Entry]:
        if not state.records:
            return self._outbox.take(room)
        return self._outbox.take(room, partial(self._recorder(state).weight, state))

    def _recorder(self, state: RunState) -> Recorder:
        return recorder_of(state, self._services.codec, self._services.clock)

    def _commit(self, draft: Draft, then: Then) -> Commit:
        state = self._state
        self._in_commit, self._gives_up = True, not isinstance(then, Running)
        self._pending = draft
        consumed: tuple[MessageId, ...] = ()
        if isinstance(then, Paused) and self._pausing.message is not None:
            consumed = (self._pausing.message.message.id,)
        position = state.position if state is not None and self._live else self.run.position
        if position <= defaults.JOURNAL_ENTRIES_WARN < position + len(draft.entries):
            _log.warning("The journal of run %s has %d entries; use continue_as before 50,000.", self.id, position)
        parts = self._recorder(state).parts(state, draft.entries) if state is not None and state.records else ()
        waits = None if state is None else self._waits(state, then)
        return draft.commit(self.run, Fence(self.epoch, self._seq, position), then, waits, parts, consumed)

    def _waits(self, state: RunState, then: Then) -> tuple[Wait, ...] | None:
        if isinstance(then, Ended | Continued):
            return ()
        if isinstance(then, Running) and not self._outbox.noted and not self._shown:
            return None
        self._outbox.noted = self._steps.any_noted()
        found = summary.waits_of(state, self._steps.since(), then, self._services.codec)
        self._shown = bool(found)
        return found

    # ── inside: delivering ───────────────────────────────────────────────────────────────────────────────────────

    def _refuse(self, strangers: Iterable[NewRun]) -> None:
        """The ids that calls have chosen for their children belong to other runs."""
        for wanted in strangers if self._state is not None else ():
            refusal = takeup.refusal_of(wanted, self._live_state(), self._services.codec)
            if refusal is not None:
                self._outbox.put(refusal)

    def _deliver(self, entries: list[Entry], at: float) -> None:
        state = self._state
        if state is None or not entries:
            return
        teller = self._services.teller
        began = teller.moment() if teller.observed else 0.0
        for entry in entries:
            state.apply(entry, at)
            if isinstance(entry, Settled):
                continue
            if isinstance(entry, AttemptFailed | NotDone) and entry.call in state.calls:
                self._retrying.append(state.calls[entry.call])
            elif isinstance(entry, AttemptBegun):
                self._steps.is_durable(entry.call)
        if teller.observed:
            teller.activated(self.run, began, len(entries))

    def _follow(self, then: Then) -> None:
        if then is _RUNNING and not self._woken_in_commit:
            self._look()
            return
        match then:
            case Running():
                missed, self._woken_in_commit = self._woken_in_commit, False
                self._look(everything=missed)
            case Ended() | Blocked() | Continued():
                if isinstance(then, Ended):
                    self._services.ended(self.run, then.outcome)
                self._leave(keep=False)
            case Waiting() | Paused() | Released():
                self._leave(keep=True)
            case Closed() | Rewound():
                raise AssertionError("preludes are written by ``write``")
            case _ as never:
                assert_never(never)

    def _not_due(self, draft: Draft, answer: Committed) -> None:
        """A timer was not due after all: keep the outcomes, and ask again when it is."""
        chosen = draft.chosen
        assert chosen is not None
        timers = {id(entry) for entry in chosen.entries}
        again = [entry for entry in draft.entries if id(entry) not in timers and not isinstance(entry, PatchMarked)]
        self._outbox.put_back(again)
        if chosen.not_before is not None:
            self._alarm.set(chosen.not_before)
        self._dirty()  # a cancel, a signal or a command that was to go with it does not wait for the timer

    # ── inside: looking at the state after an activation ─────────────────────────────────────────────────────────

    def _look(self, *, everything: bool = False) -> None:
        state = self._live_state()
        if state.violation is not None:
            self._block("workflow_code", str(state.violation))
            return
        if state.loop.complaints:
            for complaint in state.loop.complaints:
                _log.error("In run %s: %s", self.id, complaint.get("message"), exc_info=complaint.get("exception"))
            state.loop.complaints.clear()
        if state.abandoned_calls:
            for call in state.abandoned_calls:
                self._steps.drop(call.id)
            state.abandoned_calls.clear()
        if state.finished:
            self._finish(state)
        elif state.position > defaults.JOURNAL_ENTRIES_MAX:
            self._block("journal_limit", f"its journal has more than {defaults.JOURNAL_ENTRIES_MAX} entries")
            return
        else:
            calls = list(state.calls.values()) if everything else [*self._retrying, *state.new_calls]
            state.new_calls.clear()
            self._retrying.clear()
            self._begin_attempts(state, calls)
            if self._steps.running and not (everything or self._outbox.entries) and self._is_plain(state):
                return  # the usual end of an activation: outcomes will be the next commit
        self._dirty()

    def _is_plain(self, state: RunState) -> bool:
        """Whether there is nothing to say but outcomes of steps."""
        waits = self._unread or self._due or self._alarm.instant is not None
        return not (waits or state.fired or self._final)

    def _begin_attempts(self, state: RunState, calls: Iterable[Call]) -> None:
        """Begin what may begin now; for the rest remember when to look again."""
        decided = self._outbox.decided() if self._outbox.entries else ()
        begins = not (self.draining or self._pausing.asked or self._final is not None)
        for call in calls:
            if call.kind is _TIMER:
                if call.due is not None and call.due <= self._services.time.now():
                    self._due = True  # not to be waited for: its commit may have to queue behind a slow one
                else:
                    self._alarm.set(call.due)
            elif call.kind is _STEP and call.id in state.calls and call.id not in self._steps.running:
                if call.retry_at is not None and call.retry_at > self._services.time.now():
                    self._alarm.set(call.retry_at)
                elif begins and call.id not in decided:
                    if call.begun and takeup.is_in_doubt(
                        call
                    ):  # tolerant code has come to it only now, behind a step that was put in front
                        self._doubts.ask(call)
                    else:
                        self._steps.begin(call)

    def _known(self, call: Call, became: Entry | Blocked) -> None:
        """What became of an attempt that a crash has cut."""
        if self._closed or self._state is None or call.id not in self._state.calls:
            return
        if isinstance(became, Blocked):
            self._block(became.kind, became.reason, became.call)
        else:
            self._outbox.put(became)

    def _finish(self, state: RunState) -> None:
        if self._final is None:
            self._services.ending(self.id)
            self._final = endings.ending(state, self._claim, self.workflow, self._services.codec, self._services.clock)

    def _block(self, kind: str, reason: str, call: str | None = None) -> None:
        self._steps.drop_all()
        if self._state is not None:
            self._state.fired.clear()
        reason = readable(redact(reason))
        self._final = Blocked(kind, reason, call)
        _log.warning("%s", reason if kind == "non_determinism" else f"Run {self.id} is blocked: {reason}")
        self._dirty()

    def _dirty(self) -> None:
        if not self._in_commit and not self._closed and (self._live or self._final is not None):
            self._services.committer.submit(self)

    def _woken(self) -> None:
        if self._in_commit:
            self._woken_in_commit = True  # looked at when the store has answered
        elif not self._closed and self._live:
            self._look(everything=True)

    def _live_state(self) -> RunState:
        assert self._state is not None
        return self._state

    def _resumed(self, withdrawn: InboxMessage) -> None:
        """A resume has taken the pause back before it was carried out."""
        if self._closed:
            return
        self._unread = [item for item in self._unread if item.message.id != withdrawn.message.id]
        self._pausing.look(self._unread)
        self._look(everything=True)

    def _leave(self, *, keep: bool) -> None:
        if self._closed:
            return
        self._closed = True
        for part in (self._alarm, self._steps, self._doubts, self._pausing, self._terminations, self._outbox):
            part.close()  # they let go of this runner, so that no cycle is left for the collector
        state, self._state = self._state, None
        if state is not None and not keep:
            with activation:
                state.close()
            state = None
        self._gone(self, state)
