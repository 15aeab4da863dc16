"""The global options: taken before a command's name or behind it, the last one wins."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from typing import Any, Literal, TextIO

import click

from durable._model.duration import seconds_of
from durable.cli.plugins import remote_twin
from durable.cli.text import TimeStyle

__all__ = ["Command", "Output", "Settings", "global_options", "seconds", "settings_of", "terminal_columns"]

Output = Literal["table", "json", "jsonl", "none"]


@dataclass(slots=True)
class Settings:
    """What the global options say.

    Attributes:
        store: URL; None for ``DURABLE_STORE``, else ``sqlite:///durable.db``.
        time: How instants are written; None for relative in tables and ISO in JSON.
        color: None to find out.
        verbosity: ``-v`` adds one, ``-q`` takes one.
        timeout: Seconds that a command may take; None for no limit.
        server: URL of a server to ask instead of a store; None for ``DURABLE_SERVER``, unless a store was named.
        token: For that server; None for ``DURABLE_TOKEN``.
    """

    store: str | None = None
    output: Output = "table"
    time: TimeStyle | None = None
    color: bool | None = None
    ascii: bool = False
    verbosity: int = 0
    yes: bool = False
    timeout: float | None = None
    debug: bool = False
    server: str | None = None
    token: str | None = None

    @property
    def server_url(self) -> str | None:
        """The server to ask; None if the store itself is meant."""
        if self.server is not None or self.store is not None:
            return self.server
        return os.environ.get("DURABLE_SERVER") or None

    @property
    def server_token(self) -> str | None:
        """What to show it."""
        return self.token or os.environ.get("DURABLE_TOKEN") or None

    @property
    def url(self) -> str:
        """The store's URL, for messages and commands to try."""
        return self.store or os.environ.get("DURABLE_STORE") or "sqlite:///durable.db"

    def colored(self, stream: TextIO) -> bool:
        """Whether to colour what goes to ``stream``: as asked, else as NO_COLOR, FORCE_COLOR, TERM and the TTY say."""
        if self.color is not None:
            return self.color
        if os.environ.get("NO_COLOR"):
            return False
        if os.environ.get("FORCE_COLOR"):
            return True
        return stream.isatty() and os.environ.get("TERM") != "dumb"

    def live(self, stream: TextIO) -> bool:
        """Whether ``stream`` is a terminal that can be drawn over."""
        return stream.isatty() and os.environ.get("TERM") != "dumb"

    def unicode(self, stream: TextIO) -> bool:
        """Whether ``stream`` can show more than ASCII."""
        return not self.ascii and (stream.encoding or "").lower().replace("-", "") in ("utf8", "utf8sig")


def settings_of(ctx: click.Context) -> Settings:
    """The settings of this invocation."""
    return ctx.find_root().ensure_object(Settings)


class Command(click.Command):
    """A command that takes the global options behind its name, too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("epilog", "Global options (--store, -o, --timeout, ...) work here too: see durable --help.")
        super().__init__(*args, **kwargs)
        self.params.extend(global_options(hidden=True))

    def invoke(self, ctx: click.Context) -> Any:
        """Carry it out: here, or over a server if one is named and the command has a twin that speaks to it."""
        settings = settings_of(ctx)
        if settings.server_url is None:
            return super().invoke(ctx)
        path = " ".join(ctx.command_path.split()[1:])
        twin = remote_twin(path)
        if twin is not None:
            return twin(settings, **ctx.params)
        if settings.server is not None:
            raise click.UsageError(f"`durable {path}` works here, not over a server; leave --server out.", ctx)
        return super().invoke(ctx)


def global_options(*, hidden: bool = False) -> list[click.Option]:
    """A fresh set of them.

    Args:
        hidden: Left out of the help text.
    """

    def option(*names: str, **attributes: Any) -> click.Option:
        return click.Option(names, expose_value=False, hidden=hidden, callback=_keep, **attributes)

    return [
        option("--store", metavar="URL", help="Where the runs are. Default: $DURABLE_STORE, else sqlite:///durable.db"),
        option("--server", metavar="URL", help="Ask a server instead of a store. Default: $DURABLE_SERVER"),
        option(
            "--token", metavar="TOKEN", help="For the server. Better in $DURABLE_TOKEN, where others do not see it."
        ),
        option("-o", "--output", type=click.Choice(["table", "json", "jsonl", "none"]), help="Default: table."),
        option("--time", type=click.Choice(["relative", "iso", "unix"]), help="Default: relative; iso in JSON."),
        option("--color", type=click.Choice(["auto", "always", "never"]), help="Default: auto; NO_COLOR is heard."),
        option("--ascii", is_flag=True, default=None, help="Draw with ASCII characters only."),
        option("--timeout", metavar="DURATION", help="Give up after this long (30s, 5m, ...): exit code 124."),
        option("-y", "--yes", is_flag=True, default=None, help="Do not ask."),
        option("-q", "--quiet", count=True, default=None, help="Say less on stderr."),
        option("-v", "--verbose", count=True, default=None, help="Say more on stderr; twice: still more."),
        option("--debug", is_flag=True, default=None, help="Show the traceback of an error."),
    ]


def _keep(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    settings = settings_of(ctx)
    if value is None or ctx.resilient_parsing:
        return
    match parameter.name:
        case "color":
            settings.color = {"auto": None, "always": True, "never": False}[value]
        case "timeout":
            settings.timeout = seconds(value, parameter)
        case "quiet":
            settings.verbosity -= value
        case "verbose":
            settings.verbosity += value
        case str() as name:
            setattr(settings, name, value)


def seconds(text: str, parameter: click.Parameter | None = None) -> float:
    """A duration given on the command line, in seconds."""
    try:
        return seconds_of(float(text) if text.replace(".", "", 1).isdecimal() else text)
    except ValueError as error:
        raise click.BadParameter(str(error), param=parameter) from None


def terminal_columns() -> int:
    """The width of the terminal; 110 where there is none, so that files and pipes look alike everywhere."""
    if "COLUMNS" in os.environ or sys.stdout.isatty() or sys.stderr.isatty():
        return shutil.get_terminal_size((110, 40)).columns
    return 110
