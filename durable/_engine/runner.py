"""The ring, for one held run: activation → commands → attempts → outcomes → commit → delivery → activation.

Law: an outcome is durable before workflow code sees it; what the store has refused is forgotten, state and all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Final, assert_never, final

from durable._author.calls import ChildSpec, Scope, SignalSpec, StepSpec
from durable._author.context import Context
from durable._author.definitions import Workflow
from durable._core import plan
from durable._core.identity import child_id, idempotency_key
from durable._core.inbox import Selection, select
from durable._core.state import Call, RunFacts, RunState
from durable._engine import endings
from durable._engine.attempts import Attempt
from durable._engine.guard import activation
from durable._engine.services import Services
from durable._model import defaults
from durable._model.claims import Claim
from durable._model.commands import CloseChild, StartChild
from durable._model.commits import (
    Blocked,
    Closed,
    Commit,
    Committed,
    Continued,
    Ended,
    Part,
    Paused,
    Released,
    Rewound,
    Running,
    Then,
    Verdict,
    Waiting,
)
from durable._model.controls import Control, Terminate
from durable._model.entries import (
    AttemptBegun,
    AttemptFailed,
    CallKind,
    Entry,
    NotDone,
    PatchMarked,
    Settled,
    decode_entry,
    encode_entry,
)
from durable._model.ids import CallId, RunId
from durable._model.messages import InboxMessage, MessageKind
from durable._model.runs import Created, Creation, NewRun, RunRecord, Wait, WaitKind
from durable.codec import ValueType, dump_error, error_line
from durable.errors import InvalidInput, NonDeterminismError, RunConflict

__all__ = ["FORK_LABEL", "Runner", "run_facts"]

FORK_LABEL: Final = "durable.forked_from"

_log = logging.getLogger("durable.worker")
_ENTRY_BYTES_MAX: Final = defaults.COMMIT_BYTES_MAX // 2


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
        self.attempts: dict[CallId, Attempt] = {}
        self.seen = claim.messages[-1].seq if claim.messages else 0
        self.draining = False
        self._claim = claim
        self._services = services
        self._gone = gone
        self._state: RunState | None = None
        self._seq = 0
        self._unread: list[InboxMessage] = list(claim.messages)
        self._outbox: list[Entry] = []
        self._final: Then | None = None
        self._in_commit = False
        self._closed = False
        self._live = False
        self._pausing: InboxMessage | None = None
        self._pause_confirmed = False
        self._terminated: set[str] = set()
        self._terminating = False
        self._wake: asyncio.TimerHandle | None = None
        self._wake_instant: float | None = None
        self._retrying: list[Call] = []
        self._aheads: dict[CallId, asyncio.Future[None]] = {}
        self._pending: tuple[list[Entry], plan.Flush, Selection] | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._warned_size = False
        self._noted = False
        self._shown = bool(claim.run.waits)
        self._woken_in_commit = False

    # ── taking the run up ────────────────────────────────────────────────────────────────────────────────────────

    async def begin(self, cached: RunState | None) -> None:
        """Replay, unless the cached state is at this very position, then go live."""
        try:
            if cached is not None:
                self._state = cached
                cached.facts = self._facts()
            else:
                await self._replay()
                await self._meet_strangers()
            await self._resolve_unknown()
        except NonDeterminismError as error:
            self._block("non_determinism", str(error))
            return
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self.broken(error)
            return
        if self._closed or self._final is not None:
            return
        self._live = True
        self._note_pause()
        self._look(everything=True)

    async def write(self, commit: Commit) -> Committed:
        """A commit before the run goes live (closing children, rewinding), through the shared committer."""
        prelude = _Prelude(commit, asyncio.get_running_loop().create_future())
        self._services.committer.submit(prelude)
        answer = await prelude.answer
        if answer.verdict is Verdict.LEASE_LOST:
            self.drop()
        else:
            self._seq += 1
        return answer

    @property
    def commits_made(self) -> int:
        """The ``seq`` of the next commit."""
        return self._seq

    def next_commit(self, then: Then, **fields: Any) -> Commit:
        """A prelude commit with the right fence."""
        return Commit(self.id, self.epoch, self._seq, self.run.position, then=then, **fields)

    def rebase(self, claim: Claim) -> None:
        """The claim has changed under a rewind: go on from how it stands now."""
        self._claim, self.run = claim, claim.run
        self._unread = list(claim.messages)
        self.seen = max([self.seen, *(item.seq for item in claim.messages)])

    def _facts(self) -> RunFacts:
        return run_facts(self.run, self.workflow)

    async def _replay(self) -> None:
        run, store = self.run, self._services.store
        entries: list[tuple[Entry, float]] = []
        start: int | None = 0 if run.position else None
        while start is not None and len(entries) < run.position:
            page = await self._services.weather.through(partial(store.journal, run.id, run.generation, start))
            entries += [(decode_entry(row.data), row.at) for row in page.rows]
            start = page.next
        marked = frozenset(entry.change for entry, _ in entries if isinstance(entry, PatchMarked))
        state = RunState(self._facts())
        self._state = state
        program = endings.program(self.workflow, Context(self._scope(state)), self._services.codec, self._claim.input)
        if isinstance(program, InvalidInput):
            self._block("payload", str(program))
            return
        with activation:
            state.start(program, marked)
        for index, (entry, at) in enumerate(entries):
            with activation:
                state.apply(entry, at)
            if index % 500 == 499:
                await self._services.clock.sleep(0)

    def _scope(self, state: RunState) -> Scope:
        return Scope(state, self._services.codec, self.run.queue, self.run.priority)

    async def _resolve_unknown(self) -> None:
        """At-most-once attempts that a crash cut: ask their ``check``; what stays unknown blocks the run (rule 3)."""
        state = self._live_state()
        for call in list(state.calls.values()):
            spec = call.spec
            if not isinstance(spec, StepSpec) or spec.policy.effect != "at_most_once":
                continue
            if call.begun <= max(call.failed, call.not_done) or call.id in self.attempts:
                continue
            key = self._key(call)
            doubt = ""
            try:
                entry = await self._services.executor.check(call, key)
            except Exception as error:  # a check that fails cannot tell either
                entry, doubt = None, f"; its check failed with {type(error).__name__}: {error}"
            if entry is None:
                reason = (
                    f"the outcome of step {call.name!r} is unknown: its worker died in the middle of attempt "
                    f"{call.begun}, and effect='at_most_once' forbids to repeat it (idempotency key {key}){doubt}"
                )
                self._block("unknown_outcome", reason, call.id)
                return
            self._outbox.append(entry)

    # ── what happens to a held run ───────────────────────────────────────────────────────────────────────────────

    def receive(self, message: InboxMessage) -> None:
        """A message for this run has come with a poll."""
        if self._closed or message.seq <= self.seen:
            return
        self.seen = message.seq
        self._unread.append(message)
        if self._live:
            self._note_pause()
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
        _log.error("Run %s cannot go on: %s", self.id, error, exc_info=error)
        if isinstance(self._final, Blocked) and self._final.kind == "engine":
            self.drop()
            return
        self._in_commit = False
        self._pending = None
        self._outbox.clear()
        self._block("engine", f"{type(error).__name__}: {error}")

    def sweep(self, now: float) -> None:
        """Called ten times a second: slow attempts get a note, silent ones are given up."""
        for attempt in self.attempts.values():
            if not attempt.running:
                continue
            spec: StepSpec = attempt.call.spec
            limit = spec.policy.heartbeat
            if limit is not None and now - attempt.beaten > limit and not attempt.expired and attempt.task is not None:
                attempt.expired = True
                attempt.task.cancel()
                continue
            fresh = not attempt.noted and now - attempt.began >= defaults.STARTED_NOTE_SECONDS
            if fresh or (attempt.progress is not None and now - attempt.noted_at >= 1.0):
                attempt.noted, attempt.noted_at = True, now
                self._note(
                    AttemptBegun(attempt.call.id, attempt.call.fingerprint, attempt.number, attempt.take_progress())
                )

    # ── Sink: what the executor says ─────────────────────────────────────────────────────────────────────────────

    def attempt_ended(self, attempt: Attempt, entry: Entry | None) -> None:
        attempt.task = None  # the task's context holds the attempt: no cycle is left for the collector
        if self.attempts.get(attempt.call_id) is attempt:
            del self.attempts[attempt.call_id]
        if self._closed:
            return
        if entry is not None and attempt.progress is not None:
            self._outbox.append(
                AttemptBegun(attempt.call_id, attempt.call.fingerprint, attempt.number, attempt.take_progress())
            )
        if entry is not None:
            self._noted = self._noted or isinstance(entry, AttemptFailed)
            self._outbox.append(entry)
        self._dirty()

    def write_ahead(self, attempt: Attempt) -> Awaitable[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._aheads[attempt.call_id] = future
        attempt.noted = True
        self._note(AttemptBegun(attempt.call_id, attempt.call.fingerprint, attempt.number))
        return future

    def may_begin(self) -> Awaitable[None] | None:
        return self._services.may_begin()

    # ── Writer: what the committer asks ──────────────────────────────────────────────────────────────────────────

    def build(self) -> Commit | None:
        """The next commit, if there is anything to say."""
        if self._closed or self._in_commit or self._state is None and self._final is None:
            return None
        state = self._state
        if state is None or isinstance(self._final, Blocked):
            return self._commit([], plan.Flush(), Selection(), self._final or Running())
        flushed = plan.flush(state)
        if flushed.closes and not self._children_terminated(flushed.closes):
            return None
        room = defaults.COMMIT_ITEMS_MAX - len(flushed.notes)
        chosen = self._choose(state, room) if flushed.complete else Selection()
        entries = flushed.notes + chosen.entries
        if flushed.complete and not state.finished:
            entries += self._take_outbox(room - len(chosen.entries))
        then = self._then(state, flushed, bool(entries) or chosen.more)
        nothing = not (entries or flushed.count or chosen)
        if nothing and isinstance(then, Running):
            return None
        return self._commit(entries, flushed, chosen, then)

    def committed(self, commit: Commit, answer: Committed) -> None:
        """The store has answered; what it applied is now delivered, in order."""
        self._in_commit = False
        if self._closed:
            return
        if answer.now:
            self._services.time.heard(answer.now)
        pending, self._pending = self._pending, None
        assert pending is not None
        entries, flushed, chosen = pending
        match answer.verdict:
            case Verdict.LEASE_LOST:
                _log.info("Run %s belongs to another worker now.", self.id)
                self.drop()
                return
            case Verdict.NOT_DUE:
                self._not_due(entries, chosen, answer)
                return
            case Verdict.APPLIED | Verdict.ALREADY_APPLIED:
                self._seq += 1
            case _ as never:
                assert_never(never)
        self._after_flush(flushed, answer)
        gone = {*chosen.consumed, *(letter.id for letter in chosen.dead)}
        if gone:
            self._unread = [item for item in self._unread if item.message.id not in gone]
        self._deliver(entries, answer.at)
        self._follow(commit.then)

    # ── inside: building ─────────────────────────────────────────────────────────────────────────────────────────

    def _choose(self, state: RunState, room: int) -> Selection:
        if self._pausing is not None or state.finished:
            return Selection()
        now = self._services.time.now()
        if not self._unread and (self._wake_instant is None or now < self._wake_instant):
            return Selection()
        return select(state, self._unread, now, self._unreadable, room=room)

    def _take_outbox(self, room: int) -> list[Entry]:
        taken: list[Entry] = []
        size = 0
        for entry in self._outbox:
            size += len(getattr(entry, "payload", b""))
            if len(taken) >= room or (taken and size > _ENTRY_BYTES_MAX):
                break
            taken.append(entry)
        del self._outbox[: len(taken)]
        return taken

    def _then(self, state: RunState, flushed: plan.Flush, has_entries: bool) -> Then:
        if not flushed.complete:
            return Running()
        if state.finished:
            return self._final or Running()
        if has_entries or self._outbox or self.attempts:
            return Running()
        if self._final is not None:
            return self._final
        if any(_has_chosen_id(child) for child in flushed.children):
            return Running()  # the answer may be that the id is a stranger's
        if self._pausing is not None:
            if self._pause_confirmed:
                return Paused()
            self._spawn(self._confirm_pause(self._pausing))
            return Running()
        if self.draining:
            return Released()
        wake = plan.next_wake(state)
        if wake is not None and wake - self._services.time.now() < defaults.LINGER_SECONDS:
            self._wake_at(wake)
            return Running()
        return Waiting(wake, self.seen)

    def _commit(self, entries: list[Entry], flushed: plan.Flush, chosen: Selection, then: Then) -> Commit:
        state = self._state
        self._in_commit = True
        self._pending = (entries, flushed, chosen)
        consumed = tuple(chosen.consumed)
        if isinstance(then, Paused) and self._pausing is not None:
            consumed = (*consumed, self._pausing.message.id)
        position = state.position if state is not None and self._live else self.run.position
        if position + len(entries) > defaults.JOURNAL_ENTRIES_WARN and not self._warned_size:
            self._warned_size = True
            _log.warning("The journal of run %s has %d entries; use continue_as before 50,000.", self.id, position)
        return Commit(
            self.id,
            self.epoch,
            self._seq,
            position,
            tuple([encode_entry(entry) for entry in entries]),
            then,
            flushed.flushed if state is not None and not isinstance(then, Blocked) else None,
            consumed,
            tuple(chosen.dead),
            (*flushed.messages, *endings.farewell(self.run, then)),
            tuple(flushed.children),
            tuple(flushed.values),
            tuple(flushed.emits),
            self._recorded(entries),
            None if state is None else self._waits(state, then),
            chosen.not_before,
        )

    def _waits(self, state: RunState, then: Then) -> tuple[Wait, ...] | None:
        if isinstance(then, Ended | Continued):
            return ()
        if isinstance(then, Running) and not self._noted and not self._shown:
            return None
        self._noted = any(attempt.noted for attempt in self.attempts.values())
        executing: dict[str, float] = {attempt.call_id: attempt.began_at for attempt in self.attempts.values()}
        summary = plan.waits(state, executing, _step_facts, self._error_text)
        self._shown = bool(summary)
        if isinstance(then, Blocked) and then.call is not None:
            summary = tuple(
                Wait(WaitKind.UNKNOWN, wait.name, wait.call, wait.since, None, wait.attempt)
                if wait.call == then.call
                else wait
                for wait in summary
            )
        return summary

    def _recorded(self, entries: list[Entry]) -> tuple[Part, ...]:
        """Arguments of steps that are declared ``record_input=True``, by their fingerprint."""
        state, parts = self._state, {}
        if state is None:
            return ()
        for entry in entries:
            call = state.calls.get(entry.call) if isinstance(entry, Settled) and entry.kind is CallKind.STEP else None
            if call is not None and call.spec.policy.record_input and call.spec.raw is not None:
                sealed = self._services.codec.seal(call.spec.raw, f"arguments of step {call.name!r}")
                parts[call.fingerprint] = Part(call.fingerprint, sealed)
        return tuple(parts.values())

    def _error_text(self, payload: bytes) -> str | None:
        codec = self._services.codec
        return None if codec.hooked else error_line(codec.open(payload))

    # ── inside: delivering ───────────────────────────────────────────────────────────────────────────────────────

    def _after_flush(self, flushed: plan.Flush, answer: Committed) -> None:
        state = self._state
        if state is not None and flushed.count:
            state.taken(flushed.count, flushed.flushed)
        elif state is not None:
            state.taken(0, flushed.flushed)
        for wanted, created in zip(flushed.children, answer.children, strict=False):
            if _is_stranger(wanted.parent, created):
                self._refuse_child(wanted)

    def _refuse_child(self, wanted: NewRun) -> None:
        """The id that a call has chosen for its child belongs to another run."""
        assert wanted.parent is not None
        call = None if self._state is None else self._state.calls.get(CallId(wanted.parent.call))
        if call is not None:
            error = RunConflict(f"Run {wanted.id} exists already and is not this call's child.", wanted.id)
            payload = self._services.codec.seal(dump_error(error), "a child's conflict")
            self._outbox.append(Settled(CallKind.CHILD, call.id, call.fingerprint, False, payload))

    async def _meet_strangers(self) -> None:
        """After a replay: a child's start was committed, but a crash may have cut what its answer was."""
        state = self._live_state()
        unflushed = {command.run.id for command in state.fired if isinstance(command, StartChild)}
        started = [
            call.spec.run
            for call in state.calls.values()
            if isinstance(call.spec, ChildSpec) and _has_chosen_id(call.spec.run) and call.spec.run.id not in unflushed
        ]
        for start in range(0, len(started), 500):
            page = started[start : start + 500]
            rows = await self._services.weather.through(
                lambda page=page: self._services.store.get([run.id for run in page])  # type: ignore[misc]
            )
            for run, row in zip(page, rows, strict=True):
                if row is not None and row.parent != run.parent:
                    self._refuse_child(run)

    def _deliver(self, entries: list[Entry], at: float) -> None:
        state = self._state
        if state is None or not entries:
            return
        with activation:
            for entry in entries:
                state.apply(entry, at)
                if isinstance(entry, AttemptFailed | NotDone) and entry.call in state.calls:
                    self._retrying.append(state.calls[entry.call])
                elif isinstance(entry, AttemptBegun):
                    ahead = self._aheads.pop(entry.call, None)
                    if ahead is not None and not ahead.done():
                        ahead.set_result(None)

    def _follow(self, then: Then) -> None:
        match then:
            case Running():
                missed, self._woken_in_commit = self._woken_in_commit, False
                self._look(everything=missed)
            case Ended() | Blocked() | Continued():
                if isinstance(then, Ended):
                    self._services.ended(self.id)
                self._leave(keep=False)
            case Waiting() | Paused() | Released():
                self._leave(keep=True)
            case Closed() | Rewound():
                raise AssertionError("preludes are written by ``write``")
            case _ as never:
                assert_never(never)

    def _not_due(self, entries: list[Entry], chosen: Selection, answer: Committed) -> None:
        """A timer was not due after all: keep the outcomes, and ask again when it is."""
        timers = {id(entry) for entry in chosen.entries}
        self._outbox[:0] = [
            entry for entry in entries if id(entry) not in timers and not isinstance(entry, PatchMarked)
        ]
        self._services.time.heard(answer.now)
        if chosen.not_before is not None:
            self._wake_at(chosen.not_before)
        if self._outbox or any(isinstance(entry, Settled) and entry.message for entry in chosen.entries):
            self._dirty()

    # ── inside: looking at the state after an activation ─────────────────────────────────────────────────────────

    def _look(self, *, everything: bool = False) -> None:
        state = self._live_state()
        if state.violation is not None:
            self._block("workflow_code", str(state.violation))
            return
        for complaint in state.loop.complaints:
            _log.error("In run %s: %s", self.id, complaint.get("message"), exc_info=complaint.get("exception"))
        state.loop.complaints.clear()
        for call in state.abandoned_calls:
            self._drop_attempt(call.id)
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
        self._dirty()

    def _begin_attempts(self, state: RunState, calls: Iterable[Call]) -> None:
        """Begin what may begin now; for the rest remember when to look again."""
        now = self._services.time.now()
        in_outbox = {entry.call for entry in self._outbox if isinstance(entry, Settled | AttemptFailed | NotDone)}
        begins = not (self.draining or self._pausing is not None or self._final is not None)
        for call in calls:
            if call.kind is CallKind.TIMER:
                self._wake_at(call.due)
            elif call.kind is CallKind.STEP and call.id in state.calls and call.id not in self.attempts:
                if call.retry_at is not None and call.retry_at > now:
                    self._wake_at(call.retry_at)
                elif begins and call.id not in in_outbox:
                    call.retry_at = None
                    number = max(call.failed, call.begun, call.not_done) + 1
                    self.attempts[call.id] = self._services.executor.begin(self, call, number, self._key(call))

    def _key(self, call: Call) -> str:
        return idempotency_key(self.id, self.run.generation, call.id)

    def _drop_attempt(self, call: CallId) -> None:
        self._outbox = [entry for entry in self._outbox if getattr(entry, "call", None) != call]
        attempt = self.attempts.pop(call, None)
        if attempt is not None:
            attempt.dropped = True
            if attempt.task is not None:
                attempt.task.cancel()

    def _finish(self, state: RunState) -> None:
        if self._final is None:
            self._final = endings.ending(state, self._claim, self.workflow, self._services.codec, self._services.clock)

    def _block(self, kind: str, reason: str, call: str | None = None) -> None:
        for attempt in list(self.attempts):
            self._drop_attempt(attempt)
        if self._state is not None:
            self._state.fired.clear()
        self._final = Blocked(kind, reason, call)
        _log.warning(reason if kind == "non_determinism" else f"Run {self.id} is blocked: {reason}")
        self._dirty()

    def _note(self, entry: Entry) -> None:
        self._noted = True
        self._outbox.append(entry)
        self._dirty()

    def _note_pause(self) -> None:
        if self._pausing is None:
            self._pausing = next((item for item in self._unread if item.message.kind is MessageKind.PAUSE), None)

    def _unreadable(self, call: Call, payload: bytes) -> str | None:
        spec: SignalSpec = call.spec
        try:
            value_type: ValueType[Any] = spec.value_type
            value_type.load(self._services.codec.open(payload), f"signal {call.name!r}")
        except Exception as error:
            return str(error)[:500]
        return None

    def _dirty(self) -> None:
        if not self._in_commit and not self._closed and (self._live or self._final is not None):
            self._services.committer.submit(self)

    def _wake_at(self, instant: float | None) -> None:
        """Look again at this store time, if the run is still held then; the earliest instant asked for wins."""
        if instant is None or (self._wake_instant is not None and self._wake_instant <= instant):
            return
        if self._wake is not None:
            self._wake.cancel()
        self._wake_instant = instant
        delay = min(max(0.0, instant - self._services.time.now()), 86_400.0)
        self._wake = asyncio.get_running_loop().call_later(delay + 0.0005, self._woken)

    def _woken(self) -> None:
        self._wake = None
        self._wake_instant = None
        if self._in_commit:
            self._woken_in_commit = True  # looked at when the store has answered
        elif not self._closed and self._live:
            self._look(everything=True)

    def _live_state(self) -> RunState:
        assert self._state is not None
        return self._state

    async def _confirm_pause(self, pausing: InboxMessage) -> None:
        """Steps in flight may have taken long: a resume meanwhile has consumed the pause."""
        read = partial(self._services.store.messages, self.id, pausing.seq - 1, 1)
        unread = await self._services.weather.through(read)
        if self._closed or self._pausing is not pausing:
            return
        if any(item.message.id == pausing.message.id for item in unread):
            self._pause_confirmed = True
            self._dirty()
        else:
            self._pausing = None
            self._unread = [item for item in self._unread if item.message.id != pausing.message.id]
            self._note_pause()
            self._look(everything=True)

    def _children_terminated(self, closes: list[CloseChild]) -> bool:
        """Terminating is idempotent by its request id, so it comes before the commit that calls it done."""
        left = [close for close in closes if close.request_id not in self._terminated]
        if left and not self._terminating:
            self._terminating = True
            self._spawn(self._terminate_children(left))
        return not left

    async def _terminate_children(self, closes: list[CloseChild]) -> None:
        reason = "its parent gave up waiting"
        verb = Terminate(reason, endings.cancelled_outcome(self._services.codec, reason))
        controls = [Control(RunId(close.run), close.request_id, verb) for close in closes]
        await self._services.weather.through(partial(self._services.store.control, controls))
        self._terminated.update(close.request_id for close in closes)
        self._terminating = False
        self._dirty()

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _leave(self, *, keep: bool) -> None:
        if self._closed:
            return
        self._closed = True
        if self._wake is not None:
            self._wake.cancel()
        for call in list(self.attempts):
            self._drop_attempt(call)
        for ahead in self._aheads.values():
            ahead.cancel()
        state, self._state = self._state, None
        if state is not None and not keep:
            with activation:
                state.close()
            state = None
        self._gone(self, state)


