"""Values that somebody may hand in, and what becomes of each: carried exactly, or refused with a typed error.

A value meets two kinds of door. One declares a type (``kind``); another declares nothing, and takes JSON alone.
"""

import enum
import functools
import math
import pathlib
import tempfile
import threading
import types
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import BaseModel
from typing_extensions import TypedDict

from durable import InvalidInput, NotSerializable, PayloadTooLarge

CARRIED = None
"""The verdict on a value that comes back as it was; the others are the errors that refuse it."""


class Colour(enum.Enum):
    RED = "red"
    ODD = 2


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    YES = "yes"


class Point(NamedTuple):
    x: int
    y: float


@dataclass
class Line:
    sku: str
    price: Decimal


@dataclass
class LongLine(Line):
    more: int = 1


@dataclass(eq=False)
class Touchy:
    """Carried by its fields: nothing asks for its own opinion."""

    name: str

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    def __hash__(self) -> int:
        raise RuntimeError("hash")

    def __repr__(self) -> str:
        raise RuntimeError("repr")


class Order(BaseModel):
    id: str
    weight: float = 0.0
    data: bytes = b""


class Pair(TypedDict):
    left: int
    right: str


class Text(str):
    pass


class Number(int):
    pass


class Table(dict[str, int]):
    pass


class Items(list[int]):
    pass


