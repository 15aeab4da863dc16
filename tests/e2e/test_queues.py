"""Which worker runs what, and in which order: queues, priorities, concurrency, steps on other workers."""

import asyncio
from typing import Any

import pytest

from durable import Context, Retry, RunFailed, connect, step, workflow


async def test_a_worker_takes_only_from_its_queues(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> str:
        return "done"

    async with rig.serving(wf, queues=["a", "b"]) as client:
        on_a = await client.start(wf, queue="a")
        on_b = await client.start(wf, queue="b")
        elsewhere = await client.start(wf)
        assert await rig.end(on_a) == await rig.end(on_b) == "done"
        assert (await elsewhere.status()).state == "pending"
        assert "reads queue 'default'" in await elsewhere.explain()


async def test_higher_priorities_come_first_and_equal_ones_in_order(rig: Any) -> None:
    order: list[str] = []

    @step
    async def note(name: str) -> None:
        order.append(name)

    @workflow
    async def wf(ctx: Context, name: str) -> None:
        await ctx.step(note, name)

    async with connect(rig.url) as client:
        handles = []
        for name, priority in [("low", -5), ("a", 0), ("b", 0), ("high", 7), ("c", 0)]:
            handles.append(await client.start(wf, name, priority=priority))
            await asyncio.sleep(0.002)
        async with rig.worker(client, wf, concurrency=1):
            for handle in handles:
                await rig.end(handle)
    assert order == ["high", "a", "b", "c", "low"]


async def test_a_worker_keeps_to_its_concurrency(rig: Any) -> None:
    running, most = 0, 0
    three = asyncio.Event()

    @step
    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if most == 3:
            three.set()
        await three.wait()
        await asyncio.sleep(0.01)
        running -= 1

    @workflow
    async def wf(ctx: Context) -> None:
        await ctx.step(work)

    async with rig.serving(wf, concurrency=3) as client:
        handles = [await client.start(wf) for _ in range(12)]
        for handle in handles:
            await rig.end(handle)
    assert most == 3


@pytest.mark.slow
async def test_the_concurrency_of_a_workflow_holds_beside_others(rig: Any) -> None:
    running, most = 0, 0
    others: list[int] = []

    @step
    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1

    @step
    async def quick(n: int) -> None:
        others.append(running)

    @workflow(concurrency=2)
    async def narrow(ctx: Context) -> None:
        await ctx.step(work)

    @workflow
    async def free(ctx: Context, n: int) -> None:
        await ctx.step(quick, n)

    async with connect(rig.url) as client:
        handles: list[Any] = [await client.start(narrow) for _ in range(8)]
        handles += [await client.start(free, n) for n in range(8)]
        async with rig.worker(client, narrow, free):
            for handle in handles:
                await rig.end(handle)
    assert most == 2
    assert len(others) == 8


async def test_a_waiting_run_does_not_count_for_the_concurrency_of_its_workflow(rig: Any) -> None:
    @workflow(concurrency=1)
    async def wf(ctx: Context, n: int) -> int:
        await ctx.wait_for_signal("go")
        return n

    async with rig.serving(wf) as client:
        handles = [await client.start(wf, n) for n in range(3)]
        for handle in handles:
            await rig.waits(handle, "go")
        for handle in reversed(handles):
            await handle.signal("go")
        assert [await rig.end(handle) for handle in handles] == [0, 1, 2]


async def test_a_step_with_a_queue_is_carried_out_by_a_worker_of_that_queue(rig: Any) -> None:
    where: list[str] = []

    @step(queue="gpu")
    async def render(frame: int) -> str:
        where.append(f"render {frame}")
        return f"image {frame}"

    @workflow
    async def film(ctx: Context, frames: int) -> list[str]:
        return await asyncio.gather(*(ctx.step(render, n) for n in range(frames)))

    async with rig.serving(film) as client:
        handle = await client.start(film, 3)
        await rig.waits(handle, "child")
        assert where == []
        async with connect(rig.url) as other, rig.worker(other, steps=[render], queues=["gpu"]):
            assert await rig.end(handle) == ["image 0", "image 1", "image 2"]
        assert await client.count(parent=handle.id) == 3
    assert sorted(where) == ["render 0", "render 1", "render 2"]


async def test_a_remote_step_keeps_its_retries_and_raises_its_own_error(rig: Any) -> None:
    calls = []

    @step(queue="gpu", retry=Retry(3, initial=0))
    async def render(frame: int) -> str:
        calls.append(frame)
        raise LookupError("no such frame")

    @workflow
    async def film(ctx: Context) -> str:
        try:
            return await ctx.step(render, 1)
        except LookupError as error:
            return str(error)

    async with rig.serving(film, steps=[render], queues=["default", "gpu"]) as client:
        assert "no such frame" in await rig.run(client, film)
    assert len(calls) == 3


async def test_a_call_may_send_a_step_to_another_queue(rig: Any) -> None:
    @step
    async def render(frame: int) -> int:
        return frame

    @workflow
    async def film(ctx: Context) -> int:
        return await ctx.step(render.options(queue="gpu"), 4)

    async with rig.serving(film) as client:
        handle = await client.start(film)
        await rig.waits(handle, "child")
        async with connect(rig.url) as other, rig.worker(other, steps=[render], queues=["gpu"]):
            assert await rig.end(handle) == 4


async def test_a_cancelled_remote_step_is_cancelled_where_it_runs(rig: Any) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    @step(queue="gpu")
    async def render() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    @workflow
    async def film(ctx: Context) -> None:
        await ctx.step(render)

    async with rig.serving(film, steps=[render], queues=["default", "gpu"]) as client:
        handle = await client.start(film)
        await begun.wait()
        await handle.cancel()
        await rig.state(handle, "cancelled")
        await asyncio.wait_for(cancelled.wait(), 2)


@pytest.mark.slow
async def test_rule_9_runs_of_code_that_nobody_has_do_not_hold_up_others(rig: Any) -> None:
    """B118."""

    @workflow
    async def unknown(ctx: Context) -> None: ...

    @workflow
    async def known(ctx: Context, n: int) -> int:
        return n

    async with connect(rig.url) as client:
        for n in range(120):
            await client.start(unknown, priority=9)
        async with rig.worker(client, known):
            assert [await rig.run(client, known, n) for n in range(3)] == [0, 1, 2]
            assert await client.count(status="pending") == 120
            row = (await client.store.get([(await client.list(workflow="unknown")).runs[0].id]))[0]
            assert row.strikes == 0
            assert row.epoch == 0


async def test_the_queue_of_workflow_options_is_used_by_start(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> None: ...

    async with connect(rig.url) as client:
        await client.start(wf.options(queue="mail"), id="r")
        assert (await client.list()).runs[0].queue == "mail"


async def test_a_worker_on_other_queues_still_closes_the_children_of_ended_runs(rig: Any) -> None:
    """Rule 19: any worker's poll closes them."""

    @workflow
    async def child(ctx: Context) -> None:
        await ctx.wait_for_signal("never")

    @workflow
    async def parent(ctx: Context) -> None:
        await ctx.child(child.options(id="c"))

    async with connect(rig.url) as client:
        async with rig.worker(client, parent, child):
            handle = await client.start(parent)
            await rig.until(lambda: _exists(client, "c"))
            await rig.waits(client.handle("c"), "never")
            await rig.waits(handle, "child")
        await handle.terminate()

        @workflow
        async def stranger(ctx: Context) -> None: ...

        async with connect(rig.url) as other, rig.worker(other, stranger, queues=["elsewhere"]):
            await rig.until(lambda: _closed(other, handle.id))
        async with connect(rig.url) as third, rig.worker(third, child):
            await rig.state(client.handle("c"), "cancelled")


async def _exists(client: Any, run: str) -> bool:
    return (await client.store.get([run]))[0] is not None


async def _closed(client: Any, run: str) -> bool:
    return not (await client.store.get([run]))[0].closing


async def test_one_failing_workflow_does_not_disturb_its_neighbours(rig: Any) -> None:
    @workflow
    async def bad(ctx: Context, n: int) -> None:
        raise ValueError(n)

    @workflow
    async def good(ctx: Context, n: int) -> int:
        return n

    async with rig.serving(bad, good) as client:
        failing = [await client.start(bad, n) for n in range(10)]
        passing = [await client.start(good, n) for n in range(10)]
        assert [await rig.end(handle) for handle in passing] == list(range(10))
        for handle in failing:
            with pytest.raises(RunFailed):
                await rig.end(handle)


async def test_two_workers_of_one_client_may_carry_out_the_same_steps(memory: Any) -> None:
    @step(queue="side")
    async def work(n: int) -> int:
        return n + 1

    @workflow
    async def wf(ctx: Context) -> int:
        return await ctx.step(work, 1)

    async with connect(memory.url) as client:
        options: dict[str, Any] = {"steps": [work], "queues": ["default", "side"]}
        async with memory.worker(client, wf, **options), memory.worker(client, wf, **options):
            assert await memory.run(client, wf) == 2
