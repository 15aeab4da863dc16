"""The codec: values come back as they were given, or are refused before anything is written."""

from __future__ import annotations

import collections
import enum
import json
import os
import subprocess
import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, NamedTuple, Optional, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from pydantic import BaseModel, ConfigDict, Field, RootModel, computed_field, field_validator
from typing_extensions import TypedDict

from durable.codec import Arguments, Codec, ValueType, digest, dump_error, error_line, load_error, same
from durable.errors import InvalidInput, NotSerializable, PayloadTooLarge, RetryAfter, RunFailed, StepError

if TYPE_CHECKING:
    from nowhere import Context  # type: ignore[import-not-found]

T = TypeVar("T")
NAN, INF = float("nan"), float("inf")


class Colour(enum.Enum):
    RED = "red"
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 1


class Point(NamedTuple):
    x: int
    y: float


@dataclass
class Base:
    id: str


@dataclass
class Derived(Base):
    extra: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    sku: str
    price: Decimal
    tags: frozenset[str] = frozenset()


class Order(BaseModel):
    id: str
    amount: int = 1
    weight: float = 0.0
    data: bytes = b""


class BigOrder(Order):
    more: int = 0


class Tree(BaseModel):
    name: str
    kids: list[Tree] = []


class Box(BaseModel, Generic[T]):
    content: T


class Aliased(BaseModel):
    model_config = ConfigDict(extra="forbid")
    user_id: int = Field(validation_alias="userId", serialization_alias="user-id")

    @computed_field
    @property
    def twice(self) -> int:
        return self.user_id * 2


class Loose(BaseModel):
    model_config = ConfigDict(extra="allow")
    known: int


class Doubling(BaseModel):
    n: int

    @field_validator("n")
    @classmethod
    def double(cls, value: int) -> int:
        return value * 2


class Pair(TypedDict, total=False):
    left: int
    right: Order


class Numbers(RootModel[list[int]]):
    pass


class Bag:
    """A class that pydantic does not know."""


class Hostile:
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    def __repr__(self) -> str:
        raise RuntimeError("repr")

    __str__ = __repr__
    __hash__ = None  # type: ignore[assignment]


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


CARRIED: list[tuple[Any, Any]] = [
    (None, None),
    (None, False),
    (None, 0),
    (None, -0.0),
    (None, ""),
    (None, []),
    (None, {}),
    (Any, {"b": [1, 2.5, None, True], "a": {"x": "y"}}),
    (bytes, b""),
    (bytes, b"\x00\xff\xfe"),
    (bool, False),
    (int, 0),
    (float, -0.0),
    (float, NAN),
    (float, INF),
    (float, -INF),
    (float, 5e-324),
    (list[float], [NAN, INF, -0.0]),
    (str, "a\x00b"),
    (str, "\U0001f600 \u202e \u05d0"),
    (int, 2**53 + 1),
    (int, -(2**63)),
    (int, 2**64),
    (None, 2**70),
    (list[int], [2**70, -(2**64)]),
    (int, 10**4299 - 1),
    (None, -(10**4299 - 1)),
    (Decimal, Decimal("1.00")),
    (Decimal, Decimal("-0")),
    (UUID, UUID(int=7)),
    (date, date.min),
    (datetime, datetime(2024, 2, 29, 12, 30, 1, 5)),
    (datetime, datetime(2024, 2, 29, 12, 30, tzinfo=UTC)),
    (datetime, datetime(2024, 2, 29, 12, 30, tzinfo=timezone(timedelta(hours=-3, minutes=-30)))),
    (datetime, datetime(2024, 7, 1, tzinfo=ZoneInfo("Europe/Berlin"))),
    (time, time(1, 2, 3, 4)),
    (timedelta, timedelta(days=-3, microseconds=1)),
    (Colour, Colour.BLUE),
    (Level, Level.LOW),
    (Literal["a", 1], 1),
    (Point, Point(1, 2.0)),
    (tuple[int, str], (1, "a")),
    (tuple[int, ...], ()),
    (set[int], {3, 1, 2}),
    (frozenset[frozenset[str]], frozenset({frozenset({"a", "b"}), frozenset()})),
    (set[float], {NAN, 1.5, 2.5}),
    (dict[int, str], {2: "b", 1: "a"}),
    (dict[UUID, set[int]], {UUID(int=1): {1}}),
    (dict[Colour, float], {Colour.RED: NAN}),
    (OrderedDict[str, int], OrderedDict(b=1, a=2)),
    (collections.Counter[str], collections.Counter("abca")),
    (deque[int], deque([1, 2])),
    (Path, Path("/tmp/x")),
    (Base, Base("a")),
    (Line, Line("a", Decimal("1.10"), frozenset({"x", "y"}))),
    (Order, Order(id="a", weight=NAN, data=b"\xff\x00")),
    (list[Order], [Order(id="a"), Order(id="b", weight=-INF)]),
    (Optional[Order], None),  # noqa: UP045 - the old spelling must work too
    (Order | None, Order(id="")),
    (int | str, "5"),
    (str | int, 5),
    (Tree, Tree(name="a", kids=[Tree(name="b", kids=[Tree(name="c")])])),
    (Box[int], Box[int](content=1)),
    (Box[Box[set[str]]], Box[Box[set[str]]](content=Box[set[str]](content={"b", "a"}))),
    (Aliased, Aliased(userId=4)),
    (Loose, Loose(known=1, other=[1])),
    (Pair, {"left": 1, "right": Order(id="x")}),
    (Pair, {}),
    (Numbers, Numbers([1, 2])),
    (Annotated[int, Field(gt=0)], 3),
    (dict[str, Any], {"a": [1, {"b": None}]}),
    (type(None), None),
]


