"""Who answers for the world in the first take: stubs, or the real step functions, each call once."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NoReturn, final

from durable._author import outcomes
from durable._author.calls import ChildSpec, StepSpec
from durable._author.definitions import Step, Workflow, step_workflow_name
from durable._core.call import Call
from durable._core.identity import idempotency_key
from durable._engine.attempts import Attempt, current_attempt
from durable._model.entries import AttemptFailed, CallKind, Entry, Settled
from durable._model.retry import Failure, next_delay
from durable.clock import SystemClock
from durable.codec import Arguments, Codec, ValueType, dump_error
from durable.errors import InvalidInput
from durable_testing._determinism.takes import RUN

__all__ = ["Actors", "Stub", "Stubbed"]

Stub = Callable[..., Any]
Stubbed = Step[..., Any] | Workflow[..., Any] | str
_JSON: Final[ValueType[Any]] = ValueType.of(Any)


@final
class Actors:
    """Carries steps out and ends children; a context manager, for it may hold a thread.

    Args:
        stubs: By step, workflow or name.
        run_steps: Whether a step without a stub is carried out by its own function.
    """

    def __init__(self, stubs: Mapping[Stubbed, Stub], run_steps: bool) -> None:
        self._by_name: dict[str, tuple[Stub, Arguments | None]] = {}
        self._run_steps = run_steps
        self._codec = Codec()
        self._clock = SystemClock()
        self._thread: ThreadPoolExecutor | None = None
        for key, stub in stubs.items():
            if not callable(stub):
                raise InvalidInput(f"stubs= has functions that are called instead of steps; {key!r} has {stub!r}.")
            for name in _names(key):
                self._by_name[name] = stub, None if isinstance(key, str) else key.arguments

    def __enter__(self) -> Actors:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._thread.shutdown()

    def step(self, call: Call, now: float) -> Entry:
        """The next entry about a step: its outcome, or the note of a failed attempt.

        Raises:
            InvalidInput: Nobody can answer for it.
        """
        spec: StepSpec = call.spec
        stub, _ = self._by_name.get(spec.name, (None, None))
        if stub is None and not self._run_steps:
            key = f'"{spec.name}"' if spec.step is None else spec.fn.__name__
            _missing(f"step {spec.name!r}", key, ", or run_steps=True to carry the real ones out, once each")
        args, kwargs = ((), {}) if spec.step is None else spec.step.arguments.load(call.raw or b"", spec.name)
        number = max(call.failed, call.begun) + 1
        attempt = Attempt(call, number, idempotency_key(RUN, 1, call.id), now, self._codec, self._clock)
        try:
            result = self._carried_out(lambda: (stub or spec.fn)(*args, **kwargs), attempt)
            raw, _ = spec.result.round_trip(result, f"result of step {spec.name!r}")
        except Exception as error:
            return self._failed(call, spec, number, error, now)
        finally:
            attempt.over = True
        return Settled(CallKind.STEP, call.id, call.fingerprint, True, raw, number)

    def child(self, call: Call) -> Entry:
        """The end of a child run, or of a step that another queue's workers carry out.

        Raises:
            InvalidInput: There is no stub for it.
        """
        spec: ChildSpec = call.spec
        name = spec.run.workflow
        if name not in self._by_name:
            plain = name.removeprefix(step_workflow_name(""))
            _missing(f"child {plain!r}" if spec.policy is None else f"step {plain!r} of another queue", plain)
        stub, arguments = self._by_name[name]
        try:
            args, kwargs = _plain(spec.run.input) if arguments is None else arguments.load(spec.run.input, name)
            result = self._carried_out(lambda: stub(*args, **kwargs), None)
            raw, _ = (_JSON if arguments is None else arguments.result).round_trip(result, f"result of {name}")
            payload = outcomes.completed(raw)
        except Exception as error:
            payload = outcomes.failed(dump_error(error))
        return Settled(CallKind.CHILD, call.id, call.fingerprint, True, payload)

    def _failed(self, call: Call, spec: StepSpec, number: int, error: Exception, now: float) -> Entry:
        delay = next_delay(spec.policy.retry, error, Failure(number, now - call.issued_at, 0.5))
        if delay is None:
            return Settled(CallKind.STEP, call.id, call.fingerprint, False, dump_error(error), number)
        return AttemptFailed(call.id, call.fingerprint, number, delay, dump_error(error))

    def _carried_out(self, work: Callable[[], Any], attempt: Attempt | None) -> Any:
        """In a thread of its own: a check is made inside of running loops, too, and an async step needs a free one."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="durable-check")

        def carried_out() -> Any:
            current_attempt.set(attempt)
            result = work()
            return asyncio.run(_awaited(result)) if inspect.isawaitable(result) else result

        return self._thread.submit(contextvars.copy_context().run, carried_out).result()


def _missing(what: str, key: str, otherwise: str = "") -> NoReturn:
    raise InvalidInput(
        f"Nobody answers for {what}. Give check_determinism(..., stubs={{{key}: lambda ...: ...}}){otherwise}."
    )


async def _awaited(work: Any) -> Any:
    return await work


def _names(key: Stubbed) -> tuple[str, ...]:
    """The names under which calls look for a stub."""
    if isinstance(key, Step):
        return key.name, step_workflow_name(key.name)
    if isinstance(key, Workflow):
        return (key.name,)
    if isinstance(key, str):
        return key, step_workflow_name(key)
    raise InvalidInput(f"stubs= has steps, workflows or names as its keys, not {key!r}.")


def _plain(raw: bytes) -> tuple[list[Any], dict[str, Any]]:
    """Arguments as JSON, where only a name is known."""
    document = json.loads(raw)
    if isinstance(document, dict):
        return document.get("args", []), document.get("kwargs", {})
    return document, {}
