"""Child runs: results, failures, what becomes of them when their parent ends."""

import asyncio
from typing import Any

import pytest

from durable import Context, RunCancelled, RunConflict, RunFailed, connect, step, workflow


@workflow
async def doubled(ctx: Context, n: int) -> int:
    return 2 * n


@workflow
async def waiting_child(ctx: Context) -> str:
    try:
        await ctx.wait_for_signal("never")
    except asyncio.CancelledError:
        ctx.set("cleaned", True)
        raise
    return "?"


async def test_a_parent_gets_its_childs_result(rig: Any) -> None:
    @workflow
    async def parent(ctx: Context) -> int:
        return await ctx.child(doubled, 21)

    async with rig.serving(parent, doubled) as client:
        handle = await client.start(parent)
        assert await rig.end(handle) == 42
        children = await client.list(parent=handle.id)
        assert [child.workflow for child in children] == ["doubled"]
        assert [row.event for row in await handle.history()] == ["child_ended"]


async def test_a_childs_failure_reaches_the_parent_with_its_cause(rig: Any) -> None:
    @workflow
    async def failing(ctx: Context) -> None:
        raise LookupError("nothing there")

    @workflow
    async def parent(ctx: Context) -> str:
        try:
            await ctx.child(failing)
        except RunFailed as error:
            return f"{type(error.__cause__).__name__}: {error.__cause__}"
        return "no error"

    async with rig.serving(parent, failing) as client:
        assert await rig.run(client, parent) == "LookupError: nothing there"


async def test_a_cancelled_child_is_run_cancelled_in_the_parent(rig: Any) -> None:
    @workflow
    async def parent(ctx: Context) -> str:
        try:
            await ctx.child(waiting_child.options(id="the-child"))
        except RunCancelled as error:
            return str(error)
        return "no error"

    async with rig.serving(parent, waiting_child) as client:
        handle = await client.start(parent)
        await rig.waits(handle, "child the-child")
        await rig.waits(client.handle("the-child"), "never")
        await client.cancel("the-child", "not needed")
        assert "not needed" in await rig.end(handle)


async def test_a_terminated_child_is_run_cancelled_in_the_parent(rig: Any) -> None:
    @workflow
    async def parent(ctx: Context) -> str:
        try:
            await ctx.child(waiting_child.options(id="t-child"))
        except RunCancelled:
            return "cancelled"
        return "no error"

    async with rig.serving(parent, waiting_child) as client:
        handle = await client.start(parent)
        await rig.waits(handle, "t-child")
        await client.handle("t-child").terminate("enough")
        assert await rig.end(handle) == "cancelled"


@pytest.mark.parametrize("end", ["completes", "fails", "is cancelled", "is terminated"])
async def test_rule_19_the_close_policies_hold_however_the_parent_ends(rig: Any, end: str) -> None:
    @workflow
    async def parent(ctx: Context) -> None:
        for policy in ("cancel", "terminate", "abandon"):
            asyncio.ensure_future(_ignore(ctx.child(waiting_child.options(id=policy, on_parent_close=policy))))
        await ctx.wait_for_signal("end")
        if end == "fails":
            raise ValueError("failed")

    async def _ignore(call: Any) -> None:
        try:
            await call
        except RunCancelled:
            pass

    async with rig.serving(parent, waiting_child) as client:
        handle = await client.start(parent)
        for name in ("cancel", "terminate", "abandon"):
            await rig.until(lambda name=name: _exists(client, name))
            await rig.waits(client.handle(name), "never")
        await rig.waits(handle, "end")
        if end == "is cancelled":
            await handle.cancel()
        elif end == "is terminated":
            await handle.terminate()
        else:
            await handle.signal("end")
        await rig.state(handle, "completed", "failed", "cancelled")
        assert (await rig.state(client.handle("cancel"), "cancelled")).values == {"cleaned": True}
        assert (await rig.state(client.handle("terminate"), "cancelled")).values == {}
        await asyncio.sleep(0.02)
        assert (await client.handle("abandon").status()).state == "waiting"


async def _exists(client: Any, run: str) -> bool:
    return bool((await client.list(id_prefix=run)).runs)


async def test_a_child_that_was_started_right_before_the_end_runs_if_abandoned(rig: Any) -> None:
    """B120."""

    @workflow
    async def parent(ctx: Context) -> str:
        asyncio.ensure_future(ctx.child(doubled.options(id="orphan", on_parent_close="abandon"), 4))
        await asyncio.sleep(0)
        return "gone"

    async with rig.serving(parent, doubled) as client:
        assert await rig.run(client, parent) == "gone"
        assert await rig.end(client.handle("orphan")) == 8


async def test_the_id_of_a_stranger_is_a_conflict_in_the_parent(rig: Any) -> None:
    @workflow
    async def parent(ctx: Context) -> str:
        try:
            await ctx.child(doubled.options(id="taken"), 1)
        except RunConflict as error:
            return error.run_id
        return "no error"

    async with rig.serving(parent, doubled) as client:
        assert await rig.run(client, doubled, 5, id="taken") == 10
        assert await rig.run(client, parent) == "taken"
        assert await rig.end(client.handle("taken", doubled)) == 10


async def test_two_children_of_one_run_cannot_have_one_id(rig: Any) -> None:
    @workflow
    async def parent(ctx: Context) -> list[str]:
        child = doubled.options(id="same")
        results = await asyncio.gather(ctx.child(child, 1), ctx.child(child, 2), return_exceptions=True)
        return [type(result).__name__ for result in results]

    async with rig.serving(parent, doubled) as client:
        assert await rig.run(client, parent) == ["int", "RunConflict"]


