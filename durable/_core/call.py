"""A call: what workflow code has asked for and awaits, and where in the code it is written."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from types import CodeType
from typing import Any, Final, assert_never

from durable._core.loop import WorkflowFuture, WorkflowLoop
from durable._core.nobody import nobody
from durable._model.entries import AttemptBegun, AttemptFailed, CallKind, NotDone, Settled
from durable._model.ids import CallId

__all__ = [
    "MISSING",
    "Call",
    "CallFuture",
    "Note",
    "Place",
    "keep_note",
    "line_of",
    "place",
    "place_text",
    "timer_print",
]

Place = tuple[CodeType, int]  # and the offset of the instruction in it
Note = AttemptFailed | AttemptBegun | NotDone
MISSING: Final = object()
_INNER: Final = ("asyncio", "durable.", "contextlib")
_OUTER: Final = ("durable.cli",)  # the demo's workflows ship inside the package
_inner_files: Final[dict[str, bool]] = {}


class CallFuture(WorkflowFuture[Settled | None]):
    """Where a call's outcome arrives; it tells the run when the code gives up waiting."""

    def __init__(self, loop: WorkflowLoop, call: Call, given_up: Callable[[Call], None]) -> None:
        super().__init__(loop=loop)
        self._run_call = call
        self._given_up = given_up

    def cancel(self, msg: Any = None) -> bool:
        if self.done():
            return False
        self._given_up(self._run_call)
        return super().cancel(msg)

    def let_go(self) -> None:
        """The run leaves memory: neither it nor the task that waits here is held any longer."""
        self._given_up = nobody
        super().cancel()


class Call:
    """A call that was made and awaits its outcome.

    Attributes:
        spec: What the author's floor needs to carry it out; opaque here.
        issued_at: Workflow time at which it was made.
        raw: Encoded arguments; None if it has none.
        given: The arguments themselves, where nobody can change them; None: they are decoded when they are needed.
        due: For timers.
        place: Where it is written.
        loaded: The round-tripped value of an outcome produced in this process, to spare a second decoding.
        failed: Attempts that have failed, by committed notes.
        begun: Highest attempt with a committed begin note.
        not_done: Highest begun attempt that is established not to have happened.
        retry_at: Earliest time of the next attempt.
        progress: Last heartbeat details, committed.
        last_error: Payload of the last failed attempt.
        on_abandon: Called when the code gives up waiting.
    """

    # What most calls never have is the class's: there are as many calls as steps, and each is made in a microsecond.
    raw: bytes | None = None
    given: tuple[Any, ...] | None = None
    future: CallFuture | None = None
    handle: asyncio.TimerHandle | None = None
    due: float | None = None
    place: Place | None = None
    loaded: Any = MISSING
    failed: int = 0
    begun: int = 0
    not_done: int = 0
    retry_at: float | None = None
    progress: bytes | None = None
    last_error: bytes | None = None
    on_abandon: Callable[[], None] | None = None

    def __init__(self, id: CallId, kind: CallKind, name: str, fingerprint: str, spec: Any, issued_at: float) -> None:
        self.id = id
        self.kind = kind
        self.name = name
        self.fingerprint = fingerprint
        self.spec = spec
        self.issued_at = issued_at


def keep_note(call: Call, note: Note, now: float) -> None:
    """What a note tells of its call."""
    match note:
        case AttemptFailed():
            call.failed = max(call.failed, note.attempt)
            call.begun = max(call.begun, note.attempt)
            call.retry_at = now + note.delay_seconds
            call.last_error = note.payload
            call.progress = note.progress if note.progress is not None else call.progress
        case AttemptBegun():
            call.begun = max(call.begun, note.attempt)
            call.progress = note.progress if note.progress is not None else call.progress
        case NotDone():
            call.not_done = max(call.not_done, note.attempt)
        case _ as never:
            assert_never(never)


def timer_print(seconds: float) -> str:
    """The fingerprint of a timer: how long it runs, in milliseconds."""
    return str(round(max(seconds, 0.0) * 1000))


def place(depth: int) -> Place | None:
    """The nearest caller outside asyncio and this package, ``depth`` frames up at least."""
    frame = sys._getframe(depth)
    for _ in range(12):
        file = frame.f_code.co_filename
        inner = _inner_files.get(file)
        if inner is None:
            module = frame.f_globals.get("__name__", "")
            inner = module.startswith(_INNER) and not module.startswith(_OUTER)
            _inner_files[file] = inner
        if not inner:
            return frame.f_code, frame.f_lasti
        if frame.f_back is None:
            return None
        frame = frame.f_back
    return None


def place_text(found: Place | None) -> str | None:
    """``orders.py:31``."""
    return None if found is None else f"{found[0].co_filename.rsplit('/', 1)[-1]}:{line_of(found)}"


def line_of(found: Place) -> int:
    """The number of the line at which a call is written: looked up only where people are told of it."""
    code, offset = found
    for start, end, line in code.co_lines():
        if start <= offset < end and line is not None:
            return line
    return code.co_firstlineno
