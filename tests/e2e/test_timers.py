"""Sleeping and deadlines: durable, never early, cheap."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from durable import Context, InvalidInput, connect, step, workflow


@pytest.mark.slow
async def test_a_sleep_lasts_as_long_as_asked_and_no_less(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> float:
        before = ctx.now()
        await ctx.sleep("100ms")
        await asyncio.sleep(0.05)
        await ctx.sleep("nap", timedelta(seconds=0.25))
        return (ctx.now() - before).total_seconds()

    async with rig.serving(wf) as client:
        begun = time.monotonic()
        assert await rig.run(client, wf) >= 0.4
        assert 0.4 <= time.monotonic() - begun < rig.soon(1.5)


async def test_a_sleep_of_nothing_ends_at_once(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> str:
        await ctx.sleep(0)
        await asyncio.sleep(0)
        await ctx.sleep_until(datetime(2001, 1, 1, tzinfo=UTC))
        return "awake"

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == "awake"


async def test_sleep_until_an_instant(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context, when: datetime) -> bool:
        await ctx.sleep_until(when)
        return ctx.now() >= when

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf, datetime.now(UTC) + timedelta(seconds=0.1)) is True


@pytest.mark.parametrize("delay", [float("nan"), float("inf"), -1, "soon", "", True, None, "200y", 1e12, timedelta(-1)])
async def test_a_bad_duration_is_a_value_error_at_the_call(rig: Any, delay: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> str:
        try:
            await ctx.sleep(delay)
        except ValueError as error:
            return type(error).__name__
        return "no error"

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == "InvalidInput"


async def test_a_datetime_without_a_zone_is_refused(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> str:
        try:
            await ctx.sleep_until(datetime(2030, 1, 1))
        except InvalidInput as error:
            return str(error)
        return "no error"

    async with rig.serving(wf) as client:
        assert "time zone" in await rig.run(client, wf)


async def test_a_sleeping_run_shows_its_timer(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> None:
        await ctx.sleep("follow-up", "10m")

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        await rig.waits(handle, "timer follow-up")
        assert "Timer follow-up fires in 9 min" in await handle.explain()


@pytest.mark.slow
async def test_a_sleep_survives_a_restart_and_keeps_its_end(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> float:
        before = ctx.now()
        await ctx.sleep(0.5)
        return (ctx.now() - before).total_seconds()

    async with connect(rig.url) as client:
        begun = time.monotonic()
        async with rig.worker(client, wf):
            handle = await client.start(wf)
            await rig.waits(handle, "timer")
        async with connect(rig.url) as other, rig.worker(other, wf):
            assert 0.5 <= await rig.end(handle) < 0.8
        assert time.monotonic() - begun < rig.soon(1.2)


@pytest.mark.slow
async def test_a_timer_that_was_due_while_no_worker_lived_fires_at_once(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> str:
        await ctx.sleep(0.25)
        return "late"

    async with connect(rig.url) as client:
        async with rig.worker(client, wf):
            handle = await client.start(wf)
            await rig.waits(handle, "timer")
        await asyncio.sleep(0.3)
        async with connect(rig.url) as other, rig.worker(other, wf):
            begun = time.monotonic()
            assert await rig.end(handle) == "late"
            assert time.monotonic() - begun < rig.soon(0.3)


async def test_a_waiting_run_holds_no_slot_of_its_worker(rig: Any) -> None:
    @step
    async def note(n: int) -> int:
        return n

    @workflow
    async def wf(ctx: Context, n: int) -> int:
        await ctx.wait_for_signal("go")
        return await ctx.step(note, n)

    async with rig.serving(wf, concurrency=1) as client:
        handles = [await client.start(wf, n) for n in range(2)]
        for handle in handles:
            await rig.waits(handle, "signal go")
        for handle in reversed(handles):
            await handle.signal("go")
        assert [await rig.end(handle) for handle in handles] == [0, 1]


@pytest.mark.slow
async def test_a_timeout_cancels_what_it_covers_and_the_run_goes_on(rig: Any) -> None:
    cancelled = asyncio.Event()

    @step
    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    @step
    async def other() -> str:
        return "plan B"

    @workflow
    async def wf(ctx: Context) -> str:
        try:
            async with asyncio.timeout(0.1):
                await ctx.step(slow)
        except TimeoutError:
            return await ctx.step(other)
        return "no timeout"

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == "plan B"
        await asyncio.wait_for(cancelled.wait(), 2)


@pytest.mark.slow
async def test_many_sleeps_of_one_run_fire_in_the_order_of_their_due_times(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> list[int]:
        order: list[int] = []

        async def nap(n: int) -> None:
            await ctx.sleep(0.02 * n)
            order.append(n)

        await asyncio.gather(*(nap(n) for n in (5, 1, 4, 2, 3)))
        return order

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == [1, 2, 3, 4, 5]


async def test_now_random_and_uuid_say_the_same_in_replay(rig: Any) -> None:
    seen: list[Any] = []

    @step
    async def note() -> None: ...

    @workflow
    async def wf(ctx: Context) -> None:
        seen.append((ctx.now(), ctx.random.random(), ctx.uuid(), ctx.random.sample(range(99), 5)))
        await ctx.step(note)
        await ctx.wait_for_signal("go")

    async with connect(rig.url) as client:
        async with rig.worker(client, wf):
            handle = await client.start(wf)
            await rig.waits(handle, "go")
        async with connect(rig.url) as other, rig.worker(other, wf):
            await handle.signal("go")
            await rig.end(handle)
    assert len(seen) >= 2
    assert all(one == seen[0] for one in seen)


async def test_the_log_is_silent_in_replay(rig: Any, caplog: Any) -> None:
    @step
    async def note() -> None: ...

    @workflow
    async def wf(ctx: Context) -> None:
        ctx.log.warning("once %s", "only")
        await ctx.step(note)
        await ctx.wait_for_signal("go")
        ctx.log.warning("then")

    async with connect(rig.url) as client:
        async with rig.worker(client, wf):
            handle = await client.start(wf, id="logged")
            await rig.waits(handle, "go")
        async with connect(rig.url) as other, rig.worker(other, wf):
            await handle.signal("go")
            await rig.end(handle)
    said = [record for record in caplog.records if record.name == "durable.run"]
    assert [record.getMessage() for record in said] == ["once only", "then"]
    assert {record.run_id for record in said} == {"logged"}
