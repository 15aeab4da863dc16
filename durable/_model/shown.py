"""How a value that somebody gave is shown in a message: briefly, and whatever it is."""

from __future__ import annotations

import reprlib
from typing import Final

__all__ = ["shown"]

_CHARS_MAX: Final = 80
_repr: Final = reprlib.Repr()
_repr.maxstring = _repr.maxother = _CHARS_MAX
_repr.maxlevel = 3


def shown(value: object) -> str:
    """``repr``, cut to about a line; never raises, though ``__repr__`` may, and always valid text.

    An int can have more digits than Python will print, a text megabytes, and an object any ``__repr__``.
    """
    try:
        text = _repr.repr(value)
        return str.__str__(text)[: 4 * _CHARS_MAX].encode("utf-8", "backslashreplace").decode()
    except Exception:
        return f"a {type(value).__name__} that cannot be shown"
