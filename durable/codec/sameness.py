"""Whether a value that came back from the codec is the value that was given.

``==`` alone is too weak a judge: to it ``1``, ``True`` and ``1.0`` are one value, and so are ``0.0`` and ``-0.0``, or
``Decimal("1.0")`` and ``Decimal("1.00")``. It is also too strong, since NaN is not itself. So containers are walked,
and types must match at every level.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import chain
from math import copysign
from operator import eq
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel

__all__ = ["difference", "same", "type_name"]

Comparer = Callable[[Any, Any], bool]

PLAIN: Final[frozenset[type]] = frozenset({str, int, bool, type(None), bytes, UUID, date, timedelta})
"""Types for which ``==`` between two of the same type is exact."""

COMPARERS_MAX: Final = 4096


def same(given: Any, loaded: Any) -> bool:
    """Whether ``loaded`` is ``given``: equal, and of the same type, at every level.

    One widening is allowed, as in the type system (PEP 484): where a float is declared an int may be given, and is
    carried as the float that equals it. And a stand-in for ``datetime`` or ``date``, by which tests simulate time, is
    what it stands for.

    Raises:
        Exception: Whatever a user's ``__eq__`` raises.
    """
    kind = type(given)
    if kind is not type(loaded):
        return _passes_for(given, loaded)
    if kind in PLAIN:
        return bool(given == loaded)
    compare = _comparers.get(kind)
    if compare is None:
        compare = _remember(kind)
    return compare(given, loaded)


def difference(given: Any, loaded: Any, path: str = "") -> str:
    """Where the two part ways, for an error message: a path and the two types, never the values.

    Call it only with values that are not the same.
    """
    for step, inner, carried in _paired(given, loaded):
        if not same(inner, carried):
            return difference(inner, carried, path + step)
    name, carried_name = type_name(type(given)), type_name(type(loaded))
    where = f"at {path}: " if path else ""
    if name == carried_name:
        return f"{where}the {name} would come back changed"
    return f"{where}{name} would come back as {carried_name}"


def type_name(annotation: Any) -> str:
    """How a type or an annotation is called in messages; never raises."""
    try:
        if isinstance(annotation, type) and not getattr(annotation, "__args__", None):
            return str(annotation.__qualname__)
        return str(annotation).replace("typing.", "")
    except Exception:
        return "a type that cannot be shown"


# ── one comparer per type ────────────────────────────────────────────────────────────────────────────────────────────


def _remember(kind: type) -> Comparer:
    if len(_comparers) > COMPARERS_MAX:  # classes made in functions must not be kept alive for ever
        _comparers.clear()
        _comparers.update(_KNOWN)
    compare = _comparers[kind] = _comparer(kind)
    return compare


def _comparer(kind: type) -> Comparer:
    if issubclass(kind, Enum):
        return _equal
    if issubclass(kind, BaseModel):
        return _models(tuple(kind.model_fields))
    if dataclasses.is_dataclass(kind):
        return _attributes(tuple(field.name for field in dataclasses.fields(kind)))
    for base, compare in _KNOWN.items():
        if issubclass(kind, base):
            return compare
    return _mappings if issubclass(kind, Mapping) else _equal


def _passes_for(given: Any, loaded: Any) -> bool:
    kind, other = type(given), type(loaded)
    if kind is int and other is float:
        return bool(given == loaded)
    if _is(kind, datetime) and _is(other, datetime):
        return _datetimes(given, loaded)
    return _is(kind, date) and _is(other, date) and bool(given == loaded)


def _is(kind: type, base: type) -> bool:
    # Only a metaclass can make its class a subclass and a base at once: an ordinary subclass is something of its own.
    return kind is base or (issubclass(kind, base) and issubclass(base, kind))


def _equal(given: Any, loaded: Any) -> bool:
    return given is loaded or bool(given == loaded)


def _floats(given: Any, loaded: Any) -> bool:
    if given != given:
        return bool(loaded != loaded)
    return bool(given == loaded) and copysign(1.0, given) == copysign(1.0, loaded)


def _decimals(given: Any, loaded: Any) -> bool:
    return bool(given.as_tuple() == loaded.as_tuple())


def _datetimes(given: Any, loaded: Any) -> bool:
    # A zone is carried as its offset at that moment: the wall clock and the instant are kept, the zone's rules are
    # not. Nor is the fold of a naive value, as in ``==``: else a result would be refused for one hour in a year.
    return bool(given.utcoffset() == loaded.utcoffset() and given.replace(tzinfo=None) == loaded.replace(tzinfo=None))


def _sequences(given: Any, loaded: Any) -> bool:
    return len(given) == len(loaded) and all(map(same, given, loaded))


def _deques(given: Any, loaded: Any) -> bool:
    return given.maxlen == loaded.maxlen and _sequences(given, loaded)


def _mappings(given: Any, loaded: Any) -> bool:
    # In order, since insertion order can be seen by the code that gets the value.
    return (
        len(given) == len(loaded) and all(map(same, given, loaded)) and all(map(same, given.values(), loaded.values()))
    )


def _sets(given: Any, loaded: Any) -> bool:
    if len(given) != len(loaded):
        return False
    found = {item: item for item in loaded}
    left = [item for item in given if not (item in found and same(item, found[item]))]
    if not left:
        return True
    # Only what is not equal to itself may still have a partner: NaN, or a tuple with one in it.
    rest = [item for item in loaded if item not in given]
    return len(left) == len(rest) and all(_take(item, rest) for item in left)


def _take(item: Any, rest: list[Any]) -> bool:
    for index, other in enumerate(rest):
        if same(item, other):
            del rest[index]
            return True
    return False


def _models(names: tuple[str, ...]) -> Comparer:
    def compare(given: Any, loaded: Any) -> bool:
        before, after = given.__dict__, loaded.__dict__
        for name in names:
            if name not in before:
                return False
            value, carried = before[name], after[name]
            if type(value) in PLAIN and type(value) is type(carried):  # as ``same`` does, without the call
                if value != carried:
                    return False
            elif not same(value, carried):
                return False
        extra = given.__pydantic_extra__
        return extra is loaded.__pydantic_extra__ or same(extra, loaded.__pydantic_extra__)

    return compare


def _attributes(names: tuple[str, ...]) -> Comparer:
    def compare(given: Any, loaded: Any) -> bool:
        return all(same(getattr(given, name), getattr(loaded, name)) for name in names)

    return compare


_KNOWN: Final[dict[type, Comparer]] = {
    **{kind: eq for kind in PLAIN if kind not in (int, date)},
    float: _floats,
    Decimal: _decimals,
    datetime: _datetimes,
    time: _datetimes,
    list: _sequences,
    tuple: _sequences,
    deque: _deques,
    dict: _mappings,
    set: _sets,
    frozenset: _sets,
}
_comparers: Final[dict[type, Comparer]] = dict(_KNOWN)


# ── for messages ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _paired(given: Any, loaded: Any) -> list[tuple[str, Any, Any]]:
    """The parts of two values of one type and one shape, with the path step that leads to each."""
    if type(given) is not type(loaded):
        return []
    if isinstance(given, BaseModel):
        extras = chain((given.__pydantic_extra__ or {}).keys(), type(given).model_fields)
        return [(f".{n}", getattr(given, n), getattr(loaded, n)) for n in extras if hasattr(given, n)]
    if dataclasses.is_dataclass(given):
        names = [field.name for field in dataclasses.fields(given)]
        return [(f".{name}", getattr(given, name), getattr(loaded, name)) for name in names]
    if isinstance(given, (list, tuple, deque)) and len(given) == len(loaded):
        return [(f"[{index}]", a, b) for index, (a, b) in enumerate(zip(given, loaded, strict=True))]
    if isinstance(given, dict) and len(given) == len(loaded) and all(map(same, given, loaded)):
        return [(f"[{_key(key)}]", value, loaded[key]) for key, value in given.items()]
    return []


def _key(key: Any) -> str:
    return repr(key)[:40] if type(key) in (str, int) else f"a {type_name(type(key))} key"
