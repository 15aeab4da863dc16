"""Values in pieces: what was cut comes back to the byte, and what two values have in common is stored once."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic_core import to_json

from durable.codec.pieces import PIECE_BYTES, joined, lightened, references, shares, split

FAR = 16 * 1024 * 1024
_texts = st.builds(lambda text, times: text * times, st.text(min_size=1, max_size=20), st.sampled_from([1, 3, 40, 200]))
_atoms = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _texts
_values = st.recursive(
    _atoms | st.builds(lambda item, times: [item] * times, _atoms, st.sampled_from([30, 200])),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(_texts, inner, max_size=6),
    max_leaves=12,
)
_keys = st.sampled_from([b"", b"a key"])


def back(raw: bytes, key: bytes = b"") -> bytes | None:
    text, pieces = split(raw, key)
    return joined(text, pieces.get, len(raw))


class Shelf:
    """The parts of one run, as a store has them."""

    def __init__(self, room: int = 10**6) -> None:
        self.held: dict[str, bytes] = {}
        self.room = room

    def put(self, raw: bytes) -> tuple[bytes, int]:
        """The text of a value, and how many bytes were stored for it."""
        text, new = lightened(*split(raw), self.held.__contains__, self.room)
        assert len(new) <= self.room
        assert self.held.keys().isdisjoint(new)
        self.held |= new
        return text, len(text) + sum(map(len, new.values()))


def message(n: int, size: int) -> dict[str, str]:
    return {"role": "user", "content": f"{n} " + random.Random(n).randbytes(size // 2).hex()}


@settings(deadline=None)
@given(_values, _keys)
@example([0.1, -0.0, 1e22, 10**40, "\x01" * 999, "\u2028\U0001f600" * 999], b"")
def test_a_value_comes_back_to_the_byte(value: Any, key: bytes) -> None:
    raw = to_json(value)
    assert back(raw, key) == raw


@pytest.mark.parametrize(
    "raw",
    [
        b'[ "%b" , 1]' % (b"x" * 2000),  # spaces
        b'{"a":"%b","a":2}' % (b"x" * 2000),  # a member twice
        b'["\\u0041%b"]' % (b"x" * 2000),  # an escape that nobody needs
        b"[1.50,%b]" % (b"10," * 1000 + b"1"),
        b"[NaN,Infinity,-Infinity,%b]" % (b"10," * 1000 + b"1"),
        b"no JSON" * 500,
        b"\xff" * 2000,
        b"",
    ],
)
def test_what_is_written_in_another_way_comes_back_to_the_byte(raw: bytes) -> None:
    assert back(raw) == raw


@settings(deadline=None)
@given(st.binary(max_size=40), st.integers(0, 60))
def test_any_bytes_come_back(tail: bytes, times: int) -> None:
    raw = b'["' + b"y" * 1500 + b'",' + tail * times
    if b"\x01" not in raw:
        assert back(raw) == raw


def test_what_was_stored_whole_is_a_text_in_pieces_of_none() -> None:
    raw = to_json([["x" * 5000] * 10])
    assert joined(raw, {}.get, 0) == raw
    assert references(raw) == []


@given(st.text(min_size=PIECE_BYTES, max_size=PIECE_BYTES + 50), st.integers(2, 300))
def test_equal_members_share_one_piece(text: str, times: int) -> None:
    _, pieces = split(to_json([text] * times))
    assert sum(data == to_json(text) for data in pieces.values()) == 1


@pytest.mark.parametrize("size", [100, 300, 700, 10_000])
@pytest.mark.parametrize("where", ["last", "first", "in the middle"])
def test_a_list_that_grows_costs_what_is_new(size: int, where: str) -> None:
    """Wherever the new ones come: 150 times a member more, within twice the member and a text of some hundred bytes."""
    shelf, talk, costs = Shelf(), [], []
    for n in range(150):
        place = {"last": n, "first": 0, "in the middle": n // 2}[where]
        talk.insert(place, message(n, size))
        _, cost = shelf.put(to_json([n, talk]))
        costs.append(cost)
    late = costs[75:]
    assert sum(late) / len(late) < size + 2500
    assert max(late) < size + 8000


def test_a_window_that_slides_over_a_list_costs_what_is_new() -> None:
    shelf, talk = Shelf(), [message(n, 600) for n in range(400)]
    costs = [shelf.put(to_json([talk[n : n + 200]]))[1] for n in range(200)]
    assert sum(costs[1:]) / 199 < 3000


def test_a_value_with_a_list_somewhere_in_it_costs_what_is_new() -> None:
    shelf, costs = Shelf(), []
    for n in range(100):
        state = {"config": "c" * 3000, "memory": {"talk": [message(m, 2000) for m in range(n)], "turn": n}}
        costs.append(shelf.put(to_json([state, "model"]))[1])
    assert max(costs[2:]) < 2000 + 4000


@pytest.mark.parametrize("room", [0, 1, 2, 5, 20, 100])
def test_at_most_so_many_pieces_are_stored_at_once_and_the_value_comes_back(room: int) -> None:
    shelf = Shelf(room)
    raws = [to_json([[message(n, 700) for n in range(count)]]) for count in (900, 901, 905, 1000)]
    texts = [shelf.put(raw)[0] for raw in raws]
    assert [joined(text, shelf.held.get, FAR) for text in texts] == raws
    if room >= 100:  # the first came in large pieces, and those that followed knew them
        assert sum(map(len, shelf.held.values())) < 1.5 * len(raws[-1])


@settings(deadline=None, max_examples=50)
@given(st.lists(_values, min_size=1, max_size=3), st.integers(0, 6))
def test_values_on_one_shelf_all_come_back_whatever_is_known_already(values: list[Any], room: int) -> None:
    shelf = Shelf(room)
    raws = [to_json(value) for value in (*values, values, [values, values])]
    texts = [shelf.put(raw)[0] for raw in raws]
    assert [joined(text, shelf.held.get, FAR) for text in texts] == raws


@settings(deadline=None)
@given(_values, st.lists(_values, max_size=3))
def test_a_value_shares_its_pieces_with_those_that_contain_it(inner: Any, others: list[Any]) -> None:
    pool = shares(to_json(inner))
    text, pieces = split(to_json([[*others, inner]]))
    if len(to_json(inner)) >= 4 * PIECE_BYTES and isinstance(inner, str):
        assert set(pool) & set(pieces)
    left = {name: data for name, data in pieces.items() if name not in pool}
    assert joined(text, lambda name: left.get(name) or pool.get(name), FAR) == to_json([[*others, inner]])


def test_the_key_decides_the_names() -> None:
    raw = to_json(["x" * 5000, "y" * 5000])
    names = [set(split(raw, key)[1]) for key in (b"", b"one", b"two", b"one")]
    assert names[1] == names[3]
    assert not (names[0] & names[1] or names[0] & names[2] or names[1] & names[2])


def test_an_absent_piece_makes_the_value_absent() -> None:
    raw = to_json([["x" * 5000, "y" * 5000], ["z" * 700] * 40])
    text, pieces = split(raw)
    assert len(pieces) >= 3
    for name in pieces:
        rest = {other: data for other, data in pieces.items() if other != name}
        assert joined(text, rest.get, FAR) is None


def _circle(name: str) -> bytes | None:
    return b"\x01" + name.encode()


def _bomb(name: str) -> bytes | None:
    return (b"\x01" + name.encode()) * 50


@pytest.mark.parametrize("piece", [_circle, _bomb, lambda _: b"x" * 1000 + _circle("n" * 32)])
def test_pieces_that_refer_to_themselves_come_to_an_end(piece: Callable[[str], bytes | None]) -> None:
    assert joined(b"\x01" + b"n" * 32, piece, 1024 * 1024) is None


@given(st.binary(max_size=80))
def test_a_text_that_someone_has_tampered_with_is_absent_or_something_but_no_error(data: bytes) -> None:
    found = joined(b"[\x01" + data, lambda _: b"1", 1000)
    assert found is None or isinstance(found, bytes)


def test_deep_values_are_not_encoded_once_for_every_level() -> None:
    value: Any = "x" * 100_000
    for _ in range(150):
        value = [value]
    _, pieces = split(to_json(value))
    assert len(pieces) <= 10
    assert back(to_json(value)) == to_json(value)


def test_a_piece_is_no_shorter_than_its_row_is_worth() -> None:
    for size in (10, 200, PIECE_BYTES, 3000):
        raw = to_json([["t" * size + str(n) for n in range(100)]])
        _, pieces = split(raw)
        assert min(map(len, pieces.values()), default=PIECE_BYTES) >= PIECE_BYTES
        assert len(pieces) <= math.ceil(1.1 * len(raw) / PIECE_BYTES)
