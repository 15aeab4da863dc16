"""Every kind of entry is read as it was written, with each of its fields set and with none (B72)."""

from __future__ import annotations

from typing import get_args

import pytest

from durable import Corrupt
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
    decode_entry,
    encode_entry,
)
from durable._model.ids import CallId, MessageId

CALL = CallId('0.1/step/naïve "name"/\\ñ#3')
PAYLOADS = [b"", b"null", b'"text"\nwith a newline', bytes(range(256))]

ENTRIES: list[Entry] = [
    *(Settled(kind, CALL, "0123abcd", ok, b"1") for kind in CallKind for ok in (True, False)),
    *(Settled(CallKind.STEP, CALL, "f", True, payload, 7, MessageId("m/1"), 1_700_000_000.125) for payload in PAYLOADS),
    *(CancelAsked(cause, payload) for cause in ("cancel", "timeout") for payload in PAYLOADS),
    CancelAsked("cancel", b"x", MessageId("m")),
    *(AttemptFailed(CALL, "f", 2, 0.1, payload, progress) for payload in PAYLOADS for progress in (None, *PAYLOADS)),
    *(AttemptBegun(CALL, "f", 3, progress) for progress in (None, *PAYLOADS)),
    NotDone(CALL, "", 4),
    PatchMarked("change\u2028 é"),
    Rebegun(),
]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: type(entry).__name__)
def test_an_entry_is_read_as_it_was_written(entry: Entry) -> None:
    data = encode_entry(entry)
    assert decode_entry(data) == entry
    assert encode_entry(decode_entry(data)) == data


def test_every_kind_is_tried() -> None:
    assert {type(entry) for entry in ENTRIES} == set(get_args(Entry))


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]\n", b"null\n", b'{"k":"new"}\n', b'{"k":"step","c":"x"}\n', b"\xff\n1"]
)
def test_what_is_no_entry_is_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt, match="cannot be read"):
        decode_entry(data)
