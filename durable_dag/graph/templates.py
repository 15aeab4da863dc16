"""``${{ path }}`` in texts: a small grammar in pure Python; whatever else stands inside is a JavaScript expression.

``root(.name | ["any key"] | [n])* (?? literal)?`` — roots are ``context``, ``input``, ``execution``, ``workflow``,
``step``, ``secrets``, ``item`` and ``index``. A text that is one expression keeps the value's JSON type; in a longer
text, strings go in as they are and other values as JSON. ``$${{`` stands for ``${{`` itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

from durable_dag.errors import TemplateUnresolved

Json: TypeAlias = Any

__all__ = [
    "MISSING",
    "ROOTS",
    "Path",
    "Script",
    "Template",
    "TemplateSyntax",
    "is_templated",
    "lookup",
    "parse",
    "rendered",
    "shown_value",
    "templates_in",
]

ROOTS: Final = ("context", "input", "execution", "workflow", "step", "secrets", "item", "index")
MISSING: Final[Any] = type("Missing", (), {"__repr__": lambda self: "MISSING"})()
_OPEN: Final = "${{"
_SHORT_CHARS: Final = 1000
_PATH: Final = re.compile(
    r"""[A-Za-z_][A-Za-z0-9_]*(?:\s*\.\s*[A-Za-z_$][A-Za-z0-9_$-]*|\s*\[\s*(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\d{1,9})\s*\])*"""
)
_SEGMENT: Final = re.compile(
    r"""\.\s*(?P<name>[A-Za-z_$][A-Za-z0-9_$-]*)|\[\s*(?:(?P<key>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<at>\d{1,9}))\s*\]"""
)
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class TemplateSyntax(ValueError):
    """A ``${{`` is not closed, or nothing stands inside."""


@dataclass(frozen=True, slots=True)
class Path:
    """A way to a value; ``default`` is what stands after ``??``, MISSING if nothing does."""

    source: str
    root: str
    segments: tuple[str | int, ...]
    default: Json = MISSING


@dataclass(frozen=True, slots=True)
class Script:
    """What is no path: JavaScript."""

    source: str


@dataclass(frozen=True, slots=True)
class Template:
    """A text in parts; ``whole`` if it is one expression and nothing else."""

    parts: tuple[str | Path | Script, ...]

    @property
    def whole(self) -> Path | Script | None:
        """The one expression of which the text consists; None for a longer text."""
        only = self.parts[0] if len(self.parts) == 1 else None
        return None if only is None or isinstance(only, str) else only

    @property
    def expressions(self) -> list[Path | Script]:
        """The expressions in it."""
        return [part for part in self.parts if not isinstance(part, str)]


def is_templated(text: str) -> bool:
    """Whether there is anything for ``parse`` to find."""
    return _OPEN in text


def parse(text: str) -> Template:
    """The parts of a text; short texts are remembered, because each item of a map has the same.

    Raises:
        TemplateSyntax: It is no template; the message says why and where.
    """
    return _remembered(text) if len(text) <= _SHORT_CHARS else _parsed(text)


def _parsed(text: str) -> Template:
    parts: list[str | Path | Script] = []
    literal: list[str] = []
    at = 0
    while (found := text.find(_OPEN, at)) >= 0:
        if found > at and text[found - 1] == "$":
            literal.append(text[at : found - 1] + _OPEN)
            at = found + len(_OPEN)
            continue
        literal.append(text[at:found])
        end = _closing(text, found + len(_OPEN))
        if end < 0:
            raise TemplateSyntax(f"the ${{{{ at character {found + 1} is not closed by }}}}")
        source = text[found + len(_OPEN) : end].strip()
        if not source:
            raise TemplateSyntax(f"nothing stands inside the ${{{{ }}}} at character {found + 1}")
        if before := "".join(literal):
            parts.append(before)
        literal = []
        parts.append(_expression(source))
        at = end + 2
    if rest := "".join(literal) + text[at:]:
        parts.append(rest)
    return Template(tuple(parts))


_remembered = lru_cache(maxsize=4096)(_parsed)


def _closing(text: str, start: int) -> int:
    """Where the ``}}`` stands that ends an expression: outside of quotes and braces; -1 if nowhere."""
    depth = 0
    quote = ""
    at = start
    while at < len(text):
        character = text[at]
        if quote:
            if character == "\\":
                at += 1
            elif character == quote:
                quote = ""
        elif character in "\"'`":
            quote = character
        elif character == "{":
            depth += 1
        elif character == "}":
            if depth == 0:
                if text.startswith("}}", at):
                    return at
            else:
                depth -= 1
        at += 1
    return -1


def _expression(source: str) -> Path | Script:
    match = _PATH.match(source)
    if match is None:
        return Script(source)
    root = _WORD.match(source)
    assert root is not None
    rest = source[match.end() :].strip()
    default: Json = MISSING
    if rest:
        literal = _literal(rest[2:].strip()) if rest.startswith("??") else MISSING
        if literal is MISSING:
            return Script(source)
        default = literal
    segments: list[str | int] = []
    for segment in _SEGMENT.finditer(source, root.end(), match.end()):
        if segment["at"] is not None:
            segments.append(int(segment["at"]))
        elif segment["name"] is not None:
            segments.append(segment["name"])
        else:
            segments.append(_unquoted(segment["key"]))
    return Path(source, root[0], tuple(segments), default)


def _literal(text: str) -> Json:
    """A JSON literal or a text in single quotes; MISSING if it is neither."""
    if len(text) >= 2 and text[0] == text[-1] == "'":
        return _unquoted(text) if re.fullmatch(r"'(?:[^'\\]|\\.)*'", text) else MISSING
    try:
        value = json.loads(text, parse_constant=lambda _: MISSING)
    except (ValueError, RecursionError):
        return MISSING
    return value if value is None or isinstance(value, str | int | float | bool) or value in ([], {}) else MISSING


def _unquoted(text: str) -> str:
    body = text[1:-1]
    if text[0] == '"':
        try:
            return str(json.loads(text))
        except ValueError:
            pass
    return re.sub(r"\\(.)", r"\1", body)


# ── values ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def lookup(path: Path, scope: Mapping[str, Json]) -> Json:
    """The value that a path leads to.

    Args:
        scope: Each root's value.

    Raises:
        TemplateUnresolved: It leads nowhere, and has no default.
    """
    value: Json = scope.get(path.root, MISSING)
    for segment in path.segments:
        value = _member(value, segment)
        if value is MISSING:
            break
    if value is MISSING or (value is None and path.default is not MISSING):
        if path.default is MISSING:
            raise TemplateUnresolved(
                f"${{{{ {path.source} }}}} leads nowhere. Write `?? null` behind it to allow that."
            )
        return path.default
    return value


def _member(value: Json, segment: str | int) -> Json:
    if isinstance(value, Mapping):
        return value.get(str(segment), MISSING)
    if isinstance(value, list) and isinstance(segment, int) and segment < len(value):
        return value[segment]
    if isinstance(value, list) and segment == "length":
        return len(value)
    return MISSING


def shown_value(value: Json) -> str:
    """A value in the middle of a text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def rendered(value: Json, resolve: Callable[[Template], Json]) -> Json:
    """A copy of a JSON value in which each templated text is what ``resolve`` makes of it; keys stay as they are."""
    if isinstance(value, str):
        return resolve(parse(value)) if is_templated(value) else value
    if isinstance(value, list):
        return [rendered(item, resolve) for item in value]
    if isinstance(value, Mapping):
        return {key: rendered(item, resolve) for key, item in value.items()}
    return value


def templates_in(value: Json, pointer: str = "") -> Iterator[tuple[str, str]]:
    """(pointer, text) of each text in a JSON value that has ``${{`` in it."""
    if isinstance(value, str):
        if is_templated(value):
            yield pointer, value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from templates_in(item, f"{pointer}/{index}")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from templates_in(item, f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}")
