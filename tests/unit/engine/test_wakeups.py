"""A hint is never missed between a look and a wait; here polling is too rare to hide that."""

import asyncio
from typing import Any

from durable import Client, Context, connect, workflow
from durable._engine.connect import open_store

FAR_SECONDS = 600.0


class StaleStore:
    """Reads rows when it is asked to, and hands them over when the test lets it."""

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
            client.link.changes.interval = FAR_SECONDS
            result = asyncio.ensure_future(client.handle(handle.id).result())
            await store.read.wait()
            await handle.signal("go", "on")
            assert await rig.end(handle) == "on"
            await asyncio.sleep(0.3)  # a SQLite file is looked at every so often for other processes' writes
            store.gate.set()
            async with asyncio.timeout(5):
                assert await result == "on"
