"""A take: one run of workflow code on the core alone, and all that it issued, in order."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, assert_never, final

from durable._author.calls import ChildSpec, Scope
from durable._author.context import Context, Continue
from durable._author.definitions import Workflow
from durable._core.call import Call, CallFuture, Place, line_of, place, place_text
from durable._core.identity import kind_of, name_of
from durable._core.state import DEADLINE, RunFacts, RunState
from durable._engine import endings
from durable._engine.guard import activation
from durable._model.commands import CloseChild, Command, EmitItem, MarkPatch, SendMessage, SetValue, StartChild
from durable._model.entries import CancelAsked, Entry, Settled, decode_entry
from durable.codec import Codec
from durable.errors import DurableError, NonDeterminismError
from durable_testing._determinism.scene import Scene

__all__ = ["BEGAN", "RUN", "Drive", "Issued", "Row", "Take", "Turn", "replayed"]

RUN: Final = "checked-run"
SEED: Final = "5eed0123456789abcdef"
BEGAN: Final = 1_700_000_000.0
_GIVEN_CHARS_MAX: Final = 200
_ALL_KNOWN: Final = (1 << 30, 0)

Row = tuple[bytes, float]
"""(bytes, workflow time) of an entry."""


@dataclass(frozen=True, slots=True)
class Issued:
    """One thing that the code asked for.

    Attributes:
        what: As it is compared: kind, identity, fingerprint of the arguments or content, due time.
        shown: For people, as ``step "charge"``.
        given: The arguments or the content, shortened.
        place: Where it is written, as ``shop.py:31``; empty if unknown.
        line: That line of the source.
    """

    what: str
    shown: str
    given: str = field(default="", compare=False)
    place: str = field(default="", compare=False)
    line: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Turn:
    """What one activation issued, and the entry (in words) behind which it ran."""

    after: str
    issued: tuple[Issued, ...]


@dataclass(slots=True)
class Take:
    """A run from its begin to where it ended or was left.

    Attributes:
        rows: The journal.
        end: How the code ended, in words that can be compared; empty if it has not.
        stopped: Why it was not played on: what it did may not be done, or the journal did not fit any more.
        patches: Changes that ``ctx.patched`` answered True.
        waits_for: What it waited for when nothing more could happen.
    """

    rows: list[Row] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    end: str = ""
    stopped: str = ""
    patches: tuple[str, ...] = ()
    waits_for: tuple[str, ...] = ()


@final
class Drive(RunState):
    """A state that notes what its code issues, and plays each activation in a scene.

    Args:
        sealed: The run's input.
        known: The changes that an earlier take marked, if this one is told that all of it has run before.
    """

    def __init__(
        self, workflow: Workflow[..., Any], sealed: bytes, scene: Scene, known: Sequence[str] | None = None
    ) -> None:
        flushed = (0, 0) if known is None else _ALL_KNOWN
        super().__init__(RunFacts(RUN, 1, SEED, BEGAN, flushed, time_limit=workflow.policy.timeout))
        self.codec = Codec()
        self.turns: list[Turn] = []
        self.patches: list[str] = []
        self._workflow = workflow
        self._sealed = sealed
        self._scene = scene
        self._known = frozenset(known or ())
        self._now_issued: list[Issued] = []

    def begin(self) -> None:
        """The first activation.

        Raises:
            InvalidInput: The input does not fit the workflow.
        """
        context = Context(Scope(self, self.codec, "default", 0))
        context.log.disabled = True
        program = endings.program(self._workflow, context, self.codec, self._sealed)
        if isinstance(program, DurableError):
            raise program
        self._play("at its begin", lambda: self.start(program, self._known))

    def deliver(self, data: bytes, at: float) -> None:
        """Apply an entry of the journal."""
        entry = decode_entry(data)
        self._play(_behind(entry), lambda: self.apply(entry, at))

    def end(self) -> str:
        """How the code has ended."""
        if not self.finished:
            return ""
        result, error = self.outcome()
        if isinstance(error, Continue):
            return f"continues as {error.workflow.name} {error.raw.decode(errors='replace')}"
        if error is not None:
            return f"raises {type(error).__name__}"
        try:
            raw, _ = self._workflow.arguments.result.round_trip(result, "result")
        except DurableError as problem:
            return f"returns what cannot be stored ({type(problem).__name__})"
        return f"returns {raw.decode(errors='replace')}"

    def leave(self) -> None:
        """Evict it, as a worker would."""
        with activation:
            self.close()

    def _play(self, after: str, act: Callable[[], None]) -> None:
        self._now_issued = []
        try:
            with activation, self._scene:
                act()
        finally:
            self.turns.append(Turn(after, tuple(self._now_issued)))
            self.new_calls.clear()
            self.abandoned_calls.clear()
            self.loop.complaints.clear()
            self.taken(len(self.fired), self.flushed_now())
        if self.violation is not None:
            raise self.violation

    # ── noting ───────────────────────────────────────────────────────────────────────────────────────────────────

    def issue(self, call: Call) -> CallFuture:
        self._saw_call(call)
        return super().issue(call)

    def _timer_set(self, when: float, handle: Any) -> None:
        super()._timer_set(when, handle)
        self._saw_call(self.new_calls[-1])

    def abandon(self, call: Call) -> None:
        if call.id in self.calls and call.id != DEADLINE and not self.finished and not self.poisoned:
            shown = f'gives up {kind_of(call.id)} "{name_of(call.id)}"'
            self._saw(f"give up {call.id}", shown, "", call.place)
        super().abandon(call)

    def patched(self, change: str) -> bool:
        first = change not in self._patches
        answer = super().patched(change)
        if first:
            if answer:
                self.patches.append(change)
            self._saw(f"patched {change} {answer}", f'ctx.patched("{change}") is {answer}', "", place(2))
        return answer

    def fire(self, command: Command) -> None:
        if not isinstance(command, MarkPatch):
            what, shown, given = _told(command)
            self._saw(what, shown, given, place(2))
        super().fire(command)

    def _saw_call(self, call: Call) -> None:
        kind, name = kind_of(call.id), name_of(call.id)
        due = "" if call.due is None or kind != "timer" else f" {call.due!r}"
        given = "" if call.due is None else f"in {call.due - self.now:g} s"
        if call.raw is not None:
            given = call.raw.decode(errors="replace")
        elif isinstance(call.spec, ChildSpec):
            given = call.spec.run.input.decode(errors="replace")
        self._saw(f"{call.id} {call.fingerprint}{due}", f'{kind} "{name}"', given, call.place)

    def _saw(self, what: str, shown: str, given: str, at: Place | None) -> None:
        line = "" if at is None else linecache.getline(at[0].co_filename, line_of(at)).strip()
        self._now_issued.append(Issued(what, shown, given[:_GIVEN_CHARS_MAX], place_text(at) or "", line))


def _told(command: Command) -> tuple[str, str, str]:
    """(as it is compared, for people, its content)."""
    match command:
        case SetValue(key=key, payload=payload):
            return f"set {key} {payload!r}", f'ctx.set("{key}")', payload.decode(errors="replace")
        case EmitItem(stream=stream, payload=payload):
            return f"emit {stream} {payload!r}", f'ctx.emit("{stream}")', payload.decode(errors="replace")
        case SendMessage(message=message):
            what = f"send {message.run} {message.id} {message.name} {message.payload!r}"
            return what, f'ctx.signal("{message.run}", "{message.name}")', message.payload.decode(errors="replace")
        case StartChild(run=run):
            what = f"start {run.id} {run.workflow} {run.version} {run.queue} {run.input!r} {run.seed}"
            return what, f'start of child run "{run.id}"', run.input.decode(errors="replace")
        case CloseChild(child=run):
            return f"close {run.id}", f'close of child run "{run.id}"', ""
        case MarkPatch(change=change):
            return f"mark {change}", f'mark of "{change}"', ""
        case _ as never:
            assert_never(never)


def _behind(entry: Entry) -> str:
    if isinstance(entry, Settled):
        return f'after {kind_of(entry.call)} "{name_of(entry.call)}"'
    if isinstance(entry, CancelAsked):
        return "after its cancel"
    return f'after a note about "{name_of(getattr(entry, "call", ""))}"'


def replayed(
    workflow: Workflow[..., Any], sealed: bytes, rows: Sequence[Row], scene: Scene, known: Sequence[str] | None = None
) -> Take:
    """The same journal in another scene, up to its end or to where it does not fit any more."""
    drive = Drive(workflow, sealed, scene, known)
    take = Take()
    try:
        drive.begin()
        for data, at in rows:
            drive.deliver(data, at)
            take.rows.append((data, at))
        take.end = drive.end()
    except NonDeterminismError:
        take.stopped = "the journal does not fit any more"
    except DurableError as error:
        take.stopped = f"{type(error).__name__}: {error}"
    finally:
        take.turns, take.patches = drive.turns, tuple(drive.patches)
        drive.leave()
    return take
