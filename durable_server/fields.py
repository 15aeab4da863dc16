"""Members of a JSON body, each asked for by its name and kind; everything that is wrong is told at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, final

from starlette.requests import Request

from durable._model.duration import seconds_of
from durable.errors import InvalidInput
from durable_server.call import call_of, json_of
from durable_server.problems import Problem, detail

Json = Any

__all__ = ["Fields", "fields_of"]

_ABSENT: Final = object()
_YEARS_100_MS: Final = 100 * 366 * 86_400_000.0
_YEAR_9999_MS: Final = 253_370_764_800_000
"""The last year that a date can have begins here."""


async def fields_of(request: Request) -> Fields:
    """The body's members.

    Raises:
        Problem: 400, the body is not a JSON object.
    """
    value = json_of(call_of(request).body)
    if not isinstance(value, dict):
        raise Problem(400, "invalid_type", "The body is a JSON object.", [detail("", "invalid_type", "not an object")])
    return Fields(value)


@final
class Fields:
    """Ask for members, then say ``done()``: it raises if one of them did not fit."""

    def __init__(self, value: dict[str, Json], path: str = "") -> None:
        self.value = value
        self._path = path
        self._wrong: list[dict[str, str]] = []

    def has(self, name: str) -> bool:
        """Whether it is there, be it null."""
        return name in self.value

    def any(self, name: str, default: Json = None) -> Json:
        """Any JSON value."""
        return self.value[name] if self.has(name) else default

    def text(self, name: str, *, required: bool = False) -> str | None:
        """A text; None if absent or null."""
        value = self._given(name, required)
        if value is _ABSENT:
            return None
        if not isinstance(value, str):
            self.misfit(name, "text")
            return None
        return value

    def needed(self, name: str) -> str:
        """A text that must be there; empty while the caller has not yet been told that it is not."""
        return self.text(name, required=True) or ""

    def choice(self, name: str, choices: Sequence[str], default: str) -> str:
        """One of some words."""
        value = self._given(name, False)
        if value is _ABSENT:
            return default
        if value not in choices:
            self.misfit(name, f"one of {', '.join(choices)}")
            return default
        return str(value)

    def flag(self, name: str) -> bool:
        """True or false; false if absent."""
        value = self._given(name, False)
        if value is not _ABSENT and not isinstance(value, bool):
            self.misfit(name, "true or false")
        return value is True

    def whole(self, name: str) -> int | None:
        """A whole number; None if absent or null."""
        value = self._given(name, False)
        if value is _ABSENT:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > 2**53:
            self.misfit(name, "a whole number")
            return None
        return value

    def object(self, name: str) -> dict[str, Json] | None:
        """An object; None if absent. Null is none."""
        if not self.has(name):
            return None
        value = self.value[name]
        if not isinstance(value, dict):
            self.misfit(name, "an object")
            return None
        return value

    def texts(self, name: str) -> dict[str, str] | None:
        """An object of texts; None if absent."""
        value = self.object(name)
        if value is not None and not all(isinstance(part, str) for part in value.values()):
            self.misfit(name, "an object of texts")
            return None
        return value

    def seconds(self, name: str) -> float | None:
        """A duration: a number of milliseconds, or a text like ``30s``; in seconds."""
        value = self._given(name, False)
        if value is _ABSENT:
            return None
        if isinstance(value, str):
            try:
                return seconds_of(value)
            except InvalidInput:
                self.misfit(name, "milliseconds, or a text like 500ms, 30s or 5m")
                return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _YEARS_100_MS:
            self.misfit(name, "milliseconds, or a text like 500ms, 30s or 5m")
            return None
        return value / 1000

    def instant(self, name: str) -> float | None:
        """An instant: milliseconds since the epoch, or a text with a time zone; in seconds."""
        value = self._given(name, False)
        if value is _ABSENT:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _YEAR_9999_MS:
            return value / 1000
        if isinstance(value, str):
            try:
                moment = datetime.fromisoformat(value)
            except ValueError:
                moment = None
            if moment is not None and moment.tzinfo is not None:
                return moment.timestamp()
        self.misfit(name, "milliseconds since the epoch, or an ISO 8601 time with its zone")
        return None

    def names(self, name: str) -> list[str] | None:
        """A text, or a list of them; None if absent."""
        value = self._given(name, False)
        if value is _ABSENT:
            return None
        if isinstance(value, str):
            return [value]
        if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
            return value
        self.misfit(name, "a text or a list of texts")
        return None

    def done(self) -> None:
        """Nothing more is asked for.

        Raises:
            Problem: 400, with everything that is wrong.
        """
        if self._wrong:
            first = self._wrong[0]
            more = "" if len(self._wrong) == 1 else f" (and {len(self._wrong) - 1} more)"
            raise Problem(400, first["code"], f"{first['message']}{more}", self._wrong)

    def _given(self, name: str, required: bool) -> Json:
        if not self.has(name) or self.value[name] is None:
            if required:
                self._wrong.append(detail(f"{self._path}/{name}", "missing_field", f"{name!r} is missing."))
            return _ABSENT
        return self.value[name]

    def misfit(self, name: str, expected: str) -> None:
        """A member is not what was expected."""
        message = f"{name!r} is {expected}."
        self._wrong.append(detail(f"{self._path}/{name}", "invalid_type", message))
