"""What a ``sqlite:///`` URL may say; everything that is not allowed by name is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from durable.errors import InvalidInput
from durable.store import shown_url

__all__ = ["Target", "parse"]

_SCHEME: Final = "sqlite://"
_MEMORY: Final = ":memory:"
_BOOLEANS: Final = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Target:
    """Where the data are, and how they are kept.

    Attributes:
        path: As the URL has it, relative to the working directory or absolute; None in memory.
        durability: ``full``: what was acknowledged survives a power loss; ``relaxed``: only a crash of the process.
        create: Whether a missing store is made; else it must be there.
    """

    path: str | None
    durability: Literal["full", "relaxed"] = "full"
    create: bool = True


def parse(url: str) -> Target:
    """Read a URL: ``sqlite:///relative.db``, ``sqlite:////absolute/path.db`` or ``sqlite:///:memory:``.

    Raises:
        InvalidInput: It is none of these, its path is written in a tricky way, or it has an option that we do not know.
    """
    if not url.startswith(_SCHEME + "/"):
        raise _refused(url, "it has to begin with sqlite:/// (three slashes for a relative path, four for an absolute)")
    path, mark, query = url[len(_SCHEME) + 1 :].partition("?")
    trouble = _trouble(path)
    if trouble is not None:
        raise _refused(url, trouble)
    options = _options(url, query) if mark and query else {}
    durability: Literal["full", "relaxed"] = "relaxed" if options.get("durability") == "relaxed" else "full"
    create = _BOOLEANS[options.get("create", "true")]
    return Target(None if path == _MEMORY else path, durability, create)


def _trouble(path: str) -> str | None:
    """What is wrong with a path, in words that follow a comma; None if nothing is."""
    if path == "":
        return "it names no file"
    if not path.isprintable():
        return "its path holds a control character or a lone surrogate"
    if "%" in path:
        return "its path holds a percent sign; write the path as it is, without escapes"
    if "#" in path or "\\" in path:
        return "its path holds a '#' or a backslash"
    if path.startswith("//"):
        return "it names another host (two slashes at the head of the path)"
    if path.lower().startswith("file:"):
        return "its path is itself a URL"
    if path.startswith(":") and path != _MEMORY:
        return "a path may not begin with a colon; in-memory stores are sqlite:///:memory:"
    if path.endswith("/"):
        return "it names a directory, not a file"
    return None


def _options(url: str, query: str) -> dict[str, str]:
    allowed = {"durability": ("full", "relaxed"), "create": ("true", "false")}
    options: dict[str, str] = {}
    for item in query.split("&"):
        name, _, value = item.partition("=")
        if name not in allowed:
            raise _refused(
                url, f"it has the option {name[:40]!r}; known are durability=full|relaxed, create=true|false"
            )
        if value not in allowed[name]:
            raise _refused(url, f"{name} is one of {', '.join(allowed[name])}, not {value[:40]!r}")
        if name in options:
            raise _refused(url, f"it has the option {name!r} twice")
        options[name] = value
    return options


def _refused(url: str, why: str) -> InvalidInput:
    return InvalidInput(f"The store URL {shown_url(url)[:200]!r} is refused: {why}.")
