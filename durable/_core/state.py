"""A run's state: workflow code between two entries. ``start`` and ``apply`` are the whole of its input.

Law: the same journal gives the same calls and commands, live and in replay, in every process. Entries are applied one
at a time, in journal order; each is delivered alone, and the loop then spins until nothing is ready (an activation).
"""

from __future__ import annotations

import asyncio
import contextvars
from asyncio import events
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from durable._core import matching
from durable._core.call import Call, CallFuture, Note, keep_note, place, place_text, timer_print
from durable._core.identity import MAIN_PATH
from durable._core.loop import Poisoned, WorkflowLoop, WorkflowTask
from durable._model.commands import Command, MarkPatch
from durable._model.entries import (
    AttemptBegun,
    AttemptFailed,
    CallKind,
    CancelAsked,
    Entry,
    NotDone,
    PatchMarked,
    Rebegun,
    Settled,
)
from durable._model.ids import CallId
from durable.errors import NonDeterminismError, WorkflowCodeError

__all__ = ["Poisoned", "RunFacts", "RunState"]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run's code may depend on, besides its input and its journal.

    Attributes:
        seed: Seeds random numbers, uuids and hashes.
        started_at: Workflow time at position 0.
        flushed: (activation, count) of fire-and-forget commands that are in the store already.
        tolerant: Whether entries without a call are set aside rather than reported.
        unchecked_until: Entries up to this time were copied by a fork; their fingerprints are not compared.
        time_limit: Seconds after which the run is cancelled by its own limit.
    """

    run: str
    generation: int
    seed: str
    started_at: float
    flushed: tuple[int, int] = (0, 0)
    tolerant: bool = False
    unchecked_until: float = 0.0
    time_limit: float | None = None


DEADLINE: Final = CallId("~/timer/time limit#0")


_running_loop: Final = events._get_running_loop
_UNWIND_MAX: Final = 1000
_undying: Final[list[Any]] = []  # code that catches everything, for ever; the collector must not run it either


class RunState:
    """One run's code, its pending calls and its unflushed commands.

    Attributes:
        calls: Pending calls by identity, in the order in which they were made.
        new_calls: Made since the engine last looked.
        abandoned_calls: Given up by the code since the engine last looked.
        fired: Commands not yet flushed.
        records: Some of its steps want their arguments recorded.
        recorder: What the engine knows of those it has recorded; opaque here.
        cancel_cause: ``"cancel"`` or ``"timeout"`` once a cancel was applied.
        finished: The code has come to its end, clean-up included.
        violation: The first forbidden thing that the code did.
    """

    def __init__(self, facts: RunFacts) -> None:
        self.facts = facts
        self.loop = WorkflowLoop(  # type: ignore[abstract]
            int(facts.seed[:15] or "1", 16), self._timer_set, self._timer_cancelled, self._violated
        )
        self.loop.now = facts.started_at
        self.position = 0
        self.calls: dict[CallId, Call] = {}
        self.new_calls: list[Call] = []
        self.abandoned_calls: list[Call] = []
        self.fired: list[Command] = []
        self.records = False
        self.recorder: Any = None
        self.children_started = 0
        self.cancel_cause: str | None = None
        self.cancel_payload = b""
        self.finished = False
        self.violation: WorkflowCodeError | None = None
        self._abandoned: set[CallId] = set()
        self._timers: dict[int, Call] = {}  # by id: timer handles are equal when they do the same at the same instant
        self._aside: dict[CallId, Settled] = {}
        self._notes_aside: dict[CallId, list[tuple[Note, int]]] = {}
        self._patches: dict[str, bool] = {}
        self._marked: set[str] = set()
        self._at = 0.0
        self._activation = 0
        self._fired_here = 0
        self._fired_at: list[tuple[int, int]] = []  # beside ``fired``: activation, and the how-manieth of it
        self._main: WorkflowTask[Any] | None = None
        self._ending = False
        self._flushed = facts.flushed

    # ── input ────────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, program: Callable[[], Coroutine[Any, Any, Any]], marked: frozenset[str] = frozenset()) -> None:
        """Run the code from its beginning to its first wait.

        Args:
            program: Makes the main coroutine.
            marked: Changes that the journal marks as patched.
        """
        self._marked = set(marked)
        with self.loop.inside():
            coroutine = program()
        if self.facts.time_limit is not None:
            due = self.now + self.facts.time_limit
            limit = Call(DEADLINE, CallKind.TIMER, "time limit", "", None, self.now)
            limit.due = due
            self.calls[limit.id] = limit
            self.new_calls.append(limit)
        self._main = self.loop.create_task(coroutine, context=contextvars.Context())
        assert self._main.path == MAIN_PATH
        self._activate()

    def apply(self, entry: Entry, at: float) -> None:
        """Apply the next journal entry; a settled call or a cancel is delivered and activates the code.

        Raises:
            NonDeterminismError: The entry does not belong to a call that the code has made.
        """
        position = self.position
        self.position = position + 1
        self._at = at
        if at > self.loop.now:
            self.loop.now = at
        match entry:
            case Settled():
                self._settle(entry, position)
            case CancelAsked():
                self._activation, self._fired_here = self.position, 0
                self._cancel(entry)
                self._activate()
            case AttemptFailed() | AttemptBegun() | NotDone():
                self._note(entry, position)
            case PatchMarked():
                self._marked.add(entry.change)
            case Rebegun():
                limit = self.calls.get(DEADLINE)
                if limit is not None and self.facts.time_limit is not None:
                    limit.due = self.now + self.facts.time_limit

    # ── what the author's floor does ─────────────────────────────────────────────────────────────────────────────

    def check_inside(self) -> None:
        """Refuse to do anything for code that does not run as this run's.

        Raises:
            WorkflowCodeError: It is a step, a thread, another run, or the run has left memory.
        """
        if self.loop.poisoned:
            raise Poisoned
        running = _running_loop()
        if running is self.loop:
            return
        message = (
            "A workflow's Context was used outside its workflow: in a step, in a thread or after the run's end. "
            "Give steps what they need as arguments, and let them return what the workflow needs."
        )
        if isinstance(running, WorkflowLoop):
            running.refuse(message)
        raise WorkflowCodeError(message)

    def identify(self, kind: str, name: str) -> CallId:
        """Draw the identity of a call that is being written here."""
        loop = self.loop
        if _running_loop() is not loop or loop.poisoned:
            self.check_inside()
        place = loop.place()
        key = f"{kind}/{name}"
        occurrence = place.written.get(key, 0)
        place.written[key] = occurrence + 1
        return CallId(f"{place.path}/{key}#{occurrence}")

    def issue(self, call: Call) -> CallFuture:
        """Make a call: from now on an entry may settle it."""
        if _running_loop() is not self.loop or self.loop.poisoned:
            self.check_inside()
        future = call.future = CallFuture(self.loop, call, self.abandon)
        self.calls[call.id] = call
        self.new_calls.append(call)
        return future

    def fire(self, command: Command) -> None:
        """Issue a command that awaits no outcome; one that is in the store already is dropped."""
        self.check_inside()
        at = (self._activation, self._fired_here)
        self._fired_here += 1
        if at >= self._flushed:
            self.fired.append(command)
            self._fired_at.append(at)

    def fire_again(self, command: Command) -> None:
        """Issue a command that replay has dropped as one of before, and that the store turns out not to have."""
        self.fired.append(command)
        self._fired_at.append(self._flushed)

    def patched(self, change: str) -> bool:
        """Whether this run takes the new path; decided at the first asking and the same ever after."""
        self.check_inside()
        known = self._patches.get(change)
        if known is None:
            marked = change in self._marked
            known = self._patches[change] = marked or not self.replaying
            if marked:
                self._fired_here += 1  # as when it was fired, so that later commands keep their numbers
            elif known:
                self.fire(MarkPatch(change))
        return known

    def abandon(self, call: Call) -> None:
        """The code has given up waiting for this call."""
        if self.calls.pop(call.id, None) is None:
            return
        call.future = None
        self._abandoned.add(call.id)
        self.abandoned_calls.append(call)
        if call.on_abandon is not None and not self.loop.poisoned:
            call.on_abandon()

    # ── what the engine asks ─────────────────────────────────────────────────────────────────────────────────────

    @property
    def poisoned(self) -> bool:
        """Whether the run has left memory; nothing of it does anything any more."""
        return self.loop.poisoned

    @property
    def replaying(self) -> bool:
        """Whether the code that runs now has run before, as far as the store knows.

        A commit after an activation tells that it was run. A later entry alone does not: both may be of one commit,
        whose worker died before it ran anything, so that code which was never seen would take the old path.
        """
        return (self._activation, self._fired_here) < self._flushed

    @property
    def in_main_task(self) -> bool:
        """Whether the main task's code runs now."""
        return self.loop.place() is self._main

    @property
    def ending(self) -> bool:
        """Whether the main task is done and only clean-up goes on."""
        return self._ending

    @property
    def now(self) -> float:
        """Workflow time: the last entry's."""
        return self.loop.now

    def flushed_now(self) -> tuple[int, int]:
        """What ``flushed`` becomes when all of ``fired`` is committed."""
        return (self._activation + 1, 0)

    def flushed_part(self, count: int) -> tuple[int, int]:
        """What ``flushed`` becomes when only the first ``count`` of ``fired`` are committed."""
        return self._fired_at[count]

    def taken(self, count: int, flushed: tuple[int, int]) -> None:
        """The first ``count`` of ``fired`` have been committed."""
        if count:
            del self.fired[:count]
            del self._fired_at[:count]
        self._flushed = max(self._flushed, flushed)

    def outcome(self) -> tuple[Any, BaseException | None]:
        """(result, exception) of the main task; only when ``finished``."""
        assert self._main is not None
        assert self._main.done()
        if self._main.cancelled():
            return None, asyncio.CancelledError()
        error = self._main.exception()
        return (None, error) if error is not None else (self._main.result(), None)

    def close(self) -> None:
        """Evict: poison the context, then close every coroutine here and now, on its own loop (B76, B77)."""
        self.loop.poisoned = True
        with self.loop.inside():
            for task in reversed(self.loop.live_tasks()):
                told: Any = task  # the type stubs do not know the attribute
                told._log_destroy_pending = False
                task.variables.run(_unwind, task.get_coro())
            for generator in reversed(self.loop.take_generators()):
                contextvars.Context().run(_unwind, generator.aclose())
        for call in self.calls.values():
            if call.future is not None:
                call.future.let_go()
                call.future = None
        self.calls.clear()
        self._main = None
        self.loop.close_for_good()

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _settle(self, entry: Settled, position: int) -> None:
        self._activation, self._fired_here = self.position, 0
        call = self.calls.get(entry.call)
        if call is None:
            if entry.call in self._abandoned:
                return  # given up meanwhile: time has advanced, nothing is delivered
            if not self.facts.tolerant or self.finished:
                if self.finished and self.facts.tolerant:
                    return
                self._mismatch(entry.call, position, "ended" if self.finished else "absent")
            self._aside[entry.call] = entry
            return
        if call.fingerprint != entry.fingerprint:
            self._compare(call, entry.fingerprint, position)
        self._deliver(call, entry)
        self._activate()

    def _deliver(self, call: Call, entry: Settled) -> None:
        del self.calls[call.id]
        future = call.future
        if future is not None:
            call.future = None  # no cycle is left for the collector
            if not future.done():
                future.set_result(entry)
        elif call.handle is not None:
            self._timers.pop(id(call.handle), None)
            self.loop.ready(call.handle)
        elif call.id == DEADLINE:
            self._cancel(CancelAsked("timeout", b""))

    def _cancel(self, entry: CancelAsked) -> None:
        if self.cancel_cause is not None or self._main is None:
            return
        self.cancel_cause = entry.cause
        self.cancel_payload = entry.payload
        with self.loop.inside():  # giving up a call may issue commands
            self._main.cancel("the run was cancelled" if entry.cause == "cancel" else "the run's time limit passed")

    def _activate(self) -> None:
        self.loop.spin()
        while self._aside:
            fitting = next((call for call in self._aside if call in self.calls), None)
            if fitting is None:
                break
            entry = self._aside.pop(fitting)
            self._compare(self.calls[fitting], entry.fingerprint, self.position - 1)
            self._deliver(self.calls[fitting], entry)
            self.loop.spin()
        assert self._main is not None
        if self._main.done() and not self.finished:
            self._end()
        if self._notes_aside:
            self._take_notes()

    def _end(self) -> None:
        """The main task is done: other tasks are cancelled and spun to quiet; their clean-up may run steps."""
        if not self._ending:
            self._ending = True
            with self.loop.inside():
                for task in self.loop.live_tasks():
                    if not task.sheltered:
                        task.cancel("the workflow has ended")
            self.loop.spin()
        while not self.loop.live_tasks() and (left := self.loop.take_generators()):
            for generator in left:
                self.loop.create_task(generator.aclose(), context=contextvars.Context())
            self.loop.spin()
        awaited = any(call.kind is not CallKind.SIGNAL and call.id != DEADLINE for call in self.calls.values())
        if not self.loop.live_tasks() or not awaited:
            self.finished = True
            with self.loop.inside():
                for call in list(self.calls.values()):
                    self.abandon(call)

    def _timer_set(self, when: float, handle: asyncio.TimerHandle) -> None:
        call = Call(
            self.identify("timer", "timer"), CallKind.TIMER, "timer", timer_print(when - self.now), None, self.now
        )
        call.due, call.handle, call.place = when, handle, place(3)
        self._timers[id(handle)] = call
        self.calls[call.id] = call
        self.new_calls.append(call)

    def _timer_cancelled(self, handle: asyncio.TimerHandle) -> None:
        call = self._timers.pop(id(handle), None)
        if call is not None:
            self.abandon(call)

    def _violated(self, error: WorkflowCodeError) -> None:
        if self.violation is None:
            self.violation = error

    def _note(self, note: Note, position: int) -> None:
        call = self.calls.get(note.call)
        if call is not None:
            self._compare(call, note.fingerprint, position)
            keep_note(call, note, self.loop.now)
        elif note.call not in self._abandoned:
            if not self.facts.tolerant:
                self._mismatch(note.call, position, "ended" if self.finished else "absent")
            # An at-most-once attempt that has begun must not be forgotten because another call was put in front of it.
            self._notes_aside.setdefault(note.call, []).append((note, position))

    def _take_notes(self) -> None:
        """Notes that were set aside, for calls that have been made meanwhile."""
        for call_id in [call_id for call_id in self._notes_aside if call_id in self.calls]:
            for note, position in self._notes_aside.pop(call_id):
                self._compare(self.calls[call_id], note.fingerprint, position)
                keep_note(self.calls[call_id], note, self.loop.now)

    def _compare(self, call: Call, fingerprint: str, position: int) -> None:
        if call.fingerprint != fingerprint and self._at > self.facts.unchecked_until:
            self._mismatch(call.id, position, "arguments", place_text(call.place) or "")

    def _mismatch(self, expected: str, position: int, why: str, found: str | None = None) -> None:
        if self.violation is not None:
            why, found = "absent", f"does what a workflow may not: {self.violation}"
        if found is None:
            pending = [(call.id, place_text(call.place)) for call in self.calls.values()]
            found = (
                "has ended" if why == "ended" else matching.found_in_code(pending, (c.id for c in self.calls.values()))
            )
        problem = matching.Mismatch(self.facts.run, position, expected, found, why)
        raise NonDeterminismError(matching.report(problem))


def _unwind(coroutine: Any) -> None:
    """Close a coroutine, however many awaits stand in its ``finally`` blocks.

    Not by ``close``: it gives up at the first such await, and leaves the coroutines below it to the collector, which
    would run their clean-up in the middle of another run. What clean-up raises is not an outcome: the run is leaving
    memory.
    """
    for _ in range(_UNWIND_MAX):
        try:
            coroutine.throw(Poisoned())
        except BaseException:
            return
    _undying.append(coroutine)
