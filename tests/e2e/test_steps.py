"""Steps: what they may be, where they run, what becomes of their results and their errors."""

import asyncio
import os
import threading
import time
from typing import Any

import pytest
from process_steps import async_in_process, beating, copying, dying, endless, pid_of_step, raising

from durable import (
    Context,
    DurableError,
    InvalidInput,
    NotSerializable,
    PayloadTooLarge,
    Retry,
    RunFailed,
    StepError,
    WorkflowCodeError,
    heartbeat,
    idempotency_key,
    step,
    workflow,
)


async def test_a_step_runs_once_and_its_result_reaches_the_workflow(rig: Any) -> None:
    calls = []

    @step
    async def double(n: int) -> int:
        calls.append(n)
        return 2 * n

    @workflow
    async def wf(ctx: Context, n: int) -> int:
        return await ctx.step(double, n) + await ctx.step(double, n + 1)

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf, 3) == 14
    assert calls == [3, 4]


async def test_a_plain_function_runs_in_a_thread(rig: Any) -> None:
    @step
    def where() -> bool:
        return threading.current_thread() is threading.main_thread()

    @workflow
    async def wf(ctx: Context) -> bool:
        return await ctx.step(where)

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) is False


@pytest.mark.needs("threads", reason="its steps wait for each other")
async def test_plain_steps_run_side_by_side_in_threads(rig: Any) -> None:
    barrier = threading.Barrier(3, timeout=5)

    @step
    def meet() -> int:
        return barrier.wait()

    @workflow
    async def wf(ctx: Context) -> list[int]:
        return sorted(await asyncio.gather(*(ctx.step(meet) for _ in range(3))))

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == [0, 1, 2]


async def test_an_inline_step_runs_sync_functions_in_a_thread_and_async_ones_on_the_loop(rig: Any) -> None:
    async def on_loop() -> str:
        return threading.current_thread().name

    @workflow
    async def wf(ctx: Context) -> tuple[str, str]:
        one = await ctx.step("a", on_loop)
        two = await ctx.step("b", lambda: threading.current_thread().name)
        return one, two

    async with rig.serving(wf) as client:
        loop_side, thread_side = await rig.run(client, wf)
    assert loop_side == threading.main_thread().name
    assert thread_side.startswith("durable-step")


async def test_rule_21_type_gives_the_result_type_of_an_inline_step(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> bool:
        pair = await ctx.step("pair", lambda: (1, b"x"), type=tuple[int, bytes])
        return pair == (1, b"x")

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) is True


async def test_rule_21_an_inline_result_outside_json_is_not_serializable(rig: Any) -> None:
    calls = []

    def odd() -> Any:
        calls.append(1)
        return {1, 2}

    @workflow
    async def wf(ctx: Context) -> str:
        try:
            await ctx.step("odd", odd, retry=Retry(5, initial=0))
        except NotSerializable as error:
            return str(error)
        return "no error"

    async with rig.serving(wf) as client:
        assert "odd" in await rig.run(client, wf)
    assert calls == [1]


async def test_rule_21_an_unencodable_result_is_raised_at_the_call_and_not_retried(rig: Any) -> None:
    calls = []

    @step(retry=Retry(5, initial=0))
    async def open_handle() -> Any:
        calls.append(1)
        return object()

    @workflow
    async def wf(ctx: Context) -> str:
        try:
            await ctx.step(open_handle)
        except NotSerializable as error:
            return str(error)
        return "no error"

    async with rig.serving(wf) as client:
        assert "open_handle" in await rig.run(client, wf)
    assert calls == [1]


async def test_rule_21_an_oversized_result_is_raised_at_the_call_and_not_retried(rig: Any) -> None:
    calls = []

    @step(retry=Retry(5, initial=0))
    async def download() -> str:
        calls.append(1)
        return "x" * (2 * 1024 * 1024)

    @workflow
    async def wf(ctx: Context) -> str:
        try:
            await ctx.step(download)
        except PayloadTooLarge as error:
            return str(error)
        return "no error"

    async with rig.serving(wf) as client:
        assert "download" in await rig.run(client, wf)
    assert calls == [1]


