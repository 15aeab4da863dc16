"""What the collector does in the middle of an activation concerns no run."""

import asyncio
import gc
import sys
from typing import Any

import pytest

from durable import Context, RunCancelled, step, workflow
from durable._author.parallel import run_all


class Loud:
    """An object whose end is reported as "Exception ignored in"."""

    def __del__(self) -> None:
        raise ValueError("not now")


async def test_an_exception_that_python_ignores_blocks_no_run(memory: Any, monkeypatch: Any, capfd: Any) -> None:
    # Python itself then prints the traceback, and opens this file for it.
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)

    @workflow
    async def wf(ctx: Context) -> str:
        Loud()
        return "fine"

    async with memory.serving(wf) as client:
        assert await memory.run(client, wf) == "fine"
    assert "not now" in capfd.readouterr().err


async def test_a_run_that_is_lost_while_it_is_replayed_is_closed_like_any_other(memory: Any) -> None:
    """Not left to the collector, which would run its clean-up somewhere in the middle of another run (B76)."""
    memory.cache = 0
    reading, go = asyncio.Event(), asyncio.Event()
    ends: list[str] = []

    @step
    async def begin() -> None: ...

    @workflow
    async def wf(ctx: Context) -> None:
        try:
            await ctx.step(begin)
            await ctx.wait_for_signal("go")
            await ctx.wait_for_signal("end")
        except BaseException as error:
            ends.append(type(error).__name__)
            raise

    async with memory.serving(wf) as client:
        handle = await client.start(wf)
        await memory.waits(handle, "go")
        ends.clear()
        journal = client.store.journal

        async def slowly(*args: Any) -> Any:
            reading.set()
            await go.wait()
            return await journal(*args)

        client.store.journal = slowly
        await handle.signal("go")
        await reading.wait()
        await handle.terminate()
        with pytest.raises(RunCancelled):
            await memory.end(handle)
        await asyncio.sleep(0.3)  # the worker's poll has told it so
        go.set()
        await memory.until(lambda: ends)
        gc.collect()
    assert ends == ["Poisoned"]


@pytest.mark.parametrize("limit", [None, 1])
async def test_what_waits_for_parallel_calls_ends_at_once_when_it_is_collected(limit: int | None) -> None:
    """Else "coroutine ignored GeneratorExit": awaited inside whatever run is active when the collector comes by."""
    others = asyncio.all_tasks()
    waiting = run_all([asyncio.Event().wait() for _ in range(3)], limit, 0)
    waiting.send(None)
    waiting.close()
    left = asyncio.all_tasks() - others
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
