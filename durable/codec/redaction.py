"""Values that this process has revealed, and their removal from every text that leaves it by a side door.

One function, ``redact``, for all doors: errors on their way into the journal, log records, reasons, the command line.
It finds a value as it is and as ``repr``, JSON and URLs write it, also one inside the other. What is computed from a
value (its base64, its hash, a part of it) it cannot know.
"""

from __future__ import annotations

import re
import threading
from typing import Any, Final, final

__all__ = ["is_needed", "redact", "redacted", "remember"]

CHARS_MIN: Final = 6
"""Shorter values are part of too many other words to be taken out of texts."""

LINE_CHARS_MIN: Final = 16
"""A line of a value of several lines (a key in PEM form) is looked for by itself from this length on."""

VALUES_MAX: Final = 1_000
"""Then the oldest are forgotten: secrets that change must not fill the memory."""

_WRITTEN_PLAIN: Final = re.compile(r"[A-Za-z0-9_.-]+")  # by repr, JSON and URLs alike


@final
class _Finder:
    """Looks for one text in others.

    Attributes:
        core: A piece of it that is written in one way only. A text without it is done with at the speed of ``in``;
            one pattern for all values would take seconds for a long text once there are hundreds of them.
    """

    __slots__ = ("_compiled", "_part", "core")

    def __init__(self, part: str) -> None:
        self.core = max(_WRITTEN_PLAIN.findall(part), key=len, default="")
        self._part = part
        self._compiled: re.Pattern[str] | None = None

    def replace(self, text: str, label: str) -> str:
        """The text with the label in its places."""
        if self._compiled is None:
            self._compiled = re.compile(_pattern(self._part))
        return self._compiled.sub(lambda _: f"[secret {label}]", text)


@final
class _Memory:
    """What has been revealed here, and what finds it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._labels: dict[str, str] = {}
        self._finders: dict[str, _Finder] = {}
        self._in_turn: list[tuple[_Finder, str]] | None = None

    def __bool__(self) -> bool:
        return bool(self._labels)

    def add(self, value: str, label: str) -> None:
        with self._lock:
            if self._labels.get(value) != label:
                self._in_turn = None
            others = [item for item in self._labels.items() if item[0] != value]
            # At the end, since what is in use is forgotten last; and at once, since others read meanwhile.
            self._labels = dict([*others[-VALUES_MAX + 1 :], (value, label)])

    def clean(self, text: str) -> str:
        if not self._labels:
            return text
        for finder, label in self._in_turn or self._built():
            if finder.core in text:
                text = finder.replace(text, label)
        return text

    def _built(self) -> list[tuple[_Finder, str]]:
        """The longest first, for one value may be part of another."""
        with self._lock:
            labels = {part: label for value, label in self._labels.items() for part in _parts(value)}
            self._finders = {part: self._finders.get(part) or _Finder(part) for part in labels}
            longest_first = sorted(labels, key=len, reverse=True)
            self._in_turn = found = [(self._finders[part], labels[part]) for part in longest_first]
            return found


def _parts(value: str) -> set[str]:
    """What is looked for: the value, and of a value of several lines the long ones."""
    lines = value.splitlines()
    return {value.strip(), *(line.strip() for line in lines if len(lines) > 1 and len(line.strip()) >= LINE_CHARS_MIN)}


def _pattern(part: str) -> str:
    """A pattern for a text, however often ``repr`` and JSON have escaped it, one inside the other, or a URL once.

    No text makes the search slow: quantifiers are possessive, and a search does not begin inside a run of backslashes.
    """
    first, *rest = re.findall(r"\\+|[^\\]", part, re.DOTALL)
    return _one(first, r"\\?", r"\\", r"(?<!\\)") + "".join(_one(one, r"\\*+", r"\\++", "") for one in rest)


def _one(character: str, optional: str, escape: str, border: str) -> str:
    """One character, or a run of backslashes, as it may be written."""
    if character.startswith("\\"):
        return rf"(?:{border}\\++|(?i:%5c){{{len(character)}}})"
    if _WRITTEN_PLAIN.fullmatch(character):
        return re.escape(character)
    utf8 = character.encode("utf-8", "surrogatepass")
    percent = "".join(f"%{byte:02x}" for byte in utf8)
    utf16 = character.encode("utf-16-be", "surrogatepass").hex()
    codes = r"\\++".join(f"u{utf16[place : place + 4]}" for place in range(0, len(utf16), 4))
    escapes = [codes, f"U{ord(character):08x}", r"\\++".join(f"x{byte:02x}" for byte in utf8)]
    escapes += [f"x{ord(character):02x}"] if ord(character) < 256 else []
    escapes += [_SHORT[character]] if character in _SHORT else []
    plus = r"|\+" if character == " " else ""
    return rf"(?:{optional}{re.escape(character)}|(?i:{percent}|{escape}(?:{'|'.join(escapes)})){plus})"


_SHORT: Final = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f"}
_memory: Final = _Memory()


def remember(value: str, label: str) -> None:
    """From now on ``redact`` takes this value out of texts, if it has at least six characters.

    Args:
        label: Stands for it, as in ``[secret STRIPE_KEY]``.
    """
    if len(value.strip()) >= CHARS_MIN:
        _memory.add(value, label)


def is_needed() -> bool:
    """Whether anything has been revealed here; if not, ``redact`` changes nothing."""
    return bool(_memory)


def redact(text: str) -> str:
    """The text with each value that ``Secret.reveal()`` has given out in this process replaced by its name.

    For your own log formatters and error reports; the library's own logs, journaled errors and command line have been
    through it. Values of fewer than six characters are left alone, and so is what was computed from a value.

    Returns:
        As in ``401 for key [secret STRIPE_KEY]``.
    """
    return _memory.clean(text)


def redacted(value: Any) -> Any:
    """``redact`` for each text of a JSON value, keys included."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redacted(key): redacted(part) for key, part in value.items()}
    return [redacted(part) for part in value] if isinstance(value, list) else value
