"""Retries: every knob of the policy, counts and waits that survive a crash."""

import asyncio
import datetime as dates
import time
from typing import Any

import pytest

from durable import (
    Context,
    NonRetryable,
    Retry,
    RetryAfter,
    RunFailed,
    connect,
    heartbeat,
    idempotency_key,
    step,
    workflow,
)
from durable_testing import Sim


def failing(times: list[float], policy: Retry, errors: Any, clock: Any = time.monotonic) -> Any:
    """A workflow with one step that raises ``errors(attempt)``, or succeeds where that is None."""

    @step(retry=policy)
    async def flaky() -> int:
        times.append(clock())
        error = errors(len(times))
        if error is not None:
            raise error
        return len(times)

    @workflow
    async def wf(ctx: Context) -> int:
        return await ctx.step(flaky)

    return wf


async def attempts(rig: Any, policy: Retry, errors: Any = lambda n: ValueError(n)) -> list[float]:
    times: list[float] = []
    wf = failing(times, policy, errors)
    async with rig.serving(wf) as client:
        try:
            await rig.run(client, wf)
        except RunFailed:
            pass
    return times


async def simulated(policy: Retry, errors: Any = lambda n: ValueError(n)) -> list[float]:
    """When the attempts began, by a clock that no busy machine disturbs."""
    times: list[float] = []
    wf = failing(times, policy, errors, lambda: dates.datetime.now(dates.UTC).timestamp())
    async with Sim(workflows=[wf]) as sim:
        with pytest.raises(RunFailed):
            await (await sim.start(wf)).result()
    return times


def waits(times: list[float]) -> list[float]:
    return [after - before for before, after in zip(times, times[1:], strict=False)]


async def test_without_a_policy_a_step_is_tried_once(rig: Any) -> None:
    calls = []

    @step
    async def once() -> None:
        calls.append(1)
        raise ValueError

    @workflow
    async def wf(ctx: Context) -> None:
        await ctx.step(once)

    async with rig.serving(wf) as client:
        with pytest.raises(RunFailed):
            await rig.run(client, wf)
    assert calls == [1]


async def test_max_attempts_counts_the_first_one(rig: Any) -> None:
    assert len(await attempts(rig, Retry(3, initial=0))) == 3


async def test_without_a_limit_a_step_is_tried_until_it_succeeds(rig: Any) -> None:
    def errors(n: int) -> Exception | None:
        return ValueError() if n < 12 else None

    assert len(await attempts(rig, Retry(None, initial=0), errors)) == 12


async def test_waits_grow_by_the_factor_up_to_the_longest_interval() -> None:
    times = await simulated(Retry(5, initial="4s", factor=3, max_interval="30s", jitter=0))
    assert waits(times) == pytest.approx([4, 12, 30, 30], abs=0.01)


async def test_jitter_changes_the_wait_by_its_share_at_most() -> None:
    took = waits(await simulated(Retry(40, initial=10, factor=1, jitter=0.5)))
    assert len(took) == 39 and all(4.99 <= wait <= 15.01 for wait in took)
    assert min(took) < 8 and max(took) > 12


async def test_no_attempt_begins_later_than_max_elapsed() -> None:
    times = await simulated(Retry(None, initial=50, factor=1, jitter=0, max_elapsed=220))
    assert waits(times) == pytest.approx([50, 50, 50, 50], abs=0.01)


async def test_only_what_retry_on_names_is_retried(rig: Any) -> None:
    policy = Retry(5, initial=0, retry_on=(ConnectionError,))
    times = await attempts(rig, policy, lambda n: ConnectionError() if n < 3 else ValueError())
    assert len(times) == 3


async def test_give_up_on_ends_it_at_once(rig: Any) -> None:
    policy = Retry(5, initial=0, give_up_on=(LookupError,))
    times = await attempts(rig, policy, lambda n: ValueError() if n < 2 else KeyError())
    assert len(times) == 2


async def test_non_retryable_and_its_subclasses_are_never_retried(rig: Any) -> None:
    class CardDeclined(NonRetryable):
        pass

    assert len(await attempts(rig, Retry(5, initial=0), lambda n: CardDeclined("no funds"))) == 1


async def test_retry_after_sets_the_next_wait() -> None:
    times = await simulated(Retry(2, initial="1h"), lambda n: RetryAfter("100s") if n == 1 else ValueError())
    assert waits(times) == pytest.approx([100], abs=0.01)


@pytest.mark.parametrize("answer", [True, False, 0, "10ms"])
async def test_when_decides_with_a_bool_or_a_duration(rig: Any, answer: Any) -> None:
    asked: list[tuple[str, int]] = []

    def when(error: BaseException, attempt: int) -> Any:
        asked.append((type(error).__name__, attempt))
        return answer

    times = await attempts(rig, Retry(3, initial=0, when=when))
    assert len(times) == (1 if answer is False else 3)
    assert asked[0] == ("ValueError", 1)


