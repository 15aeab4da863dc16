"""How long ended runs are kept: by how they ended, whoever ended them; and what those hear who still ask for them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from durable import (
    Client,
    Context,
    InvalidInput,
    NonRetryable,
    Retention,
    RunEnded,
    RunNotFound,
    connect,
    step,
    workflow,
)
from durable._engine import retention
from durable._engine.connect import open_store


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers look for expired runs all the time."""
    monkeypatch.setattr(retention, "_EVERY_SECONDS", 0.02)


async def ids(client: Any) -> set[str]:
    return {run.id for run in await client.list()}


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("kept", ["completed", "failed", "cancelled"])
async def test_each_way_to_end_has_a_retention_of_its_own(rig: Any, kept: Any) -> None:
    times: dict[str, Any] = {status: "10ms" for status in ("completed", "failed", "cancelled") if status != kept}

    @workflow(retention=Retention(**times))
    async def wf(ctx: Context, how: str) -> None:
        if how == "failed":
            raise NonRetryable(how)
        if how == "cancelled":
            await ctx.wait_for_signal("never")

    async with rig.serving(wf) as client:
        for how in ("completed", "failed", "cancelled"):
            handle = await client.start(wf, how, id=how)
            if how == "cancelled":
                await rig.waits(handle, "never")
                await handle.cancel()
        await rig.until(lambda: _is(client, {kept}))


async def _is(client: Any, wanted: set[str]) -> bool:
    return await ids(client) == wanted


@pytest.mark.usefixtures("often")
async def test_runs_that_the_store_ends_itself_are_not_kept_for_ever(rig: Any) -> None:
    """Found by the long life: a terminate, and the cancel of a run that had not begun, knew no retention."""

    @workflow(retention="10ms")
    async def wf(ctx: Context) -> None:
        await ctx.wait_for_signal("never")

    async with rig.serving(wf) as client:
        terminated = await client.start(wf)
        await rig.waits(terminated, "never")
        await terminated.terminate("enough")
        unbegun = await client.start(wf, delay="1h")
        await unbegun.cancel()
        await rig.until(lambda: _is(client, set()))


@pytest.mark.usefixtures("often")
async def test_the_run_of_a_step_on_a_queue_has_the_retention_of_the_step(rig: Any) -> None:
    @step(queue="far", retention="10ms")
    async def gone(number: int) -> int:
        return number

    @step(queue="far")
    async def kept(number: int) -> int:
        return number

    @workflow(retention=Retention(failed="10ms"))
    async def wf(ctx: Context) -> int:
        return await ctx.step(gone, 1) + await ctx.step(kept, 2)

    async with rig.serving(wf, steps=[gone, kept], queues=["default", "far"]) as client:
        handle = await client.start(wf, id="caller")
        assert await rig.end(handle) == 3
        await rig.until(lambda: _workflows_are(client, {"wf", "step:kept"}))


async def _workflows_are(client: Any, wanted: set[str]) -> bool:
    return {run.workflow for run in await client.list()} == wanted


@pytest.mark.usefixtures("often")
async def test_a_purged_id_may_be_used_again_and_a_live_child_outlives_its_purged_parent(rig: Any) -> None:
    @workflow
    async def child(ctx: Context) -> str:
        return await ctx.wait_for_signal("go", str)

    @workflow(retention=0)
    async def parent(ctx: Context) -> None:
        begun = asyncio.ensure_future(ctx.child(child.options(id="child", on_parent_close="abandon")))
        await ctx.sleep("1ms")  # the child has been started, and nobody waits for it
        begun.cancel()

    async with rig.serving(parent, child) as client:
        handle = await client.start(parent, id="parent")
        await rig.until(lambda: _is(client, {"child"}))
        with pytest.raises(RunNotFound, match="parent"):
            await handle.status()
        await client.signal("child", "go", "on")
        assert await rig.end(client.handle("child")) == "on"
        assert await client.purge(ids=["child"]) == 1
        again = await client.start(parent, id="parent")
        assert again.id == "parent"
        await rig.until(lambda: _is(client, {"child"}))


class SlowStore:
    """Hands rows over when the test lets it."""

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


async def test_who_waits_for_a_run_that_ends_and_is_purged_meanwhile_is_told_that_it_is_gone(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> str:
        return await ctx.wait_for_signal("go", str)

    store: Any = SlowStore(open_store(rig.url))
    async with connect(rig.url) as other, rig.worker(other, wf):
        handle = await other.start(wf)
        await rig.waits(handle, "go")
        async with Client(store) as client:
            waiting = asyncio.ensure_future(client.handle(handle.id).result())
            await store.read.wait()  # it has seen the run alive
            await handle.signal("go", "on")
            assert await rig.end(handle) == "on"
            assert await other.purge(ids=[handle.id]) == 1
            store.gate.set()
            with pytest.raises(RunNotFound):
                await waiting
            for verb in (handle.cancel(), handle.signal("go", "again"), handle.retry()):
                with pytest.raises((RunNotFound, RunEnded)):
                    await verb


def test_a_retention_says_which_of_its_times_is_none() -> None:
    with pytest.raises(InvalidInput, match="retention of failed runs"):
        Retention(failed="a while")
    with pytest.raises(InvalidInput, match="workflow retention"):
        workflow(retention="soon")
    with pytest.raises(InvalidInput, match="step retention"):
        step(retention=-1)
    assert Retention(completed=timedelta(days=7)) == Retention(completed=timedelta(days=7))
