"""A definition's retry policy as the engine's."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from durable import Retry
from durable_dag.errors import HttpStatusError, error_name
from durable_dag.executors.perform import UnknownAction
from durable_dag.graph.backoff import FOREVER_SECONDS, nominal_delay, retried
from durable_dag.graph.definition import RetryPolicy

__all__ = ["retry_of"]

_ASKED_SECONDS_MAX: Final = 3600.0
_WORKER_SECONDS_MAX: Final = 30.0


@lru_cache(maxsize=1024)
def retry_of(policy: RetryPolicy) -> Retry:
    """Milliseconds become seconds; names and statuses become a function that looks at the error.

    A worker that has no executor for an action is no reason to give up: the next attempt may be another's, however
    often that takes. So it is the function, too, that counts.
    """
    longest = FOREVER_SECONDS if policy.max_delay is None else policy.max_delay / 1000

    def when(error: BaseException, attempt: int) -> bool | float:
        if isinstance(error, UnknownAction):
            return min(2.0 ** min(attempt - 1, 10), _WORKER_SECONDS_MAX)
        if attempt >= policy.max_attempts:
            return False
        if not _is_retried(policy, error):
            return False
        asked = error.retry_after if isinstance(error, HttpStatusError) else None
        if asked is None:
            return True
        return max(min(asked, _ASKED_SECONDS_MAX), nominal_delay(policy, attempt))

    return Retry(
        None,
        initial=min(policy.initial_delay / 1000, FOREVER_SECONDS),
        factor=policy.multiplier,
        max_interval=longest,
        jitter=policy.jitter,
        max_elapsed=None if policy.max_elapsed is None else policy.max_elapsed / 1000,
        when=when,
    )


def _is_retried(policy: RetryPolicy, error: BaseException) -> bool:
    names = {error_name(error), type(error).__name__}
    if isinstance(error, HttpStatusError):
        names.add(str(error.status))
    if not policy.retry_on and isinstance(error, HttpStatusError) and not error.retryable:
        return False
    return retried(policy, names)
