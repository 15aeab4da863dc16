"""What the store has applied is delivered, after that and in that order, live as in every replay."""

import asyncio
from typing import Any

import pytest

from durable import Context, connect, step, workflow
from durable.store import PAGE_SIZE_MAX


async def test_an_outcome_is_durable_before_the_code_sees_it(rig: Any) -> None:
    """Commit before deliver: what the code has seen must not be undone by a crash."""
    seen: list[int] = []
    gate, asked = asyncio.Event(), asyncio.Event()

    @step
    async def work() -> int:
        return 1

    @workflow
    async def wf(ctx: Context) -> int:
        seen.append(await ctx.step(work))
        return seen[-1]

    async with connect(rig.url) as client:
        commit = client.store.commit

        async def slow(commits: Any) -> Any:
            if any(one.append for one in commits):
                asked.set()
                await gate.wait()
            return await commit(commits)

        client.store.commit = slow  # type: ignore[method-assign]
        async with rig.worker(client, wf):
            handle = await client.start(wf)
            await asked.wait()
            assert seen == []
            assert await handle.history() == []
            gate.set()
            assert await rig.end(handle) == 1
    assert seen == [1]


async def test_outcomes_of_one_commit_are_delivered_in_the_order_of_the_journal(rig: Any) -> None:
    begun: list[int] = []
    go = asyncio.Event()

    @step
    async def work(n: int) -> int:
        begun.append(n)
        await go.wait()
        return n

    @workflow
    async def wf(ctx: Context) -> list[int]:
        order: list[int] = []

        async def branch(n: int) -> None:
            order.append(await ctx.step(work, n))

        await asyncio.gather(*map(branch, range(10)))
        ctx.set("order", order)
        await ctx.wait_for_signal("end")
        return order

    async with connect(rig.url) as client:
        async with rig.worker(client, wf):
            handle = await client.start(wf)
            await rig.until(lambda: len(begun) == 10)
            go.set()
            await rig.waits(handle, "end")
        live = (await handle.values())["order"]
        journal = [row.value for row in await handle.history() if row.event == "step_completed"]
        assert live == journal
        async with connect(rig.url) as other, rig.worker(other, wf):
            await handle.signal("end")
            assert await rig.end(handle) == live


@pytest.mark.slow
async def test_a_journal_of_several_pages_is_replayed_to_its_end(rig: Any) -> None:
    count = PAGE_SIZE_MAX + 50
    runs: list[int] = []

    @step
    async def work(n: int) -> int:
        runs.append(n)
        return n

    @workflow
    async def wf(ctx: Context) -> int:
        total = sum(await asyncio.gather(*(ctx.step(work, n) for n in range(count))))
        await ctx.wait_for_signal("end")
        return total

    async with connect(rig.url) as client:
        async with rig.worker(client, wf):
            handle = await client.start(wf)
            await rig.waits(handle, "end")
        async with connect(rig.url) as other, rig.worker(other, wf):
            await handle.signal("end")
            assert await rig.end(handle) == sum(range(count))
    assert sorted(runs) == list(range(count))


@pytest.mark.slow
async def test_a_timer_that_comes_due_while_a_commit_is_on_its_way_is_not_missed(rig: Any) -> None:
    """B5: nothing else will happen that could hide it, for the other step takes as long as it likes."""
    woke: list[int] = []
    free = asyncio.Event()

    @step
    async def quick() -> None: ...

    @step
    async def long() -> None:
        await free.wait()

    @workflow
    async def wf(ctx: Context) -> str:
        async def nap() -> None:
            await ctx.sleep(0.1)
            woke.append(1)

        await asyncio.gather(ctx.step(quick), ctx.step(long), nap())
        return "done"

    async with connect(rig.url) as client:
        commit = client.store.commit

        async def slow(commits: Any) -> Any:
            if not woke and any(one.append for one in commits):
                await asyncio.sleep(0.3)
            return await commit(commits)

        client.store.commit = slow  # type: ignore[method-assign]
        async with rig.worker(client, wf):
            handle = await client.start(wf)
            await rig.until(lambda: woke)
            free.set()
            assert await rig.end(handle) == "done"
