"""The Context: all that workflow code may ask of the engine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from datetime import UTC, datetime
from hashlib import blake2b
from inspect import iscoroutinefunction
from random import Random
from typing import Any, ParamSpec, TypeVar, final, overload
from uuid import UUID

from durable._author import parallel
from durable._author.calls import ChildSpec, Scope, SignalSpec, StepCall, StepSpec, fitting, read_step, unfitting
from durable._author.definitions import (
    LIST_BYTES,
    UNSET,
    Effect,
    Signal,
    Step,
    StepPolicy,
    Workflow,
    WorkflowPolicy,
    check_effect,
    step_workflow_name,
)
from durable._author.logs import REDACTING, logger
from durable._author.outcomes import result_of
from durable._author.saga import Saga
from durable._core.call import Call, place, timer_print
from durable._core.identity import child_id, command_id, derived_id
from durable._core.state import RunState
from durable._model import defaults
from durable._model.commands import CloseChild, EmitItem, SendMessage, SetValue, StartChild
from durable._model.duration import Duration, due_seconds, seconds_of
from durable._model.entries import CallKind, Settled
from durable._model.ids import CallId, RunId, check_name
from durable._model.messages import Message, MessageKind
from durable._model.retry import NO_RETRY, Retry
from durable._model.runs import NewRun, Parent
from durable._model.shown import shown
from durable.codec import Arguments, ValueType, digest, load_error
from durable.errors import InvalidInput, RunFailed, WorkflowCodeError

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
Json = Any

__all__ = ["Context", "Continue"]

_JSON: ValueType[Any] = ValueType.of(Any)
_STEP = CallKind.STEP


@final
class Continue(BaseException):
    """Raise what ``ctx.continue_as(...)`` returns to begin the run's next generation."""

    def __init__(self, workflow: Workflow[..., Any], raw: bytes) -> None:
        super().__init__(workflow.name)
        self.workflow = workflow
        self.raw = raw


