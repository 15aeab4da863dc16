"""The parameters of a step or workflow function: its arguments to one JSON document and back."""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
import typing
from collections.abc import Callable, Mapping
from itertools import repeat
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, final

from pydantic_core import from_json, to_json

from durable.codec.sameness import type_name
from durable.codec.values import DEPTH_MAX, Refusal, ValueType
from durable.errors import InvalidInput, NotSerializable

__all__ = ["Arguments", "digest"]

Kind = inspect.Parameter
_sorted_json: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
FINGERPRINT_BYTES: Final = 8


class Shape(NamedTuple):
    """A signature, resolved.

    Attributes:
        signature: Without the skipped parameters.
        positional: Names and types of the parameters that can be given by position, in order.
        required: How many of those have no default.
        simple: Whether giving exactly these by position is a complete call.
        named: The type of every parameter by name.
        rest: The name and type of ``*args``, if there is one.
        others: The type of ``**kwargs``, if there is one.
        result: The type of the return annotation.
        plain: Beside each of ``positional``: how its exact primitives are written.
    """

    signature: inspect.Signature
    positional: tuple[tuple[str, ValueType[Any]], ...]
    required: int
    simple: bool
    named: Mapping[str, ValueType[Any]]
    rest: tuple[str, ValueType[Any]] | None
    others: ValueType[Any] | None
    result: ValueType[Any]
    plain: tuple[Mapping[type, Callable[[Any], bytes]], ...]