@pytest.mark.parametrize(("annotation", "value"), CARRIED, ids=[str(row[0])[:40] for row in CARRIED])
def test_a_value_comes_back_as_it_was_given(annotation: Any, value: Any) -> None:
    kind = ValueType.of(annotation)
    raw, carried = kind.round_trip(value, "it")
    assert same(value, carried)
    assert same(value, kind.load(raw, "it"))
    assert kind.dump(value, "it") == raw
    json.loads(raw, parse_constant=pytest.fail)  # standard JSON, no NaN tokens


REFUSED: list[tuple[Any, Any]] = [
    (None, (1, 2)),
    (None, {1}),
    (None, b"x"),
    (None, NAN),
    (None, [INF]),
    (None, {1: "a"}),
    (None, datetime(2024, 1, 1)),
    (None, Decimal(1)),
    (None, Order(id="a")),
    (None, {"a": [Level.LOW]}),
    (None, "\ud800"),
    (None, {"\ud800": 1}),
    (None, nested(10_000)),
    (None, nested(190)),
    (None, 10**5000),
    (None, [10**4300]),
    (None, threading.Lock()),
    (None, (x for x in ())),
    (None, lambda: None),
    (None, Hostile()),
    (None, [Hostile()]),
    (None, open),
    (int, "5"),
    (int, 5.0),
    (int, True),
    (int, Level.LOW),
    (int, 10**4300),
    (int, -(10**4300)),
    (float, True),
    (float, "1.5"),
    (str, 5),
    (str, b"x"),
    (str, "\ud800"),
    (str, Hostile()),
    (bool, 1),
    (bytes, "x"),
    (Decimal, 1),
    (Decimal, 1.5),
    (datetime, "2024-01-01"),
    (datetime, date(2024, 1, 1)),
    (list[int], (1, 2)),
    (list[int], [1, "2"]),
    (list[int], [True]),
    (list[Any], [(1,)]),
    (dict[str, Any], {"a": datetime(2024, 1, 1)}),
    (dict[str, Any], {"a": NAN}),
    (tuple[int, int], [1, 2]),
    (tuple[int, int], (1, 2, 3)),
    (set[int], frozenset({1})),
    (frozenset[int], {1}),
    (dict[int | str, int], {1: 1, "1": 2}),
    (str | datetime, datetime(2024, 1, 1)),
    (Colour, "red"),
    (Base, Derived("a", 1)),
    (list[Base], [Base("a"), Derived("a", 1)]),
    (Order, BigOrder(id="a", more=1)),
    (list[Order], [BigOrder(id="a", more=1)]),
    (Order, {"id": "a"}),
    (Order, Order.model_construct(id=5)),
    (Order, Order.model_construct()),
    (Base, Base(id=5)),  # type: ignore[arg-type]
    (Base, None),
    (Order, Hostile()),
    (Doubling, Doubling(n=2)),
    (Pair, {"left": 1, "unknown": 2}),
    (type(None), 0),
    (Annotated[int, Field(gt=0)], -3),
    (Bag, Bag()),
    (list[Bag], []),
    ("Nowhere", 1),
    (Tree, None),
    (Level, 1),
    (Any, [object()]),
    (Point, (1, 2.0)),
]


@pytest.mark.parametrize(("annotation", "value"), REFUSED, ids=[str(row[0])[:40] for row in REFUSED])
def test_a_value_that_cannot_be_carried_exactly_is_refused(annotation: Any, value: Any) -> None:
    kind = ValueType.of(annotation)
    with pytest.raises(NotSerializable, match=r'^step "charge": the result: '):
        kind.dump(value, 'step "charge": the result')
    with pytest.raises(NotSerializable, match=r'^step "charge": the result: '):
        kind.round_trip(value, 'step "charge": the result')


