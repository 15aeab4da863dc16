"""What a hostile reading found: each of these once lost something, or left a run stuck."""

import asyncio
from typing import Any

import pytest

from durable import Completion, Context, Corrupt, Retry, RunFailed, Transient, connect, step, workflow
from tests.unit.engine.faults import faulty_client


async def test_hostile_signal_behind_a_thousand_others(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> Any:
        return await ctx.wait_for_signal("wanted")

    async with connect(rig.url) as client:
        handle = await client.start(wf)
        for n in range(1005):
            await handle.signal("noise", n)
        await handle.signal("wanted", 7)
        async with rig.worker(client, wf):
            assert await rig.end(handle) == 7


async def test_hostile_cancel_behind_a_thousand_others(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> Any:
        return await ctx.wait_for_signal("wanted")

    async with connect(rig.url) as client:
        async with rig.worker(client, wf):
            handle = await client.start(wf)
            await rig.waits(handle, "wanted")
        for n in range(1005):
            await handle.signal("noise", n)
        await handle.cancel()
        async with rig.worker(client, wf):
            await rig.state(handle, "cancelled")


async def test_hostile_transient_in_rewind(rig: Any) -> None:
    bad = [1]

    @step
    async def s() -> int:
        if bad:
            raise ValueError("x")
        return 1

    @workflow
    async def wf(ctx: Context) -> Any:
        return await ctx.step(s)

    client, store = faulty_client(rig.url)
    async with client:
        async with rig.worker(client, wf):
            handle = await client.start(wf)
            with pytest.raises(RunFailed):
                await rig.end(handle)
        bad.clear()
        await handle.retry()
        store.fail("journal", lambda: Transient("x"))
        async with rig.worker(client, wf):
            assert await rig.end(handle) == 1


async def test_hostile_on_complete_big(rig: Any) -> None:
    got: list[Any] = []

    @step
    async def note(c: str) -> None:
        got.append(c)

    @workflow
    async def done(ctx: Context, c: Completion) -> None:
        await ctx.step(note, c.kind)

    @workflow
    async def wf(ctx: Context) -> str:
        return "x" * (1024 * 1024 - 60)

    async with rig.serving(wf, done) as client:
        handle = await client.start(wf, on_complete=done)
        await rig.end(handle)
        await rig.until(lambda: got)


async def test_hostile_huge_error(rig: Any) -> None:
    @step
    async def s() -> None:
        raise ValueError("x" * 5_000_000)

    @workflow
    async def wf(ctx: Context) -> None:
        await ctx.step(s)

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        with pytest.raises(RunFailed):
            await rig.end(handle)


async def test_hostile_surrogate_error(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> None:
        raise ValueError("\ud800")

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        with pytest.raises(RunFailed):
            await rig.end(handle)


async def test_hostile_when_raises(rig: Any) -> None:
    def when(e: Any) -> bool:
        raise RuntimeError("no")

    @workflow(retry=Retry(when=when))
    async def wf(ctx: Context) -> None:
        raise ValueError("boom")

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        with pytest.raises(RunFailed):
            await rig.end(handle)


async def test_hostile_corrupt_wakes_waiters(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> None:
        await ctx.wait_for_signal("never")

    client, store = faulty_client(rig.url)
    async with client:
        handle = await client.start(wf)
        waiting = asyncio.ensure_future(handle.result())
        await asyncio.sleep(0.05)
        store.fail("get", lambda: Corrupt("x"))
        await handle.signal("look again")
        with pytest.raises(Corrupt):
            await asyncio.wait_for(waiting, 3)


async def test_hostile_timeout_in_outage(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> None:
        await ctx.wait_for_signal("never")

    client, store = faulty_client(rig.url)
    async with client:
        handle = await client.start(wf)
        store.fail("get", lambda: Transient("x"), when=lambda n: True)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(handle.result(timeout=0.3), 4)


async def test_hostile_retry_of_a_parent_with_named_child(rig: Any) -> None:
    bad = [1]

    @step
    async def s() -> int:
        if bad:
            raise ValueError("x")
        return 1

    @workflow
    async def child(ctx: Context) -> int:
        return await ctx.step(s)

    @workflow
    async def wf(ctx: Context) -> int:
        return await ctx.child(child.options(id="kid"))

    async with rig.serving(wf, child) as client:
        handle = await client.start(wf)
        with pytest.raises(RunFailed):
            await rig.end(handle)
        bad.clear()
        await handle.retry()
        assert await rig.end(handle) == 1


class Hook:
    def __init__(self) -> None:
        self.bad = 0

    def encode(self, data: bytes) -> bytes:
        if self.bad:
            self.bad -= 1
            raise ConnectionError("kms")
        return data

    def decode(self, data: bytes) -> bytes:
        return data


async def test_hostile_hook_outage(rig: Any) -> None:
    hook = Hook()

    @step
    async def s() -> int:
        hook.bad = 2
        return 1

    @workflow
    async def wf(ctx: Context) -> int:
        return await ctx.step(s)

    async with connect(rig.url, codec=hook) as client, rig.worker(client, wf):
        handle = await client.start(wf)
        status = await rig.state(handle, "failed", "completed", "blocked")
        assert status.state == "completed"


async def test_hostile_hook_outage_at_end(rig: Any) -> None:
    hook = Hook()

    @workflow
    async def wf(ctx: Context) -> int:
        return 1

    async with connect(rig.url, codec=hook) as client, rig.worker(client, wf):
        handle = await client.start(wf, delay=0.05)
        hook.bad = 2
        status = await rig.state(handle, "failed", "completed", "blocked")
        assert status.state == "blocked"  # resume goes on
        hook.bad = 0
        await handle.resume()
        assert await rig.end(handle) == 1


async def test_hostile_resume_while_pausing_commit_in_outage(rig: Any) -> None:
    go = asyncio.Event()

    @step
    async def s() -> int:
        await go.wait()
        return 1

    @workflow
    async def wf(ctx: Context) -> int:
        await ctx.step(s)
        return await ctx.step(s)

    client, store = faulty_client(rig.url)
    async with client, rig.worker(client, wf):
        handle = await client.start(wf)
        await rig.state(handle, "running")
        await handle.pause()
        await asyncio.sleep(0.2)
        down = [True]
        store.fail("commit", lambda: Transient("x"), when=lambda n: n >= 2 and bool(down))
        go.set()
        await rig.until(lambda: store.failed["commit"])
        await handle.resume()
        down.clear()
        assert await rig.end(handle) == 1


async def test_hostile_cancel_of_a_delayed_generation(rig: Any) -> None:
    @workflow(retry=Retry(initial=3600, max_interval=3600))
    async def wf(ctx: Context) -> None:
        raise ValueError("boom")

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        await rig.state(handle, "pending")
        await rig.until(lambda: _gen(handle))
        await handle.cancel()
        await rig.state(handle, "cancelled")


async def _gen(handle: Any) -> bool:
    return (await handle.status()).generation == 2
