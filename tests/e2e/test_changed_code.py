"""Code that has changed under its runs in ways that replay cannot refuse, and what must hold all the same."""

import asyncio
from typing import Any

import pytest

from durable import Context, Done, NotDone, Signal, connect, step, workflow

done: list[str] = []


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    done.clear()


@step
async def one() -> str:
    done.append("one")
    return "1"


@workflow
async def child(ctx: Context) -> str:
    await ctx.step(one)
    return "grown"


async def rested(rig: Any, old: Any, *others: Any) -> None:
    async with connect(rig.url) as client, rig.worker(client, old, *others):
        await rig.waits(await client.start(old, id="run"), "go")


async def test_a_child_asked_for_in_a_part_that_has_run_before_is_started(rig: Any) -> None:
    """Replay takes the start for done, as all that its activation fired; the run would wait for nobody, for ever."""

    @workflow("job")
    async def old(ctx: Context) -> Any:
        return await ctx.wait_for_signal("go")

    @workflow("job")
    async def new(ctx: Context) -> Any:
        return await asyncio.gather(ctx.child(child), ctx.wait_for_signal("go"))

    await rested(rig, old)
    async with connect(rig.url) as client, rig.worker(client, new, child):
        await client.signal("run", "go", "said")
        assert await rig.end(client.handle("run", new)) == ["grown", "said"]
    assert done == ["one"]


async def test_children_that_were_started_before_are_not_started_again(rig: Any) -> None:
    @workflow("job")
    async def parent(ctx: Context) -> Any:
        return await asyncio.gather(*(ctx.child(child) for _ in range(25)), ctx.wait_for_signal("go"))

    await rested(rig, parent, child)
    async with connect(rig.url) as client, rig.worker(client, parent, child):
        await client.signal("run", "go", "said")
        assert len(await rig.end(client.handle("run", parent))) == 26
    assert len(done) == 25


@pytest.mark.parametrize("answer", ["none", "done", "not done"])
async def test_a_step_put_in_front_of_a_cut_at_most_once_step_does_not_let_it_run_twice(rig: Any, answer: str) -> None:
    """Tolerant replay comes to the call only behind the new step; the note of its attempt must be known then."""
    began: list[int] = []

    def what_happened(key: str) -> Any:
        return Done("paid") if answer == "done" else NotDone()

    @step(effect="at_most_once", check=None if answer == "none" else what_happened)
    async def pay() -> str:
        began.append(1)
        if len(began) == 1:
            await asyncio.sleep(60)
        return "paid the second time"

    @workflow("job", replay="tolerant")
    async def old(ctx: Context) -> str:
        return await ctx.step(pay)

    @workflow("job", replay="tolerant")
    async def new(ctx: Context) -> str:
        await ctx.step(one)
        return await ctx.step(pay)

    async with connect(rig.url) as client:
        worker = rig.worker(client, old)
        await worker._start()
        await client.start(old, id="run")
        await rig.until(lambda: began)
        await rig.crash(worker)
    async with connect(rig.url) as client, rig.worker(client, new):
        handle = client.handle("run", new)
        if answer == "none":
            status = await rig.state(handle, "blocked")
            assert "the outcome of step 'pay' is unknown" in status.error
            await handle.settle("pay", result="paid, says a person")
            assert await rig.end(handle) == "paid, says a person"
        else:
            assert await rig.end(handle) == ("paid" if answer == "done" else "paid the second time")
    assert len(began) == (2 if answer == "not done" else 1)
    assert done == ["one"]


async def test_a_signal_or_a_childs_result_of_another_type_blocks_the_run_and_does_not_fail_it(rig: Any) -> None:
    """As with the result of a step: a deploy can mend it."""
    words, numbers = Signal("word", str), Signal("word", int)

    @workflow("grown")
    async def spoken(ctx: Context) -> str:
        return "seven"

    @workflow("grown")
    async def counted(ctx: Context) -> int:
        return 7

    def job(asks: Any, signal: Any) -> Any:
        @workflow("job")
        async def job(ctx: Context) -> Any:
            got = await ctx.wait_for_signal(signal) if signal is not None else await ctx.child(asks)
            await ctx.wait_for_signal("go")
            return got

        return job

    for run, old, new in (
        ("signal", job(None, words), job(None, numbers)),
        ("child", job(spoken, None), job(counted, None)),
    ):
        async with connect(rig.url) as client, rig.worker(client, old, spoken):
            handle = await client.start(old, id=run)
            await handle.signal(words, "seven")
            await rig.waits(handle, "go")
        async with connect(rig.url) as client, rig.worker(client, new):
            handle = client.handle(run)
            await handle.signal("go")
            status = await rig.state(handle, "blocked")
            assert "cannot be read by this code" in status.error
        async with connect(rig.url) as client, rig.worker(client, old):
            await client.handle(run).resume()
            assert await rig.end(client.handle(run, old)) == "seven"