async def test_a_when_that_raises_is_the_error_of_the_step(rig: Any) -> None:
    def when(error: BaseException, attempt: int) -> bool:
        raise ZeroDivisionError("in when")

    times: list[float] = []
    wf = failing(times, Retry(3, initial=0, when=when), lambda n: ValueError())
    async with rig.serving(wf) as client:
        with pytest.raises(RunFailed, match="in when"):
            await rig.run(client, wf)
    assert len(times) == 1


async def test_the_policy_of_a_call_may_differ_from_the_declared_one(rig: Any) -> None:
    calls = []

    @step
    async def flaky() -> None:
        calls.append(1)
        raise ValueError

    @workflow
    async def wf(ctx: Context) -> None:
        await ctx.step(flaky.options(retry=Retry(4, initial=0)))

    async with rig.serving(wf) as client:
        with pytest.raises(RunFailed):
            await rig.run(client, wf)
    assert len(calls) == 4


async def test_an_inline_step_has_its_own_policy(rig: Any) -> None:
    calls = []

    def flaky() -> int:
        calls.append(1)
        if len(calls) < 3:
            raise ValueError
        return len(calls)

    @workflow
    async def wf(ctx: Context) -> int:
        return await ctx.step("flaky", flaky, retry=Retry(3, initial=0))

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == 3


async def test_a_failed_attempt_is_shown_while_the_next_one_waits(rig: Any) -> None:
    wf = failing([], Retry(3, initial=30, jitter=0), lambda n: ValueError("no route"))
    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        await rig.waits(handle, "flaky")
        current = (await handle.status()).current
        said = await handle.explain()
    assert current[0].startswith(("flaky (attempt 2, retry in 2", "flaky (attempt 2, retry in 30.0"))
    assert "Attempt 2 of 3 of step flaky" in said
    assert "no route" in said


@pytest.mark.slow
async def test_attempts_and_the_rest_of_a_back_off_survive_a_crash(rig: Any) -> None:
    """I14, I15."""
    times: list[float] = []
    wf = failing(times, Retry(3, initial=0.5, factor=1, jitter=0), lambda n: ValueError(n))
    async with connect(rig.url) as client:
        first = rig.worker(client, wf)
        await first._start()
        handle = await client.start(wf)
        await rig.waits(handle, "flaky")
        await rig.crash(first)
        async with connect(rig.url) as other, rig.worker(other, wf):
            with pytest.raises(RunFailed):
                await rig.end(handle)
    assert len(times) == 3
    assert all(wait >= 0.5 for wait in waits(times))


@pytest.mark.slow
async def test_an_attempt_that_a_crash_cut_counts_if_its_begin_was_noted(rig: Any) -> None:
    """I14."""
    numbers: list[str] = []

    @step(retry=Retry(2, initial=0))
    async def slow() -> None:
        numbers.append(idempotency_key())
        if len(numbers) == 1:
            await asyncio.sleep(60)
        raise ValueError("again")

    @workflow
    async def wf(ctx: Context) -> None:
        await ctx.step(slow)

    async with connect(rig.url) as client:
        first = rig.worker(client, wf)
        await first._start()
        handle = await client.start(wf)

        async def noted() -> bool:
            return any(row.event == "attempt_begun" for row in await handle.history())

        await rig.until(noted)
        await rig.crash(first)
        async with connect(rig.url) as other, rig.worker(other, wf):
            with pytest.raises(RunFailed):
                await rig.end(handle)
    assert len(numbers) == 2
    assert numbers[0] == numbers[1]


@pytest.mark.slow
async def test_progress_is_read_by_the_attempt_after_a_crash(rig: Any) -> None:
    seen: list[Any] = []

    @step
    async def copy() -> str:
        seen.append(heartbeat())
        heartbeat({"row": 41})
        if len(seen) == 1:
            await asyncio.sleep(60)
        return "copied"

    @workflow
    async def wf(ctx: Context) -> str:
        return await ctx.step(copy)

    async with connect(rig.url) as client:
        first = rig.worker(client, wf)
        await first._start()
        handle = await client.start(wf)

        async def noted() -> bool:
            return any(row.value == {"row": 41} for row in await handle.history())

        await rig.until(noted)
        await rig.crash(first)
        async with connect(rig.url) as other, rig.worker(other, wf):
            assert await rig.end(handle) == "copied"
    assert seen == [None, {"row": 41}]


@pytest.mark.parametrize(
    "options",
    [
        {"max_attempts": 0},
        {"max_attempts": True},
        {"max_attempts": 1.5},
        {"factor": 0.5},
        {"factor": float("inf")},
        {"jitter": 2},
        {"initial": -1},
        {"initial": "soon"},
        {"max_interval": float("nan")},
        {"max_elapsed": -1},
        {"retry_on": ValueError},
        {"give_up_on": ("ValueError",)},
    ],
)
def test_a_policy_without_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Retry|lie between|not a"):
        Retry(**options)
