"""Exceptions to JSON and back, whatever they hold.

The two laws of this module: nothing raises, since an error that cannot be told would hide the one that matters; and
reading runs no code of the user's and imports nothing, since the bytes come from a store. So a class is looked up only
among modules that are already imported, and an instance is rebuilt by the builtin class it stands on.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterator
from types import MemberDescriptorType, ModuleType, TracebackType
from typing import Any, Final, TypeVar

from pydantic_core import from_json, to_json

from durable.codec.redaction import redact, redacted
from durable.codec.values import INT_DIGITS_MAX, is_json
from durable.errors import StepError

__all__ = ["dump_error", "error_line", "line_of", "load_error", "readable", "text_of"]

R = TypeVar("R")
T = TypeVar("T")

CHAIN_MAX: Final = 10
ERROR_BYTES_MAX: Final = 256 * 1024
RECORDS_AND_CHARS: Final = ((40, 8 * 1024), (10, 2 * 1024), (1, 500))
"""How many exceptions one record tells of (causes, members of groups) and how long their texts may be: as much as
fits."""

NOTES_MAX: Final = 20
STATE_BYTES_MAX: Final = 16 * 1024
STATE_DEPTH_MAX: Final = 50
FRAMES_MAX: Final = 40
LINE_CHARS_MAX: Final = 300
HEAP_TYPE: Final = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class that was made at run time
OWN_PACKAGES: Final = frozenset(
    {"durable", "durable_sqlite", "durable_convex", "durable_testing", "durable_dag", "durable_server"}
)


# ── to JSON ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def dump_error(error: BaseException) -> bytes:
    """Encode an exception: its class by name, what it says, what it holds, where it came from; values that were
    revealed here are taken out of all of it (S10).

    Of ``args`` and the instance's attributes only what is JSON, exactly, is kept; everything is bounded, so that the
    record fits a payload. Never raises.

    Returns:
        Raw JSON with ``type`` (``module:qualname``) and ``message``, and where there is any, ``args``, ``state``,
        ``cause``, ``notes``, ``group`` and ``traceback``.
    """
    for records, chars in RECORDS_AND_CHARS:
        teller = Teller(records, chars)
        raw = _safely(lambda: to_json(teller.tell(error, CHAIN_MAX)), b"")  # noqa: B023 - it is called at once
        if 0 < len(raw) <= ERROR_BYTES_MAX:
            return raw
    return b'{"type":"builtins:Exception","message":"(an exception that cannot be shown)"}'


class Teller:
    """Tells of one exception and those it hangs together with, within a budget."""

    def __init__(self, records: int, chars: int) -> None:
        self.records = records
        self.chars = chars
        self.above: list[BaseException] = []

    def tell(self, error: BaseException, room: int) -> dict[str, Any]:
        """The record of one exception; causes and members may be ``room`` levels deep, this one included."""
        self.records -= 1
        self.above.append(error)
        record: dict[str, Any] = {"type": _class_name(error), "message": _message(error, self.chars)}
        parts: dict[str, Callable[[], Any]] = {
            "args": lambda: _args(error),
            "state": lambda: _state(error),
            "notes": lambda: _notes(error, self.chars),
            "traceback": lambda: _traceback(error, self.chars),
            "cause": lambda: self._cause(error, room - 1),
            "group": lambda: self._group(error, room - 1),
        }
        for name, part in parts.items():
            found = _safely(part, None)
            if found is not None:
                record[name] = found
        self.above.pop()
        return record

    def _cause(self, error: BaseException, room: int) -> dict[str, Any] | None:
        cause = _builtin("__cause__", error)
        return self.tell(cause, room) if cause is not None and self._may_tell(cause, room) else None

    def _group(self, error: BaseException, room: int) -> list[dict[str, Any]] | None:
        if not issubclass(type(error), BaseExceptionGroup):
            return None
        members = BaseExceptionGroup.__dict__["exceptions"].__get__(error)
        return [self.tell(member, room) for member in members if self._may_tell(member, room)]

    def _may_tell(self, error: BaseException, room: int) -> bool:
        return room > 0 and self.records > 0 and not any(error is other for other in self.above)


def _class_name(error: BaseException) -> str:
    kind = type(error)
    return _text(f"{kind.__module__}:{kind.__qualname__}", 500)


def _message(error: BaseException, chars: int) -> str:
    return _text(text_of(error), chars)


def _args(error: BaseException) -> list[Any] | None:
    # OSError keeps the file name out of ``args``, and tells it here.
    args = OSError.__dict__["__reduce__"](error)[1] if issubclass(type(error), OSError) else _builtin("args", error)
    if issubclass(type(error), BaseExceptionGroup):
        args = args[:1]  # the members have their own place
    found = list(args)
    return _kept(found)


def _state(error: BaseException) -> dict[str, Any] | None:
    held = {name: member.__get__(error) for name, member in _members(type(error)) if _is_set(member, error)}
    held.update(_builtin("__dict__", error))
    held.pop("__notes__", None)
    found = {name: value for name, value in held.items() if type(name) is str and _fits(value)}
    return _kept(found) if found else None


def _kept(found: T) -> T | None:
    """Without what was revealed; None if there is no room for it, also then: a label can be longer than a value."""
    if not _fits(found):
        return None
    clean: T = redacted(found)
    return clean if clean == found or _fits(clean) else None


def _notes(error: BaseException, chars: int) -> list[str] | None:
    notes = _builtin("__dict__", error).get("__notes__")
    if not isinstance(notes, (list, tuple)):
        return None
    found = [_text(note, chars // NOTES_MAX) for note in notes[:NOTES_MAX] if isinstance(note, str)]
    return found or None


def _traceback(error: BaseException, chars: int) -> str | None:
    frames = list(_frames(_builtin("__traceback__", error)))
    if not frames:
        return None
    half = FRAMES_MAX // 2
    if len(frames) > FRAMES_MAX:
        frames[half:-half] = [f"  ... {len(frames) - 2 * half} frames left out\n"]
    text = redact("".join(frames))
    last = f"{type(error).__qualname__}: {_message(error, 500)}"
    room = chars - len(last) - 100
    if len(text) > room:  # the end says where it happened
        text = "  ...\n" + text[-max(room, 1) :].partition("\n")[2]
    return _text(f"Traceback (most recent call last):\n{text}{last}", chars)


def _frames(traceback: TracebackType | None) -> Iterator[str]:
    while traceback is not None:
        code, names = traceback.tb_frame.f_code, traceback.tb_frame.f_globals
        if str(names.get("__name__", "")).partition(".")[0] not in OWN_PACKAGES:
            source = linecache.getline(code.co_filename, traceback.tb_lineno, names).strip()
            place = f'  File "{code.co_filename}", line {traceback.tb_lineno}, in {code.co_name}\n'
            yield f"{place}    {source}\n" if source else place
        traceback = traceback.tb_next


def _builtin(name: str, error: BaseException) -> Any:
    """An attribute as the interpreter keeps it, past whatever the class says."""
    return BaseException.__dict__[name].__get__(error)


def _members(kind: type) -> Iterator[tuple[str, MemberDescriptorType]]:
    """What instances keep outside their ``__dict__``: the fields of builtin classes, and ``__slots__``."""
    for base in reversed(kind.__mro__):
        for name, member in base.__dict__.items():
            if type(member) is MemberDescriptorType and not name.startswith("__"):
                yield name, member


def _is_set(member: MemberDescriptorType, error: BaseException) -> bool:
    try:
        value = member.__get__(error)
    except AttributeError:
        return False
    # A builtin's field is None until it is set; a slot that is None was set to it.
    return value is not None or bool(member.__objclass__.__flags__ & HEAP_TYPE)


def _fits(value: Any) -> bool:
    return is_json(value, STATE_DEPTH_MAX) and _safely(lambda: _size(value), STATE_BYTES_MAX) < STATE_BYTES_MAX


def _size(value: Any) -> int:
    raw = to_json(value)
    if len(raw) > INT_DIGITS_MAX:  # an int may be too long to be read: then the whole record would be
        from_json(raw)
    return len(raw)


def _text(text: str, chars_max: int) -> str:
    # A str of its own kind may have methods of its own; this makes it a plain one. Redacted before it is cut, since
    # half a secret is not recognised.
    plain = redact(str.__str__(text))
    cut = plain if len(plain) <= chars_max else plain[:chars_max] + "... (shortened)"
    return cut.encode("utf-8", "backslashreplace").decode("utf-8")


def _safely(do: Callable[[], R], otherwise: R) -> R:
    try:
        return do()
    except BaseException:  # a hostile __str__ may raise anything at all, and must not stop the one who reports it
        return otherwise


# ── and back ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def load_error(raw: bytes) -> BaseException:
    """Decode an exception, for raising it again.

    Returns:
        An instance of its own class where that is known here, without its Python ``__init__`` having run; else a
        ``StepError`` that tells the same. Classes that are not ``Exception`` (``SystemExit``, ``KeyboardInterrupt``,
        ``CancelledError``) come back as ``StepError`` too: raised again in a worker, they would stop the worker.
    """
    try:
        return _rebuilt(from_json(raw))
    except Exception:
        return StepError("the stored error cannot be read")


def _rebuilt(record: Any) -> BaseException:
    if type(record) is not dict:
        return StepError("the stored error cannot be read")
    error = _safely(lambda: _own(record), None)
    if error is None:
        message, name, text = (_str(record.get(key)) for key in ("message", "type", "traceback"))
        error = StepError(message, type_name=name, traceback_text=text)
    notes = record.get("notes")
    if type(notes) is list:
        for note in notes:
            BaseException.add_note(error, _str(note))
    if type(record.get("cause")) is dict:
        BaseException.__dict__["__cause__"].__set__(error, _rebuilt(record["cause"]))
    return error


def _own(record: dict[str, Any]) -> BaseException | None:
    kind = _known_class(_str(record.get("type")))
    if kind is None:
        return None
    args = record.get("args")
    given = args if type(args) is list else [_str(record.get("message"))]
    if issubclass(kind, BaseExceptionGroup):
        given = [_str(given[0]) if given else "", [_rebuilt(member) for member in record["group"]]]
    base: Any = next(base for base in kind.__mro__ if not base.__flags__ & HEAP_TYPE)
    error: BaseException = base.__new__(kind, *given)
    base.__init__(error, *given)
    if type(args) is list and not isinstance(error, (OSError, BaseExceptionGroup)):
        BaseException.__dict__["args"].__set__(error, tuple(args))
    _restore(error, record.get("state"))
    return error


def _known_class(name: str) -> type[BaseException] | None:
    """The class of that name if it is here already. Dictionaries are read, so that no module's or class's own
    attribute lookup runs: some import on demand."""
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module)
    names: Any = object.__getattribute__(found, "__dict__") if isinstance(found, ModuleType) else {}
    for part in path.split("."):
        found = names.get(part)
        names = type.__dict__["__dict__"].__get__(found) if isinstance(found, type) else {}
    if not isinstance(found, type):
        return None
    return found if issubclass(found, (Exception, BaseExceptionGroup)) else None


def _restore(error: BaseException, state: Any) -> None:
    if type(state) is not dict:
        return
    members = dict(_members(type(error)))
    held = BaseException.__dict__["__dict__"].__get__(error)
    for name, value in state.items():
        if name in members:
            _safely(lambda: members[name].__set__(error, value), None)  # noqa: B023 - it is called at once
        elif not name.startswith("__"):
            held[name] = value


def _str(value: Any) -> str:
    return value if type(value) is str else ""


# ── for people ───────────────────────────────────────────────────────────────────────────────────────────────────────


def error_line(raw: bytes) -> str:
    """One line for people, as in ``CardDeclined: no funds``: at most 300 characters, all of them printable."""
    record = _safely(lambda: from_json(raw), None)
    if type(record) is not dict:
        return "(an error that cannot be read)"
    name = _str(record.get("type")).rpartition(":")[2].rpartition(".")[2]
    message = _str(record.get("message"))[: LINE_CHARS_MAX + 1]
    return line_of(f"{name}: {message}" if message else name)


def line_of(text: str, chars_max: int = LINE_CHARS_MAX) -> str:
    """Any text as one line for people: so many characters at most, all of them printable."""
    line = "".join(map(_printable, text[: chars_max + 1]))
    return line if len(line) <= chars_max else line[: chars_max - 3] + "..."


def text_of(error: BaseException) -> str:
    """``str(error)``, or that it has none; never raises."""
    return _safely(lambda: str.__str__(str(error)), f"({type(error).__qualname__}; its text cannot be shown)")


def readable(text: str) -> str:
    """The same text, at most 8,192 characters of it and no lone surrogates, which no store could keep."""
    return _text(text, RECORDS_AND_CHARS[0][1])


def _printable(character: str) -> str:
    # Line breaks, terminal escapes and right-to-left overrides would let an error write what it likes into a log.
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
