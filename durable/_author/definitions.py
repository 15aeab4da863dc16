"""Steps, workflows and signals as values: what was declared, without what carries it out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, Literal, ParamSpec, TypeVar, cast, final

from durable._core.primitives import in_workflow
from durable._model.duration import Duration, seconds_of
from durable._model.ids import check_name
from durable._model.retention import Retention
from durable._model.retry import NO_RETRY, Retry
from durable._model.runs import OnParentClose
from durable._model.shown import shown
from durable.codec import Arguments, ValueType
from durable.errors import InvalidInput, WorkflowCodeError

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")

Effect = Literal["at_least_once", "at_most_once"]
RunIn = Literal["loop", "thread", "process"]
OnUnknown = Literal["block", "raise"]

__all__ = [
    "LIST_BYTES",
    "AsyncStep",
    "Done",
    "Invocation",
    "NotDone",
    "Signal",
    "Step",
    "StepPolicy",
    "SyncStep",
    "Unknown",
    "Workflow",
    "WorkflowPolicy",
]

UNSET: Final[Any] = object()

LIST_BYTES: Final = len(b"[]")
"""What a step's arguments may be over the limit: what one step returns, another (its undo) can be given."""


@final
@dataclass(frozen=True, slots=True)
class Done(Generic[R]):
    """Answer of a step's ``check``: the attempt did happen, with this result."""

    result: R


@final
@dataclass(frozen=True, slots=True)
class NotDone:
    """Answer of a step's ``check``: the attempt did not happen; the step runs again."""


@final
@dataclass(frozen=True, slots=True)
class Unknown:
    """Answer of a step's ``check``: it cannot tell; a person must settle the call."""


@dataclass(frozen=True, slots=True)
class StepPolicy:
    """How a step is carried out; durations in seconds."""

    retry: Retry = NO_RETRY
    timeout: float | None = None
    heartbeat: float | None = None
    effect: Effect = "at_least_once"
    run_in: RunIn = "loop"
    queue: str | None = None
    rate: tuple[int, float] | None = None
    undo: Callable[..., Any] | None = None
    check: Callable[[str], Any] | None = None
    on_unknown: OnUnknown = "block"
    key: str | None = None
    record_input: bool = False
    retention: Retention = Retention()


class Step(Generic[P, R_co]):
    """A declared step: a function with effects, carried out by a worker, whose outcome is journaled.

    Outside a workflow it is the plain function. Inside, call it through ``ctx.step(step, ...)``: a direct call raises
    ``WorkflowCodeError``, because its effect would happen again at every replay.

    Attributes:
        name: In journals; by default the function's name.
        is_async: Whether the function is a coroutine function.
    """

    def __init__(self, fn: Callable[P, Any], name: str, policy: StepPolicy, arguments: Arguments | None = None) -> None:
        self.name = name
        self.policy = policy
        self.arguments = Arguments.of(fn) if arguments is None else arguments
        self.spec: Any = None  # kept here by the floor that makes calls of it
        self._fn = fn
        self.is_async = inspect.iscoroutinefunction(fn)
        self.__name__ = getattr(fn, "__name__", name)
        self.__qualname__ = getattr(fn, "__qualname__", name)
        self.__module__ = getattr(fn, "__module__", __name__)
        self.__doc__ = fn.__doc__
        self.__wrapped__ = fn

    @property
    def fn(self) -> Callable[P, Any]:
        """The undecorated function."""
        return self._fn

    def options(
        self,
        *,
        name: str | None = None,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        key: str | None = None,
        rate_limit: str | None = None,
        queue: str | None = None,
    ) -> Step[P, R_co]:
        """The same step with another policy for some calls.

        Args:
            name: In the journal.
            retry: Instead of the declared policy.
            timeout: Of one attempt.
            key: Part of the call's identity instead of its place in a sequence: a call with a key keeps its result
                when calls before it come and go.
            rate_limit: Like ``"10/s"``.
            queue: Where it runs.
        """
        policy = self.policy
        if retry is not None:
            policy = replace(policy, retry=retry)
        if timeout is not None:
            policy = replace(policy, timeout=seconds_of(timeout, "step timeout"))
        if key is not None:
            policy = replace(policy, key=check_name("step key", key))
        if rate_limit is not None:
            policy = replace(policy, rate=rate_of(rate_limit))
        if queue is not None:
            policy = replace(policy, queue=check_name("queue name", queue))
        new_name = self.name if name is None else check_name("step name", name)
        return type(self)(self._fn, new_name, policy, self.arguments)

    def _refuse_inside(self) -> None:
        if in_workflow():
            import asyncio

            loop = cast(Any, asyncio.get_running_loop())
            loop.refuse(
                f"Step {self.name!r} was called directly inside a workflow, so it would run again at every replay. "
                f"Write `await ctx.step({self.__name__}, ...)` instead."
            )

    def __repr__(self) -> str:
        return f"<step {self.name}>"


