"""Generations: continue_as, the workflow's own retry, retry and fork by a person, replace (rules 4, 5 and 24)."""

import asyncio
from typing import Any

import pytest

from durable import (
    Context,
    InvalidInput,
    Retry,
    RunCancelled,
    RunConflict,
    RunFailed,
    RunNotFound,
    Signal,
    connect,
    idempotency_key,
    step,
    workflow,
)

numbers = Signal("number", int)


async def test_rule_4_continue_as_keeps_the_id_and_the_result_follows(rig: Any) -> None:
    seen: list[Any] = []

    @step
    async def key() -> str:
        return idempotency_key()

    @workflow
    async def wf(ctx: Context, n: int) -> str:
        seen.append((ctx.run_id, ctx.generation, await ctx.step(key)))
        if n > 0:
            raise ctx.continue_as(wf, n - 1)
        return "end"

    async with rig.serving(wf) as client:
        handle = await client.start(wf, 2, id="r")
        assert await rig.end(handle) == "end"
        assert (await handle.status()).generation == 3
    last = {entry[:2]: entry[2] for entry in seen}
    assert last == {
        ("r", 1): "r/1/0/step/key#0",
        ("r", 2): "r/2/0/step/key#0",
        ("r", 3): "r/3/0/step/key#0",
    }


async def test_rule_4_each_generation_draws_a_new_seed(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context, before: list[str]) -> list[str]:
        now = [*before, str(ctx.uuid())]
        if len(now) < 3:
            raise ctx.continue_as(wf, now)
        return now

    async with rig.serving(wf) as client:
        assert len(set(await rig.run(client, wf, []))) == 3


async def test_rule_4_continue_as_keeps_unread_signals_and_their_ids(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context, seen: list[int]) -> list[int]:
        seen = [*seen, await ctx.wait_for_signal(numbers)]
        if len(seen) == 4:
            return seen
        raise ctx.continue_as(wf, seen)

    async with connect(rig.url) as client:
        handle = await client.start(wf, [])
        for n in range(3):
            await handle.signal(numbers, n, id=f"s{n}")
        async with rig.worker(client, wf):
            await rig.until(lambda: _generation(handle, 4))
            await handle.signal(numbers, 0, id="s0")
            await handle.signal(numbers, 3, id="s3")
            assert await rig.end(handle) == [0, 1, 2, 3]


async def _generation(handle: Any, generation: int) -> bool:
    return (await handle.status()).generation >= generation


async def test_rule_4_streams_and_values_go_on_over_generations(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context, n: int) -> None:
        ctx.emit("log", f"gen {n}")
        ctx.set(f"gen{n}", n)
        if n < 2:
            raise ctx.continue_as(wf, n + 1)

    async with rig.serving(wf) as client:
        handle = await client.start(wf, 0)
        await rig.end(handle)
        assert [item async for item in handle.stream("log")] == ["gen 0", "gen 1", "gen 2"]
        assert [item async for item in handle.stream("log", start=2)] == ["gen 2"]
        assert await handle.values() == {"gen0": 0, "gen1": 1, "gen2": 2}


async def test_rule_4_a_cancel_is_not_lost_between_generations(rig: Any) -> None:
    """I10."""

    @step
    async def tick(n: int) -> int:
        return n

    @workflow
    async def wf(ctx: Context, n: int) -> None:
        await ctx.step(tick, n)
        raise ctx.continue_as(wf, n + 1)

    async with rig.serving(wf) as client:
        handle = await client.start(wf, 0)
        await rig.until(lambda: _generation(handle, 3))
        await handle.cancel()
        with pytest.raises(RunCancelled):
            await rig.end(handle)


async def test_continue_as_may_go_on_as_another_workflow(rig: Any) -> None:
    @workflow
    async def second(ctx: Context, text: str) -> str:
        return text + "!"

    @workflow
    async def first(ctx: Context) -> str:
        raise ctx.continue_as(second, "hello")

    async with rig.serving(first, second) as client:
        handle = await client.start(first)
        assert await rig.end(handle) == "hello!"
        assert (await handle.status()).workflow == "second"


