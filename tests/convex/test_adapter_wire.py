"""The values of the store protocol travel to Convex and back unchanged, whatever is in them."""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from enum import Enum
from typing import Any, Literal

import pytest
from convex.values import ConvexInt64, convex_to_json, json_to_convex
from hypothesis import given
from hypothesis import strategies as st

from durable import store as protocol
from durable.errors import InvalidInput, StoreError
from durable.store import (
    Closed,
    Commit,
    Ended,
    Message,
    NewRun,
    Parent,
    Poll,
    RunRecord,
    RunStatus,
    Then,
    Waiting,
    Want,
)
from durable_convex.grouping import text
from durable_convex.wire import decode, encode

VALUES = [
    kind
    for name in protocol.__all__
    if isinstance(kind := getattr(protocol, name), type) and dataclasses.is_dataclass(kind) and name != "Rhythm"
]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
WHOLE = st.integers(0, 2**53)
INSTANT = st.floats(0, 4e9, allow_nan=False)


def of(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type of the protocol."""
    kind = getattr(kind, "__supertype__", kind)
    plain = {str: TEXT, bytes: st.binary(max_size=12), bool: st.booleans(), int: WHOLE, float: INSTANT}
    if kind in plain:
        return plain[kind]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(list(kind))
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        travels = [field for field in dataclasses.fields(kind) if not field.metadata.get("in_process")]
        fields = {field.name: of(hints[field.name]) for field in travels}
        if kind is Commit:
            fields["epoch"] = st.integers(1, 2**53)
        return st.builds(kind, **fields)
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return st.sampled_from(inner)
    if origin in (types.UnionType, typing.Union):
        return st.one_of(*(st.none() if one is type(None) else of(one) for one in inner))
    if origin is tuple and inner[-1] is Ellipsis:
        return st.lists(of(inner[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*map(of, inner))
    assert origin is Mapping, kind
    return st.dictionaries(of(inner[0]), of(inner[1]), max_size=3)


def over_the_wire(data: Any) -> Any:
    """As text, and as JavaScript writes numbers."""
    return json.loads(json.dumps(data, ensure_ascii=False, allow_nan=False), parse_int=float)


def test_what_is_between_a_worker_and_a_store_of_its_process_stays_there() -> None:
    """The component refuses what it does not know: with this every poll was refused."""
    assert encode(Want("p", (), 1, ahead=True), Want) == encode(Want("p", (), 1), Want)
    assert encode(Poll(1.0, fresh=True), Poll) == encode(Poll(1.0), Poll)


@pytest.mark.parametrize("kind", VALUES, ids=lambda kind: kind.__name__)
def test_a_value_comes_back_as_it_went_in(kind: type) -> None:
    @given(of(kind))
    def back(value: Any) -> None:
        found = decode(over_the_wire(encode(value, kind)), kind)
        assert found == value
        assert type(found) is type(value)

    back()


@pytest.mark.parametrize("kind", VALUES, ids=lambda kind: kind.__name__)
def test_what_is_sent_is_what_the_official_package_takes_for_a_convex_value(kind: type) -> None:
    @given(of(kind))
    def taken(value: Any) -> None:
        sent = over_the_wire(encode(value, kind))
        assert convex_to_json(json_to_convex(sent)) == sent

    taken()


def test_bytes_are_text_where_people_could_read_them() -> None:
    assert encode('{"order": "é"}'.encode(), bytes) == '{"order": "é"}'
    assert encode(b"\xff\x00", bytes) == {"$bytes": "/wA="}
    assert decode("é", bytes) == "é".encode()
    assert decode({"$bytes": "w6k="}, bytes) == "é".encode(), "both are taken, whatever this end would write"


def test_a_field_that_is_none_is_left_out_and_one_that_is_absent_or_null_is_none() -> None:
    said = encode(Waiting(None, 3), Waiting)
    assert said == {"seen": 3.0}
    assert decode({"seen": 3.0, "wake_at": None}, Waiting) == decode(said, Waiting) == Waiting(None, 3)


def test_one_of_a_union_says_which_it_is() -> None:
    ended = Ended(RunStatus.FAILED, b"x", error="why")
    said = encode(ended, Then)
    assert said == {"is": "Ended", "status": "failed", "outcome": "x", "error": "why", "closing": False}
    assert decode(said, Then) == ended
    assert decode({"is": "Closed"}, Then) == Closed()


def test_a_mapping_is_pairs_for_the_keys_of_convex_objects_are_ascii() -> None:
    run = dataclasses.replace(RUN, labels={"größe": "$1"})
    said: Any = encode(run, NewRun)
    assert said["labels"] == [["größe", "$1"]]


RUN = NewRun(protocol.RunId("r"), "w", None, "q", b"", "d", "s", parent=Parent(protocol.RunId("p"), "c", 1, "cancel"))


def test_special_numbers_are_written_as_convex_writes_them() -> None:
    for number in (float("inf"), float("-inf"), -0.0):
        said = over_the_wire(encode(number, float))
        assert repr(decode(said, float)) == repr(number)


def test_text_that_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidInput, match="surrogate"):
        text(encode(dataclasses.replace(RUN, seed="\ud800"), NewRun))


def test_a_number_that_would_lose_digits_is_refused() -> None:
    with pytest.raises(InvalidInput, match="exactly"):
        encode(dataclasses.replace(RUN, priority=2**53 + 1), NewRun)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ("text", Message),
        ({}, Message),
        ({"seen": 1.5}, Waiting),
        ({"is": "Nothing"}, Then),
        (1.0, str),
        ("1", int),
        (None, bytes),
        ("a", tuple[str, ...]),
        ({"$integer": "AAAAAAAAAAA="}, bytes),
    ],
)
def test_an_answer_that_is_something_else_is_a_store_error_that_names_the_component(data: Any, kind: Any) -> None:
    with pytest.raises(StoreError, match="component"):
        decode(data, kind)


def test_every_type_that_a_row_has_is_known() -> None:
    hints = typing.get_type_hints(RunRecord)
    assert set(hints) == {field.name for field in dataclasses.fields(RunRecord)}


def test_the_official_packages_integers_are_not_ours() -> None:
    with pytest.raises(StoreError):
        decode(convex_to_json(ConvexInt64(5)), int | None)