async def test_rule_21_arguments_are_encoded_when_the_call_is_written(rig: Any) -> None:
    @step
    async def length(items: list[int]) -> int:
        return len(items)

    @workflow
    async def wf(ctx: Context) -> int:
        items = [1, 2]
        call = ctx.step(length, items)
        items.append(3)
        return await call

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == 2


async def test_an_argument_of_the_wrong_type_is_refused_where_the_call_is_written(rig: Any) -> None:
    calls = []

    @step
    async def double(n: int) -> int:
        calls.append(n)
        return 2 * n

    @workflow
    async def wf(ctx: Context) -> str:
        try:
            await ctx.step(double, "seven")  # type: ignore[arg-type]
        except InvalidInput as error:
            return str(error)
        return "no error"

    async with rig.serving(wf) as client:
        assert "double" in await rig.run(client, wf)
    assert calls == []


async def test_rule_21_calling_a_step_directly_in_a_workflow_blocks_the_run_with_the_cure(rig: Any) -> None:
    @step
    async def charge() -> int:
        return 1

    @workflow
    async def wf(ctx: Context) -> int:
        return await charge()

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        status = await rig.state(handle, "blocked")
    assert "ctx.step(charge" in status.error


async def test_rule_21_outside_a_workflow_a_step_is_the_plain_function() -> None:
    @step
    async def triple(n: int) -> int:
        return 3 * n

    @step
    def twice(n: int) -> int:
        return 2 * n

    assert await triple(2) == 6
    assert twice(2) == 4


async def test_a_step_that_is_no_step_is_refused_with_the_cure(rig: Any) -> None:
    def plain() -> None: ...

    @workflow
    async def wf(ctx: Context) -> str:
        try:
            await ctx.step(plain)  # type: ignore[call-overload]
        except WorkflowCodeError as error:
            return str(error)
        return "no error"

    async with rig.serving(wf) as client:
        assert "@step" in await rig.run(client, wf)


async def test_an_error_of_a_step_reaches_the_workflow_as_its_own_class(rig: Any) -> None:
    @step
    async def find(key: str) -> None:
        raise KeyError(key)

    @workflow
    async def wf(ctx: Context) -> Any:
        try:
            await ctx.step(find, "k")
        except KeyError as error:
            return [type(error).__name__, list(error.args)]

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == ["KeyError", ["k"]]


async def test_an_unhandled_error_fails_the_run_with_the_original_as_its_cause(rig: Any) -> None:
    @step
    async def find() -> None:
        try:
            raise OSError("disk")
        except OSError as error:
            raise ValueError("no such order") from error

    @workflow
    async def wf(ctx: Context) -> None:
        await ctx.step(find)

    async with rig.serving(wf) as client:
        with pytest.raises(RunFailed, match="no such order") as caught:
            await rig.run(client, wf)
    assert type(caught.value.__cause__) is ValueError
    assert type(caught.value.__cause__.__cause__) is OSError


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
@pytest.mark.parametrize("threaded", [False, True])
async def test_a_base_exception_in_a_step_fails_the_step_and_not_the_worker(
    rig: Any, kind: type[BaseException], threaded: bool
) -> None:
    @step
    def in_thread() -> None:
        raise kind("stop")

    @step
    async def on_loop() -> None:
        raise kind("stop")

    @workflow
    async def wf(ctx: Context) -> str:
        try:
            await ctx.step(in_thread if threaded else on_loop)
        except StepError as error:
            return f"{error.type_name}"
        return "no error"

    async with rig.serving(wf) as client:
        assert kind.__name__ in await rig.run(client, wf)
        assert kind.__name__ in await rig.run(client, wf)


