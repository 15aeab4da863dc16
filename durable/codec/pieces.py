"""A value in pieces, named by their content: what a value repeats of earlier ones need not be stored again.

A text in pieces is JSON in which the byte 1, which JSON never has, and 32 characters stand for another such text. So
plain JSON is a text in pieces, too, and putting one together asks nothing about what was cut where.

Large arrays and objects are opened; what is large in them is a piece, and so is a run of smaller members. Where a run
ends is decided by what is in it, so that the runs of a list are the same ones when something comes before or after it.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, final
from zlib import crc32

from pydantic_core import from_json, to_json

__all__ = ["PIECE_BYTES", "joined", "lightened", "references", "shares", "split"]

PIECE_BYTES: Final = 512
"""What is shorter stays where it is: a row of its own would cost more than it saves."""

_NAME_BYTES: Final = 24
_RUN_BYTES: Final = PIECE_BYTES * 7 // 4  # with its key, a row of so many bytes needs no page of its own
_RUN_ENDS: Final = 4  # one member in so many may end a run that is long enough
_OPENED: Final = 8  # levels; what is nested deeper is not opened, for each level is encoded once more
_MARK: Final = b"\x01"
_REFERENCE: Final = re.compile(rb"\x01([A-Za-z0-9_-]{32})")
_REFERENCE_COSTS: Final = PIECE_BYTES // 2


def split(raw: bytes, key: bytes = b"") -> tuple[bytes, dict[str, bytes]]:
    """An encoded value as a text and the pieces it refers to, by name; they refer to each other likewise.

    Args:
        raw: JSON. What is not, or would come back altered by a byte, is left whole.
        key: Of the hash that names the pieces: whoever has the key can tell whether a piece is one he knows.
    """
    if len(raw) < 2 * PIECE_BYTES or _MARK in raw:
        return raw, {}
    try:
        splitter = _Splitter(key)
        text = splitter.opened(from_json(raw), raw, _OPENED)
    except Exception:  # not JSON, or nothing that can be written again
        return raw, {}
    return (text, splitter.pieces) if joined(text, splitter.pieces.get, len(raw)) == raw else (raw, {})


def shares(raw: bytes, key: bytes = b"") -> dict[str, bytes]:
    """The pieces that a value which contains this one would have in common with it; its own is among them."""
    if len(raw) < PIECE_BYTES or _MARK in raw:
        return {}
    splitter = _Splitter(key)
    try:
        splitter.token(from_json(raw), _OPENED)
    except Exception:
        return {}
    return splitter.pieces


def references(text: bytes) -> list[str]:
    """The names of the pieces a text refers to, as often as it does."""
    return [name.decode() for name in _REFERENCE.findall(text)] if _MARK in text else []


def joined(text: bytes, piece: Callable[[str], bytes | None], bytes_max: int) -> bytes | None:
    """The encoded value again; None if one of its pieces is absent.

    Args:
        piece: By name.
        bytes_max: None, too, if it would be longer: pieces that someone has tampered with may refer to themselves.
    """
    if _MARK not in text:
        return text
    found: list[bytes] = []
    room = bytes_max * 2
    ahead: list[tuple[bytes, bool]] = [(text, False)]  # and whether it is a name
    while ahead:
        part, is_name = ahead.pop()
        room -= _REFERENCE_COSTS if is_name else len(part)
        if room < 0:
            return None
        if is_name:
            known = piece(part.decode())
            if known is None:
                return None
            ahead.append((known, False))
        elif _MARK in part:
            room += len(part)
            parts = _REFERENCE.split(part)  # text and name in turn
            if len(parts) == 1:
                return None
            ahead += [(parts[n], n % 2 == 1) for n in range(len(parts) - 1, -1, -1)]
        else:
            found.append(part)
    return b"".join(found)


def lightened(
    text: bytes, pieces: Mapping[str, bytes], known: Callable[[str], bool], room: int, key: bytes = b""
) -> tuple[bytes, dict[str, bytes]]:
    """A text with those of its pieces that are to be stored beside it: not the known ones, and at most ``room``.

    Where there are more, the inmost go back to where they were cut out: fewer and larger pieces, with other names.
    """
    new = _unknown(text, pieces, known)
    while len(new) > room:
        inmost = {name: data for name, data in new.items() if new.keys().isdisjoint(references(data))}
        text, filled = _filled(text, new, inmost, key)
        new = _unknown(text, filled, known)
    return text, new


def _unknown(text: bytes, pieces: Mapping[str, bytes], known: Callable[[str], bool]) -> dict[str, bytes]:
    """What has to be stored for a text; who knows a piece knows the pieces of it."""
    new: dict[str, bytes] = {}
    ahead = references(text)
    while ahead:
        name = ahead.pop()
        if name not in new and not known(name):
            new[name] = pieces[name]
            ahead += references(pieces[name])
    return new


def _filled(
    text: bytes, pieces: Mapping[str, bytes], inmost: Mapping[str, bytes], key: bytes
) -> tuple[bytes, dict[str, bytes]]:
    """A text and its pieces with the inmost in place; whoever holds one of them is named anew."""
    found: dict[str, bytes] = {}
    references: dict[str, bytes] = {}

    def reference(match: re.Match[bytes]) -> bytes:
        name = match[1].decode()
        if name in inmost:
            return inmost[name]
        if name not in pieces:
            return match[0]
        if name not in references:
            data = _REFERENCE.sub(reference, pieces[name])
            references[name] = _MARK + _name(data, key)
            found[references[name][1:].decode()] = data
        return references[name]

    return _REFERENCE.sub(reference, text), found


def _name(text: bytes, key: bytes) -> bytes:
    return urlsafe_b64encode(blake2b(text, digest_size=_NAME_BYTES, key=key).digest())


@final
class _Splitter:
    """Collects the pieces of one value."""

    __slots__ = ("_key", "pieces")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.pieces: dict[str, bytes] = {}

    def token(self, value: Any, levels: int) -> bytes:
        """What stands for a member where it was: itself, or its name."""
        raw = to_json(value)
        if len(raw) < PIECE_BYTES:
            return raw
        text = self.opened(value, raw, levels)
        return self._named(text) if len(text) >= PIECE_BYTES else text

    def opened(self, value: Any, raw: bytes, levels: int) -> bytes:
        """A value whose members are tokens, as a text."""
        if levels and type(value) is list:
            return b"[%b]" % self._gathered([self.token(item, levels - 1) for item in value])
        if levels and type(value) is dict:
            members = [b"%b:%b" % (to_json(key), self.token(item, levels - 1)) for key, item in value.items()]
            return b"{%b}" % self._gathered(members)
        return raw

    def _gathered(self, tokens: Sequence[bytes]) -> bytes:
        """Members side by side; runs of them are pieces, and runs of those, until there is little left."""
        while sum(map(len, tokens)) + len(tokens) > _RUN_BYTES:
            tokens = self._in_runs(tokens)
        return b",".join(tokens)

    def _in_runs(self, tokens: Sequence[bytes]) -> list[bytes]:
        found: list[bytes] = []
        run: list[bytes] = []
        size = 0
        for token in tokens:
            run.append(token)
            size += len(token) + 1
            if size >= PIECE_BYTES and (size > _RUN_BYTES or crc32(token) % _RUN_ENDS == 0):
                found.append(self._named(b",".join(run)))
                run, size = [], 0
        return found + run

    def _named(self, text: bytes) -> bytes:
        name = _name(text, self._key)
        self.pieces[name.decode()] = text
        return _MARK + name
