"""A run as rows with spans of time: what the timeline draws, made from the store's facts alone.

The journal keeps ends, not begins. A call's begin is read from what it keeps: the entry that let it begin (the last one
delivered to its task, to one of that task's ancestors or to one it awaits), never earlier than half a second before the
first trace of the attempt, since a note of an attempt that lasts is written within a tenth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from durable._core.identity import kind_of, name_of
from durable._model.entries import AttemptBegun, AttemptFailed, CancelAsked, Entry, NotDone, Settled
from durable.codec import Codec, error_line
from durable.store import RunRecord, RunStatus, Wait, WaitKind

__all__ = ["Bar", "Picture", "Row", "RowState", "Stroke", "picture_of"]

Stroke = Literal["ok", "bad", "busy", "backoff", "wait"]
RowState = Literal["ok", "failed", "running", "backoff", "waiting", "unknown", "dropped"]

_SLACK_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of time, in store seconds."""

    start: float
    end: float
    stroke: Stroke


@dataclass(slots=True)
class Row:
    """One call of the workflow.

    Attributes:
        kind: ``step``, ``timer``, ``signal``, ``child``, or ``cancel`` and ``timeout`` for a request to end.
        attempts: Begun so far; 0 where that means nothing.
        note: One line: why it failed, or what it waits for.
        count: Calls that the row stands for; more than one in a group.
        finished: Of those, how many have ended.
    """

    call: str
    kind: str
    name: str
    begin: float
    end: float | None = None
    state: RowState = "running"
    attempts: int = 0
    bars: list[Bar] = field(default_factory=list)
    note: str = ""
    count: int = 1
    finished: int = 0


@dataclass(frozen=True, slots=True)
class Picture:
    """Rows in the order of their begin, between two instants."""

    start: float
    end: float
    rows: tuple[Row, ...]


def picture_of(run: RunRecord, journal: Sequence[tuple[Entry, float]], now: float, codec: Codec) -> Picture:
    """Make it from a run's row and its journal.

    Args:
        journal: Entries of the run's generation with their times.
        now: Store time.
    """
    start = run.created_at if run.started_at is None else run.started_at
    drafts = _Drafts(start, codec)
    for entry, at in journal:
        drafts.read(entry, at)
    end = run.ended_at if run.ended_at is not None else max(now, start)
    for wait in () if run.ended else run.waits:
        drafts.waiting(wait, end, blocked=run.status is RunStatus.BLOCKED)
    for row in drafts.rows.values():
        if row.end is None and run.ended:
            row.state, row.end = "dropped", end
    rows = sorted(drafts.rows.values(), key=lambda row: row.begin)
    return Picture(min([start, *(row.begin for row in rows)]), end, tuple(rows))


class _Drafts:
    """Reads the journal once, from its beginning."""

    def __init__(self, start: float, codec: Codec) -> None:
        self.rows: dict[str, Row] = {}
        self._start = start
        self._codec = codec
        self._delivered: dict[str, float] = {}
        self._next: dict[str, float] = {}

    def read(self, entry: Entry, at: float) -> None:
        """One entry."""
        match entry:
            case Settled(call=call, ok=ok, attempt=attempt):
                row = self._row(call, at)
                row.attempts = max(row.attempts, attempt)
                row.end, row.state = at, "ok" if ok else "failed"
                row.finished = 1
                stroke: Stroke = ("ok" if ok else "bad") if row.kind == "step" else "wait"
                row.bars.append(Bar(self._begun(row), at, stroke))
                row.note = "" if ok else error_line(self._opened(entry.payload))
                self._deliver(call, at)
            case AttemptFailed(call=call, attempt=attempt, delay_seconds=delay):
                row = self._row(call, at)
                row.attempts, row.state = attempt, "backoff"
                row.bars.append(Bar(self._begun(row), at, "bad"))
                row.bars.append(Bar(at, at + delay, "backoff"))
                row.note = error_line(self._opened(entry.payload))
                self._next[call] = at + delay
            case AttemptBegun(call=call, attempt=attempt):
                row = self._row(call, at)
                row.attempts, row.state = max(row.attempts, attempt), "running"
                if call in self._next:
                    self._next[call] = max(self._next[call], at - _SLACK_SECONDS)
            case NotDone(call=call):
                row = self._row(call, at)
                row.bars.append(Bar(self._begun(row), at, "bad"))
                self._next[call] = at
            case CancelAsked(cause=cause):
                self.rows[f"/{cause}"] = Row(
                    "", cause, "asked to end", at, at, "dropped", bars=[Bar(at, at, "bad")], finished=1
                )
                self._delivered["0"] = at
            case _:  # a mark of a patch takes no time
                pass

    def waiting(self, wait: Wait, now: float, *, blocked: bool) -> None:
        """What the run waits for, as of its last commit."""
        row = self.rows.get(wait.call)
        if row is None:
            row = Row(wait.call, kind_of(wait.call) or wait.kind.value, name_of(wait.call), min(wait.since, now))
            self.rows[wait.call] = row
        if row.kind == "child":
            row.name = name_of(wait.call)
        row.attempts = max(row.attempts, wait.attempt)
        begun = self._next.get(wait.call, row.begin)
        match wait.kind:
            case WaitKind.RETRY:
                row.state = "backoff"
                row.attempts = max(wait.attempt - 1, 1)
                if row.bars and row.bars[-1].stroke == "backoff":
                    row.bars[-1] = Bar(row.bars[-1].start, min(row.bars[-1].end, now), "backoff")
                row.note = wait.error or row.note
            case WaitKind.UNKNOWN:
                row.state = "unknown"
                row.bars.append(Bar(begun, now, "bad"))
            case WaitKind.STEP if not blocked:
                row.state = "running"
                row.bars.append(Bar(min(begun, now), now, "busy"))
            case _:
                row.state = "waiting"
                row.bars.append(Bar(min(begun, now), now, "wait"))

    def _row(self, call: str, at: float) -> Row:
        row = self.rows.get(call)
        if row is None:
            kind = kind_of(call)
            begin = self._cause(call.partition("/")[0])
            if kind == "step":
                begin = max(begin, at - _SLACK_SECONDS)
            row = self.rows[call] = Row(call, kind, name_of(call), min(begin, at))
        return row

    def _begun(self, row: Row) -> float:
        return self._next.get(row.call, row.begin)

    def _cause(self, path: str) -> float:
        """When something was last delivered to this task, an ancestor, or a descendant that it may have awaited."""
        begin = self._start
        own = path
        while own:
            begin = max(begin, self._delivered.get(own, begin))
            own = own.rpartition(".")[0]
        return max(begin, self._delivered.get(f"{path}/below", begin))

    def _deliver(self, call: str, at: float) -> None:
        path = call.partition("/")[0]
        self._delivered[path] = at
        above = path.rpartition(".")[0]
        while above:
            self._delivered[f"{above}/below"] = at
            above = above.rpartition(".")[0]

    def _opened(self, payload: bytes) -> bytes:
        try:
            raw = self._codec.open(payload)
        except Exception:  # sealed with a key that is not here: the picture is still worth drawing
            return b""
        return raw.partition(b"\n")[2] if raw.startswith((b"failed\n", b"cancelled\n")) else raw
