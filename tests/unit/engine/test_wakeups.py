"""A hint is never missed between a look and a wait; here polling is too rare to hide that."""

import asyncio
from typing import Any

from durable import Client, Context, Worker, connect, workflow
from durable._engine.connect import open_store
from durable.store import Rhythm

FAR_SECONDS = 600.0


class StaleStore:
    """Reads rows when it is asked to, and hands them over when the test lets it."""

    rhythm = Rhythm(look_seconds=FAR_SECONDS)

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.read = asyncio.Event()
        self.gate = asyncio.Event()

    async def get(self, runs: Any) -> Any:
        rows = await self._inner.get(runs)
        self.read.set()
        await self.gate.wait()
        return rows

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


async def test_a_change_while_the_watch_looks_is_not_missed(rig: Any) -> None:
    """B2: who waits for a run listens first, and looks then."""

    @workflow
    async def wf(ctx: Context) -> str:
        return await ctx.wait_for_signal("go", str)

    store: Any = StaleStore(open_store(rig.url))
    async with connect(rig.url) as other, rig.worker(other, wf):
        handle = await other.start(wf)
        await rig.waits(handle, "go")
        async with Client(store) as client:
            result = asyncio.ensure_future(client.handle(handle.id).result())
            await store.read.wait()
            await handle.signal("go", "on")
            assert await rig.end(handle) == "on"
            await asyncio.sleep(0.3)  # a SQLite file is looked at every so often for other processes' writes
            store.gate.set()
            async with asyncio.timeout(5):
                assert await result == "on"


async def test_runs_that_end_elsewhere_are_seen_while_others_end_here_all_the_time() -> None:
    """Found by the long life with two processes: who was busy with its own runs did not look for those of others."""

    @workflow
    async def near(ctx: Context) -> None: ...

    @workflow
    async def far(ctx: Context) -> str:
        return await ctx.wait_for_signal("go", str)

    url = "memory://busy-watch"
    async with connect(url) as here, connect(url) as elsewhere, Worker(elsewhere, workflows=[near, far]):
        ended = [await here.start(near) for _ in range(8)]
        for handle in ended:
            await handle.result()

        async def be_busy() -> None:
            while True:  # each of these is told of by name, and there is always another one
                await asyncio.gather(*(handle.result() for handle in ended))

        handle = await here.start(far)
        busy = [asyncio.create_task(be_busy()) for _ in range(4)]
        waiting = asyncio.create_task(handle.result())
        await asyncio.sleep(0.05)
        await elsewhere.signal(handle.id, "go", "on")
        async with asyncio.timeout(5):
            assert await waiting == "on"
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)


async def test_who_gives_up_waiting_for_a_change_is_forgotten_before_anything_changes() -> None:
    async with connect("memory://") as client:
        changes = client.link.changes
        kept = changes.future()
        for _ in range(5_000):  # an idle worker's polls
            changes.future().cancel()
        assert len(changes._waiters) <= 64
        changes.notify()
        assert kept.done()
