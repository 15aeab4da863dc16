"""One declared type: its values to JSON and back.

The law of this module: what is loaded is the same as what was given, in type and value at every level (``same``), or it
is refused before anything is written. So every typed value is loaded back as it is dumped; that costs a microsecond
and makes the promise independent of what pydantic coerces, ignores or warns about.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from math import isfinite
from types import NoneType, UnionType
from typing import Any, Final, ForwardRef, Generic, Protocol, TypeVar, Union, cast, final, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from durable.codec.sameness import difference, same, type_name
from durable.codec.schemas import Tuned, tuned
from durable.errors import InvalidInput, NotSerializable

__all__ = ["DEPTH_MAX", "Refusal", "Unstorable", "ValueType"]

T = TypeVar("T")

READER_DEPTH_MAX: Final = 200
DEPTH_MAX: Final = 180
"""Levels of nesting. The JSON reader takes 200; the rest is room for what values are wrapped in."""

INT_DIGITS_MAX: Final = 4299
INT_BITS_SURE: Final = 14_280
INT_BOUND: Final = 10**INT_DIGITS_MAX
"""The reader takes numbers of 4,300 characters, with the sign; that an int is shorter can be told by its bits."""

TYPES_MAX: Final = 4096
DECLARED_NOTHING: Final = (inspect.Parameter.empty, inspect.Signature.empty, Any, None, object)


class Refusal(Exception):
    """Why a value cannot be carried, before it is known where the value stands.

    Attributes:
        mistyped: Whether the value is not what was declared at all, rather than something that would be altered.
    """

    def __init__(self, reason: str, *, mistyped: bool = False) -> None:
        super().__init__(reason)
        self.mistyped = mistyped


class Unstorable(Exception):
    """Raised by a type of ours while one of its values is written: it must not be, and the message says why."""


class Way(Protocol):
    """How values of one type travel."""

    def encode(self, value: Any) -> bytes:
        """Raw JSON, or a ``Refusal``."""
        ...

    def carry(self, value: Any) -> tuple[bytes, Any]:
        """Raw JSON and what it will be loaded as, or a ``Refusal``."""
        ...

    def decode(self, raw: bytes) -> Any:
        """The value, or a ``ValueError``."""
        ...

    def revive(self, part: Any) -> Any:
        """As ``decode``, of JSON that was parsed already."""
        ...


@final
class ValueType(Generic[T]):
    """One declared type. Made once per annotation, and built at its first use.

    Attributes:
        annotation: As it was declared.
        is_json: Whether nothing is declared, so that values are JSON types.
    """

    __slots__ = ("_way", "annotation", "is_json")

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation
        self.is_json = any(annotation is nothing for nothing in DECLARED_NOTHING)
        self._way: Way | None = None

    @staticmethod
    def of(annotation: Any) -> ValueType[Any]:
        """The type of an annotation; None, ``Any`` and a missing annotation mean the JSON types, exactly."""
        key = annotation
        if not isinstance(annotation, type):
            key = (annotation, repr(annotation))  # int | str equals str | int, yet the order can matter
        try:
            known = _known.get(key)
        except TypeError:  # unhashable metadata
            return ValueType(annotation)
        if known is None:
            if len(_known) > TYPES_MAX:  # types made in functions must not be kept alive for ever
                _known.clear()
            known = _known[key] = ValueType(annotation)
        return known

    def dump(self, value: Any, what: str) -> bytes:
        """Encode a value as JSON.

        Args:
            value: A value of the declared type.
            what: Names the value in the error, as in ``step "charge": the result``.

        Raises:
            NotSerializable: It is of another type, or would not come back as it is.
        """
        try:
            return self.encode(value)
        except Refusal as refusal:
            raise NotSerializable(f"{what}: {refusal}") from refusal.__cause__

    def round_trip(self, value: Any, what: str) -> tuple[bytes, T]:
        """Encode a value, and hand out what everyone will read: the value as loaded from those bytes.

        Raises:
            NotSerializable: It is of another type, or would not come back as it is.
        """
        try:
            return (self._way or self._build()).carry(value)
        except Refusal as refusal:
            raise NotSerializable(f"{what}: {refusal}") from refusal.__cause__

    def load(self, raw: bytes, what: str) -> T:
        """Decode JSON as a value of the declared type.

        Raises:
            InvalidInput: The bytes do not fit the type.
            NotSerializable: The type itself cannot be carried.
        """
        try:
            return cast(T, self.decode(raw))
        except Refusal as refusal:
            raise NotSerializable(f"{what}: {refusal}") from refusal.__cause__
        except Exception as error:
            raise InvalidInput(f"{what}: does not fit {self.name}: {_unfit(error)}") from None

    def encode(self, value: Any) -> bytes:
        """As ``dump``, raising ``Refusal``: for callers that know better what to name."""
        return (self._way or self._build()).encode(value)

    def decode(self, raw: bytes) -> Any:
        """As ``load``, raising ``Refusal`` and what pydantic raises."""
        return (self._way or self._build()).decode(raw)

    def revive(self, part: Any) -> Any:
        """As ``decode``, of JSON that was parsed already."""
        return (self._way or self._build()).revive(part)

    @property
    def plain(self) -> Mapping[type, Callable[[Any], bytes]]:
        """How values are written that are exact primitives and need no look, by their type."""
        if self.is_json:
            return PLAIN
        return {kind: PLAIN[kind] for kind in _plain_kinds(self.annotation)}

    @property
    def name(self) -> str:
        """The type as it is called in messages."""
        return "the JSON types" if self.is_json else type_name(self.annotation)

    def _build(self) -> Way:
        if self.is_json:
            self._way = JsonWay()
        elif isinstance(self.annotation, (str, ForwardRef)):
            raise Refusal(f"the annotation {self.annotation!r} cannot be resolved. Define the type at module level.")
        else:
            try:
                self._way = TypedWay(self.annotation, tuned(self.annotation))
            except Exception as error:
                raise Refusal(
                    f"the type {type_name(self.annotation)} cannot be carried: {_first_line(error)} "
                    "Use a pydantic model, a dataclass or a standard type."
                ) from error
        return self._way


_known: Final[dict[Any, ValueType[Any]]] = {}


# ── nothing declared: the JSON types, exactly ────────────────────────────────────────────────────────────────────────


@final
class JsonWay:
    """None, bool, int, finite float, str, list and dict with str keys; nothing else, at any level."""

    __slots__ = ()

    def encode(self, value: Any) -> bytes:
        """See ``Way``."""
        plain = PLAIN.get(type(value))
        try:
            if plain is not None:
                return plain(value)
            if is_json(value, DEPTH_MAX):
                raw = to_json(value)
                if len(raw) > INT_DIGITS_MAX:  # it may hold an int that is too long to be read
                    from_json(raw)
                return raw
        except Exception as error:
            raise Refusal(_unwritable(error)) from error
        raise Refusal(json_fault(value))

    def carry(self, value: Any) -> tuple[bytes, Any]:
        """See ``Way``."""
        raw = self.encode(value)
        # What cannot be changed need not be copied.
        return raw, (value if type(value) in PLAIN else from_json(raw, allow_inf_nan=False))

    def decode(self, raw: bytes) -> Any:
        """See ``Way``."""
        return from_json(raw, allow_inf_nan=False)

    def revive(self, part: Any) -> Any:
        """See ``Way``."""
        return part


def _int(value: int) -> bytes:
    if value.bit_length() > INT_BITS_SURE and not -INT_BOUND < value < INT_BOUND:
        raise ValueError("number out of range")
    return b"%d" % value


PLAIN: Final[dict[type, Callable[[Any], bytes]]] = {
    str: to_json,
    int: _int,
    bool: {True: b"true", False: b"false"}.__getitem__,
    NoneType: {None: b"null"}.__getitem__,
}
"""How the exact primitives are written; reading them back gives the same value, so nothing is checked."""

ATOMS: Final = frozenset(PLAIN)


def is_json(value: Any, room: int) -> bool:
    """Whether a value is made of JSON types alone, no deeper than ``room`` levels."""
    kind = type(value)
    if kind in ATOMS:
        return True
    if kind is float:
        return isfinite(value)
    if room == 0:
        return False
    if kind is list:
        return all(type(item) in ATOMS or is_json(item, room - 1) for item in value)
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str or (type(item) not in ATOMS and not is_json(item, room - 1)):
                return False
        return True
    return False


def json_fault(value: Any) -> str:
    """Why ``is_json`` said no."""
    path, room = "", DEPTH_MAX
    while type(value) in (list, dict):  # not ``isinstance``, which asks the value itself, and it may raise
        if room == 0:
            return f"it is nested deeper than {DEPTH_MAX} levels"
        keyed = type(value) is dict
        parts: Any = value.items() if keyed else enumerate(value)
        for key, item in parts:
            if keyed and type(key) is not str:
                return f"{_at(path)}a dict with a key of type {type_name(type(key))}, not str. {ANNOTATE}"
            if not is_json(item, room - 1):
                path, value = f"{path}[{key!r:.40}]", item
                break
        room -= 1
    if type(value) is float:
        return f"{_at(path)}the float {value!r} is not JSON. Annotate the type as float, and it is carried exactly."
    return f"{_at(path)}{type_name(type(value))} is not a JSON type. {ANNOTATE}"


ANNOTATE: Final = "Annotate the type, so that the value can be carried exactly."


def _at(path: str) -> str:
    return f"at {path[:200]}: " if path else ""


# ── a declared type ──────────────────────────────────────────────────────────────────────────────────────────────────


@final
class TypedWay:
    """Pydantic does the work, and is checked."""

    __slots__ = ("_annotation", "_dump", "_load", "_plain", "_validator")

    def __init__(self, annotation: Any, halves: Tuned) -> None:
        self._annotation = annotation
        self._plain = {kind: PLAIN[kind] for kind in _plain_kinds(annotation)}
        self._dump = halves.serializer.to_json
        self._load = halves.validator.validate_json
        self._validator = halves.validator

    def encode(self, value: Any) -> bytes:
        """See ``Way``."""
        return self.carry(value)[0]

    def carry(self, value: Any) -> tuple[bytes, Any]:
        """See ``Way``."""
        plain = self._plain.get(type(value))
        try:
            if plain is not None:
                return plain(value), value
            # Pydantic's own warnings would cost a microsecond; ``same`` sees whatever they would be about.
            raw = self._dump(value, by_alias=False, round_trip=True, warnings=False)
        except Exception as error:
            raise self._refusal(value, _unwritable(error)) from error
        try:
            if len(raw) > DEPTH_MAX and raw.count(b"[") + raw.count(b"{") > DEPTH_MAX and _too_deep(raw):
                raise self._refusal(value, f"it is nested deeper than {DEPTH_MAX} levels")
            loaded = self._load(raw)
            if same(value, loaded):
                return raw, loaded
            fault = difference(value, loaded)
        except Refusal:
            raise
        except Exception as error:
            raise self._refusal(value, f"it cannot be read back: {_unfit(error)}") from error
        raise self._refusal(value, fault)

    def decode(self, raw: bytes) -> Any:
        """See ``Way``."""
        return self._load(raw)

    def revive(self, part: Any) -> Any:
        """See ``Way``."""
        return part if type(part) in self._plain else self._load(to_json(part))

    def _refusal(self, value: Any, fault: str) -> Refusal:
        declared, given = type_name(self._annotation), type_name(type(value))
        unfit = self._mistyped(value)
        if unfit is not None:
            return Refusal(f"declared {declared}, given {given}{unfit}", mistyped=True)
        return Refusal(f"a value of type {given} cannot be carried exactly as {declared}: {fault}")

    def _mistyped(self, value: Any) -> str | None:
        """What to add to "declared this, given that" where the value is not of the type at all; else None."""
        try:
            accepted = self._validator.validate_python(value, strict=True)
        except ValidationError as error:
            lines = error.errors(include_url=False)
            if all(line["type"] == "string_unicode" for line in lines):
                return None  # text with lone surrogates is a str all the same
            return f" ({_unfit(error)})" if lines[0]["loc"] else ""
        except Exception:
            return None
        return None if type(accepted) is type(value) else ""


def _too_deep(raw: bytes) -> bool:
    """Whether there would be no room for what values are wrapped in: then they could be read here, but not there."""
    room = READER_DEPTH_MAX - DEPTH_MAX
    try:
        from_json(b"[" * room + raw + b"]" * room)
    except ValueError as error:
        return "recursion limit" in str(error)
    return False


def _plain_kinds(annotation: Any) -> frozenset[type]:
    """The primitives an annotation admits as they are: ``str``, ``int | None``; none for anything with constraints."""
    if annotation in (str, int, bool, NoneType):
        return frozenset({annotation})
    if get_origin(annotation) not in (Union, UnionType):
        return frozenset()
    kinds = [_plain_kinds(part) for part in get_args(annotation)]
    # With another type in the union, text might be read as that other type.
    return frozenset().union(*kinds) if all(kinds) else frozenset()


def _unwritable(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    text = _first_line(error)
    _, unstorable, why = text.partition(f"{Unstorable.__name__}: ")  # pydantic passes it on as text alone
    if unstorable:
        return why
    if "surrogates" in text or isinstance(error, UnicodeError):
        return "text with a lone surrogate is not Unicode"
    if "Circular reference" in text or "recursion" in text or "Maximum" in text:
        return "it is nested too deeply, or refers to itself"
    if "integer string conversion" in text or "number out of range" in text:
        return f"an int of more than {INT_DIGITS_MAX:,} digits"
    if "Unable to serialize unknown type" in text:
        return text.removeprefix("Error serializing to JSON: ").removeprefix("PydanticSerializationError: ")
    return "a part of it is not of its declared type, or cannot be written"


def _unfit(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return _first_line(error)
    lines = error.errors(include_url=False, include_context=False, include_input=False)
    shown = [f"{'.'.join(map(str, line['loc']))}: {line['msg']}".removeprefix(": ") for line in lines[:3]]
    return "; ".join(shown)[:600] + ("; ..." if len(lines) > 3 else "")


def _first_line(error: Exception) -> str:
    try:
        return str(error).strip().partition("\n")[0][:300]
    except Exception:
        return type(error).__name__
