"""Groups whose commands are imported when they are called: the start of one pays for no other."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

import click

from durable.cli.plugins import plugin_command, plugin_names

__all__ = ["LazyGroup"]


class LazyGroup(click.Group):
    """A group of commands known by name, place and one line of help.

    Args:
        lazy: Name → (``module:attribute``, short help).
        plugins: Entry-point group by which other packages add to it; theirs are imported for ``--help``, too.
    """

    def __init__(
        self, *args: Any, lazy: Mapping[str, tuple[str, str]], plugins: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._lazy: Final = dict(lazy)
        self._plugins = plugins

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order they were declared."""
        return [*self._lazy, *self._brought(), *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return it; None if there is no such command."""
        if cmd_name not in self._lazy:
            brought = plugin_command(cmd_name, self._plugins) if self._plugins else None
            return super().get_command(ctx, cmd_name) if brought is None else brought
        module, _, attribute = self._lazy[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in ``--help``, without importing any command of ours."""
        rows = [(name, text) for name, (_, text) in self._lazy.items()]
        for name in self._brought():
            command = plugin_command(name, self._plugins or "")
            if command is not None:
                rows.append((name, command.get_short_help_str(100)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _brought(self) -> list[str]:
        return [name for name in plugin_names(self._plugins) if name not in self._lazy] if self._plugins else []
