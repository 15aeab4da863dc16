"""The mutants: patch files that each put one fault into the engine, and how they are read and applied.

A patch is a unified diff under a head of three fields, ``Fault``, ``Stands for`` and ``Killed by``; a line that begins
with a space goes on with the field above it. Line numbers do not matter: a hunk is found by its lines, which must occur
exactly once. Where its context has changed, as much of that is left out as need be, from the outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["FOLDER", "ROOT", "Hunk", "Mutant", "PatchError", "load", "load_all"]

FOLDER: Final = Path(__file__).parent
ROOT: Final = FOLDER.parents[1]
_FIELDS: Final = ("Fault", "Stands for", "Killed by")


class PatchError(Exception):
    """A patch that cannot be read, or does not fit the tree."""


@dataclass(frozen=True, slots=True)
class Hunk:
    """Lines that are replaced by others, with what stands around them.

    Attributes:
        path: The file, relative to the root of the repository.
    """

    path: str
    old: tuple[str, ...]
    new: tuple[str, ...]

    def apply(self, text: str) -> str:
        """The text with this hunk applied.

        Raises:
            PatchError: Its old lines are not there, or in several places.
        """
        lines = text.splitlines()
        places = 0
        for old, new in self._narrowed():
            found = [at for at in range(len(lines) - len(old) + 1) if tuple(lines[at : at + len(old)]) == old]
            if len(found) == 1:
                return "\n".join([*lines[: found[0]], *new, *lines[found[0] + len(old) :], ""])
            places = len(found)
        raise PatchError(f"{self.path}: a hunk fits in {places} places, not in one. Make the patch anew.")

    def _narrowed(self) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
        """Old and new lines with less and less context; what is put in keeps one line that says where."""
        old, new = self.old, self.new
        while True:
            yield old, new
            before, after = old, new
            if len(old) > 1 and new and old[0] == new[0]:
                old, new = old[1:], new[1:]
            if len(old) > 1 and new and old[-1] == new[-1]:
                old, new = old[:-1], new[:-1]
            if (old, new) == (before, after):
                return


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault.

    Attributes:
        fault: What is wrong with the mutated engine.
        stands_for: The invariant that it breaks, and the kind of bug that it is an example of.
        killers: Ids of the tests that are expected to fail.
    """

    name: str
    fault: str
    stands_for: str
    killers: tuple[str, ...]
    hunks: tuple[Hunk, ...]

    def applied(self, read: Callable[[str], str]) -> dict[str, str]:
        """The mutated files by path.

        Args:
            read: Gives the text of a file by its path.

        Raises:
            PatchError: The patch does not fit.
        """
        texts: dict[str, str] = {}
        for hunk in self.hunks:
            before = texts[hunk.path] if hunk.path in texts else read(hunk.path)
            texts[hunk.path] = hunk.apply(before)
        return texts

    @property
    def modules(self) -> tuple[str, ...]:
        """The mutated modules, by their import names."""
        paths = dict.fromkeys(hunk.path for hunk in self.hunks)
        return tuple(path.removesuffix(".py").replace("/", ".") for path in paths)


def load(path: Path) -> Mutant:
    """Read one patch file.

    Raises:
        PatchError: It is none.
    """
    lines = path.read_text().splitlines()
    begin = next((n for n, line in enumerate(lines) if line.startswith("--- ")), len(lines))
    fields = _fields(path, lines[:begin])
    hunks = _hunks(path, lines[begin:])
    fault, stands_for, killers = (fields[name] for name in _FIELDS)
    return Mutant(path.stem, " ".join(fault), " ".join(stands_for), tuple(killers), hunks)


def load_all() -> list[Mutant]:
    """Every mutant, by name."""
    return [load(path) for path in sorted(FOLDER.glob("*.patch"))]


def _fields(path: Path, head: list[str]) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    current: list[str] = []
    for line in head:
        name, colon, rest = line.partition(":")
        if colon and name in _FIELDS:
            current = fields[name] = [rest.strip()]
        elif line.startswith(" ") and current:
            current.append(line.strip())
        elif line:
            raise PatchError(f"{path.name}: the head has a line of no field: {line!r}")
    missing = [name for name in _FIELDS if not any(fields.get(name, []))]
    if missing:
        raise PatchError(f"{path.name}: the head lacks {', '.join(missing)}.")
    return fields


def _hunks(path: Path, body: list[str]) -> tuple[Hunk, ...]:
    hunks: list[Hunk] = []
    file = ""
    old: list[str] = []
    new: list[str] = []

    def close() -> None:
        if old or new:
            hunks.append(Hunk(file, tuple(old), tuple(new)))
        old.clear()
        new.clear()

    for line in body:
        mark, text = line[:1], line[1:]
        if line.startswith(("--- ", "@@")):
            close()
        elif line.startswith("+++ b/"):
            file = line.removeprefix("+++ b/")
        elif mark == "-":
            old.append(text)
        elif mark == "+":
            new.append(text)
        elif mark in (" ", ""):
            old.append(text)
            new.append(text)
        else:
            raise PatchError(f"{path.name}: no line of a unified diff: {line!r}")
    close()
    if not hunks or any(hunk.path == "" or hunk.old == hunk.new for hunk in hunks):
        raise PatchError(f"{path.name}: it changes nothing.")
    return tuple(hunks)