async def test_children_of_an_earlier_generation_are_closed(rig: Any) -> None:
    @workflow
    async def child(ctx: Context) -> None:
        await ctx.wait_for_signal("never")

    @workflow
    async def wf(ctx: Context, n: int) -> None:
        if n == 0:
            asyncio.ensure_future(ctx.child(child.options(id="first-child")))
            await ctx.wait_for_signal("next")
            raise ctx.continue_as(wf, 1)
        await ctx.wait_for_signal("end")

    async with rig.serving(wf, child) as client:
        handle = await client.start(wf, 0)
        await rig.waits(handle, "next")
        await rig.waits(client.handle("first-child"), "never")
        await handle.signal("next")
        await rig.waits(handle, "end")
        await handle.signal("end")
        await rig.end(handle)
        await rig.state(client.handle("first-child"), "cancelled")


async def test_rule_18_continue_as_outside_the_main_task_is_refused(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> str:
        async def side() -> None:
            raise ctx.continue_as(wf)

        try:
            await asyncio.gather(side())
        except Exception as error:
            return str(error)
        return "no error"

    async with rig.serving(wf) as client:
        assert "main task" in await rig.run(client, wf)


async def test_a_workflow_with_a_retry_policy_is_begun_anew_as_its_next_generation(rig: Any) -> None:
    calls: list[str] = []

    @step
    async def flaky(n: int) -> int:
        calls.append(idempotency_key())
        if len(calls) < 3:
            raise ConnectionError
        return n

    @workflow(retry=Retry(3, initial=0))
    async def wf(ctx: Context, n: int) -> int:
        return await ctx.step(flaky, n)

    async with rig.serving(wf) as client:
        handle = await client.start(wf, 5, id="r")
        assert await rig.end(handle) == 5
        assert (await handle.status()).generation == 3
    assert calls == [f"r/{n}/0/step/flaky#0" for n in (1, 2, 3)]


async def test_a_workflow_whose_retries_are_spent_fails(rig: Any) -> None:
    calls = []

    @workflow(retry=Retry(2, initial=0, give_up_on=(KeyError,)))
    async def wf(ctx: Context, kind: str) -> None:
        calls.append(kind)
        raise KeyError(kind) if kind == "key" else ValueError(kind)

    async with rig.serving(wf, cache=1000) as client:
        with pytest.raises(RunFailed):
            await rig.run(client, wf, "value")
        assert len(calls) == 2
        with pytest.raises(RunFailed):
            await rig.run(client, wf, "key")
        assert len(calls) == 3


class Line:
    """A workflow of three steps; the second fails until it is mended."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.broken = True

        @step
        async def one() -> str:
            self.log.append("one")
            return "1"

        @step
        async def two(before: str) -> str:
            self.log.append("two")
            if self.broken:
                raise ConnectionError("down")
            return before + "2"

        @step
        async def three(before: str) -> str:
            self.log.append("three")
            return before + "3"

        @workflow
        async def line(ctx: Context, tail: str) -> str:
            done = await ctx.step(three, await ctx.step(two, await ctx.step(one)))
            return done + tail

        self.workflow = line


async def test_rule_5_retry_goes_on_from_the_failure(rig: Any) -> None:
    line = Line()
    async with rig.serving(line.workflow) as client:
        handle = await client.start(line.workflow, "!")
        with pytest.raises(RunFailed, match="down"):
            await rig.end(handle)
        assert "retry" in await handle.explain()
        line.broken = False
        await handle.retry()
        assert await rig.end(handle) == "123!"
        assert (await handle.status()).generation == 2
    assert line.log == ["one", "two", "two", "three"]


async def test_rule_5_retry_from_a_step_runs_it_and_what_follows_again(rig: Any) -> None:
    line = Line()
    line.broken = False
    async with rig.serving(line.workflow) as client:
        handle = await client.start(line.workflow, "!")
        assert await rig.end(handle) == "123!"
        await handle.retry(from_step="two")
        assert await rig.end(handle) == "123!"
        with pytest.raises(InvalidInput, match="one, two, three"):
            await handle.retry(from_step="four")
    assert line.log == ["one", "two", "three", "two", "three"]


async def test_rule_5_only_an_ended_run_is_retried(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> None:
        await ctx.wait_for_signal("never")

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        await rig.waits(handle, "never")
        with pytest.raises(RunConflict, match="only an ended run"):
            await handle.retry()
        with pytest.raises(RunNotFound):
            await client.handle("nobody").retry()


async def test_rule_5_a_sibling_in_a_gather_that_was_done_after_the_cut_survives(rig: Any) -> None:
    log: list[str] = []
    broken = True
    failed = asyncio.Event()

    @step
    async def bad() -> str:
        log.append("bad")
        if broken:
            failed.set()
            raise ConnectionError("down")
        return "bad"

    @step
    async def good() -> str:
        log.append("good")
        await failed.wait()
        await asyncio.sleep(0.03)
        return "good"

    @workflow
    async def wf(ctx: Context) -> list[str]:
        results = await asyncio.gather(ctx.step(bad), ctx.step(good), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return results  # type: ignore[return-value]

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        with pytest.raises(RunFailed):
            await rig.end(handle)
        broken = False
        await handle.retry()
        assert await rig.end(handle) == ["bad", "good"]
    assert log == ["bad", "good", "bad"]


async def test_rule_5_messages_consumed_after_the_cut_become_unread(rig: Any) -> None:
    calls = []

    @step
    async def check(n: int) -> int:
        calls.append(n)
        return n

    @workflow
    async def wf(ctx: Context) -> list[int]:
        first = await ctx.wait_for_signal(numbers)
        await ctx.step(check, first)
        return [first, await ctx.wait_for_signal(numbers)]

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        await handle.signal(numbers, 1)
        await handle.signal(numbers, 2)
        assert await rig.end(handle) == [1, 2]
        await handle.retry(from_step="check")
        assert await rig.end(handle) == [1, 2]
    assert calls == [1, 1]


async def test_rule_5_a_cancelled_run_goes_on_when_it_is_retried(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> int:
        return await ctx.wait_for_signal(numbers)

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        await rig.waits(handle, "number")
        await handle.cancel()
        with pytest.raises(RunCancelled):
            await rig.end(handle)
        await handle.retry()
        await rig.waits(handle, "number")
        await handle.signal(numbers, 4)
        assert await rig.end(handle) == 4


async def test_rule_5_a_failed_child_is_started_again_by_a_retry_of_its_parent(rig: Any) -> None:
    broken = True

    @workflow
    async def child(ctx: Context) -> str:
        if broken:
            raise ConnectionError("down")
        return "child"

    @workflow
    async def parent(ctx: Context) -> str:
        return await ctx.child(child)

    async with rig.serving(parent, child) as client:
        handle = await client.start(parent)
        with pytest.raises(RunFailed):
            await rig.end(handle)
        broken = False
        await handle.retry()
        assert await rig.end(handle) == "child"


async def test_rule_5_a_completed_child_is_kept_by_a_retry_of_its_parent(rig: Any) -> None:
    broken = True
    runs = []

    @step
    async def work() -> str:
        runs.append(1)
        return "child"

    @workflow
    async def child(ctx: Context) -> str:
        return await ctx.step(work)

    @workflow
    async def parent(ctx: Context) -> str:
        result = await ctx.child(child)
        if broken:
            raise ConnectionError("down")
        return result

    async with rig.serving(parent, child) as client:
        handle = await client.start(parent)
        with pytest.raises(RunFailed):
            await rig.end(handle)
        broken = False
        await handle.retry()
        assert await rig.end(handle) == "child"
    assert len(runs) == 1


async def test_rule_5_a_failed_child_with_a_chosen_id_does_not_hang_the_retried_parent(rig: Any) -> None:
    broken = True

    @workflow
    async def child(ctx: Context) -> str:
        if broken:
            raise ConnectionError("down")
        return "child"

    @workflow
    async def parent(ctx: Context) -> str:
        return await ctx.child(child.options(id="chosen"))

    async with rig.serving(parent, child) as client:
        handle = await client.start(parent)
        with pytest.raises(RunFailed):
            await rig.end(handle)
        broken = False
        await handle.retry()
        try:
            assert await rig.end(handle) == "child"
        except RunFailed as error:
            assert type(error.__cause__) is RunConflict


@pytest.mark.slow
async def test_rule_5_a_run_that_overran_its_time_limit_gets_a_new_one_when_it_is_retried(rig: Any) -> None:
    @workflow(timeout=0.3)
    async def wf(ctx: Context) -> int:
        return await ctx.wait_for_signal(numbers)

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        with pytest.raises(RunFailed):
            await rig.end(handle)
        await handle.retry()
        await handle.signal(numbers, 4)
        assert await rig.end(handle) == 4


async def test_rule_4_a_fork_shares_the_prefix_and_goes_its_own_way(rig: Any) -> None:
    line = Line()
    line.broken = False
    async with rig.serving(line.workflow) as client:
        handle = await client.start(line.workflow, "!", id="original")
        assert await rig.end(handle) == "123!"
        fork = await handle.fork(at="three", id="copy")
        assert fork.id == "copy"
        assert await rig.end(fork) == "123!"
        assert await rig.end(handle) == "123!"
        assert (await handle.status()).generation == 1
        with pytest.raises(RunConflict, match="exists"):
            await handle.fork(at="three", id="copy")
        with pytest.raises(InvalidInput, match="one, two, three"):
            await handle.fork(at="four")
    assert line.log == ["one", "two", "three", "three"]


async def test_rule_4_a_fork_may_go_on_with_code_that_gives_its_steps_other_arguments(rig: Any) -> None:
    """What was copied is taken as it is; of changed code, only what comes after the cut is the fork's own."""

    @step
    async def say(word: str) -> str:
        return word

    def code(word: str, end: str) -> Any:
        @workflow
        async def line(ctx: Context) -> str:
            return await ctx.step(say, word) + await ctx.step("end", lambda: end)

        return line

    async with connect(rig.url) as client:
        async with rig.worker(client, code("old", "old")):
            handle = await client.start("line")
            assert await rig.end(handle) == "oldold"
        async with connect(rig.url) as other, rig.worker(other, code("new", "new")):
            fork = await handle.fork(at="end")
            assert await rig.end(fork) == "oldnew"


async def test_rule_4_a_fork_of_a_live_run_leaves_it_alone(rig: Any) -> None:
    @step
    async def first() -> int:
        return 1

    @workflow
    async def wf(ctx: Context) -> list[Any]:
        one = await ctx.step(first)
        return [one, str(ctx.uuid()), await ctx.wait_for_signal(numbers)]

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        await rig.waits(handle, "number")
        fork = await handle.fork(at="first")
        await rig.waits(fork, "number")
        await fork.signal(numbers, 2)
        await handle.signal(numbers, 3)
        assert (await rig.end(fork))[2] == 2
        assert (await rig.end(handle))[2] == 3


@pytest.mark.slow
async def test_a_fork_whose_source_is_purged_before_it_was_taken_up_says_so(rig: Any) -> None:
    @step
    async def one() -> int:
        return 1

    @workflow
    async def wf(ctx: Context) -> int:
        return await ctx.step(one) + await ctx.step("two", lambda: 2)

    async with connect(rig.url) as client:
        async with rig.worker(client, wf):
            assert await rig.run(client, wf, id="source") == 3
        fork = await client.handle("source").fork(at="two")
        assert await client.purge(ids=["source"]) == 1
        async with rig.worker(client, wf):
            status = await rig.state(fork, "blocked")
        assert "Run source was purged" in status.error


async def test_rule_4_a_fork_has_its_own_time_limit(rig: Any) -> None:
    @step
    async def first() -> int:
        return 1

    @workflow(timeout=0.3)
    async def wf(ctx: Context) -> int:
        await ctx.step(first)
        return await ctx.wait_for_signal(numbers)

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        with pytest.raises(RunFailed):
            await rig.end(handle)
        fork = await handle.fork(at="first")
        await fork.signal(numbers, 4)
        assert await rig.end(fork) == 4


@pytest.mark.parametrize("kind", ["attach", "reject"])
async def test_starting_an_id_again_attaches_or_is_rejected(rig: Any, kind: Any) -> None:
    runs = []

    @step
    async def work(n: int) -> int:
        runs.append(n)
        return n

    @workflow
    async def wf(ctx: Context, n: int) -> int:
        return await ctx.step(work, n)

    @workflow
    async def other(ctx: Context, n: int) -> int:
        return n

    async with rig.serving(wf, other) as client:
        first = await client.start(wf, 1, id="same", if_exists=kind)
        assert await rig.end(first) == 1
        if kind == "attach":
            assert await rig.run(client, wf, 1, id="same") == 1
        else:
            with pytest.raises(RunConflict, match="exists already"):
                await client.start(wf, 1, id="same", if_exists="reject")
        with pytest.raises(RunConflict, match="another input"):
            await client.start(wf, 2, id="same", if_exists=kind)
        with pytest.raises(RunConflict, match="runs workflow 'wf'"):
            await client.start(other, 1, id="same", if_exists=kind)
        assert await rig.end(first) == 1
    assert runs == [1]


async def test_rule_24_replace_ends_the_old_run_once_per_request(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context, n: int) -> int:
        return n + await ctx.wait_for_signal(numbers)

    async with rig.serving(wf) as client:
        first = await client.start(wf, 100, id="same")
        await rig.waits(first, "number")
        second = await client.start(wf, 200, id="same", if_exists="replace", request_id="q1")
        await rig.waits(second, "number")
        assert (await second.status()).generation == 2
        await client.start(wf, 200, id="same", if_exists="replace", request_id="q1")
        assert (await second.status()).generation == 2
        await second.signal(numbers, 1)
        assert await rig.end(second) == 201
        third = await client.start(wf, 300, id="same", if_exists="replace", request_id="q2")
        await third.signal(numbers, 2)
        assert await rig.end(third) == 302


async def test_rule_24_replace_needs_a_request_id(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> None: ...

    async with rig.serving(wf) as client:
        with pytest.raises(InvalidInput, match="request_id"):
            await client.start(wf, if_exists="replace")
        with pytest.raises(InvalidInput, match="if_exists"):
            await client.start(wf, if_exists="maybe")  # type: ignore[call-overload]
        assert await client.count() == 0


async def test_rule_24_a_replaced_run_writes_nothing_any_more(rig: Any) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    @step
    async def slow(n: int) -> int:
        if n == 1:
            begun.set()
            await go.wait()
        return n

    @workflow
    async def wf(ctx: Context, n: int) -> int:
        return await ctx.step(slow, n)

    async with rig.serving(wf) as client:
        await client.start(wf, 1, id="same")
        await begun.wait()
        second = await client.start(wf, 2, id="same", if_exists="replace", request_id="q")
        assert await rig.end(second) == 2
        go.set()
        await asyncio.sleep(0.03)
        assert await rig.end(second) == 2
        assert len(await second.history()) == 1


async def test_a_key_makes_the_id_of_a_run(rig: Any) -> None:
    @workflow(key=lambda customer, month: f"{customer}-{month}")
    async def invoice(ctx: Context, customer: str, month: int) -> str:
        return customer

    async with rig.serving(invoice) as client:
        handle = await client.start(invoice.bind("eve", month=7))
        assert handle.id == "invoice-eve-7"
        assert (await client.start(invoice.bind("eve", 7))).id == handle.id
        assert (await client.start(invoice.bind("eve", 7), id="mine")).id == "mine"
        await rig.end(handle)
        assert await client.count() == 2


async def test_rule_4_a_result_for_an_earlier_generation_answers_no_call_of_this_one(rig: Any) -> None:
    @workflow
    async def child(ctx: Context, generation: int) -> int:
        await ctx.wait_for_signal("go")
        return generation

    @workflow
    async def parent(ctx: Context, generation: int) -> int:
        named = child.options(id=f"child-{generation}", on_parent_close="abandon")
        call = asyncio.ensure_future(ctx.child(named, generation))
        if generation == 1:
            await ctx.wait_for_signal("next")
            raise ctx.continue_as(parent, 2)
        return await call

    async with rig.serving(child, parent) as client:
        handle = await client.start(parent, 1)
        await rig.waits(handle, "next")
        await handle.signal("next")
        first, second = client.handle("child-1"), client.handle("child-2")
        await rig.until(lambda: _there(client, second))
        await first.signal("go")
        assert await rig.end(first) == 1
        await second.signal("go")
        assert await rig.end(handle) == 2


async def _there(client: Any, handle: Any) -> bool:
    return (await client.store.get([handle.id])) != [None]


async def test_a_start_said_again_after_the_run_has_continued_is_still_the_same_start(rig: Any) -> None:
    """Found by the simulator: the first answer was lost, and the run had continued before the start was repeated."""

    @workflow
    async def other(ctx: Context, rounds: int) -> str:
        await ctx.sleep("1h")
        return "over"

    @workflow
    async def going_on(ctx: Context, rounds: int) -> str:
        if rounds == 0:
            raise ctx.continue_as(other, 7)
        raise ctx.continue_as(going_on, rounds - 1)

    async with rig.serving(going_on, other) as client:
        handle = await client.start(going_on, 2, id="g")
        await rig.waits(handle, "timer")
        assert (await client.start(going_on, 2, id="g")).id == "g"
        with pytest.raises(RunConflict, match="with another input|runs workflow"):
            await client.start(going_on, 3, id="g")
