"""The decision about the next attempt, as the pure function that it is."""

import pytest

from durable import NonRetryable, Retry, RetryAfter
from durable._model.retry import Failure, next_delay


def delays(policy: Retry, attempts: int, error: Exception | None = None, jitter: float = 0.5) -> list[float | None]:
    return [next_delay(policy, error or ValueError(), Failure(n, 0.0, jitter)) for n in range(1, attempts + 1)]


def test_the_defaults_of_retry_are_five_attempts_doubling_from_a_second() -> None:
    assert delays(Retry(), 5) == [1.0, 2.0, 4.0, 8.0, None]


def test_waits_are_capped() -> None:
    assert delays(Retry(None, initial=10, max_interval=25), 4) == [10.0, 20.0, 25.0, 25.0]


def test_a_huge_number_of_attempts_does_not_overflow() -> None:
    assert next_delay(Retry(None, jitter=0), ValueError(), Failure(100_000, 0.0, 0.0)) == 60.0


@pytest.mark.parametrize(("dice", "expected"), [(0.0, 9.0), (0.5, 10.0), (1.0, 11.0)])
def test_jitter_is_a_share_of_the_wait(dice: float, expected: float) -> None:
    assert next_delay(Retry(None, initial=10), ValueError(), Failure(1, 0.0, dice)) == pytest.approx(expected)


def test_max_elapsed_counts_the_wait_to_come() -> None:
    policy = Retry(None, initial=10, jitter=0, max_elapsed=30)
    assert next_delay(policy, ValueError(), Failure(1, 20.0, 0.0)) == 10.0
    assert next_delay(policy, ValueError(), Failure(1, 20.1, 0.0)) is None


def test_non_retryable_wins_over_everything() -> None:
    policy = Retry(None, retry_on=(NonRetryable,), when=lambda error, attempt: True)
    assert next_delay(policy, NonRetryable(), Failure(1, 0.0, 0.0)) is None


def test_give_up_on_wins_over_retry_on() -> None:
    policy = Retry(None, retry_on=(LookupError,), give_up_on=(KeyError,))
    assert next_delay(policy, KeyError(), Failure(1, 0.0, 0.5)) is None
    assert next_delay(policy, IndexError(), Failure(1, 0.0, 0.5)) == 1.0


def test_base_exceptions_are_not_retried_unless_named() -> None:
    assert next_delay(Retry(None), KeyboardInterrupt(), Failure(1, 0.0, 0.5)) is None
    assert next_delay(Retry(None, retry_on=(BaseException,)), KeyboardInterrupt(), Failure(1, 0.0, 0.5)) == 1.0


def test_retry_after_is_exact_and_still_bound_by_the_attempts() -> None:
    assert delays(Retry(3), 3, RetryAfter("2m"), jitter=0.0) == [120.0, 120.0, None]


def test_when_sees_the_error_and_the_number_of_the_attempt() -> None:
    seen = []

    def when(error: BaseException, attempt: int) -> bool:
        seen.append((error, attempt))
        return attempt < 2

    error = ValueError()
    assert delays(Retry(None, when=when), 2, error) == [1.0, None]
    assert seen == [(error, 1), (error, 2)]
