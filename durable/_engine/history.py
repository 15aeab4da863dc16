"""A journal for people: each entry as a row of plain values."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, assert_never

from durable._core.identity import kind_of, name_of
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
from durable.codec import Codec, error_line
from durable.errors import DurableError

__all__ = ["HistoryEntry", "history_of"]

_FOREVER = 100 * 365 * 86_400.0  # seconds; what is later is no date


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One entry.

    Attributes:
        position: In the journal.
        at: When it was committed.
        event: ``step_completed``, ``step_failed``, ``attempt_failed``, ``attempt_begun``, ``not_done``,
            ``timer_fired``, ``signal_received``, ``child_ended``, ``cancelled``, ``timed_out``, ``patched`` or
            ``rebegun`` (a retry's or fork's own part begins).
        name: Of the step, timer, signal, child or change.
        call: Identity of the call.
        attempt: For steps.
        value: Result or payload as JSON, where there is one and it can be read.
        error: One line, where there is one.
        input: The step's arguments as JSON, where the step records them.
        not_before: Of an attempt that has failed: the end of the back-off, before which no other begins.
    """

    position: int
    at: datetime
    event: str
    name: str
    call: str
    attempt: int = 0
    value: Any = None
    error: str | None = None
    input: Any = None
    not_before: datetime | None = None


def history_of(
    entries: Sequence[tuple[Entry, float]], codec: Codec, inputs: Callable[[str], bytes | None] | None = None
) -> list[HistoryEntry]:
    """Rows in journal order; ``inputs`` has recorded arguments by fingerprint, opened."""
    rows = []
    for position, (entry, at) in enumerate(entries):
        row = _row(position, datetime.fromtimestamp(at, UTC), entry, codec)
        recorded = inputs(entry.fingerprint) if inputs is not None and isinstance(entry, Settled) else None
        rows.append(row if recorded is None else replace(row, input=_value(recorded)))
    return rows


def _row(position: int, at: datetime, entry: Entry, codec: Codec) -> HistoryEntry:
    match entry:
        case Settled():
            return _settled(position, at, entry, codec)
        case AttemptFailed(call=call, attempt=attempt, payload=payload):
            error = error_line(_opened(codec, payload))
            row = HistoryEntry(position, at, "attempt_failed", name_of(call), call, attempt, None, error)
            return replace(row, not_before=at + timedelta(seconds=min(entry.delay_seconds, _FOREVER)))
        case AttemptBegun(call=call, attempt=attempt, progress=progress):
            value = None if progress is None else _value(_opened(codec, progress))
            return HistoryEntry(position, at, "attempt_begun", name_of(call), call, attempt, value)
        case NotDone(call=call, attempt=attempt):
            return HistoryEntry(position, at, "not_done", name_of(call), call, attempt)
        case CancelAsked(cause=cause, payload=payload):
            event = "cancelled" if cause == "cancel" else "timed_out"
            return HistoryEntry(position, at, event, cause, "", 0, _value(_opened(codec, payload)))
        case PatchMarked(change=change):
            return HistoryEntry(position, at, "patched", change, "")
        case Rebegun():
            return HistoryEntry(position, at, "rebegun", "", "")
        case _ as never:
            assert_never(never)


_EVENTS = {"timer": "timer_fired", "signal": "signal_received", "child": "child_ended"}


def _settled(position: int, at: datetime, entry: Settled, codec: Codec) -> HistoryEntry:
    name, kind = name_of(entry.call), kind_of(entry.call)
    raw = _opened(codec, entry.payload)
    if kind == "timer":
        return HistoryEntry(position, at, "timer_fired", name, entry.call)
    if kind == "child" and entry.ok:
        word, _, rest = raw.partition(b"\n")
        if word == b"completed":
            return HistoryEntry(position, at, "child_ended", name, entry.call, 0, _value(rest))
        text = error_line(rest) if word == b"failed" else f"cancelled: {_value(rest)}"
        return HistoryEntry(position, at, "child_ended", name, entry.call, 0, None, text)
    event = _EVENTS.get(kind, "step_completed" if entry.ok else "step_failed")
    if entry.ok:
        return HistoryEntry(position, at, event, name, entry.call, entry.attempt, _value(raw))
    return HistoryEntry(position, at, event, name, entry.call, entry.attempt, None, error_line(raw))


def _opened(codec: Codec, data: bytes) -> bytes:
    try:
        return codec.open(data)
    except Exception:  # a hook without the right key: the rest of the history is still worth reading
        return b""


def _value(raw: bytes) -> Any:
    try:
        return json.loads(raw) if raw else None
    except (ValueError, DurableError, RecursionError):
        return None