@final
class AsyncStep(Step[P, R_co]):
    """A step whose function is ``async def``."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]:
        """Outside a workflow: call the plain function."""
        self._refuse_inside()
        return cast("Coroutine[Any, Any, R_co]", self._fn(*args, **kwargs))


@final
class SyncStep(Step[P, R_co]):
    """A step whose function is a plain ``def``; it runs in a thread."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Outside a workflow: call the plain function."""
        self._refuse_inside()
        return cast(R_co, self._fn(*args, **kwargs))


def rate_of(text: str) -> tuple[int, float]:
    """``"10/s"`` as (10, 1.0): so many begins per so many seconds, in each worker process.

    Raises:
        InvalidInput: It is not a positive count, a slash and ``s``, ``m``, ``h`` or ``d``.
    """
    count, slash, unit = str(text).partition("/")
    per = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}.get(unit.strip())
    if not slash or per is None or not count.strip().isdecimal() or int(count) < 1:
        raise InvalidInput(f"{text!r} is not a rate limit. Write it like '10/s', '100/m' or '5000/h'.")
    return int(count), per


@final
class Signal(Generic[S]):
    """A named, typed message to a run; one object shared by both ends.

    Args:
        name: By which waits and sends find each other.
        type: Of the payload; without it, JSON values.
    """

    __slots__ = ("name", "type", "value_type")

    def __init__(self, name: str, type: type[S] = UNSET) -> None:
        self.name = check_name("signal name", name)
        self.type = type
        self.value_type: ValueType[S] = ValueType.of(Any if type is UNSET else type)

    def __repr__(self) -> str:
        return f"Signal({self.name!r})"


@dataclass(frozen=True, slots=True)
class WorkflowPolicy:
    """How runs of a workflow are treated; durations in seconds."""

    retry: Retry | None = None
    timeout: float | None = None
    key: Callable[..., str] | None = None
    concurrency: int | None = None
    retention: Retention = Retention()
    replay: Literal["strict", "tolerant"] = "strict"


