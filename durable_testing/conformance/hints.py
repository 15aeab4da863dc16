"""Wake-up hints: never the correctness path, but they should come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from durable.store import Ended, RunStatus, Terminate, Waiting
from durable_testing.conformance.bench import Bench, new_run, signal

__all__ = ["Hints"]

PATIENCE_SECONDS = 5.0


class Hints(Bench):
    """``Store.changes``."""

    async def hinted(self, changes: AsyncIterator[None]) -> bool:
        """Whether a hint comes."""
        try:
            await asyncio.wait_for(anext(changes), PATIENCE_SECONDS)
        except (TimeoutError, StopAsyncIteration):
            return False
        return True

    async def quiet(self, changes: AsyncIterator[None]) -> asyncio.Task[None]:
        """Take the hints that are due, and wait for the next in the background."""

        async def following() -> None:
            await anext(changes)

        task = asyncio.ensure_future(following())
        for _ in range(20):
            await asyncio.sleep(0)  # noqa: TID251  (one turn of the loop, no time)
        while task.done():
            task = asyncio.ensure_future(following())
            for _ in range(20):
                await asyncio.sleep(0)  # noqa: TID251
        return task

    async def expect(self, act: Callable[[], Awaitable[object]]) -> None:
        """Somebody who already waits is woken by ``act``."""
        changes = self.store.changes()
        waiting = await self.quiet(changes)
        await act()
        await asyncio.wait_for(waiting, PATIENCE_SECONDS)

    async def test_a_new_run_gives_a_hint(self) -> None:
        await self.expect(lambda: self.create())

    async def test_a_message_gives_a_hint(self) -> None:
        await self.create()
        await self.expect(lambda: self.send("m"))

    async def test_an_operators_verb_gives_a_hint(self) -> None:
        await self.create()
        await self.expect(lambda: self.control(Terminate("enough", b"")))

    async def test_a_run_that_comes_to_rest_or_ends_gives_a_hint(self) -> None:
        grip = await self.grip("waits")
        await self.expect(lambda: grip.commit(b"e", then=Waiting(None, 0)))
        last = await self.grip("ends")
        await self.expect(lambda: last.commit(b"e", then=Ended(RunStatus.COMPLETED, b"")))

    async def test_a_commit_that_sends_gives_a_hint(self) -> None:
        await self.create("other")
        worker = self.worker()
        await worker.one()
        grip = await self.grip(worker=worker)
        await self.expect(lambda: grip.commit(b"e", messages=(signal("m", "other"),)))

    async def test_who_leaves_gives_a_hint(self) -> None:
        worker = self.worker()
        await self.grip(worker=worker)
        await self.expect(lambda: self.store.leave(worker.session.id))

    async def test_everybody_who_listens_is_told(self) -> None:
        first, second = self.store.changes(), self.store.changes()
        waiting = [await self.quiet(first), await self.quiet(second)]
        await self.create()
        await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE_SECONDS)

    async def test_a_hint_that_came_while_nobody_waited_is_not_lost(self) -> None:
        changes = self.store.changes()
        (await self.quiet(changes)).cancel()
        await self.create()
        assert await self.hinted(changes)

    async def test_other_sessions_writes_give_hints_if_the_store_says_so(self) -> None:
        if not self.store.hinted:
            return
        other = await self.twin()
        await self.expect(lambda: other.create([new_run("from the other")]))

    async def test_the_iterator_ends_when_the_store_is_closed(self) -> None:
        twin = await self.twin()
        changes = twin.changes()

        async def until_the_end() -> None:
            async for _ in changes:
                pass

        task = asyncio.ensure_future(until_the_end())
        await asyncio.sleep(0)  # noqa: TID251
        await twin.close()
        await asyncio.wait_for(task, PATIENCE_SECONDS)

    async def test_changes_of_a_closed_store_end_at_once(self) -> None:
        twin = await self.twin()
        await twin.close()
        assert not await self.hinted(twin.changes())