async def test_a_stop_iteration_in_a_thread_step_ends_the_step(rig: Any) -> None:
    @step
    def take() -> None:
        next(iter([]))

    @workflow
    async def wf(ctx: Context) -> str:
        try:
            await ctx.step(take)
        except Exception as error:
            return type(error).__name__
        return "no error"

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) in ("StopIteration", "RuntimeError", "StepError")


async def test_a_context_used_inside_a_step_is_refused(rig: Any) -> None:
    seen = []

    @workflow
    async def wf(ctx: Context) -> str:
        @step
        async def inner() -> None:
            try:
                ctx.sleep(1)
            except WorkflowCodeError as error:
                seen.append(str(error))

        await ctx.step(inner)
        return "done"

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == "done"
    assert "outside its workflow" in seen[0]


async def test_the_idempotency_key_is_the_same_over_attempts_and_unique_to_the_call(rig: Any) -> None:
    keys: list[str] = []

    @step(retry=Retry(3, initial=0))
    async def send(n: int) -> None:
        keys.append(idempotency_key())
        if len(keys) < 3:
            raise ValueError

    @step
    def threaded() -> str:
        return idempotency_key()

    @workflow
    async def wf(ctx: Context) -> str:
        await ctx.step(send, 1)
        await ctx.step(send, 2)
        return await ctx.step(threaded)

    async with rig.serving(wf) as client:
        other = await rig.run(client, wf, id="r")
    assert keys == ["r/1/0/step/send#0"] * 3 + ["r/1/0/step/send#1"]
    assert other == "r/1/0/step/threaded#0"


async def test_heartbeat_and_idempotency_key_outside_a_step_say_so() -> None:
    with pytest.raises(DurableError, match="inside a step"):
        idempotency_key()
    with pytest.raises(DurableError, match="inside a step"):
        heartbeat()


@pytest.mark.slow
async def test_an_async_step_over_its_timeout_is_cancelled_and_tried_again(rig: Any) -> None:
    seen: list[str] = []

    @step(timeout=0.05, retry=Retry(2, initial=0))
    async def slow() -> str:
        try:
            if not seen:
                seen.append("begun")
                await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        return "second"

    @workflow
    async def wf(ctx: Context) -> str:
        return await ctx.step(slow)

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == "second"
    assert seen == ["begun", "cancelled"]


async def test_the_last_timeout_of_a_step_is_a_timeout_error_that_names_it(rig: Any) -> None:
    @step(timeout="50ms")
    async def slow() -> None:
        await asyncio.sleep(60)

    @workflow
    async def wf(ctx: Context) -> str:
        try:
            await ctx.step(slow)
        except TimeoutError as error:
            return str(error)
        return "no error"

    async with rig.serving(wf) as client:
        said = await rig.run(client, wf)
    assert "slow" in said
    assert "0.05" in said


async def test_a_timeout_error_of_the_step_itself_is_passed_on_unchanged(rig: Any) -> None:
    @step(timeout="10s")
    async def ask() -> None:
        raise TimeoutError("the server said so")

    @workflow
    async def wf(ctx: Context) -> str:
        try:
            await ctx.step(ask)
        except TimeoutError as error:
            return str(error)
        return "no error"

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == "the server said so"


@pytest.mark.slow
async def test_rule_20_the_next_attempt_of_a_timed_out_thread_waits_until_the_thread_has_ended(rig: Any) -> None:
    spans: list[tuple[float, float]] = []

    @step(timeout=0.05, retry=Retry(2, initial=0))
    def slow() -> int:
        begun = time.monotonic()
        if not spans:
            spans.append((begun, 0.0))
            time.sleep(0.2)
            spans[0] = (begun, time.monotonic())
        else:
            spans.append((begun, begun))
        return len(spans)

    @workflow
    async def wf(ctx: Context) -> int:
        return await ctx.step(slow)

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == 2
    assert spans[1][0] >= spans[0][1] > 0


