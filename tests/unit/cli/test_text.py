"""Text for terminals."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable.cli.text import cut, json_text, many, pad, safe, span, time_text, time_value, width

HOSTILE = "\x1b[31mred\x1b[0m\nsecond line\r\x07\u202eevil\x9b2J\u2028"


def test_what_does_not_print_is_escaped() -> None:
    assert safe(HOSTILE) == "\\x1b[31mred\\x1b[0m\\nsecond line\\r\\x07\\u202eevil\\x9b2J\\u2028"
    assert safe("Größe 大 ✓") == "Größe 大 ✓"
    assert safe("\ud800") == "\\ud800"


@given(st.text())
def test_safe_text_can_always_be_printed(text: str) -> None:
    assert safe(text).isprintable()


LEAVES = st.none() | st.integers() | st.text()


@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_reads_back_equal_and_prints(value: object) -> None:
    for indent in (None, 2):
        for ascii_only in (False, True):
            text = json_text(value, indent=indent, ascii_only=ascii_only)
            assert json.loads(text) == value
            assert text.replace("\n", "").isprintable()


def test_wide_characters_take_two_columns() -> None:
    assert width("大 a") == 4
    assert width("e\u0301") == 1
    assert pad("大", 4) == "大  "
    assert pad("7", 3, right=True) == "  7"
    assert cut("大大大", 5) == "大大…"
    assert cut("abcdef", 4, ellipsis="...") == "a..."
    assert cut("abc", 3) == "abc"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.0124, "12 ms"),
        (0.9996, "1.0 s"),
        (3.14, "3.1 s"),
        (59.96, "1m 00s"),
        (250, "4m 10s"),
        (7500, "2h 05m"),
        (86_400 * 12.2, "12d 4h"),
        (-1, "0 ms"),
    ],
)
def test_spans_are_short(seconds: float, text: str) -> None:
    assert span(seconds) == text
    assert len(span(seconds)) <= 8


def test_instants_are_relative_iso_or_numbers() -> None:
    assert time_text(90.0, 100.0, "relative") == "10.0 s ago"
    assert time_text(160.0, 100.0, "relative") == "in 1m 00s"
    assert time_text(0.5, 100.0, "iso") == "1970-01-01T00:00:00.500Z"
    assert time_text(0.5, 100.0, "unix") == "0.500"
    assert time_text(None, 100.0, "iso") == "-"
    assert time_value(None, "iso") is None
    assert time_value(1.25, "unix") == 1.25


def test_one_of_a_thing_is_singular() -> None:
    assert [many(n, "run") for n in (0, 1, 2000)] == ["0 runs", "1 run", "2,000 runs"]
