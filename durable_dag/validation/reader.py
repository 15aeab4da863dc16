"""Members of an object, checked one by one; what is wrong is reported and read as absent."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Any, Final, TypeAlias, final

from durable_dag.problems import Report, pointer

Json: TypeAlias = Any

__all__ = ["ID", "Reader"]

ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_NAMES: Final[Mapping[type, str]] = {str: "a text", dict: "an object", list: "a list", bool: "true or false"}


@final
class Reader:
    """One object of the document.

    Args:
        at: JSON Pointer to it.
    """

    def __init__(self, raw: Mapping[str, Json], at: str, report: Report) -> None:
        self.raw = raw
        self.at = at
        self.report = report

    def path(self, member: str | int) -> str:
        """JSON Pointer to a member."""
        return self.at + pointer(member)

    def of(self, member: str, kind: type) -> Json:
        """A member of a type; None if it is absent, null, or something else, which is reported."""
        value = self.raw.get(member)
        if value is None:
            return None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.report.error(self.path(member), "invalid_type", f"{member} is {_NAMES[kind]}, not {told(value)}")
            return None
        return value

    def id(self, member: str) -> str | None:
        """An id that must be there."""
        if self.raw.get(member) is None:
            self.report.error(self.path(member), "missing_field", f"{member} is missing")
            return None
        value = self.of(member, str)
        if isinstance(value, str) and not ID.fullmatch(value):
            self.report.error(
                self.path(member),
                "invalid_id",
                f"{value[:140]!r} is no id: letters, digits, '.', '_' and '-', beginning with a letter or a digit, "
                "at most 128 of them",
            )
            return None
        return value if isinstance(value, str) else None

    def number(
        self, member: str, code: str, *, least: float, most: float = math.inf, whole: bool = False
    ) -> float | None:
        """A number in a range; outside of it is an error with the given code."""
        value = self.raw.get(member)
        if value is None:
            return None
        what = "a whole number" if whole else "a number"
        if isinstance(value, bool) or not isinstance(value, int | float) or (whole and not float(value).is_integer()):
            self.report.error(self.path(member), "invalid_type", f"{member} is {what}, not {told(value)}")
            return None
        if not least <= value <= most:
            bound = f"{least:,.15g} or more" if most == math.inf else f"from {least:,.15g} to {most:,.15g}"
            self.report.error(self.path(member), code, f"{member} is {bound}, not {value!r}")
            return None
        return value

    def one_of(self, member: str, allowed: Collection[str]) -> str | None:
        """One of some words."""
        value = self.of(member, str)
        if value is None or value in allowed:
            return value if isinstance(value, str) else None
        listed = ", ".join(sorted(allowed))
        self.report.error(self.path(member), "invalid_type", f"{member} is one of {listed}, not {told(value)}")
        return None

    def texts(self, member: str) -> Mapping[str, str]:
        """An object of texts."""
        value = self.of(member, dict)
        if value is None:
            return {}
        for name, text in value.items():
            if not isinstance(text, str):
                self.report.error(self.path(member) + pointer(name), "invalid_type", f"a text, not {told(text)}")
        return {name: text for name, text in value.items() if isinstance(text, str)}

    def unknown(self, known: Collection[str]) -> None:
        """Warn of members that nobody reads; ``x-...`` is for notes."""
        for member in self.raw:
            if member not in known and not member.startswith("x-"):
                hint = self.report.meant(member, known)
                meant = "" if hint is None else f"; did you mean {hint!r}?"
                data = {} if hint is None else {"hint": hint}
                self.report.warn(self.path(member), "unknown_field", f"nobody reads {member[:100]!r}{meant}", **data)


def told(value: Json) -> str:
    """A JSON value in a message."""
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list) else f"{value!r:.80}"