@final
class RunLogger(logging.Logger):
    """A logger that is silent while a run replays, and tells the run's id with each record."""

    def __init__(self, state: RunState) -> None:
        super().__init__("durable.run")
        self.parent = logger("durable.run")
        self.addFilter(REDACTING)
        self._state = state

    def isEnabledFor(self, level: int) -> bool:
        if self._state.poisoned or self._state.replaying:
            return False
        assert self.parent is not None
        return self.parent.isEnabledFor(level)

    def makeRecord(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = super().makeRecord(*args, **kwargs)
        record.run_id = self._state.facts.run
        return record


@final
class Context:
    """What a workflow is given to work with.

    Attributes:
        run_id: Of this run.
        generation: 1 at first; ``continue_as`` and retry raise it.
        log: A logger that does not repeat itself in replay.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._state = scope.state
        self._read_step = read_step(scope)
        self._randoms: dict[str, Random] = {}
        self.run_id: str = scope.state.facts.run
        self.generation: int = scope.state.facts.generation
        self.log: logging.Logger = RunLogger(scope.state)

    @property
    def is_replaying(self) -> bool:
        """Whether the code that runs now has run before. For metrics and prints; never branch on it."""
        return self._state.replaying

    # ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────

    @overload
    def step(self, fn: Step[P, R], /, *args: P.args, **kwargs: P.kwargs) -> StepCall[R]: ...
    @overload
    def step(
        self,
        name: str,
        fn: Callable[[], Coroutine[Any, Any, R]],
        /,
        *,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        effect: Effect = "at_least_once",
        type: type[R] = ...,
    ) -> StepCall[R]: ...
    @overload
    def step(
        self,
        name: str,
        fn: Callable[[], R],
        /,
        *,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        effect: Effect = "at_least_once",
        type: type[R] = ...,
    ) -> StepCall[R]: ...
    def step(self, fn: Any, /, *args: Any, **kwargs: Any) -> StepCall[Any]:
        """Call a step: ``await ctx.step(charge, order)``, or ``await ctx.step("notify", lambda: send(...))``.

        The outcome is committed before it is delivered, and never computed again. Arguments are encoded here and now.

        Args:
            fn: A declared step with its arguments; or a name and a function without parameters, which runs on the loop
                if it is async and in a thread if not.
            retry: For the second form, as in ``@step``; so are ``timeout`` and ``effect``.
            type: For the second form: the type of the result, where it is not plain JSON.

        Raises:
            InvalidInput: The arguments do not fit the step's signature.
            NotSerializable: An argument, or later the result, cannot be encoded exactly.
        """
        if isinstance(fn, Step):
            if fn.policy.queue is not None:
                return self._remote_step(fn, args, kwargs)
            return self.local_step(fn, *args, **kwargs)
        if isinstance(fn, str):
            return self._inline_step(fn, *args, **kwargs)
        raise WorkflowCodeError(
            f"ctx.step takes a function decorated with @step, or a name and a function, not {shown(fn)}. "
            f'Decorate it, or write ctx.step("{getattr(fn, "__name__", "name")}", lambda: ...).'
        )

    def local_step(self, step: Step[..., Any], *args: Any, **kwargs: Any) -> StepCall[Any]:
        """As ``step``, in this worker, whatever queue the step declares."""
        spec, state = StepSpec.of(step), self._state
        raw, given = step.arguments.prepare(args, kwargs, spec.what)
        name = spec.called
        call = Call(state.identify("step", name), _STEP, name, Arguments.fingerprint(raw), spec, state.loop.now)
        call.raw, call.given, call.place = raw, given, place(2)
        if spec.policy.record_input:
            state.records = True
        return StepCall(self._scope, call, self._read_step)

    def _inline_step(
        self,
        name: str,
        fn: Any = None,
        /,
        *,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        effect: Effect = "at_least_once",
        type: Any = Any,
    ) -> StepCall[Any]:
        name = check_name("step name", name)
        if not callable(fn):
            raise WorkflowCodeError(f"ctx.step({name!r}, ...) needs a function without parameters, not {shown(fn)}.")
        if isinstance(fn, Step):
            fn = fn.fn
        policy = StepPolicy(
            retry=NO_RETRY if retry is None else retry,
            timeout=None if timeout is None else seconds_of(timeout, "step timeout"),
            effect=effect,
        )
        is_async = iscoroutinefunction(fn)
        check_effect(policy, is_async, name)
        spec = StepSpec(name, fn, policy, None, ValueType.of(type), is_async)
        call = Call(self._state.identify("step", name), CallKind.STEP, name, "", spec, self._state.now)
        call.place = place(2)
        return StepCall(self._scope, call, self._read_step)

    def _remote_step(self, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> StepCall[Any]:
        raw = step.arguments.dump(args, kwargs, f"step {step.name!r}")
        name = step.name if step.policy.key is None else f"{step.name}[{step.policy.key}]"
        child: Workflow[..., Any] = Workflow(
            step.fn, step_workflow_name(step.name), "", WorkflowPolicy(), arguments=step.arguments
        )
        return self._child_call(child, None, name, raw, step.policy.queue, step.policy)

    # ── children ─────────────────────────────────────────────────────────────────────────────────────────────────

    def child(self, workflow: Workflow[P, R], /, *args: P.args, **kwargs: P.kwargs) -> StepCall[R]:
        """Start a child run and await its result. Options: ``workflow.options(id=, on_parent_close=, queue=)``.

        Cancelling the await applies the child's close policy to it.

        Raises:
            RunFailed: The child failed; its exception is the cause.
            RunCancelled: The child was cancelled.
            RunConflict: A run with the chosen id exists and is not this call's.
        """
        if not isinstance(workflow, Workflow):
            raise WorkflowCodeError(f"ctx.child takes a function decorated with @workflow, not {shown(workflow)}.")
        raw = workflow.arguments.dump(args, kwargs, f"workflow {workflow.name!r}")
        return self._child_call(workflow, workflow.version, workflow.name, raw, workflow.queue, None)

    def _child_call(
        self,
        workflow: Workflow[..., Any],
        version: str | None,
        name: str,
        raw: bytes,
        queue: str | None,
        policy: StepPolicy | None,
    ) -> StepCall[Any]:
        """A child run; with a step's ``policy`` it stands for that step, whose own exceptions it raises."""
        scope, state, facts = self._scope, self._state, self._state.facts
        identity = state.identify("child", name)
        chosen_id, framing = workflow.child_id, 0 if policy is None else LIST_BYTES
        run = NewRun(
            RunId(chosen_id) if chosen_id is not None else child_id(facts.run, facts.generation, identity),
            workflow.name,
            version,
            queue or scope.queue,
            scope.codec.seal(raw, f"input of child workflow {workflow.name!r}", framing=framing),
            digest(workflow.name, raw),
            derived_id(facts.seed, identity) + derived_id(identity, facts.seed)[:8],
            scope.priority,
            labels=workflow.labels,
            parent=Parent(RunId(facts.run), identity, facts.generation, workflow.on_parent_close),
        )
        call = Call(identity, CallKind.CHILD, name, Arguments.fingerprint(raw), ChildSpec(run, policy), state.now)
        call.place = place(3)
        call.on_abandon = lambda: self._give_up_child(run, identity)

        def read(call: Call, settled: Settled) -> Any:
            if not settled.ok:  # it never became this call's child
                raise load_error(scope.codec.open(settled.payload))
            try:
                return result_of(scope.codec.open(settled.payload), run.id, workflow.arguments.result)
            except InvalidInput as misfit:
                unfitting(scope, misfit)
            except RunFailed as failed:
                if policy is None or failed.__cause__ is None:
                    raise
                raise failed.__cause__

        return StepCall(scope, call, read, lambda: self._start_child(run))

    def _start_child(self, run: NewRun) -> None:
        state = self._state
        if state.children_started >= defaults.CHILDREN_MAX:
            raise WorkflowCodeError(
                f"This run has started {defaults.CHILDREN_MAX} children, which is the limit. Begin its next generation "
                "with continue_as, or let children start children."
            )
        state.children_started += 1
        state.fire(StartChild(run))

    def _give_up_child(self, run: NewRun, identity: CallId) -> None:
        assert run.parent is not None
        facts = self._state.facts
        if run.parent.on_close != "abandon":
            self._state.fire(CloseChild(run, command_id(facts.run, facts.generation, f"{identity}/close")))

    def continue_as(self, workflow: Workflow[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Continue:
        """``raise ctx.continue_as(workflow, ...)``: go on as the next generation, with an empty journal.

        The run keeps its id, unread signals, streams and values. Legal only in the main task.
        """
        if not self._state.in_main_task:
            raise WorkflowCodeError("continue_as is legal only in the workflow's main task, not in one it has created.")
        if not isinstance(workflow, Workflow):
            raise WorkflowCodeError(f"continue_as takes a function decorated with @workflow, not {shown(workflow)}.")
        raw = workflow.arguments.dump(args, kwargs, f"workflow {workflow.name!r}")
        return Continue(workflow, self._scope.codec.check(raw, f"input of workflow {workflow.name!r}"))

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────

    @overload
    def sleep(self, delay: Duration, /) -> Coroutine[Any, Any, None]: ...
    @overload
    def sleep(self, name: str, delay: Duration, /) -> Coroutine[Any, Any, None]: ...
    def sleep(self, name: Any, delay: Any = UNSET, /) -> Coroutine[Any, Any, None]:
        """Wait durably: ``await ctx.sleep("24h")`` or ``await ctx.sleep("follow-up", "24h")``.

        Seconds, not milliseconds, where a number is given. Meanwhile the run is a row and holds no worker.

        Raises:
            InvalidInput: A ``ValueError``: NaN, infinite, negative, over 100 years, or not a duration.
        """
        named = delay is not UNSET
        seconds = seconds_of(delay if named else name, "sleep")
        if seconds > defaults.SLEEP_SECONDS_WARN:
            self.log.warning("A sleep of %.0f days: durations given as numbers are seconds.", seconds / 86_400)
        return self._sleep(check_name("timer name", name) if named else "sleep", self._state.now + seconds)

    def sleep_until(self, when: datetime, /) -> Coroutine[Any, Any, None]:
        """Wait durably for an instant; a past one is over at once.

        Raises:
            InvalidInput: A ``ValueError``: the datetime has no time zone.
        """
        return self._sleep("sleep_until", due_seconds(when))

    def _sleep(self, name: str, due: float) -> StepCall[None]:
        state = self._state
        fingerprint = timer_print(due - state.now) if name != "sleep_until" else str(round(due * 1000))
        call = Call(state.identify("timer", name), CallKind.TIMER, name, fingerprint, None, state.now)
        call.due, call.place = max(due, state.now), place(2)
        return StepCall(self._scope, call, lambda call, settled: None)

    def now(self) -> datetime:
        """Workflow time in UTC: the time of the last event that reached the workflow. The same in replay."""
        return datetime.fromtimestamp(self._state.now, UTC)

    # ── chance ───────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def random(self) -> Random:
        """Random numbers that are the same in replay; one stream per task, so that tasks do not disturb each other."""
        self._state.check_inside()
        path = self._state.loop.place().path
        if path not in self._randoms:
            self._randoms[path] = Random(f"{self._state.facts.seed}/{path}")
        return self._randoms[path]

    def uuid(self) -> UUID:
        """A random-looking UUID (version 4) that is the same in replay."""
        identity = self._state.identify("uuid", "uuid")
        return UUID(bytes=blake2b(f"{self._state.facts.seed}/{identity}".encode(), digest_size=16).digest(), version=4)

    # ── signals ──────────────────────────────────────────────────────────────────────────────────────────────────

    @overload
    def wait_for_signal(self, signal: Signal[S], /, *, timeout: Duration | None = None) -> Coroutine[Any, Any, S]: ...
    @overload
    def wait_for_signal(
        self, name: str, type: type[S], *, timeout: Duration | None = None
    ) -> Coroutine[Any, Any, S]: ...
    @overload
    def wait_for_signal(self, name: str, /, *, timeout: Duration | None = None) -> Coroutine[Any, Any, Json]: ...
    def wait_for_signal(
        self, name: Any, type: Any = UNSET, *, timeout: Duration | None = None
    ) -> Coroutine[Any, Any, Any]:
        """Take the oldest unread signal of a name, or wait for one. Signals sent before the wait are kept.

        Args:
            name: A ``Signal``, or its name. One that begins with a dot is a layer's own: it is not shown among what
                the run waits for.
            type: Of the payload, with a name.
            timeout: Give up after this long; a signal that comes later is kept for the next wait.

        Raises:
            TimeoutError: The built-in one.
        """
        signal = name if isinstance(name, Signal) else Signal(name, type)
        state = self._state
        identity = state.identify("signal", signal.name)
        spec = SignalSpec(signal.value_type)
        call = Call(identity, CallKind.SIGNAL, signal.name, "", spec, state.now)
        call.place = place(2)

        def read(call: Call, settled: Settled) -> Any:
            return fitting(self._scope, call, spec.value_type, self._scope.codec.open(settled.payload))

        waiting: StepCall[Any] = StepCall(self._scope, call, read)
        if timeout is None:
            return waiting
        return self._with_timeout(waiting, call, seconds_of(timeout, "signal timeout"))

    async def _with_timeout(self, waiting: StepCall[Any], call: Call, seconds: float) -> Any:
        call.due = self._state.now + seconds
        async with asyncio.timeout(seconds):
            return await waiting

    async def signals(self, signal: Signal[S], /) -> AsyncIterator[S]:
        """``async for answer in ctx.signals(answers):`` — one signal after the other, without end."""
        while True:
            yield await self.wait_for_signal(signal)

    def signal(self, run_id: str, signal: Signal[S] | str, payload: Any = None, /) -> None:
        """Send a signal to another run, exactly once. A run that is missing or has ended is not an error here."""
        named = signal if isinstance(signal, Signal) else Signal[Any](signal)
        facts = self._state.facts
        raw = named.value_type.dump(payload, f"signal {named.name!r}")
        identity = self._state.identify("send", named.name)
        message = Message(
            RunId(check_name("run id", run_id)),
            command_id(facts.run, facts.generation, identity),
            MessageKind.SIGNAL,
            named.name,
            self._scope.codec.seal(raw, f"signal {named.name!r}"),
        )
        self._state.fire(SendMessage(message))

    # ── many at once ─────────────────────────────────────────────────────────────────────────────────────────────

    @overload
    async def parallel(self, a: Awaitable[T1], b: Awaitable[T2], /, *, limit: int | None = None) -> tuple[T1, T2]: ...
    @overload
    async def parallel(
        self, a: Awaitable[T1], b: Awaitable[T2], c: Awaitable[T3], /, *, limit: int | None = None
    ) -> tuple[T1, T2, T3]: ...
    @overload
    async def parallel(
        self, a: Awaitable[T1], b: Awaitable[T2], c: Awaitable[T3], d: Awaitable[T4], /, *, limit: int | None = None
    ) -> tuple[T1, T2, T3, T4]: ...
    @overload
    async def parallel(
        self, calls: Iterable[Awaitable[T]], /, *, limit: int | None = None, tolerate: int | float = 0
    ) -> list[T]: ...
    async def parallel(self, *calls: Any, limit: int | None = None, tolerate: int | float = 0) -> Any:
        """Await several calls at once; a failure cancels the others, awaits them, and is raised.

        Args:
            calls: Awaitables, or one iterable of them. Several give a tuple, an iterable a list.
            limit: At most so many at a time.
            tolerate: For the list form: so many (``int``), or this share (``float``), may fail and are left out.
        """
        single = len(calls) == 1 and not isinstance(calls[0], Awaitable)
        source: Any = calls[0] if single else calls
        given: list[Awaitable[Any]] = list(source)
        results = [value for ok, value in await parallel.run_all(given, limit, tolerate) if ok]
        return results if single else tuple(results)

    async def map(
        self,
        fn: Step[[T1], R],
        items: Iterable[T1],
        /,
        *,
        limit: int | None = None,
        tolerate: int | float = 0,
        key: Callable[[T1], str] | None = None,
    ) -> list[R]:
        """Call a step for each item; results in the order of the items, tolerated failures left out.

        Args:
            limit: At most so many at a time.
            tolerate: So many (``int``), or this share (``float``), may fail.
            key: Names each call after its item instead of its place, so that inserted items shift nothing.
        """
        step: Any = fn
        calls: list[StepCall[R]] = [
            self.step(step if key is None else step.options(key=key(item)), item) for item in items
        ]
        return [value for ok, value in await parallel.run_all(calls, limit, tolerate) if ok]

    def saga(self) -> Saga:
        """``async with ctx.saga():`` — on an exception, undo what the block's steps did, newest first."""
        return Saga(self.step)

    # ── seen from outside ────────────────────────────────────────────────────────────────────────────────────────

    def set(self, key: str, value: Json, /) -> None:
        """Publish a value; ``handle.values()`` reads it, without a worker."""
        key = check_name("value key", key)
        what = f"value {key!r}"
        self._state.fire(SetValue(key, self._scope.codec.seal(_JSON.dump(value, what), what)))

    def emit(self, stream: str, item: Json, /) -> None:
        """Append an item to a durable stream; ``handle.stream(name)`` reads it from any offset. Exactly once."""
        stream = check_name("stream name", stream)
        what = f"item of stream {stream!r}"
        self._state.fire(EmitItem(stream, self._scope.codec.seal(_JSON.dump(item, what), what)))

    def patched(self, change: str, /) -> bool:
        """Guard a deliberate change: True for runs that reach it for the first time with the new code."""
        return self._state.patched(check_name("change id", change))
