"""Carrying steps out: one attempt from its begin to its outcome. It knows no journal and no store."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol, final

from durable._author.calls import StepSpec
from durable._author.definitions import LIST_BYTES, Done, NotDone
from durable._author.logs import logger
from durable._core.call import Call
from durable._engine.attempts import Attempt, current_attempt
from durable._engine.hooks import Hooks
from durable._model.entries import AttemptFailed, CallKind, Entry, Settled
from durable._model.entries import NotDone as NotDoneEntry
from durable._model.retry import Failure, next_delay
from durable.clock import Clock
from durable.codec import Codec, dump_error
from durable.errors import PayloadTooLarge, StepInterrupted

__all__ = ["Executor", "Sink"]

_log = logger("durable.worker")
AT_MOST_ONCE: Final = "at_most_once"
_NOTHING: Final[dict[str, Any]] = {}
_STEP: Final = CallKind.STEP


class Sink(Protocol):
    """Where outcomes go: the run's runner."""

    def attempt_ended(self, attempt: Attempt, entry: Entry | None) -> None:
        """The attempt's outcome; None if it was dropped."""
        ...

    def attempt_runs(self, attempt: Attempt) -> None:
        """Its own code begins now, in this task."""
        ...

    def write_ahead(self, attempt: Attempt) -> Awaitable[None]:
        """Make the attempt's begin durable; returns when it is."""
        ...

    def may_begin(self) -> Awaitable[None] | None:
        """None if the worker's lease is known to hold, else something to await until it is."""
        ...


