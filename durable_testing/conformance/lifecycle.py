"""Opening, closing and dedicated twins."""

from __future__ import annotations

import asyncio

from durable.store import RunId
from durable_testing.conformance.bench import Bench, new_run

__all__ = ["Lifecycle"]


class Lifecycle(Bench):
    """``open``, ``close``, ``dedicated``."""

    async def test_close_may_be_called_twice(self) -> None:
        twin = await self.twin()
        await twin.close()
        await twin.close()

    async def test_close_may_be_called_on_a_store_that_was_never_opened(self) -> None:
        await self.store.dedicated().close()

    async def test_a_store_outlives_its_twins(self) -> None:
        twin = await self.twin()
        await twin.create([new_run("r")])
        await twin.close()
        assert (await self.row()).id == "r"
        await self.create("s")

    async def test_a_twin_outlives_its_origin(self) -> None:
        origin = await self.twin()
        twin = origin.dedicated()
        await twin.open()
        await origin.close()
        await twin.create([new_run("r")])
        await twin.close()
        assert (await self.row()).id == "r"

    async def test_a_dedicated_store_works_in_another_thread_with_its_own_loop(self) -> None:
        twin = self.store.dedicated()

        async def work() -> None:
            await twin.open()
            await twin.create([new_run("from a thread")])
            await twin.close()

        await asyncio.to_thread(lambda: asyncio.run(work()))
        assert await self.store.input(RunId("from a thread")) is not None

    async def test_two_threads_write_at_once_and_nothing_is_lost(self) -> None:
        twin = self.store.dedicated()

        async def work() -> None:
            await twin.open()
            for n in range(50):
                await twin.create([new_run(f"t{n}")])
            await twin.close()

        thread = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(work())))
        for n in range(50):
            await self.create(f"m{n}")
        await thread
        rows = await self.store.get([RunId(f"{who}{n}") for who in "tm" for n in range(50)])
        assert all(row is not None for row in rows)