@final
class Arguments:
    """The parameters of one function, resolved at their first use.

    The document is a JSON array where every argument stands in its place, so that renaming a parameter changes nothing;
    only what must be given by name is: ``{"args": [...], "kwargs": {...}}``. Defaults that were not given are not
    written: the function applies its own.
    """

    __slots__ = ("_fn", "_locals", "_shape", "_skip")

    def __init__(self, fn: Callable[..., Any], skip: int) -> None:
        self._fn = fn
        self._skip = skip
        self._shape: Shape | None = None
        self._locals = _enclosing_locals(fn)

    @staticmethod
    def of(fn: Callable[..., Any], *, skip: int = 0) -> Arguments:
        """The parameters of ``fn``, leaving out the first ``skip`` (the Context of a workflow)."""
        return Arguments(fn, skip)

    @property
    def result(self) -> ValueType[Any]:
        """The type of the return annotation."""
        return (self._shape or self._resolve()).result

    def prepare(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], what: str
    ) -> tuple[bytes, tuple[Any, ...] | None]:
        """As ``dump``, and what the bytes will be loaded as, where nobody can change that: primitives, by position."""
        shape = self._shape or self._resolve()
        if not kwargs and shape.simple and shape.required <= len(args) <= len(shape.plain):
            parts: list[bytes] = []
            for value, writers in zip(args, shape.plain, strict=False):
                writer = writers.get(type(value))
                if writer is None:
                    break
                try:
                    parts.append(writer(value))
                except Exception:  # ``dump`` tells why
                    break
            else:
                return b"[%b]" % b",".join(parts), args
        return self.dump(args, kwargs, what), None

    def dump(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], what: str) -> bytes:
        """Encode the arguments of a call; the same call gives the same bytes, however it was written.

        Args:
            args: Given by position.
            kwargs: Given by name.
            what: Names the call in the error, as in ``step "charge"``.

        Raises:
            InvalidInput: They do not fit the signature, or one is not of its declared type.
            NotSerializable: One cannot be carried exactly.
        """
        shape = self._shape or self._resolve()
        placed, count = shape.positional, len(args)
        if kwargs or not shape.simple or not shape.required <= count <= len(placed):
            raw = self._dump_bound(shape, args, kwargs, what)
        elif count == 1:
            raw = b"[" + _encode(args[0], placed[0], what) + b"]"
        else:
            raw = b"[%b]" % b",".join(map(_encode, args, placed, repeat(what)))
        if len(raw) > DEPTH_MAX and raw.count(b"[") + raw.count(b"{") > DEPTH_MAX:  # it may be too deep to be read
            _parsed(raw, what, NotSerializable)
        return raw

    def load(self, raw: bytes, what: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Decode the arguments of a call.

        Raises:
            InvalidInput: The bytes do not fit the signature.
            NotSerializable: A declared type cannot be carried at all.
        """
        shape = self._shape or self._resolve()
        given, named = _split(_parsed(raw, what, InvalidInput), what)
        if not named and shape.simple and shape.required <= len(given) <= len(shape.positional):
            return tuple([_decode(part, of, what) for part, of in zip(given, shape.positional, strict=False)]), {}
        self._bind(shape, tuple(given), named, what)
        args = tuple(_decode(part, of, what) for part, of in zip(given, _by_place(shape, len(given)), strict=True))
        return args, {name: _decode(part, (name, _by_name(shape, name)), what) for name, part in named.items()}

    @staticmethod
    def fingerprint(raw: bytes) -> str:
        """Sixteen hex digits that stand for encoded arguments (BLAKE2b); the order of an object's members is left out.

        Equal dicts may be built in another order by another process (from a set), and that is no change of the code.
        """
        return hashlib.blake2b(_canonical(raw), digest_size=FINGERPRINT_BYTES).hexdigest()

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _dump_bound(self, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], what: str) -> bytes:
        bound = self._bind(shape, args, kwargs, what)
        given = bound.args
        array = b"[%b]" % b",".join(
            [_encode(value, of, what) for value, of in zip(given, _by_place(shape, len(given)), strict=True)]
        )
        if not bound.kwargs:
            return array
        # Named parameters as the signature has them; what ``**kwargs`` takes by name, since a call has no order there.
        names = [name for name in shape.named if name in bound.kwargs]
        names += sorted(name for name in bound.kwargs if name not in shape.named)
        members = [
            b"%b:%b" % (_name(name, what), _encode(bound.kwargs[name], (name, _by_name(shape, name)), what))
            for name in names
        ]
        return b'{"args":%b,"kwargs":{%b}}' % (array, b",".join(members))

    def _bind(
        self, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], what: str
    ) -> inspect.BoundArguments:
        try:
            return shape.signature.bind(*args, **kwargs)
        except TypeError as error:
            name = getattr(self._fn, "__qualname__", "function").rpartition(">.")[2]
            raise InvalidInput(f"{what}: {error}. The signature is {name}{_shown(shape.signature)}.") from None

    def _resolve(self) -> Shape:
        signature = _signature(self._fn)
        parameters = list(signature.parameters.values())[self._skip :]
        types = {p.name: ValueType.of(self._resolved(p.annotation)) for p in parameters}
        kinds = {kind: [p for p in parameters if p.kind is kind] for kind in {p.kind for p in parameters}}
        placed = kinds.get(Kind.POSITIONAL_ONLY, []) + kinds.get(Kind.POSITIONAL_OR_KEYWORD, [])
        by_name = kinds.get(Kind.KEYWORD_ONLY, [])
        rest, others = kinds.get(Kind.VAR_POSITIONAL), kinds.get(Kind.VAR_KEYWORD)
        self._shape = Shape(
            signature=signature.replace(parameters=parameters),
            positional=tuple((p.name, types[p.name]) for p in placed),
            required=sum(p.default is Kind.empty for p in placed),
            simple=all(p.default is not Kind.empty for p in by_name),
            named={p.name: types[p.name] for p in placed + by_name},
            rest=(f"*{rest[0].name}", types[rest[0].name]) if rest else None,
            others=types[others[0].name] if others else None,
            result=ValueType.of(self._resolved(signature.return_annotation)),
            plain=tuple(types[p.name].plain for p in placed),
        )
        self._locals = {}  # no longer needed, and they hold what they hold
        return self._shape

    def _resolved(self, annotation: Any) -> Any:
        """One annotation with its names looked up; as it is where that fails, to be refused when it is used.

        One by one, because a Context imported under ``TYPE_CHECKING`` must not spoil the others.
        """
        if isinstance(annotation, (typing.ParamSpecArgs, typing.ParamSpecKwargs)):
            return Any
        if annotation is None:
            return type(None)
        target = _innermost(self._fn)
        names = getattr(target, "__globals__", None) or vars(sys.modules.get(getattr(target, "__module__", ""), typing))
        holder: Any = SimpleNamespace(__annotations__={"it": annotation})
        try:
            return typing.get_type_hints(holder, names, self._locals, include_extras=True)["it"]
        except Exception:
            return annotation


def digest(workflow: str, raw: bytes) -> str:
    """What a start is compared by when its id exists already: SHA-256 of the workflow's name, NUL and its input.

    As in a fingerprint, the order of an object's members is left out.
    """
    return hashlib.sha256(workflow.encode("utf-8", "surrogatepass") + b"\0" + _canonical(raw)).hexdigest()


def _canonical(raw: bytes) -> bytes:
    """The same JSON with the members of every object in order; what has at most one member is in order."""
    return _sorted_json(from_json(raw)).encode() if raw.count(b'":') > 1 else raw


# ── one argument ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _encode(value: Any, of: tuple[str, ValueType[Any]], what: str) -> bytes:
    try:
        return of[1].encode(value)
    except Refusal as refusal:
        error = InvalidInput if refusal.mistyped else NotSerializable
        raise error(f"{what}: parameter {of[0]!r}: {refusal}") from refusal.__cause__


def _decode(part: Any, of: tuple[str, ValueType[Any]], what: str) -> Any:
    try:
        return of[1].revive(part)
    except Exception:
        return of[1].load(to_json(part), f"{what}: parameter {of[0]!r}")  # says what is wrong, in its own words


def _by_place(shape: Shape, count: int) -> list[tuple[str, ValueType[Any]]]:
    placed = list(shape.positional[:count])
    if shape.rest is not None:
        placed += [shape.rest] * (count - len(placed))
    return placed


def _by_name(shape: Shape, name: str) -> ValueType[Any]:
    known = shape.named.get(name) or shape.others
    assert known is not None  # the signature was bound before
    return known


def _name(name: str, what: str) -> bytes:
    try:
        return to_json(name)
    except Exception as error:
        raise NotSerializable(f"{what}: the name of a keyword argument is not Unicode") from error


def _parsed(raw: bytes, what: str, error: type[InvalidInput | NotSerializable]) -> Any:
    try:
        return from_json(raw, allow_inf_nan=False)
    except ValueError as reason:
        raise error(f"{what}: the arguments cannot be read: {str(reason)[:200]}") from None


def _split(document: Any, what: str) -> tuple[list[Any], dict[str, Any]]:
    if type(document) is list:
        return document, {}
    if type(document) is dict and document.keys() <= {"args", "kwargs"}:
        args, kwargs = document.get("args", []), document.get("kwargs", {})
        if type(args) is list and type(kwargs) is dict:
            return args, kwargs
    raise InvalidInput(f'{what}: expected the arguments as a JSON array, or as {{"args": [...], "kwargs": {{...}}}}')


# ── signatures ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _signature(fn: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(fn)
    except (TypeError, ValueError):  # a builtin that does not tell
        anything = [Kind("args", Kind.VAR_POSITIONAL), Kind("kwargs", Kind.VAR_KEYWORD)]
        return inspect.Signature(anything)


def _shown(signature: inspect.Signature) -> str:
    parts = []
    for p in signature.parameters.values():
        mark = "*" if p.kind is Kind.VAR_POSITIONAL else "**" if p.kind is Kind.VAR_KEYWORD else ""
        kind = "" if p.annotation is Kind.empty else f": {_annotation(p.annotation)}"
        parts.append(f"{mark}{p.name}{kind}" + ("" if p.default is Kind.empty else " = ..."))
    return f"({', '.join(parts)})"


def _annotation(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else type_name(annotation)


def _innermost(fn: Callable[..., Any]) -> Any:
    """The plain function below decorators and methods: its module is where its annotations were written."""
    target = inspect.unwrap(fn)
    return getattr(target, "__func__", target)


def _enclosing_locals(fn: Callable[..., Any]) -> dict[str, Any]:
    """What a function defined inside another can name: its annotations may use types that only live there."""
    target = _innermost(fn)
    outer = getattr(target, "__qualname__", "").rpartition(".<locals>")[0]
    hints = getattr(target, "__annotations__", None) or {}
    if not outer or not any(isinstance(hint, str) for hint in hints.values()):
        return {}
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_qualname == outer and frame.f_globals is getattr(target, "__globals__", None):
            return dict(frame.f_locals)
        frame = frame.f_back  # type: ignore[assignment]
    return {}
