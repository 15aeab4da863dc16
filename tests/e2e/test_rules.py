"""Rules of the design that no other file of this folder names."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from durable import Context, OutcomeUnknown, Retry, RunCancelled, Signal, connect, step, workflow
from durable._engine.connect import open_store
from durable._engine.services import StoreTime
from durable._model.defaults import COMMIT_ITEMS_MAX, LINGER_SECONDS

numbers = Signal("number", int)


async def test_rule_1_claims_whose_answer_was_lost_are_neither_forgotten_nor_doubled(rig: Any) -> None:
    runs: list[int] = []

    @step
    async def work(n: int) -> int:
        runs.append(n)
        return n

    @workflow
    async def wf(ctx: Context, n: int) -> int:
        return await ctx.step(work, n)

    async with connect(rig.url) as client:
        poll = client.store.poll
        lost = 0

        async def forgetful(*args: Any) -> Any:
            nonlocal lost
            answer = await poll(*args)
            if answer.claims and lost < 3:
                lost += 1
                raise OutcomeUnknown("the answer was lost")
            return answer

        client.store.poll = forgetful  # type: ignore[method-assign]
        async with rig.worker(client, wf):
            handles = [await client.start(wf, n) for n in range(5)]
            assert [await rig.end(handle) for handle in handles] == list(range(5))
    assert lost == 3
    assert sorted(runs) == list(range(5))


@pytest.mark.slow
async def test_rule_2_a_worker_whose_clock_is_ahead_fires_no_timer_early(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I8, I27: the store answers NOT_DUE."""
    real = StoreTime.now
    monkeypatch.setattr(StoreTime, "now", lambda self: real(self) + 30.0)

    @workflow
    async def wf(ctx: Context) -> timedelta:
        before = ctx.now()
        await ctx.sleep(0.3)
        return ctx.now() - before

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) >= timedelta(seconds=0.3)