def test_a_value_that_refers_to_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    tree = Tree(name="a")
    tree.kids.append(tree)
    for annotation, value in ((None, loop), (list[Any], loop), (Tree, tree)):
        with pytest.raises(NotSerializable):
            ValueType.of(annotation).dump(value, "it")


def test_a_deep_model_is_refused_rather_than_written_unreadably() -> None:
    tree = Tree(name="leaf")
    for _ in range(300):
        tree = Tree(name="a", kids=[tree])
    with pytest.raises(NotSerializable):
        ValueType.of(Tree).dump(tree, "it")


def test_an_int_given_for_a_float_is_carried_as_the_float_that_equals_it() -> None:
    raw, carried = ValueType.of(float).round_trip(5, "it")
    assert (raw, type(carried), carried) == (b"5.0", float, 5.0)
    order = Order(id="a")
    order.weight = 3
    assert ValueType.of(Order).round_trip(order, "it")[1].weight == 3.0
    with pytest.raises(NotSerializable):
        ValueType.of(float).dump(2**53 + 1, "it")


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (None, {"a": [1, (2,)]}, r"it: at \['a'\]\[1\]: tuple is not a JSON type. Annotate the type"),
        (None, {1: 2}, "it: a dict with a key of type int, not str. Annotate"),
        (None, [NAN], r"at \[0\]: the float nan is not JSON. Annotate the type as float"),
        (None, nested(10_000), "nested deeper than 180"),
        (str, "\ud800", "lone surrogate"),
        (int, "5", "it: declared int, given str"),
        (Order, {"id": "a"}, "it: declared Order, given dict"),
        (list[int], [1, "2"], r"it: declared list\[int\], given list \(1: Input should be a valid integer\)"),
        (list[Base], [Derived("a")], r"at \[0\]: Derived would come back as Base"),
        (Order, Order.model_construct(id="a", amount=[(1,)], weight=0.0, data=b""), "amount: Input should be"),
        (Bag, Bag(), "the type Bag cannot be carried"),
        ("Nowhere", 1, "'Nowhere' cannot be resolved"),
        (int, 10**5000, "more than 4,299 digits"),
    ],
    ids=range(13),
)
def test_the_refusal_says_where_and_why(annotation: Any, value: Any, message: str) -> None:
    with pytest.raises(NotSerializable, match=message):
        ValueType.of(annotation).dump(value, "it")


def test_the_refusal_does_not_show_the_value() -> None:
    secret = Order.model_construct(id=["hunter2"], amount=1, weight=0.0, data=b"")
    for annotation, value in ((Order, secret), (int, "hunter2"), (None, ("hunter2",)), (Order, {"id": "hunter2"})):
        with pytest.raises(NotSerializable) as caught:
            ValueType.of(annotation).dump(value, "it")
        assert "hunter2" not in str(caught.value)


def test_bytes_that_do_not_fit_are_invalid_input_without_the_value() -> None:
    for annotation, raw in (
        (Order, b'{"id": ["hunter2"]}'),
        (int, b'"hunter2"'),
        (None, b"hunter2"),
        (None, b"NaN"),
        (None, b"[" * 100_000),
        (list[int], b"\xff"),
    ):
        with pytest.raises(InvalidInput, match="^the signal: does not fit ") as caught:
            ValueType.of(annotation).load(raw, "the signal")
        assert "hunter2" not in str(caught.value)


def test_loading_with_a_type_that_pydantic_cannot_handle_is_not_serializable() -> None:
    with pytest.raises(NotSerializable, match="it: the type Bag"):
        ValueType.of(Bag).load(b"1", "it")


def test_an_alias_is_read_as_well_as_the_name() -> None:
    kind = ValueType.of(Aliased)
    assert kind.load(b'{"userId": 4}', "it") == kind.load(b'{"user_id": 4}', "it") == Aliased(userId=4)
    assert kind.dump(Aliased(userId=4), "it") == b'{"user_id":4}'


def test_the_models_own_serializer_is_left_as_it_was() -> None:
    ValueType.of(Box[Order]).dump(Box[Order](content=Order(id="a", weight=NAN)), "it")
    assert Order(id="a", weight=NAN).model_dump_json() == '{"id":"a","amount":1,"weight":null,"data":""}'
    assert Order(id="a", data=b"x").model_dump_json() == '{"id":"a","amount":1,"weight":0.0,"data":"x"}'


def test_a_type_is_made_once_per_annotation() -> None:
    assert ValueType.of(list[Order]) is ValueType.of(list[Order])
    assert ValueType.of(Order) is ValueType.of(Order)
    assert ValueType.of(int | str) is not ValueType.of(str | int)
    assert ValueType.of(Annotated[int, []]).dump(1, "it") == b"1"  # unhashable metadata


def test_dict_order_is_kept() -> None:
    value = {"z": 1, "a": 2, "m": 3}
    for annotation in (None, dict[str, int]):
        assert list(ValueType.of(annotation).round_trip(value, "it")[1]) == ["z", "a", "m"]


