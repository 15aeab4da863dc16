"""The frozen values of ``durable.store`` as Convex values, and back, by their type hints; one pass, one codec per type.

What is written is Convex's JSON form at once, as the official ``convex.values`` writes it: a dataclass is an object, a
field that is None is left out, one of a union says which by ``is``; a mapping is an array of pairs, for the keys of
Convex objects are ASCII; numbers are floats. Bytes are text where they are valid UTF-8, so that people can read them in
Convex's dashboard, else bytes. ``docs/internals/convex-wire.md`` is the contract.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any, Final, Literal, TypeAlias, TypeVar, cast, final, overload

from convex.values import JsonValue, convex_to_json, json_to_convex

from durable.errors import InvalidInput, StoreError

__all__ = ["JsonValue", "decode", "encode"]

T = TypeVar("T")
Turn: TypeAlias = Callable[[Any], Any]

_TAG: Final = "is"
_SAFE_INTEGER: Final = 2**53


@final
@dataclass(frozen=True, slots=True)
class _Codec:
    write: Turn
    read: Turn


def encode(value: object, kind: Any) -> JsonValue:
    """The value, which is of that type, as Convex's JSON.

    Raises:
        InvalidInput: Convex cannot hold it: a whole number over 2^53.
    """
    return cast("JsonValue", _codec(kind).write(value))


@overload
def decode(data: Any, kind: type[T]) -> T: ...
@overload
def decode(data: Any, kind: Any) -> Any: ...
def decode(data: Any, kind: Any) -> Any:
    """The value that ``data`` says.

    Args:
        data: JSON as Convex writes it, parsed.
        kind: The type that it must be.

    Raises:
        StoreError: It says something else: the component is not ours.
    """
    try:
        return _codec(kind).read(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(
            f"The deployment's answer is not a {getattr(kind, '__name__', kind)} ({error!r}): "
            "its component is not the one that belongs to this package."
        ) from error


@cache
def _codec(kind: Any) -> _Codec:
    while hasattr(kind, "__supertype__"):  # NewType
        kind = kind.__supertype__
    if kind in _LEAVES:
        return _LEAVES[kind]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _Codec(lambda value: value.value, kind)
    if dataclasses.is_dataclass(kind):
        return _object(cast("type", kind))
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return _LEAVES[str]
    if origin in (types.UnionType, typing.Union):
        return _union(inner)
    if origin is tuple and len(inner) == 2 and inner[1] is Ellipsis:
        return _array(_codec(inner[0]), tuple)
    if origin is tuple:
        return _row(tuple(map(_codec, inner)))
    if origin in (list, Sequence):
        return _array(_codec(inner[0]), list)
    if origin in (frozenset, AbstractSet):
        return _array(_codec(inner[0]), frozenset)
    if origin in (dict, Mapping):
        return _pairs(_codec(inner[0]), _codec(inner[1]))
    raise TypeError(f"No value of the store protocol is a {kind!r}.")


# ── leaves ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _write_bytes(value: bytes) -> JsonValue:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return convex_to_json(bytes(value))


def _read_bytes(data: JsonValue) -> bytes:
    if isinstance(data, str):
        return data.encode()
    value = json_to_convex(data)
    if not isinstance(value, bytes):
        raise TypeError(f"bytes are expected, not {type(value).__name__}")
    return value


def _write_float(value: float) -> JsonValue:
    if value - value == 0.0 and value != 0.0:  # finite and not -0.0
        return float(value)
    return convex_to_json(float(value))


def _read_float(data: JsonValue) -> float:
    if isinstance(data, int | float) and not isinstance(data, bool):
        return float(data)
    value = json_to_convex(data)
    if not isinstance(value, float):
        raise TypeError(f"a number is expected, not {type(value).__name__}")
    return value


def _write_int(value: int) -> float:
    if not -_SAFE_INTEGER <= value <= _SAFE_INTEGER:
        raise InvalidInput(f"The number {value} cannot be stored exactly. Nothing of this item was written.")
    return float(value)


def _read_int(data: JsonValue) -> int:
    number = _read_float(data)
    whole = int(number)
    if whole != number:
        raise ValueError(f"{number} is not a whole number")
    return whole


def _same(kind: type) -> Turn:
    def read(data: Any) -> Any:
        if not isinstance(data, kind):
            raise TypeError(f"{kind.__name__} is expected, not {type(data).__name__}")
        return data

    return read


_LEAVES: Final[dict[Any, _Codec]] = {
    str: _Codec(str, _same(str)),
    bytes: _Codec(_write_bytes, _read_bytes),
    bool: _Codec(bool, _same(bool)),
    int: _Codec(_write_int, _read_int),
    float: _Codec(_write_float, _read_float),
    type(None): _Codec(lambda value: None, lambda data: None),
}


# ── what holds others ────────────────────────────────────────────────────────────────────────────────────────────────


def _object(kind: type) -> _Codec:
    hints = typing.get_type_hints(kind)
    fields = [
        (field.name, _codec(hints[field.name]))
        for field in dataclasses.fields(kind)
        if not field.metadata.get("in_process")
    ]
    maybe = {name for name, _ in fields if type(None) in typing.get_args(hints[name])}

    def write(value: Any) -> dict[str, JsonValue]:
        data: dict[str, JsonValue] = {}
        for name, codec in fields:
            one = getattr(value, name)
            if one is not None:
                data[name] = codec.write(one)
        return data

    def read(data: Any) -> Any:
        return kind(**{name: codec.read(data.get(name) if name in maybe else data[name]) for name, codec in fields})

    return _Codec(write, read)


def _union(kinds: tuple[Any, ...]) -> _Codec:
    present = [kind for kind in kinds if kind is not type(None)]
    if len(present) == 1:
        codec = _codec(present[0])
        return _Codec(
            lambda value: None if value is None else codec.write(value),
            lambda data: None if data is None else codec.read(data),
        )
    named = {kind.__name__: _codec(kind) for kind in present}

    def write(value: Any) -> dict[str, JsonValue]:
        name = type(value).__name__
        return {_TAG: name, **named[name].write(value)}

    return _Codec(write, lambda data: named[data[_TAG]].read(data))


def _array(codec: _Codec, kind: Callable[[list[Any]], Any]) -> _Codec:
    write, read = codec.write, codec.read

    def write_all(values: Any) -> list[Any]:
        return [write(value) for value in values]

    def read_all(data: Any) -> Any:
        if not isinstance(data, list):
            raise TypeError(f"an array is expected, not {type(data).__name__}")
        return kind([read(one) for one in data])

    return _Codec(write_all, read_all)


def _row(codecs: tuple[_Codec, ...]) -> _Codec:
    return _Codec(
        lambda values: [codec.write(value) for codec, value in zip(codecs, values, strict=True)],
        lambda data: tuple(codec.read(one) for codec, one in zip(codecs, data, strict=True)),
    )


def _pairs(key: _Codec, value: _Codec) -> _Codec:
    return _Codec(
        lambda mapping: [[key.write(k), value.write(v)] for k, v in mapping.items()],
        lambda data: {key.read(k): value.read(v) for k, v in data},
    )