@pytest.mark.slow
async def test_rule_2_timers_that_are_found_due_together_all_wait_for_the_last_of_them(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I8: one commit says how late it must be; a worker whose clock is ahead finds more due than there is."""
    real = StoreTime.now
    monkeypatch.setattr(StoreTime, "now", lambda self: real(self) + 30.0)

    @workflow
    async def wf(ctx: Context) -> list[timedelta]:
        before = ctx.now()

        async def nap(seconds: float) -> timedelta:
            await ctx.sleep(seconds)
            return ctx.now() - before

        return await asyncio.gather(nap(0.1), nap(0.4))

    async with rig.serving(wf) as client:
        short, long = await rig.run(client, wf)
    assert short >= timedelta(seconds=0.1)
    assert long >= timedelta(seconds=0.4)


@pytest.mark.slow
async def test_rule_2_an_outcome_that_goes_with_a_timer_that_is_not_due_is_kept(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I3: the store refuses the commit as a whole; the step has run, and does not run again."""
    real = StoreTime.now
    monkeypatch.setattr(StoreTime, "now", lambda self: real(self) + 30.0)
    runs: list[int] = []

    @step
    async def work(n: int) -> int:
        runs.append(n)
        await asyncio.sleep(0.01 * n)
        return n

    @workflow
    async def wf(ctx: Context) -> list[int]:
        results = await asyncio.gather(*(ctx.step(work, n) for n in range(10)), ctx.sleep(0.4))
        return results[:-1]

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == list(range(10))
    assert sorted(runs) == list(range(10))


async def test_rule_13_a_worker_works_inside_task_groups_and_timeouts(rig: Any) -> None:
    @step
    async def work() -> int:
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            task = group.create_task(asyncio.sleep(0, 3))
        return task.result()

    @workflow
    async def wf(ctx: Context) -> int:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            task = group.create_task(ctx.step(work))
        return task.result()

    async with asyncio.timeout(10), asyncio.TaskGroup() as outer:
        async with rig.serving(wf) as client:
            tasks = [outer.create_task(rig.run(client, wf)) for _ in range(3)]
            assert [await task for task in tasks] == [3, 3, 3]
        assert asyncio.current_task() is not None


async def test_rule_14_cached_state_is_used_only_at_its_own_position(rig: Any) -> None:
    replays: list[int] = []

    @workflow
    async def wf(ctx: Context) -> list[int]:
        replays.append(1)
        return [await ctx.wait_for_signal(numbers) for _ in range(4)]

    async with connect(rig.url) as client, connect(rig.url) as other, rig.worker(client, wf):
        handle = await client.start(wf)
        for n in range(4):
            await rig.waits(handle, "number")
            if n == 1:
                async with rig.worker(other, wf):
                    await handle.signal(numbers, n)
                    await rig.until(lambda n=n: _received(handle, n + 1))
                    await rig.until(lambda: _at_rest(handle))
            else:
                await handle.signal(numbers, n)
                await rig.until(lambda n=n: _received(handle, n + 1))
                if n < 3:
                    await rig.until(lambda: _at_rest(handle))
        assert await rig.end(handle) == [0, 1, 2, 3]


@pytest.mark.slow
async def test_rule_14_a_stale_cached_state_repeats_no_step(rig: Any) -> None:
    """I3: a worker that kept a waiting run, which another has gone on with, does not begin what that one has done."""
    tries: list[int] = []

    @step(retry=Retry(2, initial=LINGER_SECONDS + 0.3, jitter=0))
    async def work() -> int:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("down")
        return 1

    @workflow
    async def wf(ctx: Context) -> int:
        await ctx.step(work)
        return await ctx.wait_for_signal(numbers)

    gate = asyncio.Event()
    gate.set()
    async with connect(rig.url) as client, connect(rig.url) as other:
        poll = client.store.poll

        async def gated(*args: Any) -> Any:
            await gate.wait()
            return await poll(*args)

        client.store.poll = gated  # type: ignore[method-assign]
        async with rig.worker(client, wf):
            handle = await client.start(wf)
            await rig.waits(handle, "work")
            gate.clear()
            async with rig.worker(other, wf):
                await rig.waits(handle, "number")
            gate.set()
            await handle.signal(numbers, 4)
            assert await rig.end(handle) == 4
    assert len(tries) == 2


async def _received(handle: Any, count: int) -> bool:
    return sum(row.event == "signal_received" for row in await handle.history()) >= count


async def _at_rest(handle: Any) -> bool:
    return (await handle.status()).state != "running"


@pytest.mark.slow
async def test_rule_19_no_commit_holds_more_than_a_hundred_items(rig: Any) -> None:
    sizes: list[int] = []

    @workflow
    async def child(ctx: Context, n: int) -> int:
        return n

    @workflow
    async def parent(ctx: Context, count: int) -> int:
        for n in range(count):
            ctx.emit("s", n)
        children = [ctx.child(child, n) for n in range(count)]
        naps = [ctx.sleep(0.05) for _ in range(count)]
        results = await asyncio.gather(ctx.wait_for_signal("go"), *children, *naps)
        return sum(results[1 : count + 1])

    count = 2 * COMMIT_ITEMS_MAX + 30
    async with connect(rig.url) as client:
        commit = client.store.commit

        async def measured(commits: Any) -> Any:
            for one in commits:
                sizes.append(max(len(one.append), len(one.consumed), len(one.children), len(one.emits)))
            return await commit(commits)

        client.store.commit = measured  # type: ignore[method-assign]
        async with rig.worker(client, parent):
            handle = await client.start(parent, count)
            await rig.waits(handle, "go")
            await handle.pause()
            await rig.state(handle, "paused")
        async with connect(rig.url) as other, rig.worker(other, child):
            await rig.until(lambda: _completed(other, count))
        await asyncio.sleep(0.05)
        async with connect(rig.url) as third:
            commit = third.store.commit
            third.store.commit = measured  # type: ignore[method-assign]
            async with rig.worker(third, parent):
                await handle.resume()
                await handle.signal("go")
                assert await rig.end(third.handle(handle.id, parent)) == count * (count - 1) // 2
    assert max(sizes) <= COMMIT_ITEMS_MAX


async def _completed(client: Any, count: int) -> bool:
    return await client.count(workflow="child", status="completed") == count


async def test_rule_23_status_and_explain_answer_from_the_store_alone(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> None:
        await asyncio.gather(ctx.wait_for_signal("paid", timeout="48h"), ctx.sleep("reminder", "24h"))

    async with connect(rig.url) as client:
        async with rig.worker(client, wf):
            handle = await client.start(wf)
            await rig.waits(handle, "paid", "reminder")
        async with connect(rig.url) as other:
            status = await other.handle(handle.id).status()
            assert status.current == ["signal paid", "timer reminder"]
            row = (await other.store.get([handle.id]))[0]
            assert [(wait.kind.value, wait.name, wait.until is None) for wait in row.waits] == [
                ("signal", "paid", False),
                ("timer", "reminder", False),
            ]
            assert "No live worker has workflow wf" in await other.handle(handle.id).explain()


AWAITS = ["step", "thread", "timer", "signal", "child", "gather", "parallel", "saga", "timeout", "retry", "none"]


@pytest.mark.parametrize("kind", AWAITS)
async def test_a_cancel_at_each_kind_of_await_ends_the_run(rig: Any, kind: str) -> None:
    """B78, B84."""
    from durable import Retry

    tidied: list[str] = []

    @step
    async def slow() -> None:
        await asyncio.sleep(60)

    @step
    def threaded() -> None:
        import time

        time.sleep(0.1)

    @step(retry=Retry(None, initial=30))
    async def flaky() -> None:
        raise ValueError

    @step(undo=slow.options(name="unused"))
    async def book() -> None: ...

    @workflow
    async def child(ctx: Context) -> None:
        await ctx.wait_for_signal("never")

    @workflow
    async def wf(ctx: Context) -> None:
        try:
            match kind:
                case "step":
                    await ctx.step(slow)
                case "thread":
                    await ctx.step(threaded)
                    await ctx.sleep(60)
                case "timer":
                    await ctx.sleep(60)
                case "signal":
                    await ctx.wait_for_signal("never", timeout="1h")
                case "child":
                    await ctx.child(child)
                case "gather":
                    await asyncio.gather(ctx.step(slow), ctx.sleep(60))
                case "parallel":
                    await ctx.parallel([ctx.step(slow), ctx.sleep(60), ctx.child(child)], limit=2)
                case "saga":
                    async with ctx.saga():
                        await ctx.step(slow)
                case "timeout":
                    async with asyncio.timeout(60):
                        await ctx.step(slow)
                case "retry":
                    await ctx.step(flaky)
                case _:
                    await asyncio.get_running_loop().create_future()
        finally:
            await ctx.step("tidy", lambda: tidied.append("tidied"))

    async with rig.serving(wf, child) as client:
        for delay in (0, 1, 3, 10):
            handle = await client.start(wf)
            for _ in range(delay):
                await asyncio.sleep(0.001)
            await handle.cancel()
            with pytest.raises(RunCancelled):
                await rig.end(handle)
        assert await client.count(status=["running", "waiting", "blocked", "failed"], workflow=wf) == 0
        await rig.until(lambda: _no_child_left(client))


async def _no_child_left(client: Any) -> bool:
    return await client.count(status=["pending", "running", "waiting"]) == 0


async def test_the_stores_of_the_urls_pass_their_own_check(rig: Any) -> None:
    store = open_store(rig.url)
    await store.open()
    assert await store.check() == []
    await store.close()


async def test_rule_7_dead_letters_that_fill_a_commit_do_not_hide_the_signal_behind_them(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> int:
        return await ctx.wait_for_signal(numbers)

    async with connect(rig.url) as client:
        handle = await client.start(wf)
        for n in range(COMMIT_ITEMS_MAX + 5):
            await handle.signal("number", f"nonsense {n}")
        await handle.signal(numbers, 7)
        async with rig.worker(client, wf):
            assert await rig.end(handle) == 7