def test_a_field_that_is_not_written_is_not_silently_lost() -> None:
    class Hiding(BaseModel):
        shown: int
        hidden: int = Field(default=0, exclude=True)

    assert ValueType.of(Hiding).round_trip(Hiding(shown=1), "it")[1] == Hiding(shown=1)
    with pytest.raises(NotSerializable, match="at .hidden: the int would come back changed"):
        ValueType.of(Hiding).dump(Hiding(shown=1, hidden=2), "it")


def test_fields_named_like_schema_keys_are_tuned_too() -> None:
    class Sly(BaseModel):
        default: bytes
        metadata: float
        config: set[str]

    value = Sly(default=b"\xff", metadata=NAN, config={"b", "a"})
    raw, carried = ValueType.of(Sly).round_trip(value, "it")
    assert raw == b'{"default":"_w==","metadata":"NaN","config":["a","b"]}'
    assert same(value, carried)


def test_sets_in_a_union_are_written_in_order() -> None:
    kind = ValueType.of(set[int] | list[str] | None)
    assert kind.round_trip({3, 1, 2}, "it") == (b"[1,2,3]", {1, 2, 3})
    assert kind.round_trip(["b", "a"], "it") == (b'["b","a"]', ["b", "a"])


SETS_SCRIPT = """
import sys
from durable.codec import Arguments
def f(a: set[str], b: frozenset[frozenset[str]], c: dict[str, set[bytes]], *, d: set[float]): ...
names = {"alpha", "beta", "gamma", "delta", "epsilon"}
inner = frozenset({frozenset(names), frozenset({"x", "y", "z"}), frozenset()})
raw = Arguments.of(f).dump((names, inner, {"k": {b"a", b"b", b"c"}}), {"d": {1.5, float("inf")}}, "it")
print(raw.decode(), Arguments.fingerprint(raw))
"""


@pytest.mark.slow
def test_sets_are_written_alike_whatever_the_hash_seed() -> None:
    outputs = set()
    for seed in ("0", "1", "2", "42", "4294967295"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        command = [sys.executable, "-c", SETS_SCRIPT]
        root = Path(__file__).parents[2]
        done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=True)
        outputs.add(done.stdout)
    assert len(outputs) == 1


# ── same ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (True, 1),
        (1.0, 1),
        (0.0, -0.0),
        (Decimal("1.0"), Decimal("1.00")),
        ([1], [True]),
        ([1], (1,)),
        ({1}, {True}),
        ({1, 2}, {1, 3}),
        ({1: 1}, {1: 2}),
        ({1: 1, 2: 2}, {2: 2, 1: 1}),
        (Base("a"), Derived("a")),
        (Derived("a", 1), Derived("a", 2)),
        (Level.LOW, 1),
        (NAN, 1.0),
        ({NAN}, {1.0}),
        (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1)),
        (datetime(2024, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), datetime(2024, 1, 1, tzinfo=UTC)),
        (Order(id="a"), Order(id="b")),
        (Loose(known=1, x=1), Loose(known=1, x=2)),
        ([1, 2], [1]),
    ],
)
def test_same_tells_apart(one: Any, other: Any) -> None:
    assert not same(one, other)
    assert same(one, one)
    assert same(other, other)


def test_same_pairs_nan_with_nan() -> None:
    assert same([NAN, {"a": NAN}, {NAN, 1.0}], [float("nan"), {"a": float("nan")}, {1.0, float("nan")}])


# ── arguments ────────────────────────────────────────────────────────────────────────────────────────────────────────


def shop(order: Order, count: int = 1, *rest: Decimal, note: str = "", **others: bytes) -> list[Later]:
    raise NotImplementedError


def loose(a, b=2, *, c=3):  # type: ignore[no-untyped-def]
    raise NotImplementedError


def flow(ctx: Context, order: Order) -> None:
    raise NotImplementedError


class Later(BaseModel):
    n: int


def test_the_same_call_gives_the_same_bytes_however_it_is_written() -> None:
    arguments, order = Arguments.of(shop), Order(id="a")
    by_place = arguments.dump((order, 2), {}, "it")
    assert by_place == arguments.dump((order,), {"count": 2}, "it")
    assert by_place == arguments.dump((), {"count": 2, "order": order}, "it")
    assert by_place.startswith(b'[{"id":"a"')
    one = arguments.dump((order,), {"note": "n", "z": b"1", "y": b"2"}, "it")
    assert one == arguments.dump((order,), {"y": b"2", "z": b"1", "note": "n"}, "it")


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((Order(id="a"),), {}),
        ((Order(id="a"), 2), {}),
        ((Order(id="a"), 2, Decimal("1.0"), Decimal("2.0")), {}),
        ((Order(id="a"),), {"note": "n"}),
        ((Order(id="a"), 2, Decimal("1.0")), {"note": "n", "blob": b"\xff"}),
    ],
)
def test_arguments_come_back_as_they_were_given(args: Any, kwargs: Any) -> None:
    arguments = Arguments.of(shop)
    loaded = arguments.load(arguments.dump(args, kwargs, "it"), "it")
    assert same((args, kwargs), loaded)