class _Prelude:
    """A ready-made commit on its way through the committer."""

    def __init__(self, commit: Commit, answer: asyncio.Future[Committed]) -> None:
        self.commit = commit
        self.answer = answer

    def build(self) -> Commit | None:
        return self.commit

    def committed(self, commit: Commit, answer: Committed) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)

    def broken(self, error: BaseException) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


def run_facts(run: RunRecord, workflow: Workflow[..., Any]) -> RunFacts:
    """What replay may know of a run, from its row."""
    assert run.started_at is not None
    limit = workflow.policy.timeout
    forked = FORK_LABEL in run.labels  # its workflow time began with the run it was copied from
    return RunFacts(
        run.id,
        run.generation,
        run.seed,
        run.started_at,
        run.position,
        run.flushed,
        workflow.policy.replay == "tolerant",
        run.created_at if forked else 0.0,
        None if limit is None else (run.created_at if forked else run.started_at) + limit,
    )


def _has_chosen_id(child: NewRun) -> bool:
    parent = child.parent
    return parent is not None and child.id != child_id(parent.run, parent.generation, parent.call)


def _is_stranger(parent: Any, created: Created) -> bool:
    return created.outcome is not Creation.CREATED and created.parent != parent


def _step_facts(call: Call) -> plan.StepFacts:
    spec = call.spec
    if isinstance(spec, StepSpec):
        return plan.StepFacts(spec.policy.retry.max_attempts)
    if isinstance(spec, ChildSpec):
        return plan.StepFacts(None, spec.run.id)
    return plan.StepFacts(None)
