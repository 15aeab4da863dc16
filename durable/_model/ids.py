"""Ids and names: what they are, and the one check that all of them pass at the edge."""

from __future__ import annotations

from typing import NewType, cast

from durable._model.defaults import NAME_BYTES_MAX
from durable._model.shown import shown
from durable.errors import InvalidName

RunId = NewType("RunId", str)
CallId = NewType("CallId", str)
MessageId = NewType("MessageId", str)
SessionId = NewType("SessionId", str)

__all__ = ["CallId", "MessageId", "RunId", "SessionId", "check_name"]


def check_name(what: str, text: object) -> str:
    """Return ``text`` if it can be an id or a name, else raise.

    Args:
        what: What the text names, for the message: ``"run id"``, ``"signal name"``.
        text: One to 255 bytes of UTF-8 without control characters or lone surrogates.

    Raises:
        InvalidName: With what is wrong and what is allowed.
    """
    if type(text) is not str:
        if not issubclass(type(text), str):  # not ``isinstance``, which asks the object itself
            raise InvalidName(f"A {what} is text, not {type(text).__name__}: {shown(text)}.")
        text = str.__str__(cast(str, text))  # a kind of str may have ideas of its own about equality
    if text.isascii() and text.isprintable() and 0 < len(text) <= NAME_BYTES_MAX:
        return text
    if text == "":
        raise InvalidName(f"A {what} may not be empty.")
    if len(text) > NAME_BYTES_MAX:  # told without a copy: it may be megabytes
        raise InvalidName(
            f"The {what} {text[:40]!r}… has {len(text)} characters; the limit is {NAME_BYTES_MAX} bytes of UTF-8."
        )
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidName(f"The {what} {shown(text)} holds a lone surrogate, which is not valid text.") from None
    if size > NAME_BYTES_MAX:
        raise InvalidName(f"The {what} {text[:40]!r}… has {size} bytes of UTF-8; the limit is {NAME_BYTES_MAX}.")
    for character in text:  # at most 255 of them
        if ord(character) < 32 or 127 <= ord(character) < 160 or character in "\u2028\u2029":
            raise InvalidName(f"The {what} {text!r} holds the control character {character!r}.")
    return text