@pytest.mark.slow
async def test_a_timed_out_thread_is_told_by_its_next_heartbeat(rig: Any) -> None:
    told = threading.Event()

    @step(timeout=0.05)
    def slow() -> None:
        for _ in range(100):
            time.sleep(0.01)
            try:
                heartbeat()
            except asyncio.CancelledError:
                told.set()
                raise

    @workflow
    async def wf(ctx: Context) -> None:
        await ctx.step(slow)

    async with rig.serving(wf) as client:
        with pytest.raises(RunFailed):
            await rig.run(client, wf)
        await rig.until(told.is_set, 2)


@pytest.mark.slow
async def test_a_process_step_runs_elsewhere(memory: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> Any:
        text, pid = await ctx.step(pid_of_step, "you")
        return [text, pid, await ctx.step(async_in_process), await ctx.step(beating)]

    async with memory.serving(wf) as client:
        text, pid, key, beaten = await memory.run(client, wf, id="r")
    assert text == "hello you"
    assert pid != os.getpid()
    assert key == "r/1/0/step/async_in_process#0"
    assert beaten == "beaten"


@pytest.mark.slow
async def test_an_error_in_a_process_step_keeps_its_class_and_a_death_is_a_step_error(memory: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> Any:
        said = []
        for call in (ctx.step(raising, "bad"), ctx.step(dying)):
            try:
                await call
            except Exception as error:
                said.append(f"{type(error).__name__}: {error}")
        return said

    async with memory.serving(wf) as client:
        first, second = await memory.run(client, wf)
    assert first == "ValueError: bad"
    assert second.startswith("StepError: ")
    assert "exit code 7" in second


@pytest.mark.slow
async def test_the_beats_of_a_process_step_reach_the_worker_and_its_next_attempt(memory: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> list[Any]:
        return await ctx.step(copying)

    async with memory.serving(wf) as client:
        assert await memory.run(client, wf) == [{"row": 2}, {"row": 2}]


@pytest.mark.slow
async def test_rule_20_a_process_step_is_killed_at_its_timeout(memory: Any, tmp_path: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> str:
        try:
            await ctx.step(endless, str(tmp_path / "beats"))
        except TimeoutError:
            return "killed"
        return "no error"

    async with memory.serving(wf) as client:
        assert await memory.run(client, wf) == "killed"
        size = (tmp_path / "beats").stat().st_size
        await asyncio.sleep(0.15)
        assert (tmp_path / "beats").stat().st_size == size


async def test_a_process_step_that_is_not_at_module_level_is_refused(rig: Any) -> None:
    @step(run_in="process")
    def local() -> None: ...

    @workflow
    async def wf(ctx: Context) -> str:
        try:
            await ctx.step(local)
        except WorkflowCodeError as error:
            return str(error)
        return "no error"

    async with rig.serving(wf) as client:
        assert "module-level" in await rig.run(client, wf)


@pytest.mark.slow
async def test_a_rate_limit_spaces_the_begins_of_a_step(rig: Any) -> None:
    begun: list[float] = []

    @step(rate_limit="20/s")
    async def ask(n: int) -> None:
        begun.append(time.monotonic())

    @workflow
    async def wf(ctx: Context) -> None:
        await asyncio.gather(*(ctx.step(ask, n) for n in range(5)))

    async with rig.serving(wf) as client:
        await rig.run(client, wf)
    assert begun[-1] - begun[0] >= 0.19


@pytest.mark.slow
async def test_a_step_that_never_beats_fails_by_its_heartbeat_timeout(rig: Any) -> None:
    tries = []

    @step(heartbeat=0.1, retry=Retry(2, initial=0))
    async def quiet() -> str:
        tries.append(1)
        if len(tries) == 1:
            await asyncio.sleep(60)
        return "second"

    @workflow
    async def wf(ctx: Context) -> str:
        return await ctx.step(quiet)

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == "second"


@pytest.mark.slow
async def test_waiting_for_its_turn_is_no_silence(rig: Any) -> None:
    tries = []

    @step(heartbeat=0.1, rate_limit="4/s")
    async def ask(n: int) -> int:
        tries.append(n)
        return n

    @workflow
    async def wf(ctx: Context) -> list[int]:
        return await asyncio.gather(*(ctx.step(ask, n) for n in range(3)))

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == [0, 1, 2]
    assert tries == [0, 1, 2]


@pytest.mark.slow
async def test_a_step_that_beats_outlives_its_heartbeat_timeout(rig: Any) -> None:
    @step(heartbeat=0.5)
    def busy() -> str:
        for _ in range(9):
            time.sleep(0.08)
            heartbeat()
        return "done"

    @workflow
    async def wf(ctx: Context) -> str:
        return await ctx.step(busy)

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == "done"


async def test_the_next_attempt_reads_the_progress_of_the_one_before(rig: Any) -> None:
    seen: list[Any] = []

    @step(retry=Retry(3, initial=0))
    async def copy() -> None:
        seen.append(heartbeat())
        heartbeat({"row": len(seen)})
        if len(seen) < 3:
            raise ValueError

    @workflow
    async def wf(ctx: Context) -> None:
        await ctx.step(copy)

    async with rig.serving(wf) as client:
        await rig.run(client, wf)
    assert seen == [None, {"row": 1}, {"row": 2}]


@pytest.mark.parametrize("progress", [0, False, "", [], {}])
async def test_falsy_progress_is_progress(rig: Any, progress: Any) -> None:
    seen: list[Any] = []

    @step(retry=Retry(2, initial=0))
    async def copy() -> None:
        seen.append(heartbeat(progress))
        if len(seen) < 2:
            raise ValueError

    @workflow
    async def wf(ctx: Context) -> None:
        await ctx.step(copy)

    async with rig.serving(wf) as client:
        await rig.run(client, wf)
    assert seen == [None, progress]
    assert type(seen[1]) is type(progress)


async def test_a_call_that_was_awaited_cannot_be_awaited_again(rig: Any) -> None:
    @step
    async def one() -> int:
        return 1

    @workflow
    async def wf(ctx: Context) -> str:
        call = ctx.step(one)
        await call
        try:
            await call
        except RuntimeError as error:
            return str(error)
        return "no error"

    async with rig.serving(wf) as client:
        assert "awaited already" in await rig.run(client, wf)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"effect": "twice"}, "effect="),
        ({"run_in": "cloud"}, "run_in="),
        ({"check": lambda key: None}, "at_most_once"),
        ({"on_unknown": "guess"}, "on_unknown="),
        ({"rate_limit": "10"}, "rate limit"),
        ({"rate_limit": "0/s"}, "rate limit"),
        ({"rate_limit": "-1/s"}, "rate limit"),
        ({"timeout": "soon"}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"heartbeat": -1}, "heartbeat"),
        ({"name": ""}, "empty"),
        ({"name": "a\nb"}, "control"),
        ({"queue": ""}, "empty"),
        ({"run_in": "thread"}, "async"),
    ],
)
def test_an_option_without_sense_is_refused_at_the_declaration(options: dict[str, Any], said: str) -> None:
    async def fn() -> None: ...

    with pytest.raises(ValueError, match=said):
        step(**options)(fn)


async def test_rule_22_record_input_keeps_the_arguments_for_people_to_see(rig: Any) -> None:
    @step(record_input=True)
    async def charge(amount: int, currency: str) -> None: ...

    @workflow
    async def wf(ctx: Context) -> None:
        await ctx.step(charge, 7, currency="EUR")

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        await rig.end(handle)
        history = await handle.history()
    row = next(row for row in history if row.name == "charge")
    assert "EUR" in str(row.input)
    assert "7" in str(row.input)