def test_defaults_that_were_not_given_are_not_written() -> None:
    arguments = Arguments.of(loose)
    assert arguments.dump((1,), {}, "it") == b"[1]"
    assert arguments.dump((1,), {"c": 4}, "it") == b'{"args":[1],"kwargs":{"c":4}}'
    assert arguments.load(b"[1]", "it") == ((1,), {})
    assert Arguments.of(lambda: None).dump((), {}, "it") == b"[]"
    assert Arguments.of(lambda: None).load(b"[]", "it") == ((), {})


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "message"),
    [
        (
            (),
            {},
            InvalidInput,
            r'^step "shop": missing a required argument: \'order\'. The signature is shop\(order: O',
        ),
        ((Order(id="a"),), {"order": 1}, InvalidInput, "multiple values"),
        (({"id": "a"},), {}, InvalidInput, "parameter 'order': declared Order, given dict"),
        ((Order(id="a"), "2"), {}, InvalidInput, "parameter 'count': declared int, given str"),
        ((Order(id="a"), 2, 3), {}, InvalidInput, r"parameter '\*rest': declared Decimal, given int"),
        ((Order(id="a"),), {"other": "x"}, InvalidInput, "parameter 'other': declared bytes, given str"),
        ((BigOrder(id="a"),), {}, NotSerializable, "parameter 'order': .*BigOrder would come back as Order"),
        ((Order(id="\ud800"),), {}, NotSerializable, "lone surrogate"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_by_name(args: Any, kwargs: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        Arguments.of(shop).dump(args, kwargs, 'step "shop"')


def test_unannotated_parameters_take_json_types_only() -> None:
    with pytest.raises(NotSerializable, match="parameter 'a': tuple is not a JSON type. Annotate"):
        Arguments.of(loose).dump(((1, 2),), {}, "it")
    with pytest.raises(InvalidInput, match=r"too many positional arguments. The signature is loose\(a, b = \.\.\., c"):
        Arguments.of(loose).dump((1, 2, 3), {}, "it")


def test_a_type_that_pydantic_cannot_handle_is_refused_at_first_use_not_before() -> None:
    def carry(it: Bag) -> Bag: ...  # type: ignore[empty-body]

    arguments = Arguments.of(carry)
    with pytest.raises(NotSerializable, match="parameter 'it': the type Bag cannot be carried"):
        arguments.dump((Bag(),), {}, "it")
    with pytest.raises(NotSerializable, match="the type Bag"):
        arguments.result.dump(Bag(), "it")


def test_the_context_parameter_is_left_out_even_when_it_cannot_be_resolved() -> None:
    arguments = Arguments.of(flow, skip=1)
    assert arguments.load(arguments.dump((Order(id="a"),), {}, "it"), "it") == ((Order(id="a"),), {})
    assert arguments.result.dump(None, "it") == b"null"


def test_types_defined_later_in_the_module_are_found() -> None:
    assert Arguments.of(shop).result.round_trip([Later(n=1)], "it") == (b'[{"n":1}]', [Later(n=1)])


def test_types_defined_in_the_enclosing_function_are_found() -> None:
    class Local(BaseModel):
        n: int

    async def act(it: Local) -> Local: ...  # type: ignore[empty-body]

    arguments = Arguments.of(act)
    assert arguments.load(arguments.dump((Local(n=1),), {}, "it"), "it") == ((Local(n=1),), {})
    assert arguments.result.load(b'{"n":2}', "it") == Local(n=2)


def test_an_annotation_that_cannot_be_resolved_is_refused_by_name() -> None:
    with pytest.raises(NotSerializable, match="parameter 'ctx': the annotation 'Context' cannot be resolved"):
        Arguments.of(flow).dump((1, Order(id="a")), {}, "it")


def test_methods_builtins_and_callable_objects_have_arguments_too() -> None:
    class Shop:
        def sell(self, order: Order) -> int: ...  # type: ignore[empty-body]

        def __call__(self, n: int) -> str: ...  # type: ignore[empty-body]

    assert Arguments.of(Shop().sell).dump((Order(id="a"),), {}, "it").startswith(b'[{"id"')
    assert Arguments.of(print).dump(("a", 1), {"sep": "b"}, "it") == b'{"args":["a",1],"kwargs":{"sep":"b"}}'
    assert Arguments.of(Shop()).dump((1,), {}, "it") == b"[1]"
    assert Arguments.of(max).dump((1, 2), {}, "it") == b"[1,2]"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "cannot be read"),
        (b"{}", "missing a required argument"),
        (b'"a"', "expected the arguments as a JSON array"),
        (b'{"args":1}', "expected the arguments as a JSON array"),
        (b'{"order":{}}', "expected the arguments as a JSON array"),
        (b"[]", "missing a required argument: 'order'"),
        (b'[{"id":1}]', "parameter 'order': does not fit Order: id: Input should be a valid string"),
        (b"[" * 5000, "cannot be read"),
    ],
)
def test_stored_arguments_that_do_not_fit_are_invalid_input(raw: bytes, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Arguments.of(shop).load(raw, "it")


def test_arguments_that_are_written_can_be_read_however_deep() -> None:
    arguments = Arguments.of(loose)
    assert arguments.load(arguments.dump((1, nested(180)), {}, "it"), "it") == ((1, nested(180)), {})
    for levels in range(175, 205):
        kids = Tree(name="a")
        for _ in range(levels // 2):
            kids = Tree(name="a", kids=[kids])

        def plant(tree: Tree, *, other: int = 0) -> None: ...

        try:
            raw = Arguments.of(plant).dump((kids,), {"other": 1}, "it")
        except NotSerializable:
            continue
        assert Arguments.of(plant).load(raw, "it")[0] == (kids,)


def test_fingerprint_and_digest_are_golden() -> None:
    assert Arguments.fingerprint(b'[{"id":"a"},2]') == "45d64475d8919c5e"
    assert digest("order", b"[1]") == "86c29a59dfb955b1e542d7e52b043532695259364f753fe3fb67f0511dc767b8"
    assert digest("ab", b"c") != digest("a", b"bc")


# ── sealing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Rot:
    def encode(self, data: bytes) -> bytes:
        return bytes(byte ^ 255 for byte in data)

    decode = encode


def test_the_payload_limit_is_exact_and_named() -> None:
    codec = Codec(payload_bytes_max=1000)
    assert codec.seal(b"x" * 1000, "it") == b"x" * 1000
    with pytest.raises(PayloadTooLarge, match=r'^step "a": the result: 1,001 bytes encoded, and the limit is 1,000\.'):
        codec.seal(b"x" * 1001, 'step "a": the result')
    assert len(Codec().seal(b"x" * 2**20, "it")) == 2**20
    with pytest.raises(PayloadTooLarge, match="50,000,000"):
        Codec().seal(b"x" * 50_000_000, "it")


def test_a_hook_wraps_what_is_stored() -> None:
    codec = Codec(hook=Rot())
    assert codec.hooked
    assert not Codec().hooked
    sealed = codec.seal(b"[1]", "it")
    assert sealed != b"[1]"
    assert codec.open(sealed) == b"[1]"
    assert Codec().open(b"") == b""


# ── exceptions ───────────────────────────────────────────────────────────────────────────────────────────────────────


class CardDeclined(Exception):
    ran: list[str] = []

    def __init__(self, code: int, *, reason: str) -> None:
        self.ran.append(reason)
        super().__init__(f"declined: {reason}")
        self.code = code
        self.lock = threading.Lock()


class Slotted(Exception):
    __slots__ = ("code", "nothing")

    def __init__(self, code: int) -> None:
        self.code = code
        self.nothing = None


class Telling(Exception):
    def __str__(self) -> str:
        return f"code {self.code}"  # type: ignore[attr-defined]


class Disk(OSError):
    def __init__(self, path: str) -> None:
        super().__init__(28, "full", path)


class Group(ExceptionGroup):
    pass


class Awful(Exception):
    def __str__(self) -> str:
        raise SystemExit("no")

    __repr__ = __str__

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class Lying(Exception):
    @property
    def args(self) -> Any:  # type: ignore[override]
        raise RuntimeError("args")


def caught(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as found:
        return found


def there_and_back(error: BaseException) -> Any:
    loaded = load_error(dump_error(error))
    again = load_error(dump_error(loaded))
    assert (type(again), str(again)) == (type(loaded), str(loaded))
    assert repr(again.args) == repr(loaded.args)
    return loaded


def test_an_error_comes_back_as_its_own_class_without_its_init_running() -> None:
    error = CardDeclined(7, reason="no funds")
    CardDeclined.ran.clear()
    loaded = there_and_back(caught(error))
    assert type(loaded) is CardDeclined
    assert CardDeclined.ran == []
    assert (str(loaded), loaded.args, loaded.code) == ("declined: no funds", ("declined: no funds",), 7)
    assert not hasattr(loaded, "lock")


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        ValueError("a", 1, None, [2.5]),
        KeyError("k"),
        FileNotFoundError(2, "No such file", "f.txt"),
        ConnectionRefusedError(111, "refused"),
        OSError("just text"),
        ImportError("m", name="n", path="p"),
        StopIteration(5),
        ZeroDivisionError("division by zero"),
        TimeoutError(),
        StepError("m", "a:b", "t"),
        RetryAfter(5, "later"),
        RunFailed("m", "run-1"),
        Disk("/x"),
        AttributeError("a", name="n", obj="o"),
    ],
    ids=repr,
)
def test_errors_keep_their_class_args_text_and_fields(error: BaseException) -> None:
    loaded = there_and_back(caught(error))
    assert (type(loaded), loaded.args, str(loaded)) == (type(error), error.args, str(error))
    assert vars(loaded) == vars(error)
    for name in ("errno", "strerror", "filename", "name", "path", "value", "lineno", "obj"):
        assert getattr(loaded, name, None) == getattr(error, name, None)


def test_slots_are_state_too() -> None:
    loaded = there_and_back(Slotted(4))
    assert (loaded.code, loaded.nothing) == (4, None)


def test_args_that_are_not_json_leave_the_message() -> None:
    loaded = there_and_back(ValueError(Decimal("1.50"), b"x"))
    assert type(loaded) is ValueError
    assert loaded.args == (str(ValueError(Decimal("1.50"), b"x")),)


def test_causes_and_notes_are_kept() -> None:
    error = ValueError("outer")
    error.add_note("first\nnote")
    error.__cause__ = CardDeclined(1, reason="inner")
    error.__cause__.__cause__ = KeyError("deep")
    loaded = there_and_back(error)
    assert loaded.__notes__ == ["first\nnote"]
    assert type(loaded.__cause__) is CardDeclined
    assert loaded.__cause__.code == 1
    assert loaded.__cause__.__cause__.args == ("deep",)


def test_chains_are_bounded_and_may_be_circular() -> None:
    error = ValueError("0")
    error.__cause__ = KeyError("1")
    error.__cause__.__cause__ = error
    assert there_and_back(error).__cause__.__cause__ is None
    top = error = ValueError("top")
    for number in range(1000):
        error.__cause__ = ValueError(str(number))
        error = error.__cause__  # type: ignore[assignment]
    depth, loaded = 0, there_and_back(top)
    while loaded is not None:
        depth, loaded = depth + 1, loaded.__cause__
    assert depth == 10


def test_groups_keep_their_members() -> None:
    group = ExceptionGroup("many", [ValueError("a"), ExceptionGroup("inner", [CardDeclined(3, reason="b")])])
    loaded = there_and_back(caught(group))
    assert (type(loaded), loaded.message) == (ExceptionGroup, "many")
    assert [type(member) for member in loaded.exceptions] == [ValueError, ExceptionGroup]
    assert loaded.exceptions[1].exceptions[0].code == 3
    assert type(there_and_back(Group("own", [ValueError("a")]))) is Group
    with pytest.raises(ExceptionGroup) as raised:
        raise there_and_back(BaseExceptionGroup("x", [KeyboardInterrupt()]))
    assert raised.value.exceptions[0].type_name == "builtins:KeyboardInterrupt"


def test_a_group_of_groups_is_bounded() -> None:
    group: Exception = ValueError("leaf")
    for _ in range(12):
        group = ExceptionGroup("g", [group] * 20)
    raw = dump_error(group)
    assert len(raw) < 256 * 1024
    assert isinstance(load_error(raw), ExceptionGroup)


def test_a_class_that_is_not_known_here_becomes_a_step_error() -> None:
    class Local(Exception):
        pass

    error = Local("text")
    error.add_note("n")
    error.__cause__ = ValueError("why")
    loaded = there_and_back(caught(error))
    assert type(loaded) is StepError
    assert loaded.type_name.endswith(":test_a_class_that_is_not_known_here_becomes_a_step_error.<locals>.Local")
    assert (loaded.message, str(loaded), loaded.__notes__) == ("text", "text", ["n"])
    assert "in caught" in loaded.traceback_text
    assert loaded.traceback_text.endswith("Local: text")
    assert type(loaded.__cause__) is ValueError


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_what_would_stop_a_worker_comes_back_as_a_step_error(error: BaseException) -> None:
    assert type(there_and_back(error)) is StepError


def test_a_pydantic_error_comes_back_as_a_step_error() -> None:
    with pytest.raises(ValueError) as raised:
        Order(id=5)  # type: ignore[arg-type]
    loaded = there_and_back(raised.value)
    assert type(loaded) is StepError
    assert loaded.type_name == "pydantic_core._pydantic_core:ValidationError"


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "builtins:eval",
        "builtins:object",
        "builtins:int",
        "antigravity:X",
        "this:X",
        "os:path.nothing",
        "",
        ":",
        "builtins:",
        "builtins",
        "builtins:ValueError.__class__",
        "builtins:ValueError.mro",
        5,
        None,
    ],
)
def test_reading_imports_nothing_and_calls_nothing(name: Any) -> None:
    before = set(sys.modules)
    loaded = load_error(json.dumps({"type": name, "message": "m", "args": ["true"]}).encode())
    assert type(loaded) is StepError
    assert set(sys.modules) == before


