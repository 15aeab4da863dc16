"""``@step`` and ``@workflow``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, overload

from durable._author.context import Context
from durable._author.definitions import (
    AsyncStep,
    Effect,
    OnUnknown,
    RunIn,
    StepPolicy,
    SyncStep,
    Workflow,
    WorkflowPolicy,
    check_effect,
    rate_of,
)
from durable._model import defaults
from durable._model.duration import Duration, seconds_of
from durable._model.ids import check_name
from durable._model.retention import Retention, retention_of
from durable._model.retry import NO_RETRY, Retry
from durable._model.shown import shown
from durable.errors import InvalidInput

P = ParamSpec("P")
R = TypeVar("R")

__all__ = ["step", "workflow"]


class StepDecorator(Protocol):
    """What ``step(...)`` with options returns."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncStep[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Callable[P, R], /) -> SyncStep[P, R]: ...


class WorkflowDecorator(Protocol):
    """What ``workflow(...)`` with options returns."""

    def __call__(self, fn: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /) -> Workflow[P, R]: ...


@overload
def step(fn: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncStep[P, R]: ...  # type: ignore[overload-overlap]
@overload
def step(fn: Callable[P, R], /) -> SyncStep[P, R]: ...
@overload
def step(
    *,
    name: str | None = None,
    retry: Retry | None = None,
    timeout: Duration | None = None,
    heartbeat: Duration | None = None,
    effect: Effect = "at_least_once",
    run_in: RunIn | None = None,
    queue: str | None = None,
    rate_limit: str | None = None,
    undo: Callable[..., Any] | None = None,
    check: Callable[[str], Any] | None = None,
    on_unknown: OnUnknown = "block",
    record_input: bool = False,
    retention: Duration | Retention | None = None,
) -> StepDecorator: ...
def step(
    fn: Any = None,
    /,
    *,
    name: str | None = None,
    retry: Retry | None = None,
    timeout: Duration | None = None,
    heartbeat: Duration | None = None,
    effect: Effect = "at_least_once",
    run_in: RunIn | None = None,
    queue: str | None = None,
    rate_limit: str | None = None,
    undo: Callable[..., Any] | None = None,
    check: Callable[[str], Any] | None = None,
    on_unknown: OnUnknown = "block",
    record_input: bool = False,
    retention: Duration | Retention | None = None,
) -> Any:
    """Declare a step: a function with effects, whose outcome is journaled and never repeated once committed.

    Args:
        name: In the journal; by default the function's name. Renaming a function keeps runs alive if you set it.
        retry: How often to try; by default one attempt. ``Retry()`` tries five times with growing waits.
        timeout: Of one attempt. An async step is cancelled; a thread goes on, and the next attempt waits for its end;
            a process is killed.
        heartbeat: The attempt must call ``heartbeat()`` at least this often, else it counts as failed.
        effect: ``"at_least_once"`` (default): after a crash in the middle the step runs again, with the same
            ``idempotency_key()``. ``"at_most_once"``: it never does; the run is blocked until ``check`` or a person
            (``handle.settle``) says what happened.
        run_in: ``"loop"`` for async functions, ``"thread"`` for plain ones (the defaults), or ``"process"``.
        queue: Carried out by a worker that reads this queue, as a child run.
        rate_limit: Begins per time and worker process, like ``"10/s"``.
        undo: What ``ctx.saga()`` calls with the step's result when the saga fails.
        check: For at-most-once steps: given the idempotency key, answers ``Done(result)``, ``NotDone()`` or
            ``Unknown()`` after a crash in the middle.
        on_unknown: ``"block"`` (default), or ``"raise"``: raise ``StepInterrupted`` in the workflow.
        record_input: Keep the arguments in the store, for people to see; by default only their fingerprint is.
        retention: Of the child run that carries it out, if it has a ``queue=``; as for ``workflow``.

    Raises:
        InvalidInput: A ``ValueError``: an option has no sense.
    """
    policy = StepPolicy(
        retry=NO_RETRY if retry is None else retry,
        timeout=None if timeout is None else seconds_of(timeout, "step timeout"),
        heartbeat=None if heartbeat is None else seconds_of(heartbeat, "step heartbeat"),
        effect=effect,
        run_in="loop" if run_in is None else run_in,
        queue=None if queue is None else check_name("queue name", queue),
        rate=None if rate_limit is None else rate_of(rate_limit),
        undo=undo,
        check=check,
        on_unknown=on_unknown,
        record_input=record_input,
        retention=retention_of(retention, "step retention"),
    )
    if name is not None:
        check_name("step name", name)

    def decorate(function: Any) -> Any:
        if not callable(function):
            raise InvalidInput(f"@step decorates a function, not {shown(function)}.")
        is_async = inspect.iscoroutinefunction(function)
        step_name = check_name("step name", name or getattr(function, "__name__", None))
        check_effect(policy, is_async, step_name)
        return (AsyncStep if is_async else SyncStep)(function, step_name, policy)

    return decorate if fn is None else decorate(fn)


@overload
def workflow(fn: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /) -> Workflow[P, R]: ...
@overload
def workflow(
    name: str | None = None,
    /,
    *,
    version: str | None = None,
    retry: Retry | None = None,
    timeout: Duration | None = None,
    key: Callable[..., str] | None = None,
    concurrency: int | None = None,
    retention: Duration | Retention | None = None,
    replay: Literal["strict", "tolerant"] = "strict",
) -> WorkflowDecorator: ...
def workflow(
    name: Any = None,
    /,
    *,
    version: str | None = None,
    retry: Retry | None = None,
    timeout: Duration | None = None,
    key: Callable[..., str] | None = None,
    concurrency: int | None = None,
    retention: Duration | Retention | None = None,
    replay: Literal["strict", "tolerant"] = "strict",
) -> Any:
    """Declare a workflow: an ``async def`` whose first parameter is a ``Context``.

    Args:
        name: In the store; by default the function's name.
        version: Default ``"1"``. Register old and new versions side by side: each run finishes on the one it began.
        retry: Begin the whole run anew (as the next generation) when it fails.
        timeout: Of the whole run: it is cancelled, may clean up, and ends ``failed`` with ``TimeoutError``.
        key: Makes the run id from the arguments (``"{name}-{key}"``) where the starter gives none.
        concurrency: Runs of this workflow that execute at once in one worker process.
        retention: Ended runs are purged this long after their end, or, with a ``Retention``, as long as their status
            says; by default they are kept.
        replay: ``"strict"`` (default): any disagreement between journal and code blocks the run. ``"tolerant"``:
            additions, insertions and deletions of calls go through; changed arguments stay an error.

    Raises:
        InvalidInput: A ``ValueError``: an option has no sense, or the function is not a workflow.
    """
    if callable(name):
        return _workflow(name, name.__name__, defaults.VERSION, WorkflowPolicy())
    if name is not None:
        check_name("workflow name", name)
    if concurrency is not None and (not isinstance(concurrency, int) or concurrency < 1):
        raise InvalidInput(f"workflow(concurrency=) is 1 or more, not {concurrency!r}.")
    if replay not in ("strict", "tolerant"):
        raise InvalidInput(f"workflow(replay=) is 'strict' or 'tolerant', not {replay!r}.")
    policy = WorkflowPolicy(
        retry=retry,
        timeout=None if timeout is None else seconds_of(timeout, "workflow timeout"),
        key=key,
        concurrency=concurrency,
        retention=retention_of(retention, "workflow retention"),
        replay=replay,
    )
    pinned = defaults.VERSION if version is None else check_name("workflow version", version)

    def decorate(fn: Any) -> Any:
        return _workflow(fn, name or fn.__name__, pinned, policy)

    return decorate


def _workflow(fn: Any, name: str, version: str, policy: WorkflowPolicy) -> Workflow[Any, Any]:
    if not inspect.iscoroutinefunction(fn):
        raise InvalidInput(f"@workflow decorates an `async def` that takes a Context, not {shown(fn)}.")
    name = check_name("workflow name", name)
    parameters = list(inspect.signature(fn).parameters.values())
    if not parameters or parameters[0].kind not in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    ):
        raise InvalidInput(
            f"Workflow {name!r} must take the Context as its first parameter: async def {name}(ctx, ...)."
        )
    return Workflow(fn, name, version, policy)
