"""``asyncio.wait_for`` and ``asyncio.as_completed`` for workflows: one behaviour on every Python.

The standard ones create different numbers of tasks on 3.11 and 3.12, and ``as_completed`` goes through a set of bare
coroutines, whose order is that of addresses. Identity is made of task paths, so both would break replay. Outside
workflows the standard functions answer, unchanged.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import events
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from types import CodeType
from typing import Any, Final, TypeVar, cast

from durable.errors import WorkflowCodeError

T = TypeVar("T")

__all__ = ["install", "refuse_unreplayable_caller"]

_standard_wait_for: Final = asyncio.wait_for
_standard_as_completed: Final = asyncio.as_completed
_marker: Final = "_is_workflow_loop"


def _codes(*functions: Any) -> frozenset[CodeType]:
    found: set[CodeType] = set()
    todo = [f.__code__ for f in functions if hasattr(f, "__code__")]
    todo += [
        member.__code__
        for f in functions
        if isinstance(f, type)
        for member in vars(f).values()
        if hasattr(member, "__code__")
    ]
    iterator = getattr(asyncio.tasks, "_AsCompletedIterator", None)
    if iterator is not None:
        todo += [member.__code__ for member in vars(iterator).values() if hasattr(member, "__code__")]
    while todo:
        code = todo.pop()
        found.add(code)
        todo += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return frozenset(found)


_refused: Final = _codes(_standard_wait_for, _standard_as_completed)


def in_workflow() -> bool:
    """Whether the running loop is a workflow's."""
    loop = events._get_running_loop()
    return loop is not None and getattr(loop, _marker, False)


def refuse_unreplayable_caller(depth: int) -> None:
    """Raise if the standard ``wait_for`` or ``as_completed`` is about to use the workflow loop.

    Args:
        depth: How many callers to look at.

    Raises:
        WorkflowCodeError: A module bound the standard function before this one could replace it.
    """
    frame = sys._getframe(2)
    for _ in range(depth):
        if frame.f_code in _refused:
            raise WorkflowCodeError(
                f"asyncio.{frame.f_code.co_name} was imported by name before durable was, so the workflow would run "
                "the standard one, which cannot be replayed. Import durable first, or write asyncio.wait_for(...) / "
                "asyncio.as_completed(...) with the module's name."
            )
        if frame.f_back is None:
            return
        frame = frame.f_back


async def _wait_for(fut: Awaitable[T], timeout: float | None) -> T:
    """As on Python 3.12: awaited in the caller's own task, under ``asyncio.timeout``."""
    if timeout is not None and timeout <= 0:
        pending = asyncio.ensure_future(fut)
        if pending.done():
            return pending.result()
        pending.cancel()
        try:
            await pending
        except asyncio.CancelledError as error:
            raise TimeoutError from error
        return pending.result()
    async with asyncio.timeout(timeout):
        return await fut


class _AsCompleted(Iterator[Coroutine[Any, Any, T]], AsyncIterator["asyncio.Future[T]"]):
    """Both faces of ``as_completed`` (3.13 has the asynchronous one), over futures in argument order."""

    def __init__(self, aws: Iterable[Awaitable[T]], timeout: float | None) -> None:
        loop = asyncio.get_running_loop()
        self._todo = list(dict.fromkeys(asyncio.ensure_future(aw) for aw in aws))
        self._left = len(self._todo)
        self._done: deque[asyncio.Future[T] | None] = deque()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._timer = loop.call_later(timeout, self._time_out) if timeout is not None and self._todo else None
        for future in self._todo:
            future.add_done_callback(self._completed)

    def _completed(self, future: asyncio.Future[T]) -> None:
        if future not in self._todo:
            return
        self._todo.remove(future)
        self._put(future)
        if not self._todo and self._timer is not None:
            self._timer.cancel()

    def _time_out(self) -> None:
        for future in self._todo:
            future.remove_done_callback(self._completed)
            self._put(None)
        self._todo.clear()

    def _put(self, item: asyncio.Future[T] | None) -> None:
        self._done.append(item)
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                break

    async def _next_future(self) -> asyncio.Future[T]:
        while not self._done:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        future = self._done.popleft()
        if future is None:
            raise TimeoutError
        return future

    async def _next_result(self) -> T:
        return (await self._next_future()).result()

    def __iter__(self) -> _AsCompleted[T]:
        return self

    def __next__(self) -> Coroutine[Any, Any, T]:
        if self._left == 0:
            raise StopIteration
        self._left -= 1
        return self._next_result()

    def __aiter__(self) -> _AsCompleted[T]:
        return self

    async def __anext__(self) -> asyncio.Future[T]:
        if self._left == 0:
            raise StopAsyncIteration
        self._left -= 1
        return await self._next_future()


async def _dispatching_wait_for(fut: Any, timeout: float | None) -> Any:
    if in_workflow():
        return await _wait_for(fut, timeout)
    return await _standard_wait_for(fut, timeout)


def _dispatching_as_completed(fs: Any, *, timeout: float | None = None) -> Any:
    if in_workflow():
        return _AsCompleted(fs, timeout)
    return _standard_as_completed(fs, timeout=timeout)


def install() -> None:
    """Put the dispatching functions where the standard ones are; doing it twice changes nothing."""
    for name, function, standard in (
        ("wait_for", _dispatching_wait_for, _standard_wait_for),
        ("as_completed", _dispatching_as_completed, _standard_as_completed),
    ):
        function.__name__ = function.__qualname__ = name
        function.__doc__ = standard.__doc__
        for module in (asyncio, asyncio.tasks):
            if getattr(module, name) is standard:
                setattr(module, name, cast(Callable[..., Any], function))
