"""A rehearsal: one run's journal against the code as it is now, without an effect and without a write.

What a worker would do when it takes the run up is done here with the same core, up to the point where effects begin:
workflow code runs, its calls meet their entries, and what is left pending is compared with what the store knows.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, final

from durable._author.calls import Scope
from durable._author.context import Context, Continue
from durable._author.definitions import Workflow
from durable._core.call import Call, Place, line_of, place_text
from durable._core.identity import kind_of, name_of
from durable._core.plan import LAYERS_OWN
from durable._core.state import DEADLINE, RunState
from durable._engine import endings
from durable._engine.guard import activation
from durable._engine.takeup import run_facts
from durable._model.entries import CallKind, CancelAsked, Entry, PatchMarked, Settled, decode_entry
from durable._model.ids import CallId
from durable._model.runs import RunRecord, RunStatus, Wait
from durable.codec import Codec
from durable.errors import Corrupt, DurableError, InvalidInput, NonDeterminismError, WorkflowCodeError

__all__ = ["Fit", "NewCall", "Rehearsal", "Row", "rehearse"]

Row = tuple[bytes, float]
"""(bytes, store time) of a journal entry."""

_BREATH: Final = 500  # entries between two breaths of the caller's loop
_WAITS_SHOWN: Final = 20  # a row tells of so many waits


class Fit(StrEnum):
    """How the code as it is now fits a run. ``CONFLICT``, ``NO_CODE`` and ``UNREADABLE`` runs cannot go on."""

    UNCHANGED = "unchanged"  # it waits for what it waited for
    GAINS = "gains"  # it goes on, and makes calls that the store does not know (an ended run: beyond its end)
    DROPS = "drops"  # it goes on, and no longer wants something that it waited for or has an outcome of
    CONFLICT = "conflict"  # a worker would block it
    NO_CODE = "no_code"  # no such workflow or version was given
    UNREADABLE = "unreadable"  # its input, a payload or an entry cannot be read

    @property
    def goes_on(self) -> bool:
        """Whether a worker with this code can carry the run on."""
        return self in (Fit.UNCHANGED, Fit.GAINS, Fit.DROPS)


@dataclass(frozen=True, slots=True)
class NewCall:
    """A call that the code makes now and that the store does not know.

    Attributes:
        call: Its identity.
        kind: ``step``, ``timer``, ``signal`` or ``child``.
        place: Where it is written, as ``shop.py:31``; empty if unknown.
        line: That line of the source; empty if it cannot be had.
    """

    call: str
    kind: str
    name: str
    place: str = ""
    line: str = ""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What came of one run.

    Attributes:
        run: Its id.
        version: Of the code that was tried; the run's own where it has one.
        status: Of the run as it was read.
        entries: Length of the journal that was replayed.
        in_motion: The store does not know (yet) what the run waits for: it executes, or was cut by a crash, or has not
            begun. Gains and drops of such a run show only where its journal tells of them.
        gains: Calls pending after the replay that the store neither names among the run's waits nor has a note of.
        drops: Names of calls that the run waits for, or (tolerant replay) has outcomes of, and the code does not make.
        position: Of the journal entry that does not fit or cannot be read.
        place: Of the code that does not fit, as ``shop.py:31``; empty if there is none (the code has ended).
        line: That line of the source.
        kind: As in ``RunRecord.blocked_kind``: ``non_determinism``, ``workflow_code``, ``payload`` or ``engine``.
        reason: What a worker would say: for a conflict the message of its ``NonDeterminismError``.
        end: How the code ended with the journal, as ``returns "42"`` or ``raises Refused``; empty if it goes on.
    """

    run: str
    workflow: str
    version: str | None
    generation: int
    status: str
    fit: Fit
    entries: int = 0
    in_motion: bool = False
    gains: tuple[NewCall, ...] = ()
    drops: tuple[str, ...] = ()
    position: int | None = None
    place: str = ""
    line: str = ""
    kind: str = ""
    reason: str = ""
    end: str = ""


def rehearse(
    run: RunRecord,
    workflow: Workflow[..., Any],
    codec: Codec,
    sealed: bytes,
    rows: Sequence[Row],
    *,
    rewound: bool = False,
) -> Generator[None, None, Rehearsal]:
    """Replay; yields now and then, for a caller that has an event loop to let breathe, and returns what came of it.

    Args:
        sealed: The run's input.
        rows: The journal, as long as ``run.position`` says.
        rewound: These entries are what a retry or fork will keep: arguments are not compared, and nothing is new.
    """
    return (yield from _Stage(run, workflow, codec, rewound).play(sealed, rows))


