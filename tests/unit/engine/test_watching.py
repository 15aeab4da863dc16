"""Who waits for a run: what the process knows is not read, and what it does not know is not taken for known."""

import asyncio
from typing import Any

import pytest

from durable import Client, Context, RunCancelled, RunFailed, RunNotFound, connect, step, workflow
from durable._engine.connect import open_store
from durable.store import Commit, Ended, Rhythm
from tests.unit.engine.faults import faulty_client

FAR_SECONDS = 600.0


@step
async def one() -> int:
    return 1


@workflow
async def short(ctx: Context) -> int:
    return await ctx.step(one)


@workflow
async def waiting(ctx: Context) -> str:
    return await ctx.wait_for_signal("go", str)


class Rare:
    """A store that lets nobody look without a hint, and may hold back the answers of the commits that end runs."""

    rhythm = Rhythm(poll_seconds=FAR_SECONDS, look_seconds=FAR_SECONDS)

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.ended = asyncio.Event()
        self.answered = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.polls = asyncio.Event()
        self.polls.set()

    async def commit(self, commits: list[Commit]) -> Any:
        answers = await self._inner.commit(commits)
        if any(isinstance(commit.then, Ended) for commit in commits):
            self.ended.set()
            await self.gate.wait()
            self.answered.set()
        return answers

    async def poll(self, *asked: Any) -> Any:
        if self.ended.is_set():  # a worker that heard of the next generation first would drop what it holds
            await self.answered.wait()
        await self.polls.wait()
        return await self._inner.poll(*asked)

    async def renew(self, *asked: Any) -> Any:
        await self.polls.wait()
        return await self._inner.renew(*asked)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


async def test_the_result_of_a_run_of_this_process_is_not_read(rig: Any) -> None:
    client, store = faulty_client(rig.url)
    async with client, rig.worker(client, short):
        await rig.run(client, short)
        store.calls.clear()
        assert await rig.run(client, short) == 1
        assert store.calls["get"] == store.calls["outcome"] == 0
        assert store.calls["create"] == 1


async def test_the_result_of_a_run_that_has_ended_before_is_read(rig: Any) -> None:
    client, store = faulty_client(rig.url)
    async with client, rig.worker(client, short):
        handle = await client.start(short)
        assert await rig.end(handle) == 1
        store.calls.clear()
        assert await rig.end(handle) == 1
        assert store.calls["get"] == store.calls["outcome"] == 1
        with pytest.raises(RunNotFound):
            await rig.end(client.handle("nobody"))


async def test_a_failure_told_in_the_process_is_the_one_that_is_read_later(rig: Any) -> None:
    @workflow
    async def failing(ctx: Context) -> None:
        raise ValueError("no")

    async with rig.serving(failing) as client:
        handle = await client.start(failing)
        for _ in range(2):
            with pytest.raises(RunFailed) as raised:
                await rig.end(handle)
            assert repr(raised.value.__cause__) == "ValueError('no')"


async def test_who_comes_after_an_end_was_sent_is_not_given_an_end_that_a_retry_has_undone(rig: Any) -> None:
    """The answer to the commit comes late; in between somebody has begun the run again."""
    begun = 0

    @workflow
    async def wf(ctx: Context) -> str:
        nonlocal begun
        begun += 1
        if begun == 1:
            raise ValueError("at first")
        return "again"

    store: Any = Rare(open_store(rig.url))
    async with connect(rig.url) as other, Client(store) as client, rig.worker(client, wf):
        store.gate.clear()
        handle = await client.start(wf)
        early = asyncio.create_task(handle.result())
        await store.ended.wait()
        await other.handle(handle.id).retry()
        late = asyncio.create_task(handle.result())
        await asyncio.sleep(0)
        store.gate.set()
        assert await asyncio.wait_for(late, rig.soon(5)) == "again"
        with pytest.raises(RunFailed):
            await early


async def test_a_run_made_here_that_ends_elsewhere_is_seen_by_a_hint(rig: Any) -> None:
    store: Any = Rare(open_store(rig.url))
    async with connect(rig.url) as other, rig.worker(other, short, waiting):
        async with Client(store) as client, rig.worker(client, waiting, queues=("another",)):
            assert await rig.run(client, short) == 1
            handle = await client.start(waiting)
            result = asyncio.create_task(handle.result())
            await rig.waits(handle, "go")
            await other.signal(handle.id, "go", "on")
            assert await asyncio.wait_for(result, rig.soon(5)) == "on"


async def test_who_waits_for_an_old_run_is_told_by_hints_whatever_was_made_here_lately(rig: Any) -> None:
    """A run made here is expected to be told of by name for a moment only, also if nobody waited in that moment."""
    store: Any = Rare(open_store(rig.url))
    async with connect(rig.url) as other, rig.worker(other, waiting):
        async with Client(store) as client, rig.worker(client, waiting, queues=("another",)):
            handle = await client.start(waiting)
            await rig.waits(handle, "go")
            await asyncio.sleep(0.06)
            result = asyncio.create_task(handle.result())
            await asyncio.sleep(0.02)
            await other.signal(handle.id, "go", "on")
            assert await asyncio.wait_for(result, rig.soon(5)) == "on"


async def test_a_run_that_is_ended_under_its_worker_is_seen_to_have_ended(rig: Any) -> None:
    begun, never = asyncio.Event(), asyncio.Event()

    @step
    async def stuck() -> None:
        begun.set()
        await never.wait()

    @workflow
    async def wf(ctx: Context) -> None:
        await ctx.step(stuck)

    store: Any = Rare(open_store(rig.url))
    async with connect(rig.url) as other, Client(store) as client, rig.worker(client, wf):
        handle = await client.start(wf)
        result = asyncio.create_task(handle.result())
        await begun.wait()
        store.polls.clear()
        await other.handle(handle.id).terminate("enough")
        await asyncio.sleep(0.02)  # the hint has been heard, and the worker has not yet
        store.polls.set()
        with pytest.raises(RunCancelled):
            await asyncio.wait_for(result, rig.soon(5))


async def test_a_run_that_another_worker_has_taken_over_and_ended_is_seen_to_have_ended(rig: Any) -> None:
    """The hint comes while the worker of this process still believes that it holds the run."""
    begun, never = asyncio.Event(), asyncio.Event()

    @step
    async def stuck_at_first() -> str:
        if not begun.is_set():
            begun.set()
            await never.wait()
        return "elsewhere"

    @workflow
    async def wf(ctx: Context) -> str:
        return await ctx.step(stuck_at_first)

    store: Any = Rare(open_store(rig.url))
    async with connect(rig.url) as other, Client(store) as client:
        async with rig.worker(client, wf, lease=0.3, heartbeat="task"):
            handle = await client.start(wf)
            result = asyncio.create_task(handle.result())
            await begun.wait()
            store.polls.clear()  # neither polls nor renews
            async with rig.worker(other, wf):
                assert await rig.end(other.handle(handle.id)) == "elsewhere"
            await asyncio.sleep(0.02)  # the hint has been heard
            assert not result.done()
            store.polls.set()
            assert await asyncio.wait_for(result, rig.soon(5)) == "elsewhere"