def test_a_modules_own_attribute_lookup_is_not_run() -> None:
    import types

    module = types.ModuleType("sly_module")
    module.__getattr__ = lambda name: pytest.fail("ran")  # type: ignore[method-assign]
    sys.modules["sly_module"] = module
    try:
        assert type(load_error(b'{"type":"sly_module:Error","message":"m"}')) is StepError
    finally:
        del sys.modules["sly_module"]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"\xff",
        b"{",
        b"{}",
        b"[" * 9999,
        b'{"type":1,"message":2,"args":3,"state":4,"cause":5,"notes":6,"group":7,"traceback":8}',
        b'{"type":"builtins:ValueError","message":"m","args":{},"state":[],"notes":[1,null]}',
        b'{"type":"builtins:UnicodeDecodeError","message":"m","args":["a"]}',
        b'{"type":"builtins:ExceptionGroup","message":"m","args":["a"],"group":[]}',
        b'{"type":"builtins:ExceptionGroup","message":"m"}',
        b'{"type":"builtins:OSError","message":"m","args":["a"],"state":{"errno":"x","characters_written":"y"}}',
        b'{"type":"builtins:ValueError","message":"m","state":{"__class__":"x","__dict__":1,"args":[]}}',
    ],
)
def test_load_error_and_error_line_never_raise(raw: bytes) -> None:
    assert isinstance(load_error(raw), Exception)
    assert len(error_line(raw)) <= 300


