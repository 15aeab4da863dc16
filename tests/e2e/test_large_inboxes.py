"""What a run waits for may lie behind megabytes of what nobody waits for."""

import asyncio
from typing import Any

import pytest

from durable import Context, connect, step, workflow
from durable.store import PAGE_SIZE_MAX, Message, MessageId, MessageKind, RunId

pytestmark = pytest.mark.slow

LARGE = "x" * 1_000_000
COUNT = 3  # more than one commit may weigh


async def crowded(client: Any, wf: Any) -> Any:
    handle = await client.start(wf)
    for _ in range(COUNT):
        await handle.signal("later", LARGE)
    return handle


async def test_a_signal_behind_megabytes_of_others_is_received(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> list[int]:
        first = await ctx.wait_for_signal("now", int)
        return [first, *[len(await ctx.wait_for_signal("later", str)) for _ in range(COUNT)]]

    async with connect(rig.url) as client:
        handle = await crowded(client, wf)
        await handle.signal("now", 7)
        async with rig.worker(client, wf):
            assert await rig.end(handle) == [7, *[len(LARGE)] * COUNT]


async def test_timers_and_children_behind_megabytes_of_signals_go_on(rig: Any) -> None:
    @step
    async def length(text: str) -> int:
        return len(text)

    @workflow
    async def child(ctx: Context, n: int) -> int:
        return n

    @workflow
    async def wf(ctx: Context) -> list[int]:
        await ctx.sleep(0.01)
        answers = await asyncio.gather(*(ctx.child(child, n) for n in range(3)), ctx.sleep(0.01))
        later = [await ctx.step(length, await ctx.wait_for_signal("later", str)) for _ in range(COUNT)]
        return [*answers[:3], *later]

    async with connect(rig.url) as client:
        handle = await crowded(client, wf)
        async with rig.worker(client, wf, child):
            assert await rig.end(handle) == [0, 1, 2, *[len(LARGE)] * COUNT]


async def test_a_cancel_behind_megabytes_of_signals_ends_the_run(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> None:
        await ctx.wait_for_signal("never")

    async with connect(rig.url) as client:
        async with rig.worker(client, wf):
            handle = await crowded(client, wf)
            await rig.waits(handle, "never")
            await handle.cancel()
            await rig.state(handle, "cancelled")


@pytest.mark.needs("hints", reason="its worker looks once an hour by itself")
async def test_a_held_run_gets_what_lies_behind_a_page_of_new_signals_without_waiting_for_a_look(rig: Any) -> None:
    go = asyncio.Event()
    got: list[int] = []

    @step
    async def hold() -> None:
        await go.wait()

    @step
    async def note(n: int) -> None:
        got.append(n)

    @workflow
    async def wf(ctx: Context) -> None:
        async def listen() -> None:
            await ctx.step(note, await ctx.wait_for_signal("wanted", int))

        await asyncio.gather(ctx.step(hold), listen())

    def signal(run: str, n: int, name: str) -> Message:
        return Message(RunId(run), MessageId(f"sig/{n}"), MessageKind.SIGNAL, name, b"7")

    async with rig.serving(wf, poll="1h", lease="1h") as client:
        handle = await client.start(wf)
        await rig.state(handle, "running")
        noise = [signal(handle.id, n, "noise") for n in range(PAGE_SIZE_MAX)]
        await client.store.send([*noise, signal(handle.id, PAGE_SIZE_MAX, "wanted")])
        await rig.until(lambda: got == [7])
        go.set()
        await rig.end(handle)
