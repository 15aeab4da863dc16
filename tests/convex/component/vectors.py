"""What Python writes and reads, for the component's tests: ``python -m tests.convex.component.vectors`` writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from durable._author import outcomes
from durable._engine.history import history_of
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
    encode_entry,
)
from durable._model.ids import CallId, MessageId, check_name
from durable.codec import Codec, ValueType, digest, dump_error, error_line
from durable.errors import InvalidName

__all__ = ["FILE", "text"]

FILE: Final = Path(__file__).parent / "vectors.json"

_JSON: Final[ValueType[Any]] = ValueType.of(Any)
_INPUTS: Final[tuple[Any, ...]] = (
    None,
    True,
    0,
    -7,
    9007199254740991,
    0.1,
    1e-7,
    1.5e300,
    123456789.125,
    "",
    'ünï🦊 \u2028 \x7f \x01 " \\ \n',
    [],
    {},
    [1, [2, {"a": None}]],
    {"b": 1, "a": 2},
    {"ü": 1, "z": 2, "\uffff": 3, "🦊": 4, "A": 5},
    {"total": 19.99, "items": [{"sku": 'a":b', "n": 2}, {"n": 1e-7, "sku": "x"}]},
    {"x": 1e-5, "y": 0.0001, "z": 12345678.9},
    {"nested": {"q": [1.25e-9, 2.5e22, 123456789012345680000, -0.0], "p": {}}},
)
_ERRORS: Final = (
    ValueError("no funds"),
    KeyError("k"),
    RuntimeError("line\nbreak \u202e \x1b[0m é"),
    RuntimeError("x" * 400),
    Exception(),
)
_NAMES: Final = ("a", "ü" * 127, "x" * 255, "x" * 256, "", "a\nb", "a\x7f", "a\u2028b", "🦊 b", "ü" * 128)
_REASON: Final = 'ü "q" \x7f 🦊'


def _entries() -> list[Entry]:
    def step(name: str) -> CallId:
        return CallId(f"0/step/{name}")

    child, m = CallId("0/child/sub#1"), MessageId("m")
    return [
        Settled(CallKind.STEP, step("charge#0"), "p", True, b'{"n":1}', 1),
        Settled(CallKind.STEP, CallId("0.1/step/charge#1"), "p", False, dump_error(ValueError("no")), 3),
        Settled(CallKind.TIMER, CallId("0/timer/nap#0"), "p", True, b"", 0, None, 12.5),
        Settled(CallKind.SIGNAL, CallId("0/signal/approved#0"), "p", True, b'"yes"', 0, m),
        Settled(CallKind.CHILD, child, "p", True, outcomes.completed(b"[1]"), 0, m),
        Settled(CallKind.CHILD, child, "p", True, outcomes.failed(dump_error(KeyError("x")))),
        Settled(CallKind.CHILD, child, "p", True, outcomes.cancelled("why")),
        AttemptFailed(step("charge#0"), "p", 2, 1.5, dump_error(OSError("net")), '{"at":"ü"}'.encode()),
        AttemptBegun(step("slow#0"), "p", 1, b"[1]"),
        AttemptBegun(step("a/b#0"), "p", 1),
        NotDone(step("slow#0"), "p", 1),
        CancelAsked("cancel", b'"stop"', m),
        CancelAsked("timeout", b"null"),
        PatchMarked("new"),
        Rebegun(),
    ]


def _start(value: Any) -> dict[str, Any]:
    raw = b"[" + _JSON.dump(value, "input") + b"]"
    return {"workflow": "wörk", "input": value, "raw": raw.decode(), "digest": digest("wörk", raw)}


def _history() -> list[dict[str, Any]]:
    entries = _entries()
    found = []
    for entry, row in zip(entries, history_of([(e, 100.0 + n) for n, e in enumerate(entries)], Codec()), strict=True):
        shown = {"event": row.event, "name": row.name, "call": row.call, "attempt": row.attempt}
        place = {"position": row.position, "at": row.at.timestamp()}
        data = encode_entry(entry).decode()
        found.append({"data": data, "row": {**place, **shown, "value": row.value, "error": row.error}})
    return found


def _ends() -> list[dict[str, Any]]:
    return [
        {"data": outcomes.completed(b'{"ok":true}').decode(), "end": {"kind": "completed", "result": {"ok": True}}},
        {"data": outcomes.completed(b"null").decode(), "end": {"kind": "completed", "result": None}},
        {
            "data": outcomes.failed(dump_error(ValueError("bad"))).decode(),
            "end": {"kind": "failed", "error": "ValueError: bad"},
        },
        {"data": outcomes.cancelled(_REASON).decode(), "end": {"kind": "cancelled", "reason": _REASON}},
    ]


def _fits(name: str) -> bool:
    try:
        check_name("name", name)
    except InvalidName:
        return False
    return True


def text() -> str:
    """The file, as it must be."""
    raws = [dump_error(error) for error in _ERRORS]
    vectors = {
        "starts": [_start(value) for value in _INPUTS],
        "empty": {"workflow": "w", "raw": "[]", "digest": digest("w", b"[]")},
        "errors": [{"raw": raw.decode(), "line": error_line(raw)} for raw in raws],
        "ends": _ends(),
        "entries": _history(),
        "cancelled": {"reason": _REASON, "outcome": outcomes.cancelled(_REASON).decode()},
        "names": [{"name": name, "fits": _fits(name)} for name in _NAMES],
    }
    return json.dumps(vectors, indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="ascii")