@final
class Invocation(Generic[R_co]):
    """A workflow with its arguments, ready to be started: what ``workflow.bind(...)`` makes."""

    __slots__ = ("args", "kwargs", "workflow")

    def __init__(self, workflow: Workflow[..., R_co], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.workflow = workflow
        self.args = args
        self.kwargs = kwargs


@final
class Workflow(Generic[P, R_co]):
    """A registered ``async def`` that takes a ``Context`` and orchestrates steps.

    Attributes:
        name: In the store; by default the function's name.
        version: ``"1"`` by default; versions registered side by side serve the runs that started on them.
    """

    def __init__(
        self,
        fn: Callable[..., Coroutine[Any, Any, R_co]],
        name: str,
        version: str,
        policy: WorkflowPolicy,
        *,
        id: str | None = None,
        on_parent_close: OnParentClose = "cancel",
        queue: str | None = None,
        arguments: Arguments | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.version = version
        self.policy = policy
        self.child_id = id
        self.on_parent_close: OnParentClose = on_parent_close
        self.queue = queue
        self.labels: Mapping[str, str] = {} if labels is None else labels
        self.arguments = Arguments.of(fn, skip=1) if arguments is None else arguments
        self.fn = fn
        self.__name__ = getattr(fn, "__name__", name)
        self.__qualname__ = getattr(fn, "__qualname__", name)
        self.__module__ = getattr(fn, "__module__", __name__)
        self.__doc__ = fn.__doc__
        self.__wrapped__ = fn

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> Invocation[R_co]:
        """The workflow with these arguments, to hand to ``client.start``; the type checker sees them all."""
        return Invocation(self, args, kwargs)

    def options(
        self,
        *,
        id: str | None = None,
        on_parent_close: OnParentClose | None = None,
        queue: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Workflow[P, R_co]:
        """The same workflow with other options as a child.

        Args:
            id: Of the child run; by default made from the parent's id and the call's identity.
            on_parent_close: What becomes of the child when its parent ends first: ``"cancel"`` (default: it may clean
                up), ``"terminate"`` (at once) or ``"abandon"`` (it goes on).
            queue: Where it runs; by default its parent's.
            labels: Of the child run, to list and count by.
        """
        if on_parent_close not in (None, "cancel", "terminate", "abandon"):
            raise InvalidInput(f"on_parent_close= is 'cancel', 'terminate' or 'abandon', not {on_parent_close!r}.")
        return Workflow(
            self.fn,
            self.name,
            self.version,
            self.policy,
            id=self.child_id if id is None else check_name("run id", id),
            on_parent_close=self.on_parent_close if on_parent_close is None else on_parent_close,
            queue=self.queue if queue is None else check_name("queue name", queue),
            arguments=self.arguments,
            labels=self.labels if labels is None else checked_labels(labels),
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise WorkflowCodeError(
            f"Workflow {self.name!r} is not called directly. Start it with client.start({self.__name__}, ...), "
            f"or from another workflow with ctx.child({self.__name__}, ...)."
        )

    def __repr__(self) -> str:
        return f"<workflow {self.name} version {self.version}>"


def checked_labels(labels: Mapping[str, str] | None) -> dict[str, str]:
    """Labels as the store keeps them.

    Raises:
        InvalidInput: They are no mapping of names to texts.
    """
    if labels is not None and not isinstance(labels, Mapping):
        raise InvalidInput(f"labels= is a mapping of names to texts, not {shown(labels)}.")
    checked = {}
    for name, value in ({} if labels is None else labels).items():
        name = check_name("label name", name)
        if not issubclass(type(value), str):
            raise InvalidInput(f"The label {name!r} must be text, not {shown(value)}.")
        text = str.__str__(value)
        checked[name] = text if text == "" else check_name("label value", text)
    return checked


def step_workflow_name(step: str) -> str:
    """Name of the built-in one-step workflow that carries a step out on another queue."""
    return f"step:{step}"


def check_effect(policy: StepPolicy, is_async: bool, name: str) -> None:
    """Refuse combinations that mean nothing.

    Raises:
        InvalidInput: With what does not go together.
    """
    if policy.effect not in ("at_least_once", "at_most_once"):
        raise InvalidInput(f"Step {name!r}: effect= is 'at_least_once' or 'at_most_once', not {policy.effect!r}.")
    if policy.run_in not in ("loop", "thread", "process"):
        raise InvalidInput(f"Step {name!r}: run_in= is 'loop', 'thread' or 'process', not {policy.run_in!r}.")
    if policy.run_in == "thread" and is_async:
        raise InvalidInput(f"Step {name!r} is async, so it runs on the loop; write a plain def to run it in a thread.")
    if policy.check is not None and policy.effect != "at_most_once":
        raise InvalidInput(f"Step {name!r}: check= belongs to effect='at_most_once'.")
    if policy.on_unknown not in ("block", "raise"):
        raise InvalidInput(f"Step {name!r}: on_unknown= is 'block' or 'raise', not {policy.on_unknown!r}.")
