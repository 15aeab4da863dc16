"""Runs that are there before anybody works on them, and when they have come to rest."""

from __future__ import annotations

import asyncio
from typing import Any

from durable import Client, Handle, Workflow

_AT_ONCE = 500


async def started(client: Client, workflow: Workflow[..., Any], runs: int, *input: Any) -> list[Handle[Any]]:
    """So many runs of one input."""
    handles: list[Handle[Any]] = []
    for begin in range(0, runs, _AT_ONCE):
        count = min(_AT_ONCE, runs - begin)
        handles += await asyncio.gather(*(client.start(workflow, *input) for _ in range(count)))
    return handles


async def numbered(client: Client, workflow: Workflow[..., Any], runs: int) -> list[Handle[Any]]:
    """So many runs, each with its number as input."""
    handles: list[Handle[Any]] = []
    for begin in range(0, runs, _AT_ONCE):
        chunk = range(begin, min(begin + _AT_ONCE, runs))
        handles += await asyncio.gather(*(client.start(workflow, number) for number in chunk))
    return handles


async def waiting(client: Client, runs: int) -> None:
    """Until so many wait, and their worker has come to rest."""
    while await client.count(status="waiting") < runs:
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)
