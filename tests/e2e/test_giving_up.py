"""What becomes of a child when its parent's code gives up waiting, and of results that do not fit."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from durable import Context, RunConflict, Signal, step, workflow

go = Signal("go", int)


async def test_a_blocked_child_is_cancelled_when_its_parent_gives_up(rig: Any) -> None:
    @workflow
    async def child(ctx: Context) -> None:
        with open("/dev/null"):  # forbidden: it blocks
            pass

    @workflow
    async def parent(ctx: Context) -> str:
        waiting = asyncio.ensure_future(ctx.child(child.options(id="blocked-child")))
        await ctx.wait_for_signal(go)
        waiting.cancel()
        return "gave up"

    async with rig.serving(parent, child) as client:
        handle = await client.start(parent)
        await rig.until(lambda: _state(client, "blocked-child", "blocked"))
        await handle.signal(go, 1)
        assert await rig.end(handle) == "gave up"
        await rig.state(client.handle("blocked-child"), "cancelled")


@pytest.mark.parametrize("policy", ["cancel", "terminate"])
async def test_a_child_given_up_in_the_activation_that_started_it_does_not_live_on(rig: Any, policy: Any) -> None:
    @workflow
    async def child(ctx: Context) -> None:
        await ctx.wait_for_signal("never")

    @workflow
    async def parent(ctx: Context) -> str:
        waiting = asyncio.ensure_future(ctx.child(child.options(id=f"short-{policy}", on_parent_close=policy)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting.cancel()
        await ctx.wait_for_signal(go)
        return "gave up"

    async with rig.serving(parent, child) as client:
        handle = await client.start(parent)
        await rig.until(lambda: _state(client, f"short-{policy}", "cancelled"))
        await handle.signal(go, 1)
        assert await rig.end(handle) == "gave up"


async def test_a_run_with_the_chosen_id_that_is_not_ours_is_left_alone(rig: Any) -> None:
    @workflow
    async def other(ctx: Context) -> int:
        return await ctx.wait_for_signal(go)

    @workflow
    async def parent(ctx: Context) -> str:
        waiting = asyncio.ensure_future(ctx.child(other.options(id="mine", on_parent_close="terminate")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting.cancel()
        try:
            await ctx.child(other.options(id="mine"))
        except RunConflict:
            return "taken"
        return "?"

    async with rig.serving(parent, other) as client:
        mine = await client.start(other, id="mine")
        assert await rig.end(await client.start(parent)) == "taken"
        await mine.signal(go, 7)
        assert await rig.end(mine) == 7


async def test_a_stored_result_that_does_not_fit_the_code_blocks_the_run(rig: Any) -> None:
    @step(name="answer")
    async def old() -> str:
        return "forty-two"

    @step(name="answer")
    async def new() -> int:
        return 42

    def made(answer: Any) -> Any:
        @workflow(name_of)
        async def wf(ctx: Context) -> str:
            value = await ctx.step(answer)
            await ctx.wait_for_signal(go)
            return f"{value!r}"

        return wf

    name_of = "misfit"
    first, second = made(old), made(new)
    async with rig.serving(first) as client:
        handle = await client.start(first, id="m")
        await rig.waits(handle, "go")
    async with rig.serving(second) as client:
        handle = client.handle("m", first)
        await handle.signal(go, 1)
        await rig.state(handle, "blocked")
        assert "does not fit" in await handle.explain() or "cannot be read" in await handle.explain()
    async with rig.serving(first) as client:
        handle = client.handle("m", first)
        await handle.resume()
        assert await rig.end(handle) == "'forty-two'"


async def _state(client: Any, run: str, state: str) -> bool:
    found = await client.list(id_prefix=run)
    return any(one.id == run and one.state == state for one in found.runs)