class Liar(str):
    """Text with opinions."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    def __hash__(self) -> int:
        raise RuntimeError("hash")

    def __str__(self) -> str:
        raise RuntimeError("str")

    def __repr__(self) -> str:
        raise RuntimeError("repr")


def hostile(method: str) -> Any:
    """An object of which one special method raises."""

    def refuse(self: object, *given: object) -> Any:
        raise RuntimeError(method)

    return type(f"Hostile{method.strip('_').title()}", (), {method: refuse})()


class Masked:
    """Says that it is a text."""

    @property
    def __class__(self) -> type:  # type: ignore[override]
        return str


def nested(levels: int, *, by_key: bool = False) -> Any:
    value: Any = {} if by_key else []
    for _ in range(levels - 1):
        value = {"k": value} if by_key else [value]
    return value


def endless_list() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def endless_dict() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = [value]
    return value


async def _never() -> None: ...


def coroutine() -> Any:
    made = _never()
    made.close()  # it is a coroutine all the same, and is not missed
    return made


def open_file() -> Any:
    with tempfile.TemporaryFile() as file:
        return file


@dataclass(frozen=True)
class Row:
    """One value.

    Attributes:
        kind: The type that a declaring door declares; None if there is none that fits.
        declared: The verdict there.
        plain: The verdict where nothing is declared.
        mistyped: The value is not of ``kind`` at all, which doors that take arguments call invalid input.
    """

    id: str
    make: Callable[[], Any]
    kind: Any = None
    declared: type[Exception] | None = CARRIED
    plain: type[Exception] | None = NotSerializable
    mistyped: bool = False

    def verdict(self, *, declared: bool, argument: bool) -> type[Exception] | None:
        if not declared:
            return self.plain
        return InvalidInput if self.mistyped and argument else self.declared


def json_value(id: str, value: Any, kind: Any = None) -> Row:
    """Carried by every door."""
    return Row(id, lambda: value, kind, CARRIED, CARRIED)


def typed(id: str, value: Any, kind: Any) -> Row:
    """Carried where its type is declared."""
    return Row(id, lambda: value, kind)


def nowhere(id: str, make: Callable[[], Any], kind: Any = None, *, mistyped: bool = False) -> Row:
    """Carried by no door."""
    return Row(id, make, kind, NotSerializable, NotSerializable, mistyped)


ROWS: list[Row] = [
    # ── falsy, and other JSON ──
    json_value("none", None),
    json_value("false", False, bool),
    json_value("zero", 0, int),
    json_value("minus-zero", -0.0, float),
    json_value("empty-text", "", str),
    json_value("empty-list", [], list[int]),
    json_value("empty-dict", {}, dict[str, int]),
    json_value("mixed-json", {"z": [1, 2.5, None, True, {"": ""}], "a": {}}, dict[str, Any]),
    json_value("no-key", {"": 1}, dict[str, int]),
    json_value("proto", {"__proto__": 1, "__class__": "os.system", "py/object": "x"}, dict[str, Any]),
    json_value("many-keys", {f"key {n}": n for n in range(3_000)}, dict[str, int]),
    json_value("smallest-float", 5e-324, float),
    json_value("largest-float", 1.7976931348623157e308, float),
    # ── ints ──
    *[
        json_value(f"int-{name}", value, int)
        for name, value in {
            "2^53-1": 2**53 - 1,
            "2^53+1": 2**53 + 1,
            "2^63-1": 2**63 - 1,
            "2^63": 2**63,
            "-2^63": -(2**63),
            "-2^63-1": -(2**63) - 1,
            "2^64": 2**64,
            "2^70": 2**70,
            "-2^70": -(2**70),
            "4299-digits": 10**4299 - 1,
        }.items()
    ],
    nowhere("int-10^5000", lambda: 10**5000, int),
    nowhere("int-10^5000-inside", lambda: [10**5000], list[int]),
    # ── floats that JSON has not ──
    typed("nan", math.nan, float),
    typed("inf", math.inf, float),
    typed("minus-inf", -math.inf, float),
    typed("nan-inside", [1.0, math.nan], list[float]),
    # ── text ──
    json_value("nul", "a\x00b", str),
    json_value("controls", "".join(map(chr, range(32))) + "\x7f\x85\u2028\u2029\ufeff\uffff", str),
    json_value("astral", "\U0001f98a \U0010ffff", str),
    json_value("right-to-left", "\u202e\u05e9\u05dc\u05d5\u05dd\u2066", str),
    json_value("combining", "e\u0301" + "\u0300" * 500, str),
    json_value("composed", ["\u00e9", "e\u0301"], list[str]),
    json_value("looks-like-json", '{"a": NaN}\n\x1e[', str),
    json_value("looks-like-sql", "'; DROP TABLE runs; --", str),
    json_value("nul-key", {"a\x00b": "\x00"}, dict[str, str]),
    nowhere("surrogate", lambda: "\ud800", str),
    nowhere("surrogate-inside", lambda: ["fine", "x\udfff"], list[str]),
    nowhere("surrogate-key", lambda: {"\ud800": 1}, dict[str, int]),
    # ── types of the standard library, of pydantic and of users ──
    typed("empty-bytes", b"", bytes),
    typed("all-bytes", bytes(range(256)), bytes),
    typed("tuple", (1, "a"), tuple[int, str]),
    typed("empty-tuple", (), tuple[int, ...]),
    typed("set", {3, 1, 2}, set[int]),
    typed("frozenset", frozenset("ab"), frozenset[str]),
    typed("int-keys", {2: "b", 1: "a"}, dict[int, str]),
    typed("date", date.min, date),
    typed("time", time(23, 59, 59, 999_999), time),
    typed("naive", datetime(2024, 2, 29, 12, 30, 1, 5), datetime),
    typed("aware", datetime(2024, 2, 29, 12, 30, tzinfo=UTC), datetime),
    typed("odd-zone", datetime(2024, 2, 29, 12, 30, tzinfo=timezone(timedelta(hours=-3, minutes=-30))), datetime),
    typed("timedelta", timedelta(days=-3, microseconds=1), timedelta),
    typed("decimal", Decimal("-0.00"), Decimal),
    typed("uuid", UUID(int=7), UUID),
    typed("path", pathlib.PurePosixPath("/a/../b"), pathlib.PurePosixPath),
    typed("enum", Colour.ODD, Colour),
    typed("int-enum", Level.LOW, Level),
    typed("str-enum", Word.YES, Word),
    typed("namedtuple", Point(1, -0.0), Point),
    typed("dataclass", Line("a", Decimal("1.10")), Line),
    typed("touchy-dataclass", Touchy("a"), Touchy),
    typed("pydantic", Order(id="", weight=math.nan, data=b"\xff"), Order),
    json_value("typed-dict", {"left": 1, "right": ""}, Pair),
    typed("ordered-dict", OrderedDict(b=1, a=2), OrderedDict[str, int]),
    typed("counter", Counter("abca"), Counter[str]),
    typed("deque", deque([1, 2]), deque[int]),
    # ── almost of the declared type ──
    nowhere("mixed-keys", lambda: {1: "a", "1": "b"}, dict[int | str, str]),
    nowhere("dataclass-of-another", lambda: LongLine("a", Decimal(1)), Line, mistyped=False),
    Row("text-for-int", lambda: "5", int, NotSerializable, CARRIED, mistyped=True),
    Row("bool-for-int", lambda: True, int, NotSerializable, CARRIED, mistyped=True),
    Row("float-for-int", lambda: 5.0, int, NotSerializable, CARRIED, mistyped=True),
    nowhere("str-subclass", lambda: Text("a"), str, mistyped=True),
    nowhere("int-subclass", lambda: Number(5), int, mistyped=True),
    nowhere("dict-subclass", lambda: Table(a=1), dict[str, int], mistyped=True),
    nowhere("list-subclass", lambda: Items([1]), list[int], mistyped=True),
    nowhere("lying-text", lambda: Liar("a"), str, mistyped=True),
    nowhere("masked", Masked, str, mistyped=True),
    nowhere("bytearray", lambda: bytearray(b"x"), bytes, mistyped=True),
    nowhere("memoryview", lambda: memoryview(b"x"), bytes, mistyped=True),
    # ── depth and self-reference ──
    json_value("nested-180", nested(180), list[Any]),
    json_value("nested-180-keys", nested(180, by_key=True), dict[str, Any]),
    nowhere("nested-181", lambda: nested(181)),
    nowhere("nested-182", lambda: nested(182), list[Any]),
    nowhere("nested-200-keys", lambda: nested(200, by_key=True), dict[str, Any]),
    nowhere("nested-10000", lambda: nested(10_000), list[Any]),
    nowhere("nested-100000", lambda: nested(100_000)),
    nowhere("nested-100000-keys", lambda: nested(100_000, by_key=True), dict[str, Any]),
    nowhere("endless-list", endless_list, list[Any]),
    nowhere("endless-dict", endless_dict, dict[str, Any]),
    # ── not data at all ──
    nowhere("object", object),
    *[
        nowhere(f"raising-{method.strip('_')}", functools.partial(hostile, method))
        for method in ("__eq__", "__repr__", "__str__", "__hash__", "__reduce__", "__getattribute__", "__bool__")
    ],
    nowhere("raising-repr-inside", lambda: {"a": [hostile("__repr__")]}, dict[str, Any]),
    nowhere("lock", threading.Lock),
    nowhere("generator", lambda: (n for n in ())),
    nowhere("coroutine", coroutine),
    nowhere("lambda", lambda: lambda: None),
    nowhere("file", open_file),
    nowhere("module", lambda: types),
    nowhere("class", lambda: Order),
    nowhere("exception", lambda: ValueError("x")),
    nowhere("complex", lambda: 1j),
    nowhere("range", lambda: range(3)),
    nowhere("ellipsis", lambda: NotImplemented),
    # ── size ──
    Row("one-over", lambda: "x" * 1024 * 1024, str, PayloadTooLarge, PayloadTooLarge),
    Row("huge-dict", lambda: {f"key {n}": n for n in range(100_000)}, dict[str, int], PayloadTooLarge, PayloadTooLarge),
    Row("huge-bytes", lambda: bytes(1024 * 1024), bytes, PayloadTooLarge, NotSerializable),
]
assert len({row.id for row in ROWS}) == len(ROWS)
BY_ID = {row.id: row for row in ROWS}
KINDS: list[Any] = []
for _row in ROWS:
    if _row.kind is not None and not any(repr(_row.kind) == repr(_kind) for _kind in KINDS):
        KINDS.append(_row.kind)


def alike(one: Any, other: Any) -> bool:
    """Equal in type and value at every level; told without the codec's own judge, for it is on trial here."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Touchy):
        return alike(one.name, other.name)
    if isinstance(one, BaseModel):
        return alike(one.__dict__, other.__dict__)
    if isinstance(one, (list, tuple, deque)):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict):
        return alike(list(one), list(other)) and alike(list(one.values()), list(other.values()))
    if isinstance(one, float):
        return repr(one) == repr(other)
    if isinstance(one, Decimal):
        return str(one) == str(other)
    return bool(one == other)


__all__ = ["BY_ID", "CARRIED", "KINDS", "ROWS", "Row", "alike", "nested"]
