"""What is wrong, or odd, about a document: each problem with its place, all of them at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, final

Json: TypeAlias = Any

__all__ = ["Problem", "Report", "nearest", "pointer"]

_HINTS_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing.

    Attributes:
        path: JSON Pointer (RFC 6901) to where it is.
        code: For programs.
        message: For people: what is there, and what is expected.
        data: What a program may want to know besides: ``cycle``, ``hint``, ``known``, ``line``, ``column``.
    """

    path: str
    code: str
    message: str
    data: tuple[tuple[str, Json], ...] = ()

    def as_json(self) -> dict[str, Json]:
        """As answers of a server carry it."""
        return {"path": self.path, "code": self.code, "message": self.message, **dict(self.data)}


@final
@dataclass(slots=True)
class Report:
    """What a check has found, in the order of the document as far as possible."""

    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    _hints: int = 0

    def error(self, path: str, code: str, message: str, **data: Json) -> None:
        """Something that cannot be accepted."""
        self.errors.append(Problem(path, code, message, tuple(data.items())))

    def warn(self, path: str, code: str, message: str, **data: Json) -> None:
        """Something odd."""
        self.warnings.append(Problem(path, code, message, tuple(data.items())))

    def meant(self, given: str, known: Iterable[str]) -> str | None:
        """``nearest``, for the first few names: it takes long, and a definition may hold thousands that are wrong."""
        if self._hints >= _HINTS_MAX:
            return None
        self._hints += 1
        return nearest(given, known)


def pointer(*parts: str | int) -> str:
    """A JSON Pointer from its parts."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)


def nearest(given: str, known: Iterable[str]) -> str | None:
    """The known name that somebody probably meant."""
    found = difflib.get_close_matches(given[:200], list(known), 1, 0.6)
    return found[0] if found else None
