"""``ctx.parallel`` and ``ctx.map``: gather with a limit, that cancels and awaits its siblings."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

from durable.errors import InvalidInput

__all__ = ["allowed_failures", "run_all"]


def allowed_failures(tolerate: float, items: int) -> int:
    """How many of ``items`` may fail.

    Args:
        tolerate: A count (``int``), or a share between 0 and 1 (``float``).

    Raises:
        InvalidInput: It is neither.
    """
    if isinstance(tolerate, bool) or not isinstance(tolerate, int | float):
        raise InvalidInput(f"tolerate= is a count or a share between 0 and 1, not {tolerate!r}.")
    if isinstance(tolerate, int):
        if tolerate < 0:
            raise InvalidInput(f"tolerate= may not be negative: {tolerate!r}.")
        return tolerate
    if not 0 <= tolerate <= 1:
        raise InvalidInput(f"tolerate= as a share lies between 0 and 1, not {tolerate!r}. A count is an int.")
    return int(tolerate * items + 1e-9)


async def run_all(calls: Sequence[Awaitable[Any]], limit: int | None, tolerate: float) -> list[tuple[bool, Any]]:
    """Await all; (succeeded, result) in the order of ``calls``. One failure too many cancels the rest and is raised."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        _discard(calls)
        raise InvalidInput(f"limit= is 1 or more, not {limit!r}.")
    try:
        allowed = allowed_failures(tolerate, len(calls))
    except InvalidInput:
        _discard(calls)
        raise
    gate = asyncio.Semaphore(limit) if limit is not None and limit < len(calls) else None
    tasks: list[asyncio.Future[Any]] = []
    try:
        for call in calls:
            tasks.append(asyncio.ensure_future(call if gate is None else _gated(call, gate)))
        await _settle(tasks, allowed)
    except BaseException as error:
        try:
            if not isinstance(error, GeneratorExit):  # a run that leaves memory awaits nothing any more
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        finally:  # also when the run leaves memory: then no task begins, and nothing can be awaited
            if gate is not None or len(tasks) < len(calls):
                _discard(calls)
        raise
    return [(task.exception() is None, None if task.exception() else task.result()) for task in tasks]


async def _settle(tasks: Sequence[asyncio.Future[Any]], allowed: int) -> None:
    pending: set[asyncio.Future[Any]] = set(tasks)
    failures = 0
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task in done and (error := _error(task)) is not None:
                failures += 1
                if failures > allowed or not isinstance(error, Exception):
                    raise error


def _error(task: asyncio.Future[Any]) -> BaseException | None:
    return asyncio.CancelledError() if task.cancelled() else task.exception()


async def _gated(call: Awaitable[Any], gate: asyncio.Semaphore) -> Any:
    async with gate:
        return await call


def _discard(calls: Sequence[Awaitable[Any]]) -> None:
    """Calls that will not be made need no warning."""
    for call in calls:
        close = getattr(call, "close", None)
        if close is not None:
            close()