@final
class _Reader:
    """A payload hook for a codec of the rehearsal's own: it notes what cannot be read, and seals nothing."""

    def __init__(self, codec: Codec) -> None:
        self.problem: str | None = None
        self._codec = codec

    def encode(self, data: bytes) -> bytes:
        return data  # what a rehearsal would write is thrown away; a key service need not hear of it

    def decode(self, data: bytes) -> bytes:
        try:
            return self._codec.open(data)
        except Exception as error:
            self.problem = self.problem or f"A payload cannot be opened: {type(error).__name__}: {error}"
            raise


@final
class _Stage:
    """One run being rehearsed."""

    def __init__(self, run: RunRecord, workflow: Workflow[..., Any], codec: Codec, rewound: bool) -> None:
        self._run = run
        self._workflow = workflow
        self._rewound = rewound
        self._reader = _Reader(codec)
        self._codec = Codec(hook=self._reader, payload_bytes_max=codec.payload_bytes_max)
        self._entries: list[tuple[Entry, float]] = []

    def play(self, sealed: bytes, rows: Sequence[Row]) -> Generator[None, None, Rehearsal]:
        run = self._run
        begun = run if run.started_at is not None else replace(run, started_at=run.created_at)
        facts = run_facts(begun, self._workflow)
        if self._rewound:  # as the rewinder does it
            facts = replace(facts, flushed=(len(rows) + 2, 0), unchecked_until=run.at + 1e9)
        state = RunState(facts)
        context = Context(Scope(state, self._codec, run.queue, run.priority))
        context.log.disabled = True  # what lies behind the journal has not happened
        program = endings.program(self._workflow, context, self._codec, sealed)
        if isinstance(program, InvalidInput):
            return self._unreadable(None, str(program))
        for position, (data, at) in enumerate(rows):
            try:
                self._entries.append((decode_entry(data), at))
            except Corrupt as error:
                return self._unreadable(position, str(error))
        if run.started_at is None and not self._rewound:
            return self._done(Fit.UNCHANGED, in_motion=True)  # it has not begun, so it takes the code as it is
        try:
            problem = yield from self._through(state, program)
            return self._compared(state) if problem is None else problem
        finally:
            with activation:
                state.close()

    def _through(
        self, state: RunState, program: Callable[[], Coroutine[Any, Any, Any]]
    ) -> Generator[None, None, Rehearsal | None]:
        """Apply the whole journal; what kept it from being applied."""
        marked = frozenset(entry.change for entry, _ in self._entries if isinstance(entry, PatchMarked))
        problem = self._act(state, None, lambda: state.start(program, marked))
        for index, (entry, at) in enumerate(self._entries):
            if problem is not None:
                break
            problem = self._act(state, entry, lambda entry=entry, at=at: state.apply(entry, at))  # type: ignore[misc]
            if index % _BREATH == _BREATH - 1:
                yield
        return problem

    def _act(self, state: RunState, entry: Entry | None, act: Callable[[], None]) -> Rehearsal | None:
        """One activation, and what a worker would say about it if it blocked the run now."""
        position = None if entry is None else state.position
        failed: Exception | None = None
        try:
            with activation:
                act()
        except Exception as error:
            failed = error
        violation = state.violation
        if self._reader.problem is not None:
            return self._unreadable(position, self._reader.problem)
        if violation is not None:
            if isinstance(violation.__context__, InvalidInput):  # an outcome that is not of the declared type any more
                return self._unreadable(position, str(violation))
            return self._conflict(position, "workflow_code", str(violation), _raised_at(violation))
        if isinstance(failed, NonDeterminismError):
            return self._conflict(position, "non_determinism", str(failed), _culprit(state, entry))
        if failed is not None:
            return self._conflict(position, "engine", f"{type(failed).__name__}: {failed}", None)
        return None

    # ── what the store knows, and what the code now does ─────────────────────────────────────────────────────────

    def _compared(self, state: RunState) -> Rehearsal:
        if self._rewound:
            return self._done(Fit.UNCHANGED, in_motion=True)
        pending = _shown(state)
        aside = list(state._aside)  # tolerant: outcomes whose calls the code has not made
        told = self._is_told()
        if self._run.ended:  # a cancel may have ended it anywhere
            told = self._run.status is not RunStatus.CANCELLED
            gained = pending if told and not state.finished else []
        elif told:
            gained = _unknown(pending, self._run.waits)
        else:
            gained = [call for call in pending if not _is_noted(call) and _path(call.id) in set(map(_path, aside))]
        blocked_paths = {_path(call.id) for call in gained}
        dropped = [call for call in aside if _path(call) not in blocked_paths]
        if told:
            wanted = {CallId(wait.call) for wait in self._run.waits} - {DEADLINE}
            dropped += sorted(wanted - set(state.calls))
        fit = Fit.GAINS if gained else Fit.DROPS if dropped else Fit.UNCHANGED
        gains = tuple(NewCall(c.id, kind_of(c.id), name_of(c.id), *_where(c.place)) for c in gained)
        drops = tuple(f"{kind_of(call)} {name_of(call)}" for call in dropped)
        return self._done(fit, in_motion=not told, gains=gains, drops=drops, end=self._end(state))

    def _end(self, state: RunState) -> str:
        """In words that stay the same: a result as its JSON, an error as its class."""
        if not state.finished:
            return ""
        result, error = state.outcome()
        if state.cancel_cause is not None:
            return "is cancelled" if state.cancel_cause == "cancel" else "raises TimeoutError"
        if isinstance(error, Continue):
            return f"continues as {error.workflow.name} {error.raw.decode(errors='replace')}"
        if error is not None:
            return f"raises {type(error).__name__}"
        try:
            raw, _ = self._workflow.arguments.result.round_trip(result, "result")
        except DurableError as problem:
            return f"raises {type(problem).__name__}"
        return f"returns {raw.decode(errors='replace')}"

    def _is_told(self) -> bool:
        """Whether the row's waits are those of this very position of the journal.

        They are written with a commit, before what it appends is delivered. A run at rest was given up by a commit that
        appended nothing; one that executes has them right if its last commit held only notes.
        """
        run = self._run
        if not run.waits:
            return False
        settled = {entry.call for entry, _ in self._entries if isinstance(entry, Settled)}
        if any(wait.call in settled for wait in run.waits):
            return False
        if run.status is not RunStatus.RUNNING:
            return True
        return not any(at >= run.at and isinstance(entry, Settled | CancelAsked) for entry, at in self._entries)

    # ── results ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _done(self, fit: Fit, **found: Any) -> Rehearsal:
        run = self._run
        return Rehearsal(
            run.id,
            run.workflow,
            self._workflow.version,
            run.generation,
            run.status.value,
            fit,
            len(self._entries),
            **found,
        )

    def _conflict(self, position: int | None, kind: str, reason: str, at: Place | None) -> Rehearsal:
        place, line = _where(at)
        return self._done(Fit.CONFLICT, position=position, kind=kind, reason=reason, place=place, line=line)

    def _unreadable(self, position: int | None, reason: str) -> Rehearsal:
        return self._done(Fit.UNREADABLE, position=position, kind="payload", reason=reason)


