"""The retry policy of a step, and the pure function that decides about the next attempt."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from durable._model import defaults
from durable._model.duration import Duration, seconds_of
from durable.errors import InvalidInput, NonRetryable, RetryAfter

__all__ = ["NO_RETRY", "Retry", "next_delay"]


@final
class Retry:
    """How often, and how patiently, a step is tried again.

    Attempt ``n + 1`` begins ``initial * factor ** (n - 1)`` seconds after attempt ``n`` failed, at most
    ``max_interval``, changed by up to ``± jitter`` of itself. The count and the wait survive crashes.

    Args:
        max_attempts: All attempts together, the first included; ``None`` for no limit. Default 5.
        initial: Wait after the first failure. Default 1 second.
        factor: Growth of the wait, at least 1. Default 2.
        max_interval: The longest wait. Default 60 seconds.
        jitter: Random share of the wait, 0 to 1. Default 0.1.
        max_elapsed: No attempt begins later than this after the call was made. Default ``None``: no limit.
        retry_on: Only these exceptions are retried. Default: every ``Exception``.
        give_up_on: These never are, and neither is ``NonRetryable``.
        when: Called with the exception and the attempt's number; ``False`` gives up, ``True`` goes on, a duration
            goes on after exactly that wait.

    Raises:
        InvalidInput: A ``ValueError`` that names the argument.
    """

    __slots__ = (
        "factor",
        "give_up_on",
        "initial_seconds",
        "jitter",
        "max_attempts",
        "max_elapsed_seconds",
        "max_interval_seconds",
        "retry_on",
        "when",
    )

    def __init__(
        self,
        max_attempts: int | None = defaults.RETRY_ATTEMPTS,
        *,
        initial: Duration = defaults.RETRY_INITIAL_SECONDS,
        factor: float = defaults.RETRY_FACTOR,
        max_interval: Duration = defaults.RETRY_INTERVAL_SECONDS_MAX,
        jitter: float = defaults.RETRY_JITTER,
        max_elapsed: Duration | None = None,
        retry_on: tuple[type[BaseException], ...] = (Exception,),
        give_up_on: tuple[type[BaseException], ...] = (),
        when: Callable[[BaseException, int], bool | Duration] | None = None,
    ) -> None:
        if max_attempts is not None and (
            not isinstance(max_attempts, int) or isinstance(max_attempts, bool) or max_attempts < 1
        ):
            raise InvalidInput(f"Retry(max_attempts=) counts all attempts, so it is 1 or more, not {max_attempts!r}.")
        if not (isinstance(factor, int | float) and math.isfinite(factor) and factor >= 1):
            raise InvalidInput(f"Retry(factor=) must be a finite number of at least 1, not {factor!r}.")
        if not (isinstance(jitter, int | float) and 0 <= jitter <= 1):
            raise InvalidInput(f"Retry(jitter=) is a share between 0 and 1, not {jitter!r}.")
        for name, classes in (("retry_on", retry_on), ("give_up_on", give_up_on)):
            if not isinstance(classes, tuple) or not all(
                isinstance(c, type) and issubclass(c, BaseException) for c in classes
            ):
                raise InvalidInput(f"Retry({name}=) is a tuple of exception classes, not {classes!r}.")
        self.max_attempts = max_attempts
        self.initial_seconds = seconds_of(initial, "Retry(initial=)")
        self.factor = float(factor)
        self.max_interval_seconds = seconds_of(max_interval, "Retry(max_interval=)")
        self.jitter = float(jitter)
        self.max_elapsed_seconds = None if max_elapsed is None else seconds_of(max_elapsed, "Retry(max_elapsed=)")
        self.retry_on = retry_on
        self.give_up_on = give_up_on
        self.when = when

    def __repr__(self) -> str:
        return f"Retry({self.max_attempts}, initial={self.initial_seconds:g}, factor={self.factor:g})"


NO_RETRY = Retry(1)


@dataclass(frozen=True, slots=True)
class Failure:
    """What ``next_delay`` needs to know of a failed attempt.

    Attributes:
        attempt: Its number, counted from 1.
        elapsed_seconds: Since the call was made, in store time.
        jitter: A number in [0, 1), drawn by the caller, so that the decision stays pure.
    """

    attempt: int
    elapsed_seconds: float
    jitter: float


def next_delay(policy: Retry, error: BaseException, failure: Failure) -> float | None:
    """Seconds to wait before the next attempt, or None to give up.

    Source: exponential back-off with proportional jitter; the count and the deadline are invariants I14 and I15.
    """
    if policy.max_attempts is not None and failure.attempt >= policy.max_attempts:
        return None
    if isinstance(error, (NonRetryable, *policy.give_up_on)):
        return None
    if not isinstance(error, RetryAfter) and not isinstance(error, policy.retry_on):
        return None
    delay = _delay(policy, error, failure)
    if delay is None:
        return None
    limit = policy.max_elapsed_seconds
    if limit is not None and failure.elapsed_seconds + delay > limit:
        return None
    return delay


def _delay(policy: Retry, error: BaseException, failure: Failure) -> float | None:
    if policy.when is not None:
        verdict = policy.when(error, failure.attempt)
        if verdict is False:
            return None
        if verdict is not True:
            return seconds_of(verdict, "Retry(when=) result")
    if isinstance(error, RetryAfter):
        return seconds_of(error.delay, "RetryAfter delay")  # type: ignore[arg-type]
    try:
        grown = policy.initial_seconds * policy.factor ** (failure.attempt - 1)
    except OverflowError:
        grown = math.inf
    capped = min(grown, policy.max_interval_seconds)
    return capped * (1 + policy.jitter * (2 * failure.jitter - 1))