async def test_cancelling_the_await_of_a_child_cancels_the_child(rig: Any) -> None:
    @workflow
    async def parent(ctx: Context) -> str:
        child = asyncio.ensure_future(ctx.child(waiting_child.options(id="slow-child")))
        await ctx.wait_for_signal("enough")
        child.cancel()
        await asyncio.wait([child])
        await ctx.wait_for_signal("end")
        return "went on" if child.cancelled() else "no"

    async with rig.serving(parent, waiting_child) as client:
        handle = await client.start(parent)
        await rig.until(lambda: _exists(client, "slow-child"))
        await rig.waits(client.handle("slow-child"), "never")
        await handle.signal("enough")
        status = await rig.until(lambda: _cancelled(client, "slow-child"))
        assert status.values == {"cleaned": True}
        await handle.signal("end")
        assert await rig.end(handle) == "went on"


@pytest.mark.parametrize("policy", ["terminate", "abandon"])
async def test_giving_up_a_child_applies_its_close_policy(rig: Any, policy: str) -> None:
    @workflow
    async def parent(ctx: Context) -> None:
        try:
            async with asyncio.timeout(0.05):
                await ctx.child(waiting_child.options(id="c", on_parent_close=policy))  # type: ignore[arg-type]
        except TimeoutError:
            await ctx.wait_for_signal("end")

    async with rig.serving(parent, waiting_child) as client:
        handle = await client.start(parent)
        await rig.waits(handle, "end")
        if policy == "terminate":
            assert (await rig.until(lambda: _cancelled(client, "c"))).values == {}
        else:
            assert (await rig.state(client.handle("c"), "waiting", "running")).state != "cancelled"


async def _cancelled(client: Any, run: str) -> Any:
    if not await _exists(client, run):
        return None
    status = await client.handle(run).status()
    return status if status.state == "cancelled" else None


@pytest.mark.slow
async def test_more_children_in_one_activation_than_one_commit_holds(rig: Any) -> None:
    @workflow
    async def parent(ctx: Context) -> int:
        return sum(await asyncio.gather(*(ctx.child(doubled, n) for n in range(150))))

    async with rig.serving(parent, doubled) as client:
        handle = await client.start(parent)
        assert await rig.end(handle) == 150 * 149
        assert await client.count(parent=handle.id) == 150


@pytest.mark.slow
@pytest.mark.parametrize("terminated", [False, True])
async def test_rule_19_more_children_than_one_page_are_closed(rig: Any, terminated: bool) -> None:
    """By the parent's own code, which gives them up; or by whoever closes a run that was ended from outside."""

    @workflow
    async def parent(ctx: Context) -> None:
        for _ in range(130):
            asyncio.ensure_future(ctx.child(waiting_child))
        await ctx.wait_for_signal("end")

    async with rig.serving(parent, waiting_child) as client:
        handle = await client.start(parent)
        await rig.until(lambda: _count(client, 130, parent=handle.id, status="waiting"))
        await (handle.terminate() if terminated else handle.signal("end"))
        await rig.until(lambda: _count(client, 130, parent=handle.id, status="cancelled"))


async def _count(client: Any, expected: int, **query: Any) -> bool:
    return await client.count(**query) == expected


async def test_children_inherit_queue_and_priority(rig: Any) -> None:
    @workflow
    async def parent(ctx: Context) -> int:
        return await ctx.child(doubled, 1)

    async with rig.serving(parent, doubled, queues=["mail"]) as client:
        handle = await client.start(parent, queue="mail", priority=3)
        assert await rig.end(handle) == 2
        [child] = (await client.list(parent=handle.id)).runs
        assert child.queue == "mail"
        assert (await client.store.get([child.id]))[0].priority == 3


async def test_a_child_of_a_child_and_its_cancel_reach_down(rig: Any) -> None:
    @workflow
    async def middle(ctx: Context) -> str:
        return await ctx.child(waiting_child.options(id="leaf"))

    @workflow
    async def top(ctx: Context) -> str:
        return await ctx.child(middle.options(id="middle"))

    async with rig.serving(top, middle, waiting_child) as client:
        handle = await client.start(top)
        await rig.until(lambda: _exists(client, "leaf"))
        await rig.waits(client.handle("leaf"), "never")
        await handle.cancel()
        for run in ("middle", "leaf"):
            await rig.state(client.handle(run), "cancelled")


@pytest.mark.slow
async def test_a_parent_that_moves_to_another_worker_still_gets_its_child(rig: Any) -> None:
    begun = asyncio.Event()
    go = asyncio.Event()

    @step
    async def hold() -> int:
        begun.set()
        await go.wait()
        return 5

    @workflow
    async def child(ctx: Context) -> int:
        return await ctx.step(hold)

    @workflow
    async def parent(ctx: Context) -> int:
        return await ctx.child(child) + await ctx.child(child)

    async with connect(rig.url) as client:
        worker = rig.worker(client, parent, child)
        await worker._start()
        handle = await client.start(parent)
        await begun.wait()
        await rig.crash(worker)
        go.set()
        async with connect(rig.url) as other, rig.worker(other, parent, child):
            assert await rig.end(handle) == 10
            assert await other.count(parent=handle.id) == 2