@pytest.mark.parametrize(
    "make",
    [
        lambda: Awful("x"),
        lambda: Lying("x"),
        lambda: ValueError(Hostile()),
        lambda: ValueError("\ud800"),
        lambda: ValueError("x" * 50_000_000),
        lambda: ValueError("\x00" * 1_000_000),
        lambda: ValueError(nested(10_000)),
        lambda: ValueError(NAN),
        lambda: Telling("no code"),
        lambda: UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"),
        lambda: type("Odd", (Exception,), {"__module__": None})("x"),
        lambda: ExceptionGroup("g", [Awful("y")] * 500),
    ],
    ids=range(12),
)
def test_dump_error_never_raises_and_is_bounded(make: Callable[[], BaseException]) -> None:
    raw = dump_error(make())
    assert len(raw) <= 256 * 1024
    assert isinstance(load_error(raw), Exception)
    assert error_line(raw).isprintable()


def test_the_traceback_is_bounded_and_leaves_the_engine_out() -> None:
    def sink(levels: int) -> None:
        if levels == 0:
            raise ValueError("deep")
        sink(levels - 1)

    with pytest.raises(ValueError) as raised:
        sink(500)
    text = json.loads(dump_error(raised.value))["traceback"]
    assert "frames left out" in text
    assert len(text) <= 8 * 1024 + 100
    assert 'raise ValueError("deep")' in text
    with pytest.raises(NotSerializable) as refused:
        ValueType.of(int).dump("x", "it")
    text = json.loads(dump_error(refused.value))["traceback"]
    assert "durable/codec" not in text
    assert "test_codec.py" in text


