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


@final
class _Memory:
    """What has been revealed here, and the pattern that finds it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._labels: dict[str, str] = {}
        self._finder: tuple[re.Pattern[str], list[str]] | None = None

    def __bool__(self) -> bool:
        return bool(self._labels)

    def add(self, value: str, label: str) -> None:
        with self._lock:
            if value not in self._labels:
                self._finder = None
            others = [item for item in self._labels.items() if item[0] != value]
            # At the end, since what is in use is forgotten last; and at once, since others read meanwhile.
            self._labels = dict([*others[-VALUES_MAX + 1 :], (value, label)])

    def clean(self, text: str) -> str:
        if not self._labels:
            return text
        pattern, labels = self._finder or self._built()
        return pattern.sub(lambda found: f"[secret {labels[(found.lastindex or 1) - 1]}]", text)

    def _built(self) -> tuple[re.Pattern[str], list[str]]:
        with self._lock:
            labels = {part: label for value, label in self._labels.items() for part in _parts(value)}
            longest_first = sorted(labels, key=len, reverse=True)
            pattern = re.compile("|".join(f"({_pattern(part)})" for part in longest_first))
            self._finder = found = pattern, [labels[part] for part in longest_first]
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
    if character.isascii() and (character.isalnum() or character in "_-."):
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
