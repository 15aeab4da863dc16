"""A client and event loops: its blocking twin, threads, other loops, and workflow code, where it has no place."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from durable import (
    Client,
    Context,
    DurableError,
    RunNotFound,
    Worker,
    connect,
    run,
    step,
    workflow,
)


@workflow
async def waiting(ctx: Context) -> None:
    await ctx.wait_for_signal("go")


@pytest.mark.slow
def test_the_blocking_twin_says_the_same_without_await(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context, n: int) -> int:
        ctx.emit("s", n)
        return n + await ctx.wait_for_signal("go")

    async def serve(ready: Any, stop: Any) -> None:
        async with rig.serving(wf):
            ready.set()
            while not stop.is_set():
                await asyncio.sleep(0.01)

    ready, stop = threading.Event(), threading.Event()
    server = threading.Thread(target=lambda: asyncio.run(serve(ready, stop)))
    server.start()
    try:
        assert ready.wait(5)
        with connect(rig.url).sync as client:
            handle = client.start(wf, 1, id="r")
            client.signal("r", "go", 41)
            assert handle.result(timeout=5) == 42
            assert handle.status().state == "completed"
            assert list(handle.stream("s")) == [1]
            assert client.count() == 1
            assert [run.id for run in client.list()] == ["r"]
            assert client.handle("r", wf).result() == 42
            with pytest.raises(RunNotFound):
                client.handle("nobody").status()
    finally:
        stop.set()
        server.join(5)


async def test_the_blocking_twin_refuses_to_block_a_loop(memory: Any) -> None:
    with pytest.raises(DurableError, match="event loop"):
        connect(memory.url).sync.__enter__()


async def test_a_client_is_of_the_loop_that_it_was_opened_in(rig: Any) -> None:
    """From another loop a call that went along with others was never answered: nobody woke its loop."""

    @workflow
    async def wf(ctx: Context) -> None: ...

    async with connect(rig.url) as client, rig.worker(client, wf):
        handle = await client.start(wf)
        calls: list[Callable[[], Any]] = [
            client.open,
            lambda: client.start(wf),
            lambda: client.start_many(wf.bind() for _ in range(3)),
            lambda: client.signal(handle.id, "go", 1),
            client.list,
            lambda: client.records.get("kind", "key"),
            handle.result,
            handle.status,
            handle.cancel,
            lambda: anext(aiter(handle.stream("s"))),
            Worker(client, workflows=[wf]).run,
        ]

        def elsewhere(call: Callable[[], Any]) -> None:
            async def run() -> None:
                await call()

            asyncio.run(run())

        for call in calls:
            with pytest.raises(DurableError, match="belongs to the event loop"):
                await asyncio.wait_for(asyncio.to_thread(elsewhere, call), 5)
        await handle.result(timeout=5)
        assert await client.count() == 1


async def test_the_blocking_twin_of_an_open_client_may_be_used_from_many_threads(rig: Any) -> None:
    @workflow
    async def child(ctx: Context, number: int) -> int:
        return number

    @step
    def starts(number: int) -> int:
        with client.sync as blocking:
            return sum(blocking.start(child, 10 * number + n).result(timeout=30) for n in range(10))

    @workflow
    async def wf(ctx: Context) -> list[int]:
        return await asyncio.gather(*(ctx.step(starts, number) for number in range(8)))

    async with connect(rig.url) as client, rig.worker(client, wf, child):
        handle = await client.start(wf)
        for n in range(20):
            await client.start(child, -n)
        assert await handle.result(timeout=60) == [sum(range(10 * number, 10 * number + 10)) for number in range(8)]
        assert await client.count() == 101


def test_the_blocking_twin_says_that_the_loop_of_its_client_has_ended(memory: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> None: ...

    inside, over = threading.Event(), threading.Event()
    said: list[str] = []

    def blocks(client: Client) -> None:
        with client.sync as blocking:
            handle = blocking.start(wf)
            inside.set()
            for call in (handle.result, handle.status):  # under way when the loop ends, and asked for after it
                with pytest.raises(DurableError) as raised:
                    call()
                said.append(str(raised.value))
                over.wait(5)

    async def main() -> threading.Thread:
        client = connect(memory.url)
        await client.open()
        thread = threading.Thread(target=blocks, args=(client,), daemon=True)
        thread.start()
        assert await asyncio.to_thread(inside.wait, 5)
        await asyncio.sleep(0.05)
        return thread

    thread = asyncio.run(main())
    over.set()
    thread.join(10)
    assert len(said) == 2
    assert all("has ended" in text for text in said)


@pytest.mark.parametrize("way", ["start", "sync", "connect"])
async def test_a_client_in_a_workflows_code_blocks_the_run_and_says_what_to_use(rig: Any, way: str) -> None:
    """One way sent to the other: "use the client itself", "use it by client.sync"."""

    @workflow
    async def child(ctx: Context) -> None: ...

    async def start() -> None:
        await client.start(child)

    async def sync() -> None:
        with client.sync as blocking:
            blocking.start(child)

    async def another() -> None:
        async with connect(rig.url):
            pass

    @workflow
    async def wf(ctx: Context) -> None:
        await {"start": start, "sync": sync, "connect": another}[way]()

    async with rig.serving(wf, child) as client:
        handle = await client.start(wf)

        async def blocked() -> bool:
            return (await handle.status()).state == "blocked"

        await rig.until(blocked)
        assert "ctx.child" in await handle.explain()


async def test_durable_run_says_what_to_write_in_a_running_loop() -> None:
    with pytest.raises(DurableError, match="async with connect"):
        run(waiting, store="memory://")


def test_threads_that_enter_the_blocking_twin_of_a_new_client_share_its_loop(rig: Any) -> None:
    """Found by a review: each made a loop of its own, and the first that left closed the client for all."""

    @workflow
    async def wf(ctx: Context, number: int) -> None: ...

    client, wrong = connect(rig.url), list[BaseException]()
    together = threading.Barrier(8)

    def use(number: int) -> None:
        try:
            together.wait()
            with client.sync as blocking:
                together.wait()
                for n in range(number):
                    blocking.start(wf, n)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []
    with connect(rig.url).sync as later:
        if not rig.url.startswith("memory"):
            assert later.count() == sum(range(8))
    with pytest.raises(DurableError, match="connect\\(\\) again"), client.sync:
        pass


async def test_the_blocking_twin_is_refused_where_it_would_wait_for_itself(memory: Any) -> None:
    client = connect(memory.url)
    blocking = await asyncio.to_thread(client.sync.__enter__)
    thread_of_the_loop: list[BaseException] = []

    async def inside() -> None:
        try:
            blocking.count()
        except DurableError as error:
            thread_of_the_loop.append(error)

    assert blocking._loop is not None
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(inside(), blocking._loop))
    assert "would block" in str(thread_of_the_loop[0])
    await asyncio.to_thread(blocking.__exit__, None, None, None)


def test_the_blocking_twin_of_a_client_whose_loop_stands_still_says_so(memory: Any) -> None:
    loop = asyncio.new_event_loop()
    client = connect(memory.url)
    loop.run_until_complete(client.open())
    with pytest.raises(DurableError, match="does not run"), client.sync:
        pass
    loop.run_until_complete(client.close())
    loop.close()


async def test_whoever_waits_for_a_client_to_be_opened_is_told_that_it_was_closed(memory: Any) -> None:
    client = connect(memory.url)
    go, opened = asyncio.Event(), client.store.open

    async def slowly() -> None:
        await go.wait()
        await opened()

    client.store.open = slowly  # type: ignore[method-assign]
    openers = [asyncio.create_task(client.open()) for _ in range(2)]
    await asyncio.sleep(0)
    await client.close()
    go.set()
    for outcome in await asyncio.gather(*openers, return_exceptions=True):
        assert isinstance(outcome, DurableError) and "closed" in str(outcome)