@final
class Executor:
    """One per worker.

    Args:
        threads: How many plain ``def`` steps run at once.
        store_now: Store time as this worker knows it.
        hooks: Carries steps out instead, if there is one.
    """

    def __init__(
        self, codec: Codec, clock: Clock, store_now: Callable[[], float], threads: int, hooks: Hooks | None = None
    ) -> None:
        self._codec = codec
        self._clock = clock
        self._store_now = store_now
        self._pool: ThreadPoolExecutor | None = None
        self._threads = threads
        self._hooks = hooks
        self._stragglers: dict[str, asyncio.Future[Any]] = {}
        self._rates: dict[str, float] = {}
        self._loop = asyncio.get_running_loop()

    def begin(self, sink: Sink, call: Call, number: int, key: str) -> Attempt:
        """Start an attempt; its outcome goes to ``sink``."""
        attempt = Attempt(call, number, key, self._store_now(), self._codec, self._clock)
        raw = call.raw
        work = self._carry_out(sink, attempt)
        if number == 1 and raw is not None and len(raw) - LIST_BYTES > self._codec.payload_bytes_max:
            work.close()
            work = self._refuse(sink, attempt, raw)
        attempt.task = asyncio.Task(work, loop=self._loop, name=call.id)
        return attempt

    def close(self) -> None:
        """Let threads go; those that still run are left behind."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    async def check(self, call: Call, key: str) -> Entry | None:
        """Ask an at-most-once step's ``check`` what became of the attempt that a crash cut; None if it cannot tell."""
        spec: StepSpec = call.spec
        if spec.policy.check is not None:
            try:
                answer = spec.policy.check(key)
                if inspect.isawaitable(answer):
                    answer = await answer
            except Exception:
                if spec.policy.on_unknown != "raise":
                    raise
                answer = None
            if isinstance(answer, Done):
                return self._success(call, spec, call.begun, answer.result)
            if isinstance(answer, NotDone):
                return NotDoneEntry(call.id, call.fingerprint, call.begun)
        if spec.policy.on_unknown == "raise":
            return self._failure(call, call.begun, _interrupted(call, key))
        return None

    # ── one attempt ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _carry_out(self, sink: Sink, attempt: Attempt) -> None:
        call = attempt.call
        spec: StepSpec = call.spec
        entry: Entry | None = None
        try:
            wait = sink.may_begin()
            if wait is not None or spec.waits or self._stragglers:
                await self._ready(sink, attempt, spec, wait)
            args, kwargs = (call.given, _NOTHING) if call.given is not None else self._arguments(call, spec)
            attempt.beaten = attempt.ran = self._clock.monotonic()
            attempt.running = True
            current_attempt.set(attempt)
            sink.attempt_runs(attempt)
            if spec.direct and self._hooks is None:
                result = await spec.fn(*args, **kwargs)
            else:
                result = await self._run(attempt, spec, args, kwargs)
            attempt.running = False
            if self._codec.hooked:
                entry = await self._sealing(lambda: self._success(call, spec, attempt.number, result))
            else:
                entry = self._success(call, spec, attempt.number, result)
        except asyncio.CancelledError as error:
            if not attempt.dropped:
                cut: BaseException = _timeout(attempt, spec) if attempt.expired else error
                entry = await self._sealing(lambda: self._judge(attempt, spec, cut))
        except BaseException as error:
            failed = error
            entry = await self._sealing(lambda: self._judge(attempt, spec, failed))
        attempt.over = True
        sink.attempt_ended(attempt, None if attempt.dropped else entry)

    async def _refuse(self, sink: Sink, attempt: Attempt, raw: bytes) -> None:
        """Arguments over the limit: the step fails before anything of it has happened.

        It is an outcome like any other: a journal in which they were accepted, under another limit, replays as it is.
        """
        call = attempt.call
        try:
            self._codec.check(raw, f"arguments of {call.spec.what}", framing=LIST_BYTES)
        except PayloadTooLarge as error:
            excess = error
            entry = await self._sealing(lambda: self._failure(call, attempt.number, excess))
            attempt.over = True
            sink.attempt_ended(attempt, None if attempt.dropped else entry)

    async def _sealing(self, make: Callable[[], Entry]) -> Entry:
        """A payload hook that fails is weather: the attempt is over, and its outcome waits until it can be sealed."""
        while True:
            try:
                return make()
            except Exception as error:
                _log.warning("The payload hook fails, trying on: %s: %s", type(error).__name__, error)
                await self._clock.sleep(1.0)

    async def _ready(self, sink: Sink, attempt: Attempt, spec: StepSpec, wait: Awaitable[None] | None) -> None:
        """What comes before user code: lease, rate limit, a straggling thread's end, the write-ahead."""
        if wait is not None:
            await wait
        straggler = self._stragglers.get(attempt.key)
        if straggler is not None and not straggler.done():
            await asyncio.wait([straggler])
        if spec.policy.rate is not None:
            await self._rate_limited(spec.name, *spec.policy.rate)
        if spec.policy.effect == AT_MOST_ONCE:
            await sink.write_ahead(attempt)
        wait = sink.may_begin()  # a turn or a write may have taken longer than the lease
        if wait is not None:
            await wait

    async def _rate_limited(self, name: str, count: int, per: float) -> None:
        """Space begins evenly: the n-th waits for its turn."""
        now = self._clock.monotonic()
        turn = max(self._rates.get(name, now), now)
        self._rates[name] = turn + per / count
        if turn > now:
            await self._clock.sleep(turn - now)

    async def _run(self, attempt: Attempt, spec: StepSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if spec.policy.timeout is None:
            return await self._work(attempt, spec, args, kwargs)
        work = self._work(attempt, spec, args, kwargs)
        limit = asyncio.timeout(spec.policy.timeout)
        try:
            async with limit:
                return await work
        except TimeoutError:
            if limit.expired():
                raise _timeout(attempt, spec) from None
            raise

    def _arguments(self, call: Call, spec: StepSpec) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if spec.step is None or call.raw is None:
            return (), _NOTHING
        return spec.step.arguments.load(call.raw, f"arguments of {spec.what}")

    async def _work(self, attempt: Attempt, spec: StepSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._hooks is not None:
            return await self._hooks.carry_out(attempt, spec, args, kwargs)
        if spec.policy.run_in == "process":
            from durable._engine import processes  # here, because multiprocessing is slow to load and seldom needed

            return await processes.run(spec, attempt)
        if spec.is_async:
            return await spec.fn(*args, **kwargs)
        result = await self._in_thread(attempt, spec.fn, args, kwargs)
        if hasattr(type(result), "__await__"):  # the type is asked, for a result may raise at every question
            result = await result
        return result

    async def _in_thread(
        self, attempt: Attempt, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="durable-step")
        context = contextvars.copy_context()
        future = asyncio.get_running_loop().run_in_executor(self._pool, lambda: _called(context, fn, args, kwargs))
        try:
            returned, value = await asyncio.shield(future)
        except asyncio.CancelledError:
            self._stragglers[attempt.key] = future
            future.add_done_callback(lambda _: self._stragglers.pop(attempt.key, None))
            raise
        if not returned:
            raise value
        return value

    # ── outcomes ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _success(self, call: Call, spec: StepSpec, number: int, result: Any) -> Entry:
        what = spec.result_what
        try:
            raw, loaded = spec.result.round_trip(result, what)
        except Exception as error:
            return self._failure(call, number, error)
        try:
            sealed = self._codec.seal(raw, what)
        except PayloadTooLarge as error:
            return self._failure(call, number, error)
        call.loaded = loaded
        return Settled(_STEP, call.id, call.fingerprint, True, sealed, number)

    def _failure(self, call: Call, number: int, error: BaseException) -> Settled:
        return Settled(_STEP, call.id, call.fingerprint, False, self._sealed(error), number)

    def _sealed(self, error: BaseException) -> bytes:
        return self._codec.seal(dump_error(error), "a step's error")

    def _judge(self, attempt: Attempt, spec: StepSpec, error: BaseException) -> Entry:
        """Another attempt, or the end of it."""
        call = attempt.call
        failure = Failure(attempt.number, max(0.0, self._store_now() - call.issued_at), self._clock.random())
        try:
            delay = next_delay(spec.policy.retry, error, failure)
        except Exception as problem:  # the user's Retry(when=...) raised
            problem.__context__ = error
            return self._failure(call, attempt.number, problem)
        if delay is None:
            return self._failure(call, attempt.number, error)
        return AttemptFailed(
            call.id, call.fingerprint, attempt.number, delay, self._sealed(error), attempt.take_progress()
        )


def _called(
    context: contextvars.Context, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[bool, Any]:
    """Exceptions come back as values: futures cannot carry StopIteration, and loops stop at SystemExit."""
    try:
        return True, context.run(fn, *args, **kwargs)
    except BaseException as error:
        return False, error


def _timeout(attempt: Attempt, spec: StepSpec) -> TimeoutError:
    if attempt.expired:
        return TimeoutError(
            f"step {spec.name!r}, attempt {attempt.number}: no heartbeat for {spec.policy.heartbeat:g} seconds"
        )
    return TimeoutError(
        f"step {spec.name!r}, attempt {attempt.number}, took longer than {spec.policy.timeout:g} seconds"
    )


def _interrupted(call: Call, key: str) -> StepInterrupted:
    return StepInterrupted(
        f"Step {call.name!r} may or may not have happened: its worker died in the middle of attempt {call.begun}, and "
        f"effect='at_most_once' forbids to repeat it. Its idempotency key is {key}."
    )
