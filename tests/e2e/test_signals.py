"""Signals: durable, buffered from the run's creation, in order, each exactly once."""

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from durable import (
    Client,
    Context,
    InvalidInput,
    InvalidName,
    NotSerializable,
    PayloadTooLarge,
    RunEnded,
    RunNotFound,
    Signal,
    StoreFull,
    Worker,
    connect,
    workflow,
)
from durable_testing import ManualClock, MemoryStore


class Approval(BaseModel):
    approved: bool
    by: str


approved = Signal("approved", Approval)
numbers = Signal("number", int)


@workflow
async def collect(ctx: Context, count: int) -> list[int]:
    return [await ctx.wait_for_signal(numbers) for _ in range(count)]


async def test_a_typed_signal_arrives_as_its_type(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> str:
        answer = await ctx.wait_for_signal(approved)
        return f"{type(answer).__name__} {answer.by}"

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        await rig.waits(handle, "signal approved")
        await handle.signal(approved, Approval(approved=True, by="eve"))
        assert await rig.end(handle) == "Approval eve"


async def test_a_signal_by_name_has_json_or_the_type_given_at_the_wait(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> list[Any]:
        return [await ctx.wait_for_signal("a"), (await ctx.wait_for_signal("b", Approval)).by]

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        await handle.signal("a", {"x": [1]})
        await client.signal(handle.id, "b", {"approved": False, "by": "bob"})
        assert await rig.end(handle) == [{"x": [1]}, "bob"]


async def test_a_signal_sent_before_the_first_activation_is_kept(rig: Any) -> None:
    async with connect(rig.url) as client:
        handle = await client.start(collect, 2)
        await handle.signal(numbers, 1)
        await handle.signal(numbers, 2)
        async with rig.worker(client, collect):
            assert await rig.end(handle) == [1, 2]


async def test_a_signal_sent_before_the_wait_is_kept(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> list[Any]:
        await ctx.wait_for_signal("go")
        return [await ctx.wait_for_signal(numbers), await ctx.wait_for_signal(numbers)]

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        await rig.waits(handle, "go")
        await handle.signal(numbers, 1)
        await handle.signal(numbers, 2)
        await handle.signal("go")
        assert await rig.end(handle) == [1, 2]


async def test_signals_of_one_name_come_first_in_first_out(rig: Any) -> None:
    async with rig.serving(collect) as client:
        handle = await client.start(collect, 50)
        for n in range(50):
            await handle.signal(numbers, n)
        assert await rig.end(handle) == list(range(50))


async def test_a_signal_sent_twice_with_one_id_is_received_once(rig: Any) -> None:
    async with rig.serving(collect) as client:
        handle = await client.start(collect, 2)
        await handle.signal(numbers, 1, id="click")
        await handle.signal(numbers, 1, id="click")
        await handle.signal(numbers, 2, id="clack")
        assert await rig.end(handle) == [1, 2]


async def test_rule_7_message_ids_are_remembered_after_they_were_consumed(rig: Any) -> None:
    async with rig.serving(collect) as client:
        handle = await client.start(collect, 2)
        await handle.signal(numbers, 1, id="click")
        await rig.until(lambda: _received(handle, 1))
        await handle.signal(numbers, 1, id="click")
        await handle.signal(numbers, 2)
        assert await rig.end(handle) == [1, 2]


async def _received(handle: Any, count: int) -> bool:
    return sum(row.event == "signal_received" for row in await handle.history()) >= count


async def test_rule_7_waiters_of_one_name_are_served_in_call_order(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> list[int]:
        return list(await asyncio.gather(*(ctx.wait_for_signal(numbers) for _ in range(5))))

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        await rig.waits(handle, "number")
        for n in range(5):
            await handle.signal(numbers, n)
        assert await rig.end(handle) == [0, 1, 2, 3, 4]


@pytest.mark.slow
async def test_a_wait_that_times_out_raises_the_builtin_and_leaves_later_signals_for_the_next(rig: Any) -> None:
    """I7."""

    @workflow
    async def wf(ctx: Context) -> list[Any]:
        seen: list[Any] = []
        try:
            await ctx.wait_for_signal(numbers, timeout=0.05)
        except TimeoutError:
            seen.append("timed out")
        seen.append(await ctx.wait_for_signal(numbers, timeout="1h"))
        return seen

    async with rig.serving(wf) as client:
        handle = await client.start(wf)

        async def timed_out() -> bool:
            return any(row.event == "timer_fired" for row in await handle.history())

        await rig.until(timed_out)
        await handle.signal(numbers, 7)
        assert await rig.end(handle) == ["timed out", 7]


async def test_a_timeout_of_nothing_still_takes_a_signal_that_lies_there(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> Any:
        await ctx.wait_for_signal("go")
        try:
            return await ctx.wait_for_signal(numbers, timeout=0)
        except TimeoutError:
            return "timed out"

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        await rig.waits(handle, "go")
        await handle.signal(numbers, 7)
        await handle.signal("go")
        assert await rig.end(handle) in (7, "timed out")


@pytest.mark.slow
async def test_signals_that_race_with_their_timeouts_are_neither_lost_nor_doubled(rig: Any) -> None:
    """I6, I7."""

    @workflow
    async def wf(ctx: Context, count: int) -> list[int]:
        seen: list[int] = []
        while len(seen) < count:
            try:
                seen.append(await ctx.wait_for_signal(numbers, timeout=0.01))
            except TimeoutError:
                pass
        return seen

    async with rig.serving(wf) as client:
        handle = await client.start(wf, 20)
        for n in range(20):
            await handle.signal(numbers, n)
            await asyncio.sleep(0.009)
        assert await rig.end(handle) == list(range(20))


async def test_rule_7_an_undecodable_payload_becomes_a_dead_letter_and_the_wait_goes_on(rig: Any) -> None:
    async with rig.serving(collect) as client:
        handle = await client.start(collect, 1)
        await rig.waits(handle, "number")
        await handle.signal("number", "not a number")
        await handle.signal("number", 5)
        assert await rig.end(handle) == [5]
        letters = await client.store.messages(handle.id, 0, 100, False)
    dead = [letter for letter in letters if letter.dead is not None]
    assert len(dead) == 1
    assert "number" in dead[0].dead


async def test_a_signal_to_an_ended_run_is_refused(rig: Any) -> None:
    async with rig.serving(collect) as client:
        handle = await client.start(collect, 0)
        await rig.end(handle)
        with pytest.raises(RunEnded, match="has ended"):
            await handle.signal(numbers, 1)


async def test_a_signal_to_no_run_is_refused(rig: Any) -> None:
    async with connect(rig.url) as client:
        with pytest.raises(RunNotFound, match="nobody"):
            await client.signal("nobody", numbers, 1)


async def test_a_payload_of_the_wrong_type_is_refused_at_the_call(rig: Any) -> None:
    async with rig.serving(collect) as client:
        handle = await client.start(collect, 1)
        with pytest.raises((InvalidInput, NotSerializable), match="number"):
            await handle.signal(numbers, "seven")  # type: ignore[call-overload]
        with pytest.raises(NotSerializable, match="number"):
            await handle.signal("number", object())
        with pytest.raises(PayloadTooLarge):
            await handle.signal("number", "x" * 1_048_577)
        with pytest.raises(InvalidName):
            await handle.signal("", 1)
        with pytest.raises(InvalidName):
            await handle.signal(numbers, 1, id="")
        await handle.signal(numbers, 1)
        assert await rig.end(handle) == [1]


async def test_signals_iterates_without_end(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> int:
        total = 0
        async for n in ctx.signals(numbers):
            total += n
            if n == 0:
                break
        return total

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        for n in (1, 2, 3, 0):
            await handle.signal(numbers, n)
        assert await rig.end(handle) == 6


async def test_rule_6_a_workflow_signals_another_exactly_once(rig: Any) -> None:
    @workflow
    async def teller(ctx: Context, to: str, count: int) -> None:
        for n in range(count):
            ctx.signal(to, numbers, n)
            await ctx.wait_for_signal("next")
        ctx.signal("nobody", numbers, 1)

    async with rig.serving(teller, collect) as client:
        listener = await client.start(collect, 4, id="listener")
        sender = await client.start(teller.bind("listener", 3))
        for _ in range(3):
            await rig.waits(sender, "next")
            await sender.signal("next")
        assert await rig.end(sender) is None
        await listener.signal(numbers, 99)
        assert await rig.end(listener) == [0, 1, 2, 99]


@pytest.mark.slow
async def test_rule_7_a_signal_and_a_timer_found_by_one_claim_come_in_the_order_of_their_times(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> list[str]:
        order: list[str] = []

        async def signal() -> None:
            await ctx.wait_for_signal("go")
            order.append("signal")

        async def timer() -> None:
            await ctx.sleep(0.3)
            order.append("timer")

        await asyncio.gather(timer(), signal())
        return order

    async with connect(rig.url) as client:
        async with rig.worker(client, wf):
            handle = await client.start(wf)
            await rig.waits(handle, "timer", "go")
        await handle.signal("go")
        await asyncio.sleep(0.35)
        async with connect(rig.url) as other, rig.worker(other, wf):
            assert await rig.end(handle) == ["signal", "timer"]


async def found_together(wf: Any, seconds_late: float) -> Any:
    """The result of a run that waits ten seconds for a number; the next worker finds a number and the timeout together.

    Args:
        seconds_late: By how much the number missed the timeout, by the store's clock.
    """
    clock = ManualClock()
    async with Client(MemoryStore(clock=clock)) as client:
        async with Worker(client, workflows=[wf]):
            handle = await client.start(wf)
            async with asyncio.timeout(5):
                while (await handle.status()).state != "waiting":
                    await asyncio.sleep(0.005)
        clock.advance(10 + seconds_late)
        await handle.signal(numbers, 7)
        async with Worker(client, workflows=[wf]):
            return await handle.result(timeout=5)


async def test_rule_7_a_signal_of_the_very_instant_of_the_timeout_comes_first() -> None:
    """I7: whichever wins, it must be the same one everywhere."""

    @workflow
    async def wf(ctx: Context) -> int:
        return await ctx.wait_for_signal(numbers, timeout=10)

    assert await found_together(wf, 0) == 7


async def test_rule_7_a_signal_that_is_found_with_the_timeout_before_it_is_kept_for_the_next_wait() -> None:
    """I6: one commit could hold both, and the first would end the wait that the second is meant for."""

    @workflow
    async def wf(ctx: Context) -> tuple[str, int]:
        try:
            await ctx.wait_for_signal(numbers, timeout=10)
        except TimeoutError:
            return "late", await ctx.wait_for_signal(numbers)
        return "in time", 0

    assert await found_together(wf, 1) == ("late", 7)


@pytest.mark.needs("memory", reason="it lowers that store's limit")
async def test_too_many_unread_signals_are_refused(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import durable_testing._memory.state as state

    if not hasattr(state, "UNREAD_SIGNALS_MAX"):
        pytest.skip("the limit is kept elsewhere")
    monkeypatch.setattr(state, "UNREAD_SIGNALS_MAX", 5)
    async with connect(memory.url) as client:
        handle = await client.start(collect, 6)
        for n in range(5):
            await handle.signal(numbers, n)
        for _ in range(2):
            with pytest.raises(StoreFull, match="unread signals"):
                await handle.signal(numbers, 5)
        async with memory.worker(client, collect):
            await memory.until(lambda: _received(handle, 5))
            await handle.signal(numbers, 5)
            assert await memory.end(handle) == [0, 1, 2, 3, 4, 5]


@pytest.mark.slow
async def test_signals_survive_a_crash_of_the_worker_that_was_told(rig: Any) -> None:
    async with connect(rig.url) as client:
        worker = rig.worker(client, collect)
        await worker._start()
        handle = await client.start(collect, 3)
        await handle.signal(numbers, 1)
        await rig.until(lambda: _received(handle, 1))
        await handle.signal(numbers, 2)
        await rig.crash(worker)
        await handle.signal(numbers, 3)
        async with connect(rig.url) as other, rig.worker(other, collect):
            assert await rig.end(handle) == [1, 2, 3]