def test_error_line_is_one_printable_line() -> None:
    assert error_line(dump_error(CardDeclined(1, reason="no funds"))) == "CardDeclined: declined: no funds"
    assert error_line(dump_error(ValueError())) == "ValueError"
    assert error_line(dump_error(KeyError("a"))) == "KeyError: 'a'"
    assert error_line(dump_error(ValueError("a\nb\x1b[31m\u202e"))) == r"ValueError: a\nb\x1b[31m\u202e"
    assert error_line(b"rubbish") == "(an error that cannot be read)"
    line = error_line(dump_error(ValueError("x" * 1000)))
    assert len(line) == 300
    assert line.endswith("...")


def test_falsy_state_is_kept() -> None:
    error = ValueError(0, "", None, False, [], {})
    error.code = 0  # type: ignore[attr-defined]
    error.text = ""  # type: ignore[attr-defined]
    error.none = None  # type: ignore[attr-defined]
    loaded = there_and_back(error)
    assert loaded.args == error.args
    assert vars(loaded) == {"code": 0, "text": "", "none": None}


@dataclass
class Cached:
    n: int
    more: dict[str, int] = field(default_factory=dict)


def test_threads_can_use_a_type_for_the_first_time_together() -> None:
    kind = ValueType.of(Cached)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(kind.round_trip(Cached(1), "it")[1])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [Cached(1)] * 8
