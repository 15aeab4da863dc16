"""Journal entries: committed outcomes, and the bytes that stores keep of them.

Format 1: one line of JSON with short keys, a newline, then the payload as it is. The payload is opaque here; only the
codec opens it. Keys: ``k`` kind, ``c`` call, ``p`` fingerprint, ``ok``, ``n`` attempt, ``m`` message id, ``d`` seconds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any, Final, assert_never

from durable._model.ids import CallId, MessageId
from durable.errors import Corrupt

__all__ = [
    "AttemptBegun",
    "AttemptFailed",
    "CallKind",
    "CancelAsked",
    "Entry",
    "NotDone",
    "PatchMarked",
    "Rebegun",
    "Settled",
    "decode_entry",
    "encode_entry",
]


class CallKind(StrEnum):
    """What kind of call an entry belongs to; the middle part of a call's identity."""

    STEP = "step"
    TIMER = "timer"
    SIGNAL = "signal"
    CHILD = "child"


@dataclass(slots=True)
class Settled:
    """A call's last outcome. The only kind, with ``CancelAsked``, that is delivered to workflow code.

    Attributes:
        ok: Whether ``payload`` is a value (else an error).
        attempt: For steps: which attempt it was.
        message: For signals and child results: the message that it was made of.
        due: For timers: the instant at which it was due.
    """

    kind: CallKind
    call: CallId
    fingerprint: str
    ok: bool
    payload: bytes
    attempt: int = 0
    message: MessageId | None = None
    due: float | None = None


@dataclass(slots=True)
class CancelAsked:
    """Somebody asked the run to end (``cause`` is ``"cancel"``), or its own time limit did (``"timeout"``)."""

    cause: str
    payload: bytes
    message: MessageId | None = None


@dataclass(slots=True)
class AttemptFailed:
    """A note: an attempt failed and another follows, no earlier than ``delay_seconds`` after this entry's time."""

    call: CallId
    fingerprint: str
    attempt: int
    delay_seconds: float
    payload: bytes
    progress: bytes | None = None


@dataclass(slots=True)
class AttemptBegun:
    """A note: an attempt has begun (write-ahead for at-most-once steps, lazy for slow ones), with its progress."""

    call: CallId
    fingerprint: str
    attempt: int
    progress: bytes | None = None


@dataclass(slots=True)
class NotDone:
    """A note: a person or a ``check`` established that the begun attempt did not happen."""

    call: CallId
    fingerprint: str
    attempt: int


@dataclass(slots=True)
class PatchMarked:
    """A note: ``ctx.patched(change)`` was answered True here."""

    change: str


@dataclass(slots=True)
class Rebegun:
    """A note: from here on the journal is a retry's or a fork's own, and the run's time limit counts from here."""


Entry = Settled | CancelAsked | AttemptFailed | AttemptBegun | NotDone | PatchMarked | Rebegun

_KINDS: Final = {kind.value: kind for kind in CallKind}


def encode_entry(entry: Entry) -> bytes:
    """The bytes of an entry, the same for the same entry on every Python."""
    match entry:
        case Settled():
            head = (
                f'{{"k":"{entry.kind._value_}","c":{_quoted(entry.call)},"p":"{entry.fingerprint}","ok":{int(entry.ok)}'
            )
            if entry.attempt:
                head += f',"n":{entry.attempt}'
            if entry.message is not None:
                head += f',"m":{_quoted(entry.message)}'
            if entry.due is not None:
                head += f',"d":{entry.due!r}'
            return (head + "}\n").encode() + entry.payload
        case CancelAsked():
            return _packed({"k": entry.cause, "m": entry.message}, entry.payload)
        case AttemptFailed():
            head_fields = {
                "k": "failed",
                "c": entry.call,
                "p": entry.fingerprint,
                "n": entry.attempt,
                "d": entry.delay_seconds,
                "g": None if entry.progress is None else len(entry.progress),
            }
            return _packed(head_fields, (entry.progress or b"") + entry.payload)
        case AttemptBegun():
            progress = entry.progress
            fields = {
                "k": "begun",
                "c": entry.call,
                "p": entry.fingerprint,
                "n": entry.attempt,
                "g": None if progress is None else len(progress),
            }
            return _packed(fields, progress or b"")
        case NotDone():
            return _packed({"k": "not_done", "c": entry.call, "p": entry.fingerprint, "n": entry.attempt}, b"")
        case PatchMarked():
            return _packed({"k": "patch", "c": entry.change}, b"")
        case Rebegun():
            return _packed({"k": "rebegun"}, b"")
        case _ as never:
            assert_never(never)


def _packed(head: dict[str, Any], payload: bytes) -> bytes:
    kept = {key: value for key, value in head.items() if value is not None}
    return json.dumps(kept, separators=(",", ":")).encode() + b"\n" + payload


def decode_entry(data: bytes) -> Entry:
    """Read an entry back.

    Raises:
        Corrupt: These bytes are not an entry of a known kind.
    """
    try:
        line, _, payload = data.partition(b"\n")
        head = json.loads(line)
        if type(head["k"]) is not str or type(head.get("c", "")) is not str or type(head.get("n", 0)) is not int:
            raise TypeError("a field of another type")
        return _read(head, payload)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Corrupt(f"A journal entry cannot be read: {data[:80]!r}.") from error


def _read(head: dict[str, Any], payload: bytes) -> Entry:
    kind = head["k"]
    if kind in _KINDS:
        return Settled(
            _KINDS[kind],
            CallId(head["c"]),
            head["p"],
            head["ok"] == 1,
            payload,
            head.get("n", 0),
            head.get("m"),
            head.get("d"),
        )
    if kind in ("cancel", "timeout"):
        return CancelAsked(kind, payload, head.get("m"))
    if kind == "patch":
        return PatchMarked(head["c"])
    if kind == "rebegun":
        return Rebegun()
    call, fingerprint, attempt = CallId(head["c"]), head["p"], head["n"]
    if kind == "not_done":
        return NotDone(call, fingerprint, attempt)
    size = head.get("g")
    progress, rest = (None, payload) if size is None else (payload[:size], payload[size:])
    if kind == "begun":
        return AttemptBegun(call, fingerprint, attempt, progress)
    if kind == "failed":
        return AttemptFailed(call, fingerprint, attempt, head["d"], rest, progress)
    raise KeyError(kind)
