"""From the settings to an open client, for the length of one command."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from durable import Client, connect, redact
from durable.cli.failures import Exit, Failure
from durable.cli.options import Settings
from durable.cli.text import safe
from durable.store import shown_url

T = TypeVar("T")

__all__ = ["SafeFormatter", "log_to_stderr", "with_client"]


class SafeFormatter(logging.Formatter):
    """One line per line: what a user's data says cannot steer the terminal, and no record tells a secret."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(safe(line) for line in redact(super().format(record)).split("\n"))


def log_to_stderr(settings: Settings) -> None:
    """Show the engine's log records: warnings, and more of them with ``-v``."""
    level = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}.get(settings.verbosity)
    if level is None:
        level = logging.DEBUG if settings.verbosity > 1 else logging.CRITICAL
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(SafeFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=level, handlers=[handler])
    if level <= logging.DEBUG:
        for chatty in ("asyncio", "aiosqlite"):
            logging.getLogger(chatty).setLevel(logging.INFO)


def with_client(settings: Settings, work: Callable[[Client], Awaitable[T]], *, create: bool = False) -> T:
    """Run ``work`` with an open client, within ``--timeout``.

    Args:
        create: Whether a store that is not there yet is made; looking at one that is missing is a mistake.

    Raises:
        Failure: There is no store, or the time is over.
    """
    log_to_stderr(settings)
    if not create:
        _must_exist(settings.url)

    async def main() -> T:
        async with connect(settings.url) as client:
            return await _within(settings.timeout, work(client))

    return asyncio.run(main())


async def _within(seconds: float | None, work: Awaitable[T]) -> T:
    if seconds is None:
        return await work
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await work
    except TimeoutError:
        if not limit.expired():
            raise
        raise Failure(
            f"Not done after {seconds:g} s.",
            "Nothing is lost; wait longer with --timeout, or look: durable runs why ID",
            Exit.TIMED_OUT,
        ) from None


def _must_exist(url: str) -> None:
    scheme, _, rest = url.partition(":///")
    path = rest.partition("?")[0]
    if scheme == "sqlite" and path and not path.startswith(":") and not Path(path).exists():
        raise Failure(
            f"There is no store {shown_url(url)}.",
            "Say where it is with --store or DURABLE_STORE; a worker creates one, or: durable start FILE:WORKFLOW",
            Exit.UNREACHABLE,
        )
