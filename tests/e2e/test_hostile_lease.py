"""Leases that end at bad moments."""

import asyncio
from typing import Any

import pytest

from durable import Context, Transient, step, workflow
from tests.unit.engine.faults import faulty_client


async def test_hostile_a_step_that_waited_for_its_turn_begins_only_under_a_lease(rig: Any) -> None:
    """I3: the rate limit may hold a step longer than the lease lasts."""
    begun: list[tuple[int, bool]] = []
    workers: list[Any] = []

    @step(rate_limit="1/s")
    async def s(n: int) -> int:
        begun.append((n, workers[0]._lease.holds()))
        return n

    @workflow
    async def wf(ctx: Context) -> Any:
        return await asyncio.gather(ctx.step(s, 1), ctx.step(s, 2))

    client, store = faulty_client(rig.url)
    async with client:
        worker = rig.worker(client, wf, lease=0.4)
        workers.append(worker)
        async with worker:
            handle = await client.start(wf)
            await rig.until(lambda: begun)
            down = [True]
            store.fail("poll", lambda: Transient("x"), when=lambda n: bool(down))
            await worker._heartbeat.stop()
            await asyncio.sleep(1.2)
            assert [n for n, _ in begun] == [1]
            down.clear()
            assert await rig.end(handle) == [1, 2]
    assert all(held for _, held in begun)


@pytest.mark.parametrize("reads_before", [0, 1])
async def test_hostile_an_inbox_that_fills_while_a_retried_run_is_made_ready(rig: Any, reads_before: int) -> None:
    """A signal that comes with a poll between the reading of the inbox and the going live is not forgotten."""
    gate, read = asyncio.Event(), asyncio.Event()

    @workflow
    async def wf(ctx: Context) -> Any:
        if not await ctx.step("bad", lambda: bad[0]):
            return await ctx.wait_for_signal("n")
        raise ValueError("bad")

    bad = [True]

    client, store = faulty_client(rig.url)
    inner = store.inner

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return getattr(inner, name)

        async def messages(self, *args: Any, **kwargs: Any) -> Any:
            found = await inner.messages(*args, **kwargs)
            reads.append(1)
            if armed and len(reads) > reads_before:
                read.set()
                await gate.wait()
            return found

    armed: list[int] = []
    reads: list[int] = []
    store.inner = Slow()
    async with client, rig.worker(client, wf):
        handle = await client.start(wf)
        await rig.state(handle, "failed")
        bad[0] = False
        reads.clear()
        armed.append(1)
        await handle.retry(from_step="bad")
        await read.wait()
        read.clear()
        await handle.signal("n", 5)
        await asyncio.sleep(0.3)
        gate.set()
        assert await rig.end(handle) == 5
