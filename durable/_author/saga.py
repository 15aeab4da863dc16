"""Sagas: when a block fails, what its steps did is undone, newest first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Token
from types import TracebackType
from typing import Any, Literal, ParamSpec, cast, final

from durable._author.calls import Tracker, current_tracker
from durable._author.definitions import Step
from durable._core.call import CallFuture
from durable._model.entries import Settled

P = ParamSpec("P")

__all__ = ["Saga"]

# Everything but ``continue_as``, and what closes the coroutines of a run that leaves memory.
_FAILURES = (Exception, asyncio.CancelledError, BaseExceptionGroup, SystemExit, KeyboardInterrupt)


@final
class Saga(Tracker):
    """``async with ctx.saga() as saga:`` — an exception that leaves the block undoes what was done in it.

    Undone are steps with ``undo=`` (called with the step's result) and what ``on_failure`` registered, newest commit
    first. Steps with an undo that are still in flight are awaited first, for they may have happened. The undoing is
    shielded from cancellation. An undo that fails (after its own retries) is noted on the exception, and the others go
    on. ``continue_as`` is not a failure.
    """

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call
        self._done: list[tuple[str, Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = []
        self._in_flight: list[CallFuture] = []
        self._token: Token[Tracker | None] | None = None
        self._outer: Tracker | None = None
        self._heir: Saga | None = None

    def on_failure(self, fn: Step[P, Any] | Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Call this too when the saga fails; in order with the undos of steps."""
        name = fn.name if isinstance(fn, Step) else getattr(fn, "__name__", "undo")
        self._keeper()._done.append((name, cast("Callable[..., Any]", fn), args, dict(kwargs)))

    def track(self, name: str, undo: Callable[..., Any], future: CallFuture, read: Callable[[Settled], Any]) -> None:
        """A step with an undo was issued (called by the engine)."""
        self._keeper()._in_flight.append(future)

        def settled(done: asyncio.Future[Any]) -> None:
            keeper = self._keeper()
            keeper._in_flight.remove(future)
            if done.cancelled() or done.result() is None or not done.result().ok:
                return
            try:
                result = read(done.result())
            except Exception:
                return  # a remote step's failure comes as an outcome: nothing to undo
            keeper._done.append((f"undo {name}", undo, (result,), {}))

        future.add_done_callback(settled)

    def _keeper(self) -> Saga:
        """Who undoes what this block's steps do: this saga, or the one around it once this one was left in peace."""
        saga = self
        while saga._heir is not None:
            saga = saga._heir
        return saga

    async def __aenter__(self) -> Saga:
        self._outer = current_tracker.get()
        self._token = current_tracker.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Literal[False]:
        assert self._token is not None
        current_tracker.reset(self._token)
        if error is None:
            if isinstance(self._outer, Saga):
                self._heir = self._outer
                self._keeper()._done.extend(self._done)
                self._keeper()._in_flight.extend(self._in_flight)
            return False
        if isinstance(error, _FAILURES):
            await _shielded(asyncio.ensure_future(self._undo(error)))
        return False

    async def _undo(self, error: BaseException) -> None:
        while self._in_flight:
            await asyncio.wait(list(self._in_flight))
        while self._done:
            name, undo, args, kwargs = self._done.pop()
            try:
                if isinstance(undo, Step):
                    await self._call(undo, *args, **kwargs)
                else:
                    await self._call(name, lambda undo=undo, args=args, kwargs=kwargs: undo(*args, **kwargs))
            except Exception as problem:
                error.add_note(f"{name} failed: {type(problem).__name__}: {problem}")


async def _shielded(undoing: asyncio.Task[None]) -> None:
    """Await the undoing; a cancel that comes meanwhile is raised when it has ended, for it must not be lost."""
    cast(Any, undoing).sheltered = True
    asked: asyncio.CancelledError | None = None
    while not undoing.done():
        try:
            await asyncio.shield(undoing)
        except asyncio.CancelledError as cancel:
            if undoing.cancelled():
                raise
            asked = cancel
    undoing.result()
    if asked is not None:
        raise asked
