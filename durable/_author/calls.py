"""Calls as authors hold them: made where they are written, issued when they are first awaited."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, Protocol, TypeVar, final

from durable._author.definitions import Step, StepPolicy
from durable._core.call import MISSING, Call, CallFuture, line_of
from durable._core.state import RunState
from durable._model.entries import Settled
from durable._model.runs import NewRun
from durable.codec import Codec, ValueType, load_error
from durable.codec.exceptions import readable
from durable.errors import InvalidInput

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

__all__ = ["ChildSpec", "Scope", "SignalSpec", "StepCall", "StepSpec", "Tracker", "current_tracker"]


@final
@dataclass(slots=True)
class Scope:
    """What the Context of one run works with.

    Attributes:
        queue: Of the run; children inherit it.
        priority: Of the run; children inherit it.
    """

    state: RunState
    codec: Codec
    queue: str
    priority: int


@final
class StepSpec:
    """What the executor needs to carry a step out: the same for all calls of a declared one.

    Args:
        step: The declared step; None for the inline form, whose ``fn`` takes no arguments.
        result: Type of the result.

    Attributes:
        called: The name in identities, with the key if there is one.
        what: The step in error messages; ``result_what`` likewise its result.
        direct: The function is awaited as it is: no thread, no process, no time limit.
        waits: Something may have to come before it: a turn, or a note in the journal.
    """

    __slots__ = (
        "called",
        "direct",
        "fn",
        "is_async",
        "name",
        "policy",
        "result",
        "result_what",
        "step",
        "waits",
        "what",
    )

    def __init__(
        self,
        name: str,
        fn: Callable[..., Any],
        policy: StepPolicy,
        step: Step[..., Any] | None,
        result: ValueType[Any],
        is_async: bool,
    ) -> None:
        self.name = name
        self.fn = fn
        self.policy = policy
        self.step = step
        self.result = result
        self.is_async = is_async
        self.called = name if policy.key is None else f"{name}[{policy.key}]"
        self.what = f"step {name!r}"
        self.result_what = f"result of {self.what}"
        self.direct = is_async and policy.timeout is None and policy.run_in != "process"
        self.waits = policy.rate is not None or policy.effect == "at_most_once"

    @staticmethod
    def of(step: Step[..., Any]) -> StepSpec:
        """The spec of a declared step, made at its first call."""
        spec: StepSpec | None = step.spec
        if spec is None:
            result = step.arguments.result
            spec = step.spec = StepSpec(step.name, step.fn, step.policy, step, result, step.is_async)
        return spec


@final
@dataclass(slots=True)
class SignalSpec:
    """A wait for a signal: how its payload is read."""

    value_type: ValueType[Any]


@final
@dataclass(slots=True)
class ChildSpec:
    """A child run that is awaited.

    Attributes:
        policy: Of the step that it carries out; None for a child workflow.
    """

    run: NewRun
    policy: StepPolicy | None = None


class Tracker(Protocol):
    """A saga, as calls see it."""

    def track(self, name: str, undo: Callable[..., Any], future: CallFuture, read: Callable[[Settled], Any]) -> None:
        """A step with an ``undo`` was issued inside the saga."""
        ...


current_tracker: ContextVar[Tracker | None] = ContextVar("durable_saga", default=None)


class StepCall(Coroutine[Any, Any, R_co], Generic[R_co]):
    """A call that was written: await it, or hand it to ``gather``, ``create_task``, ``wait_for`` and the like.

    Its identity is drawn when it is made; it is carried out from the first await on, once.
    """

    __slots__ = ("_before", "_call", "_driver", "_hash", "_read", "_scope")

    def __init__(
        self,
        scope: Scope,
        call: Call,
        read: Callable[[Call, Settled], Any],
        before: Callable[[], None] | None = None,
    ) -> None:
        self._scope = scope
        self._call = call
        self._read = read
        self._before = before
        self._driver: Generator[Any, Any, R_co] | None = None
        self._hash = scope.state.loop.next_hash()  # sets of calls have the same order in every process

    def _drive(self) -> Generator[Any, Any, R_co]:
        call = self._call
        if self._before is not None:
            self._before()
        future = self._scope.state.issue(call)
        policy: StepPolicy | None = getattr(call.spec, "policy", None)
        tracker = current_tracker.get() if policy is not None and policy.undo is not None else None
        if tracker is not None and policy is not None and policy.undo is not None:
            tracker.track(call.name, policy.undo, future, lambda settled: self._read(call, settled))
            settled = yield from asyncio.shield(future).__await__()
        else:
            settled = yield from future.__await__()
        assert settled is not None
        return self._read(call, settled)  # type: ignore[no-any-return]

    def _started(self) -> Generator[Any, Any, R_co]:
        if self._driver is None:
            self._driver = self._drive()
        return self._driver

    def __await__(self) -> Generator[Any, Any, R_co]:
        if self._driver is not None:
            raise RuntimeError(f"The call of {self._call.name!r} was awaited already; make another with ctx.step(...).")
        driver = self._driver = self._drive()
        return driver

    def send(self, value: Any, /) -> Any:
        return self._started().send(value)

    def throw(self, *error: Any) -> Any:
        return self._started().throw(*error)

    def close(self) -> None:
        self._started().close()

    def __hash__(self) -> int:
        return self._hash

    def __del__(self) -> None:
        if self._driver is None and not self._scope.state.poisoned:
            told = f"the call of {self._call.name!r} was never awaited, so it was not carried out"
            written = self._call.place  # where it was thrown away may be anywhere
            if written is None:
                warnings.warn(told, RuntimeWarning, stacklevel=2, source=self)
            else:
                warnings.warn_explicit(told, RuntimeWarning, written[0].co_filename, line_of(written), source=self)

    def __repr__(self) -> str:
        return f"<call {self._call.id}>"


def why_unreadable(codec: Codec, call: Call, payload: bytes) -> str | None:
    """Why a wait cannot read this signal's payload; None if it can."""
    spec: SignalSpec = call.spec
    try:
        spec.value_type.load(codec.open(payload), f"signal {call.name!r}")
    except Exception as error:
        return readable(str(error))[:500]
    return None


def fitting(scope: Scope, call: Call, declared: ValueType[Any], raw: bytes) -> Any:
    """A stored result as its declared type; one that does not fit blocks the run, for a deploy can mend it."""
    try:
        return declared.load(raw, f"result of {call.kind} {call.name!r}")
    except InvalidInput as error:
        unfitting(scope, error)


def unfitting(scope: Scope, error: InvalidInput) -> NoReturn:
    """Block the run: what is stored is not of the declared type any more."""
    scope.state.loop.refuse(f"The journal cannot be read by this code: {error}")


def read_step(scope: Scope) -> Callable[[Call, Settled], Any]:
    """How a step's outcome becomes a value or an exception."""

    def read(call: Call, settled: Settled) -> Any:
        if not settled.ok:
            raise load_error(scope.codec.open(settled.payload))
        if call.loaded is not MISSING:
            return call.loaded
        return fitting(scope, call, call.spec.result, scope.codec.open(settled.payload))

    return read
