"""What happened between two looks at a run, one line each: the log that `run` and `watch` print without a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from durable._core.identity import kind_of, name_of
from durable._engine.handle import described
from durable._model.entries import (
    AttemptBegun,
    AttemptFailed,
    CancelAsked,
    Entry,
    NotDone,
    PatchMarked,
    Rebegun,
    Settled,
)
from durable.cli.failures import Exit
from durable.cli.follow import Look
from durable.cli.ink import OF_STATUS, Line, Meaning
from durable.cli.text import TimeStyle, safe, span, time_value
from durable.codec import Codec, error_line
from durable.store import RunRecord, RunStatus, WaitKind

__all__ = ["Happening", "Teller", "exit_of"]


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened to a run.

    Attributes:
        at: Store time.
        icon: In Unicode and in ASCII.
    """

    at: float
    event: str
    text: str
    icon: tuple[str, str]
    meaning: Meaning

    def line(self, *, unicode: bool) -> Line:
        """For people."""
        clock = datetime.fromtimestamp(self.at, UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
        icon = self.icon[0] if unicode else self.icon[1]
        return ((f"{clock} ", "dim"), (f"{icon} ", self.meaning), (safe(self.text), ""))

    def value(self, run: str, style: TimeStyle) -> dict[str, Any]:
        """For programs."""
        return {"at": time_value(self.at, style), "run": run, "event": self.event, "text": self.text}


class Teller:
    """Remembers what it has told, and tells the rest."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._generation = 0
        self._told = ""

    def tell(self, look: Look) -> Iterator[Happening]:
        """What is new in this look."""
        run = look.run
        if run.generation != self._generation:
            self._generation = run.generation
            begun = "" if run.generation == 1 else f" (generation {run.generation})"
            yield Happening(run.created_at, "created", f"run {run.id} of {run.workflow}{begun}", ("▷", ">"), "bold")
        for entry, at in look.journal[len(look.journal) - look.fresh :]:
            yield self._entry(entry, at)
        standing = _standing(look)
        if standing is not None and standing.text != self._told:
            self._told = standing.text
            yield standing

    def _entry(self, entry: Entry, at: float) -> Happening:
        match entry:
            case Settled(call=call, ok=True, attempt=attempt):
                kind = kind_of(call)
                again = f" (attempt {attempt})" if attempt > 1 else ""
                return Happening(at, f"{kind}_completed", f"{kind} {name_of(call)}{again}", ("✓", "+"), "ok")
            case Settled(call=call, payload=payload):
                kind = kind_of(call)
                text = f"{kind} {name_of(call)} failed: {self._error(payload)}"
                return Happening(at, f"{kind}_failed", text, ("✗", "x"), "bad")
            case AttemptFailed(call=call, attempt=attempt, delay_seconds=delay, payload=payload):
                text = f"step {name_of(call)}, attempt {attempt}: {self._error(payload)}; next in {span(delay)}"
                return Happening(at, "attempt_failed", text, ("◌", "~"), "busy")
            case AttemptBegun(call=call, attempt=attempt):
                again = f", attempt {attempt}," if attempt > 1 else ""
                return Happening(at, "attempt_begun", f"step {name_of(call)}{again} is executing", ("●", "*"), "busy")
            case NotDone(call=call):
                return Happening(at, "not_done", f"step {name_of(call)} did not happen", ("↺", "r"), "wait")
            case CancelAsked(cause=cause):
                return Happening(at, cause, f"asked to end ({cause})", ("⤼", "/"), "wait")
            case PatchMarked(change=change):
                return Happening(at, "patched", f"patch {change}", ("·", "."), "dim")
            case Rebegun():
                return Happening(at, "rebegun", "goes on from its old journal", ("·", "."), "dim")

    def _error(self, payload: bytes) -> str:
        try:
            raw = self._codec.open(payload)
        except Exception:  # sealed with a key that is not here
            return "(an error that cannot be read)"
        return error_line(raw.partition(b"\n")[2] if raw.startswith((b"failed\n", b"cancelled\n")) else raw)


def _standing(look: Look) -> Happening | None:
    """Where the run stands, if that is worth a line."""
    run = look.run
    status = run.status.value
    meaning = OF_STATUS[status]
    match run.status:
        case RunStatus.COMPLETED | RunStatus.FAILED | RunStatus.CANCELLED:
            word = "terminated" if run.terminated else status
            error = f": {run.error}" if run.error else ""
            icon = ("✓", "+") if status == "completed" else ("✗", "x") if status == "failed" else ("⤼", "/")
            return Happening(run.ended_at or look.now, status, f"run {word}{error}", icon, meaning)
        case RunStatus.BLOCKED:
            return Happening(run.at, status, f"blocked: {run.blocked}", ("!", "!"), meaning)
        case RunStatus.PAUSED:
            return Happening(run.at, status, "paused", ("‖", "="), meaning)
        case RunStatus.WAITING:
            waits = [described(wait, look.now) for wait in run.waits if wait.kind is not WaitKind.RETRY]
            return Happening(run.at, status, f"waiting for {', '.join(waits)}", ("○", "o"), meaning) if waits else None
        case _:
            return None


def exit_of(run: RunRecord) -> Exit:
    """The exit code that a run's standing means to somebody who waited for it."""
    match run.status:
        case RunStatus.COMPLETED:
            return Exit.OK
        case RunStatus.CANCELLED:
            return Exit.CANCELLED
        case RunStatus.FAILED:
            return Exit.FAILED
        case _:
            return Exit.CONFLICT
