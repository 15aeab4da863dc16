"""Commands that other packages bring along, found by entry point: the command line itself knows no layer above it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

import click

from durable.errors import MissingExtra

__all__ = ["COMMANDS", "plugin_command", "plugin_names", "remote_twin"]

COMMANDS: Final = "durable.commands"
"""Entry points of this group are commands of the root: their name, and a ``click.Command``. ``durable.commands.runs``
has those of ``durable runs``."""
TWINS: Final = "durable.remote"
"""Entry points of this group are mappings: a command's path to a function that carries it out over a server."""


def plugin_names(group: str = COMMANDS) -> list[str]:
    """Names of the commands that others bring, in order."""
    return sorted(_points(group))


def plugin_command(name: str, group: str = COMMANDS) -> click.Command | None:
    """Import and return one; None if nobody brings it."""
    point = _points(group).get(name)
    if point is None:
        return None
    command: click.Command = _loaded(point)
    return command


def remote_twin(path: str) -> Callable[..., Any] | None:
    """What carries a command out over a server; it takes the settings and the command's parameters."""
    for point in _points(TWINS).values():
        twins: Mapping[str, Callable[..., Any]] = _loaded(point)
        if path in twins:
            return twins[path]
    return None


@cache
def _points(group: str) -> dict[str, Any]:
    from importlib.metadata import entry_points  # here, because it is slow to load

    return {point.name: point for point in entry_points(group=group)}


def _loaded(point: Any) -> Any:
    try:
        return point.load()
    except ImportError as error:
        extra = f" ({error.name})" if error.name else ""
        raise MissingExtra(f"This needs an optional part{extra}: pip install 'durable-engine[cli,server]'.") from error
