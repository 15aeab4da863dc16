"""Sagas (rule 18): what was done is undone, newest first, whatever made the block fail."""

import asyncio
from typing import Any

import pytest

from durable import Context, RunCancelled, RunFailed, connect, step, workflow


class Trip:
    """Bookings that note what happens to them."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.go = asyncio.Event()
        self.booking = asyncio.Event()

        @step
        async def cancel(booking: str) -> None:
            self.log.append(f"undo {booking}")
            if booking == "broken":
                raise ConnectionError("cannot be undone")

        @step(undo=cancel)
        async def book(name: str) -> str:
            self.log.append(f"book {name}")
            if name == "slow":
                self.booking.set()
                await self.go.wait()
                self.log.append("booked slow")
            if name == "none left":
                raise LookupError(name)
            return name

        def give_back(booking: str) -> None:
            self.log.append(f"plain undo {booking}")

        @step(undo=give_back)
        async def lend(name: str) -> str:
            return name

        self.book, self.cancel, self.lend = book, cancel, lend


async def test_rule_18_a_failed_saga_undoes_newest_first(rig: Any) -> None:
    trip = Trip()

    @workflow
    async def wf(ctx: Context) -> None:
        async with ctx.saga():
            for name in ("a", "b", "c", "none left"):
                await ctx.step(trip.book, name)

    async with rig.serving(wf) as client:
        with pytest.raises(RunFailed, match="none left"):
            await rig.run(client, wf)
    assert trip.log == ["book a", "book b", "book c", "book none left", "undo c", "undo b", "undo a"]


async def test_rule_18_a_saga_that_succeeds_undoes_nothing(rig: Any) -> None:
    trip = Trip()

    @workflow
    async def wf(ctx: Context) -> str:
        async with ctx.saga():
            first = await ctx.step(trip.book, "a")
        raise_later = ValueError(first)
        raise raise_later

    async with rig.serving(wf) as client:
        with pytest.raises(RunFailed):
            await rig.run(client, wf)
    assert trip.log == ["book a"]


async def test_rule_18_steps_in_flight_are_awaited_before_the_undoing(rig: Any) -> None:
    trip = Trip()

    @workflow
    async def wf(ctx: Context) -> None:
        async with ctx.saga():
            await asyncio.gather(ctx.step(trip.book, "slow"), ctx.step(trip.book, "none left"))

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        await trip.booking.wait()
        await rig.until(lambda: _failed(handle))
        trip.go.set()
        with pytest.raises(RunFailed, match="none left"):
            await rig.end(handle)
    assert trip.log[-2:] == ["booked slow", "undo slow"]


async def _failed(handle: Any) -> bool:
    return any(row.event == "step_failed" for row in await handle.history())


async def test_rule_18_a_cancelled_saga_undoes_and_the_run_ends_cancelled(rig: Any) -> None:
    trip = Trip()

    @workflow
    async def wf(ctx: Context) -> None:
        async with ctx.saga():
            await ctx.step(trip.book, "a")
            await ctx.step(trip.book, "slow")

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        await trip.booking.wait()
        await handle.cancel()
        await rig.until(lambda: _cancel_seen(handle))
        trip.go.set()
        with pytest.raises(RunCancelled):
            await rig.end(handle)
    assert trip.log == ["book a", "book slow", "booked slow", "undo slow", "undo a"]


async def test_rule_18_a_cancel_in_the_middle_of_the_undoing_is_delivered_after_it(rig: Any) -> None:
    trip = Trip()

    @step
    async def slowly(_: str) -> None:
        trip.booking.set()
        await trip.go.wait()
        trip.log.append("undone")

    @step(undo=slowly)
    async def book() -> str:
        return "a"

    @workflow
    async def wf(ctx: Context) -> None:
        try:
            async with ctx.saga():
                await ctx.step(book)
                raise LookupError
        except LookupError:
            trip.log.append("goes on")
        await ctx.sleep("30d")

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        await trip.booking.wait()
        await handle.cancel()
        await rig.until(lambda: _cancel_seen(handle))
        trip.go.set()
        with pytest.raises(RunCancelled):
            await rig.end(handle)
    assert trip.log == ["undone"]


async def test_rule_18_a_timeout_in_the_middle_of_the_undoing_times_out_after_it(rig: Any) -> None:
    trip = Trip()

    @step
    async def slowly(_: str) -> None:
        await asyncio.sleep(0.05)
        trip.log.append("undone")

    @step(undo=slowly)
    async def book() -> str:
        return "a"

    @workflow
    async def wf(ctx: Context) -> str:
        try:
            async with asyncio.timeout(0.01):
                try:
                    async with ctx.saga():
                        await ctx.step(book)
                        raise LookupError
                except LookupError:
                    await ctx.sleep("30d")
        except TimeoutError:
            return "timed out"
        return "never"

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == "timed out"
    assert trip.log == ["undone"]


async def _cancel_seen(handle: Any) -> bool:
    return any(row.event == "cancelled" for row in await handle.history())


async def test_rule_18_an_inner_saga_that_succeeded_is_undone_by_the_outer_one(rig: Any) -> None:
    trip = Trip()

    @workflow
    async def wf(ctx: Context) -> None:
        async with ctx.saga():
            await ctx.step(trip.book, "a")
            async with ctx.saga():
                await ctx.step(trip.book, "b")
            await ctx.step(trip.book, "c")
            raise ValueError("after all")

    async with rig.serving(wf) as client:
        with pytest.raises(RunFailed, match="after all"):
            await rig.run(client, wf)
    assert trip.log[3:] == ["undo c", "undo b", "undo a"]


async def test_rule_18_an_inner_saga_that_failed_is_undone_once(rig: Any) -> None:
    trip = Trip()

    @workflow
    async def wf(ctx: Context) -> None:
        async with ctx.saga():
            await ctx.step(trip.book, "a")
            async with ctx.saga():
                await ctx.step(trip.book, "b")
                raise ValueError("inner")

    async with rig.serving(wf) as client:
        with pytest.raises(RunFailed, match="inner"):
            await rig.run(client, wf)
    assert trip.log == ["book a", "book b", "undo b", "undo a"]


async def test_rule_18_on_failure_registers_steps_and_plain_functions_in_order(rig: Any) -> None:
    trip = Trip()

    @workflow
    async def wf(ctx: Context) -> None:
        async with ctx.saga() as saga:
            await ctx.step(trip.book, "a")
            saga.on_failure(trip.cancel, "by hand")
            await ctx.step(trip.lend, "book")
            raise ValueError("failed")

    async with rig.serving(wf) as client:
        with pytest.raises(RunFailed):
            await rig.run(client, wf)
    assert trip.log == ["book a", "plain undo book", "undo by hand", "undo a"]


async def test_rule_18_an_undo_that_fails_is_noted_and_the_others_go_on(rig: Any) -> None:
    trip = Trip()

    @workflow
    async def wf(ctx: Context) -> None:
        async with ctx.saga():
            for name in ("a", "broken", "c"):
                await ctx.step(trip.book, name)
            raise ValueError("failed")

    async with rig.serving(wf) as client:
        with pytest.raises(RunFailed) as caught:
            await rig.run(client, wf)
    assert trip.log[3:] == ["undo c", "undo broken", "undo a"]
    assert any("cannot be undone" in note for note in caught.value.__cause__.__notes__)


async def test_rule_18_continue_as_is_not_a_failure(rig: Any) -> None:
    trip = Trip()

    @workflow
    async def wf(ctx: Context, n: int) -> str:
        async with ctx.saga():
            await ctx.step(trip.book, str(n))
            if n == 0:
                raise ctx.continue_as(wf, 1)
        return "done"

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf, 0) == "done"
    assert trip.log == ["book 0", "book 1"]


@pytest.mark.slow
async def test_rule_18_the_undoing_goes_on_after_a_crash(rig: Any) -> None:
    log: list[str] = []
    begun = asyncio.Event()

    @step
    async def undo(name: str) -> None:
        if name == "b" and not begun.is_set():
            begun.set()
            await asyncio.sleep(60)
        log.append(name)

    @step(undo=undo)
    async def do(name: str) -> str:
        return name

    @workflow
    async def wf(ctx: Context) -> None:
        async with ctx.saga():
            for name in ("a", "b", "c"):
                await ctx.step(do, name)
            raise ValueError("failed")

    async with connect(rig.url) as client:
        worker = rig.worker(client, wf)
        await worker._start()
        handle = await client.start(wf)
        await begun.wait()
        await rig.crash(worker)
        async with connect(rig.url) as other, rig.worker(other, wf):
            with pytest.raises(RunFailed, match="failed"):
                await rig.end(handle)
    assert log == ["c", "b", "a"]


async def test_rule_18_a_time_limit_undoes_too(rig: Any) -> None:
    trip = Trip()

    @workflow(timeout=0.1)
    async def wf(ctx: Context) -> None:
        async with ctx.saga():
            await ctx.step(trip.book, "a")
            await ctx.wait_for_signal("never")

    async with rig.serving(wf) as client:
        with pytest.raises(RunFailed, match="limit"):
            await rig.run(client, wf)
    assert trip.log == ["book a", "undo a"]
