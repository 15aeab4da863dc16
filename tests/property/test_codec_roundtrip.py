"""Over the whole value domain: what the codec accepts comes back the same, and what it refuses it refuses by type."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from durable.codec import Arguments, ValueType, dump_error, error_line, load_error, same
from durable.errors import InvalidInput, NotSerializable


class Suit(enum.Enum):
    HEARTS = "h"
    SPADES = 4


class Spot(NamedTuple):
    x: int
    y: float


@dataclass
class Leaf:
    name: str
    share: float
    blob: bytes


class Node(BaseModel):
    leaf: Leaf | None
    tags: frozenset[str] = frozenset()
    prices: dict[int, Decimal] = {}
    kids: list[Node] = []


text = st.text(st.characters(exclude_categories=["Cs"]))
offsets = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
leaves = st.builds(Leaf, name=text, share=st.floats(), blob=st.binary())
decimals = st.decimals(allow_nan=False, allow_infinity=False)
nodes = st.recursive(
    st.builds(
        Node,
        leaf=leaves | st.none(),
        tags=st.frozensets(text, max_size=3),
        prices=st.dictionaries(st.integers(), decimals, max_size=3),
        kids=st.just([]),
    ),
    lambda kids: st.builds(Node, leaf=st.none(), kids=st.lists(kids, max_size=3)),
    max_leaves=5,
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=20,
)

SCALARS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (None, json_values),
    (Any, json_values),
    (type(None), st.none()),
    (bool, st.booleans()),
    (int, st.integers()),
    (float, st.floats()),
    (str, text),
    (bytes, st.binary()),
    (Decimal, decimals),
    (UUID, st.uuids()),
    (date, st.dates()),
    (datetime, st.datetimes()),
    (datetime, st.datetimes(timezones=offsets)),
    (time, st.times()),
    (timedelta, st.timedeltas(min_value=timedelta(days=-999_999), max_value=timedelta(days=999_999))),
    (Suit, st.sampled_from(Suit)),
    (Spot, st.builds(Spot, st.integers(), st.floats())),
    (Leaf, leaves),
    (Node, nodes),
    (int | str | None, st.integers() | text | st.none()),
]
KEYS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers()),
    (str, text),
    (UUID, st.uuids()),
    (Decimal, decimals),
    (date, st.dates()),
    (bytes, st.binary(max_size=20)),
]


@st.composite
def typed(draw: st.DrawFn, depth: int = 2) -> tuple[Any, Any]:
    """An annotation and a value of it."""
    shape = draw(st.sampled_from(["scalar", "list", "tuple", "pair", "set", "frozenset", "dict", "optional"]))
    if shape in ("set", "frozenset", "dict"):
        key, keys = draw(st.sampled_from(KEYS))
        if shape == "set":
            return set[key], draw(st.sets(keys, max_size=4))
        if shape == "frozenset":
            return frozenset[key], draw(st.frozensets(keys, max_size=4))
        inner, values = draw(st.sampled_from(SCALARS))
        inner = Any if inner is None else inner
        return dict[key, inner], draw(st.dictionaries(keys, values, max_size=4))  # type: ignore[valid-type]
    if shape == "scalar" or depth == 0:
        inner, values = draw(st.sampled_from(SCALARS))
        return inner, draw(values)
    inner, value = draw(typed(depth=depth - 1))
    inner = Any if inner is None else inner
    if shape == "list":
        return list[inner], [value] * draw(st.integers(0, 3))
    if shape == "tuple":
        return tuple[inner, ...], (value,) * draw(st.integers(0, 3))
    if shape == "pair":
        other, values = draw(st.sampled_from(SCALARS[2:]))
        return tuple[inner, other], (value, draw(values))
    return inner | None if inner is not Any else Any, draw(st.sampled_from([value, None]))


@pytest.mark.slow
@given(typed())
@settings(max_examples=300, deadline=None)
def test_a_value_of_its_declared_type_comes_back_the_same(pair: tuple[Any, Any]) -> None:
    annotation, value = pair
    kind = ValueType.of(annotation)
    try:
        raw, carried = kind.round_trip(value, "it")
    except NotSerializable:
        # Only where two types of a union are written alike may a value of its type be refused.
        assert "|" in str(annotation) or "Optional" in str(annotation)
        return
    assert same(value, carried)
    assert same(kind.load(raw, "it"), carried)
    assert kind.dump(value, "it") == kind.dump(carried, "it") == raw
    json.loads(raw)


@pytest.mark.slow
@given(st.sampled_from(SCALARS + KEYS), typed())
@settings(max_examples=300, deadline=None)
def test_any_value_under_any_type_is_carried_exactly_or_refused(
    declared: tuple[Any, st.SearchStrategy[Any]], pair: tuple[Any, Any]
) -> None:
    kind = ValueType.of(declared[0])
    try:
        raw, carried = kind.round_trip(pair[1], "it")
    except NotSerializable:
        return
    assert same(pair[1], carried)
    assert same(kind.load(raw, "it"), carried)


@pytest.mark.slow
@given(json_values)
@settings(deadline=None)
def test_json_is_carried_as_the_standard_library_reads_it(value: Any) -> None:
    assert same(json.loads(ValueType.of(None).dump(value, "it")), value)


def call(a: Node, b: bytes = b"", *rest: Decimal, c: float = 0.0, **others: set[int]) -> None: ...


@pytest.mark.slow
@given(
    a=nodes,
    b=st.binary(),
    rest=st.lists(decimals, max_size=2),
    c=st.floats() | st.none(),
    others=st.dictionaries(text.filter(lambda n: n not in ("a", "b", "c")), st.sets(st.integers()), max_size=2),
)
@settings(deadline=None)
def test_arguments_come_back_and_are_written_alike(
    a: Node, b: bytes, rest: list[Decimal], c: float | None, others: dict[str, set[int]]
) -> None:
    arguments = Arguments.of(call)
    named = {} if c is None else {"c": c}
    raw = arguments.dump((a, b, *rest), {**named, **others}, "it")
    args, kwargs = arguments.load(raw, "it")
    assert same((a, b, *rest), args)
    assert kwargs.keys() == {*named, *others}
    assert all(same(value, kwargs[name]) for name, value in {**named, **others}.items())
    assert arguments.dump(args, dict(reversed(kwargs.items())), "it") == raw
    if not rest:
        assert arguments.dump((), {"b": b, **others, **named, "a": a}, "it") == raw


@pytest.mark.slow
@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
@settings(deadline=None)
def test_reading_anything_gives_a_value_or_invalid_input(raw: bytes) -> None:
    for annotation, _ in SCALARS:
        try:
            ValueType.of(annotation).load(raw, "it")
        except InvalidInput:
            pass
    try:
        Arguments.of(call).load(raw, "it")
    except InvalidInput:
        pass
    assert isinstance(load_error(raw), Exception)
    assert error_line(raw).isprintable()


class Failure(Exception):
    def __init__(self, *args: Any, **state: Any) -> None:
        super().__init__(*args)
        self.__dict__.update(state)


@pytest.mark.slow
@given(
    st.sampled_from([ValueError, KeyError, RuntimeError, Failure]),
    st.lists(json_values, max_size=3),
    st.dictionaries(text.filter(lambda name: not name.startswith("__")), json_values, max_size=3),
    st.lists(text, max_size=3),
)
@settings(deadline=None)
def test_an_error_comes_back_with_its_args_state_and_notes(
    kind: type[Exception], args: list[Any], state: dict[str, Any], notes: list[str]
) -> None:
    error = kind(*args)
    vars(error).update(state)
    for note in notes:
        error.add_note(note)
    loaded = load_error(dump_error(error))
    assert type(loaded) is kind
    assert same(loaded.args, tuple(args))
    assert same(vars(loaded), vars(error))
