"""Texts, and what is no text, that somebody may give as an id, a name, a label or a search."""

from typing import Any

from hypothesis import strategies as st

from tests.input.hostile_values import Liar, Masked, Text, Word, hostile

GOOD: dict[str, str] = {
    "plain": "a",
    "quotes": 'it\'s "so"',
    "injection": "'; DROP TABLE runs; --",
    "like": "a_b%",
    "glob": "*?[a-z]",
    "backslash": "a\\'b\\",
    "json-path": '$."a"[0]',
    "json": '{"a": [null]}',
    "parameters": ":a @a $1 ?1",
    "path": "../../etc/passwd",
    "slashes": "sig/result/cancel/1",
    "format": "{0.__class__} %s %n",
    "spaces": " around ",
    "astral": "\U0001f98a",
    "right-to-left": "\u202e\u05e9\u05dc",
    "composed": "\u00e9",
    "decomposed": "e\u0301",
    "none": "None",
    "zero": "0",
    "most-bytes": "x" * 255,
    "most-bytes-of-two": "\u00df" * 127,
    "most-bytes-of-four": "\U0001f98a" * 63,
}
BAD: dict[str, Any] = {
    "empty": "",
    "nul": "a\x00b",
    "newline": "a\nb",
    "escape": "\x1b[31m",
    "delete": "\x7f",
    "c1": "\x85",
    "line-separator": "\u2028",
    "surrogate": "\ud800",
    "one-over": "x" * 256,
    "one-over-of-two": "\u00df" * 128,
    "far-over": "x" * 255_000,
    "fifty-megabytes": "\u00df" * 25_000_000,
    "int": 5,
    "huge-int": 10**5000,
    "false": False,
    "bytes": b"a",
    "list": ["a"],
    "dict": {"a": 1},
    "class": str,
    "masked": Masked(),
    "raising-repr": hostile("__repr__"),
    "raising-eq": hostile("__eq__"),
}
SUBCLASSES: dict[str, Any] = {"subclass": Text("sub"), "lying": Liar("lie"), "str-enum": Word.YES}
"""Texts of a kind of their own: taken for the plain text they are."""

META = "'\"\\;-%_[]*?{}$.:@/ ,()<>|&#\u00e9\u0301\u202e\U0001f98aaA0"


def texts(*, nul: bool = False, max_size: int = 20) -> st.SearchStrategy[str]:
    """Texts full of what means something to somebody; all of them valid names if ``nul`` is False."""
    return st.text(st.sampled_from(META + ("\x00\n\x7f" if nul else "")), min_size=1, max_size=max_size)
