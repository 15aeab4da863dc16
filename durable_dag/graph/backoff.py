"""A definition's retry policy by itself: how long until the next attempt, and which errors are worth one. Pure."""

from __future__ import annotations

from collections.abc import Set
from typing import Final

from durable_dag.graph.definition import RetryPolicy

__all__ = ["FOREVER_SECONDS", "another", "nominal_delay", "retried"]

FOREVER_SECONDS: Final = 365 * 86_400.0


def nominal_delay(policy: RetryPolicy, attempt: int) -> float:
    """Seconds between a failed attempt, counted from 1, and the next one, chance left out."""
    longest = FOREVER_SECONDS if policy.max_delay is None else policy.max_delay / 1000
    try:
        return min(policy.initial_delay / 1000 * policy.multiplier ** (attempt - 1), longest)
    except OverflowError:
        return longest


def another(policy: RetryPolicy, attempt: int, name: str, elapsed: float = 0.0) -> float | None:
    """Seconds until the next attempt of a child; None if there is none.

    Args:
        attempt: That has failed, counted from 1.
        name: Of its error.
        elapsed: Seconds since the first attempt began.
    """
    if attempt >= policy.max_attempts or not retried(policy, {name}):
        return None
    pause = nominal_delay(policy, attempt)
    return None if policy.max_elapsed is not None and (elapsed + pause) * 1000 > policy.max_elapsed else pause


def retried(policy: RetryPolicy, names: Set[str]) -> bool:
    """Whether an error with any of these names (or HTTP statuses) is worth another attempt."""
    if names & set(policy.do_not_retry_on):
        return False
    return not policy.retry_on or bool(names & set(policy.retry_on))
