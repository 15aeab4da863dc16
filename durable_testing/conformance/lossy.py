"""A wrapper that loses calls and answers, and says each lost call again with the same words."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, cast, final

from durable.errors import OutcomeUnknown, Transient
from durable.store import Store

__all__ = ["Loss", "Plan", "losing"]


class Loss(StrEnum):
    """What becomes of one call."""

    NOTHING = "nothing"
    BEFORE = "before"  # it never reached the store
    AFTER = "after"  # the store did it, and its answer was lost
    AFTER_TWICE = "after_twice"  # and the answer of the repeat, too
    MIDWAY = "midway"  # the caller gave up while it was under way


Plan = Callable[[int], Loss]
"""What becomes of the n-th call, counted from 0."""


def losing(store: Store, plan: Plan) -> Store:
    """The store as a caller sees it over a bad line, who repeats each call until it has an answer.

    The store itself is not changed. ``open``, ``close`` and what is no coroutine function go through as they are.
    """
    return cast("Store", _Losing(store, plan))


@final
class _Losing:
    def __init__(self, store: Store, plan: Plan) -> None:
        self._store = store
        self._plan = plan
        self._calls = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name in ("open", "close") or not inspect.iscoroutinefunction(method):
            return method

        async def say(*said: Any, **named: Any) -> Any:
            loss = self._plan(self._calls)
            self._calls += 1
            return await _until_answered(lambda: method(*said, **named), loss)

        return say


async def _until_answered(ask: Callable[[], Awaitable[Any]], loss: Loss) -> Any:
    losses = {Loss.NOTHING: [], Loss.AFTER_TWICE: [Loss.AFTER, Loss.AFTER]}.get(loss, [loss])
    for one in losses:
        try:
            await _lost(ask, one)
        except (Transient, OutcomeUnknown):
            continue  # as a caller would: the same words again
    return await ask()


async def _lost(ask: Callable[[], Awaitable[Any]], loss: Loss) -> None:
    """Ask once, and lose it."""
    if loss is Loss.BEFORE:
        raise Transient("The line broke before the call went out.")
    if loss is Loss.AFTER:
        await ask()
        raise OutcomeUnknown("The line broke before the answer came back.")
    task = asyncio.ensure_future(ask())
    await asyncio.sleep(0)  # noqa: TID251  (one turn of the loop, no time: the call is under way)
    task.cancel()
    await asyncio.wait([task])
    if task.cancelled():
        raise OutcomeUnknown("The caller gave up while the call was under way.")
    error = task.exception()
    if error is not None:
        raise error
    raise OutcomeUnknown("The answer came when nobody listened any more.")
