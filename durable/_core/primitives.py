"""What of asyncio must be another thing in workflows, so that it does the same on every Python and in every process.

The standard ``wait_for`` and ``as_completed`` create different numbers of tasks on 3.11 and 3.12, and ``as_completed``
goes through a set of bare coroutines, whose order is that of addresses. Identity is made of task paths, so both would
break replay. ``all_tasks`` gathers from every loop of the process, and the futures that ``gather`` makes hash by
address: sets of either would iterate differently in another process. Outside workflows all of them are as they were.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import events
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from types import CodeType, CoroutineType, GeneratorType
from typing import Any, Final, TypeVar, cast

T = TypeVar("T")

__all__ = ["in_workflow", "install", "unreplayable_caller"]

_standard_wait_for: Final = asyncio.wait_for
_standard_as_completed: Final = asyncio.as_completed
_standard_all_tasks: Final = asyncio.all_tasks
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
_refused_ids: Final = frozenset(map(id, _refused))  # a code object hashes all its instructions, at every look


def in_workflow() -> bool:
    """Whether the running loop is a workflow's."""
    loop = events._get_running_loop()
    return loop is not None and getattr(loop, _marker, False)


def unreplayable_caller(depth: int) -> str | None:
    """What to say if the standard ``wait_for`` or ``as_completed`` is about to use the workflow loop, else None.

    It is when a module bound the standard function by name before this one could replace it.

    Args:
        depth: How many callers of the caller to look at.
    """
    frame = sys._getframe(2)
    for _ in range(depth):
        if id(frame.f_code) in _refused_ids:
            return (
                "asyncio.wait_for or asyncio.as_completed was imported by name before durable was, so the workflow "
                "would run the standard one, which cannot be replayed. Import durable first, or write "
                "asyncio.wait_for(...) / asyncio.as_completed(...) with the module's name."
            )
        if frame.f_back is None:
            return None
        frame = frame.f_back
    return None


async def _wait_for(fut: Awaitable[T], timeout: float | None) -> T:
    """As on Python 3.12: awaited in the caller's own task, under ``asyncio.timeout``."""
    if timeout is not None and timeout <= 0:
        pending = asyncio.ensure_future(fut)
        if pending.done():
            return pending.result()
        pending.cancel()
        # Not ``await pending``: a cancel of the caller meanwhile must not be taken for the end of ``pending``.
        await asyncio.wait([pending])
        try:
            return pending.result()
        except asyncio.CancelledError as error:
            raise TimeoutError from error
    try:
        async with asyncio.timeout(timeout):
            return await fut
    finally:
        if isinstance(fut, CoroutineType):  # a run that leaves memory gets no timeout: what it was for never begins
            fut.close()


class _AsCompleted(Iterator[Coroutine[Any, Any, T]], AsyncIterator["asyncio.Future[T]"]):
    """Both faces of ``as_completed`` (3.13 has the asynchronous one), over futures in argument order."""

    def __init__(self, aws: Iterable[Awaitable[T]], timeout: float | None) -> None:
        loop = asyncio.get_running_loop()
        self._todo = dict.fromkeys(asyncio.ensure_future(aw) for aw in _in_order(aws))
        self._left = len(self._todo)
        self._done: asyncio.Queue[asyncio.Future[T] | None] = asyncio.Queue()
        self._timer = loop.call_later(timeout, self._time_out) if timeout is not None and self._todo else None
        for future in self._todo:
            future.add_done_callback(self._completed)

    def _completed(self, future: asyncio.Future[T]) -> None:
        if future not in self._todo:
            return
        del self._todo[future]
        self._done.put_nowait(future)
        if not self._todo and self._timer is not None:
            self._timer.cancel()

    def _time_out(self) -> None:
        for future in self._todo:
            future.remove_done_callback(self._completed)
            self._done.put_nowait(None)
        self._todo.clear()

    async def _next_future(self) -> asyncio.Future[T]:
        future = await self._done.get()
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


_HASHED_BY_ADDRESS: Final = (CoroutineType, GeneratorType)


def _in_order(aws: Any) -> Iterable[Any]:
    """The awaitables, each once, in an order that is the same in every process."""
    if asyncio.isfuture(aws) or asyncio.iscoroutine(aws):
        raise TypeError(f"expect an iterable of futures, not {type(aws).__name__}")
    given = dict.fromkeys(aws)
    if isinstance(aws, set | frozenset) and any(type(aw) in _HASHED_BY_ADDRESS for aw in given):
        cast(Any, asyncio.get_running_loop()).refuse(
            "asyncio.as_completed was given a set of coroutines, whose order is that of addresses, and so another "
            "one in every process. Give it a list."
        )
    return given


def _gathering_hash(self: Any) -> int:
    """Of a future that ``gather`` made: on a workflow's loop by creation order, like all its other futures."""
    found: int | None = getattr(self, "_durable_hash", None)
    if found is None:
        loop = self.get_loop()
        made: int = loop.next_hash() if getattr(loop, _marker, False) else object.__hash__(self)
        found = self._durable_hash = made
    return found


def _dispatching_all_tasks(loop: Any = None) -> set[asyncio.Task[Any]]:
    asked = events._get_running_loop() if loop is None else loop
    if getattr(asked, _marker, False):
        return set(cast(Any, asked).live_tasks())
    return _standard_all_tasks(loop)


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
        ("all_tasks", _dispatching_all_tasks, _standard_all_tasks),
    ):
        function.__name__ = function.__qualname__ = name
        function.__doc__ = standard.__doc__
        for module in (asyncio, asyncio.tasks):
            if getattr(module, name) is standard:
                setattr(module, name, cast(Callable[..., Any], function))
    asyncio.tasks._GatheringFuture.__hash__ = _gathering_hash  # type: ignore[attr-defined]