def _shown(state: RunState) -> list[Call]:
    """Pending calls as a row tells of them: without the run's own time limit, timeouts of signal waits, layers' own."""
    timeouts = {call.due for call in state.calls.values() if call.kind is CallKind.SIGNAL and call.due is not None}
    return [
        call
        for call in state.calls.values()
        if call.id != DEADLINE
        and not (call.handle is not None and call.due in timeouts)
        and not (call.kind is CallKind.SIGNAL and call.name.startswith(LAYERS_OWN))
    ]


def _unknown(pending: Sequence[Call], waits: Sequence[Wait]) -> list[Call]:
    """Pending calls that the store does not know, of those that it would tell of.

    A row tells of the first twenty waits in the order of the calls; what comes behind the last of them is not new for
    not being told.
    """
    known = {wait.call for wait in waits}
    told = pending
    if len(waits) >= _WAITS_SHOWN:
        last = max((index for index, call in enumerate(pending) if call.id in known), default=-1)
        told = pending[: last + 1]
    return [call for call in told if call.id not in known and not _is_noted(call)]


def _is_noted(call: Call) -> bool:
    """Whether the journal has a note of an attempt."""
    return max(call.begun, call.failed, call.not_done) > 0


def _path(call: str) -> str:
    """The task in which a call is written."""
    return call.partition("/")[0]


def _culprit(state: RunState, entry: Entry | None) -> Place | None:
    """Where the code stands that does not fit: the call with other arguments, else the first that it waits for."""
    if state.finished:
        return None
    named = state.calls.get(getattr(entry, "call", CallId("")))
    calls = [named] if named is not None else _shown(state)
    return next((call.place for call in calls if call.place is not None), None)


def _raised_at(error: WorkflowCodeError) -> Place | None:
    """The innermost line of users' code in a traceback."""
    found: Place | None = None
    step = error.__traceback__
    while step is not None:
        module = step.tb_frame.f_globals.get("__name__", "")
        if module.partition(".")[0] not in ("asyncio", "durable") or module.startswith("durable.cli"):
            found = step.tb_frame.f_code, step.tb_lasti
        step = step.tb_next
    return found


def _where(place: Place | None) -> tuple[str, str]:
    """(``shop.py:31``, that line of the source)."""
    if place is None:
        return "", ""
    return place_text(place) or "", linecache.getline(place[0].co_filename, line_of(place)).strip()
