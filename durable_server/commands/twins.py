"""All commands that work over a server, for the entry point by which the command line finds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from durable_server.commands import dag_twins, tokens_command, webhooks_command
from durable_server.remote import commands

__all__ = ["TWINS"]

TWINS: Final[Mapping[str, Callable[..., Any]]] = {
    **commands.TWINS,
    **dag_twins.TWINS,
    **tokens_command.TWINS,
    **webhooks_command.TWINS,
}
