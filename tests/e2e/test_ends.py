"""How runs end: cancel, terminate, time limits, pause and resume (rules 14 and 17)."""

import asyncio
from typing import Any

import pytest

from durable import Context, RunCancelled, RunConflict, RunEnded, RunFailed, RunNotFound, connect, step, workflow
from durable.store import Closed


class Shop:
    """A workflow that reserves, waits, and gives back what it reserved if it is cancelled."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.begun = asyncio.Event()
        self.go = asyncio.Event()

        @step
        async def note(what: str) -> str:
            self.log.append(what)
            return what

        @step
        async def slow() -> str:
            self.begun.set()
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                self.log.append("slow cancelled")
                raise
            self.log.append("slow done")
            return "slow"

        @workflow
        async def shop(ctx: Context, kind: str) -> str:
            try:
                if kind == "step":
                    await ctx.step(slow)
                else:
                    await ctx.wait_for_signal("paid")
                await ctx.step(note, "delivered")
            except asyncio.CancelledError:
                await ctx.step(note, "released")
                return "returned all the same"
            finally:
                await ctx.step(note, "closed")
            return "ok"

        self.workflow = shop


async def test_rule_17_a_cancelled_run_cleans_up_and_ends_cancelled_whatever_it_returns(rig: Any) -> None:
    shop = Shop()
    async with rig.serving(shop.workflow) as client:
        handle = await client.start(shop.workflow, "signal")
        await rig.waits(handle, "paid")
        await handle.cancel("changed my mind")
        with pytest.raises(RunCancelled, match="changed my mind"):
            await rig.end(handle)
        status = await handle.status()
        assert (status.state, status.error) == ("cancelled", "changed my mind")
        assert "Cancelled" in await handle.explain()
    assert shop.log == ["released", "closed"]


async def test_rule_17_a_cancel_reaches_a_step_in_flight(rig: Any) -> None:
    shop = Shop()
    async with rig.serving(shop.workflow) as client:
        handle = await client.start(shop.workflow, "step")
        await shop.begun.wait()
        await handle.cancel()
        with pytest.raises(RunCancelled):
            await rig.end(handle)
    assert sorted(shop.log) == ["closed", "released", "slow cancelled"]


async def test_rule_17_a_second_cancel_is_a_no_op(rig: Any) -> None:
    shop = Shop()
    async with rig.serving(shop.workflow) as client:
        handle = await client.start(shop.workflow, "signal")
        await rig.waits(handle, "paid")
        await handle.cancel("first")
        await handle.cancel("second")
        with pytest.raises(RunCancelled, match="first"):
            await rig.end(handle)
        await handle.cancel("third")
        assert (await handle.status()).error == "first"
    assert shop.log == ["released", "closed"]


@pytest.mark.slow
async def test_rule_17_a_time_limit_that_passes_during_the_clean_up_does_not_disturb_it(rig: Any) -> None:
    """I10: the first cause counts; the run ends cancelled, and what it does for that is not cut off."""
    tidied: list[str] = []

    @step
    async def tidy() -> str:
        await asyncio.sleep(0.6)
        return "tidy"

    @workflow(timeout=0.5)
    async def wf(ctx: Context) -> None:
        try:
            await ctx.wait_for_signal("never")
        finally:
            tidied.append(await ctx.step(tidy))

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        await rig.waits(handle, "never")
        await handle.cancel()
        with pytest.raises(RunCancelled):
            await rig.end(handle)
    assert tidied[-1] == "tidy"


async def test_rule_17_cancel_does_not_disturb_the_clean_up(rig: Any) -> None:
    shop = Shop()
    held = asyncio.Event()
    free = asyncio.Event()

    @step
    async def hold() -> str:
        held.set()
        await free.wait()
        return "held"

    @workflow
    async def wf(ctx: Context) -> None:
        try:
            await ctx.wait_for_signal("never")
        finally:
            shop.log.append(await ctx.step(hold))

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        await rig.waits(handle, "never")
        await handle.cancel()
        await held.wait()
        await handle.cancel()
        await asyncio.sleep(0.02)
        free.set()
        with pytest.raises(RunCancelled):
            await rig.end(handle)
    assert shop.log[-1] == "held"


async def test_rule_17_a_run_that_was_never_claimed_is_cancelled_by_the_store(rig: Any) -> None:
    shop = Shop()
    async with connect(rig.url) as client:
        handle = await client.start(shop.workflow, "signal")
        await handle.cancel("too early")
        with pytest.raises(RunCancelled, match="too early"):
            await rig.end(handle)
        async with rig.worker(client, shop.workflow):
            await asyncio.sleep(0.02)
    assert shop.log == []


async def test_a_cancel_survives_that_no_worker_lives(rig: Any) -> None:
    shop = Shop()
    async with connect(rig.url) as client:
        async with rig.worker(client, shop.workflow):
            handle = await client.start(shop.workflow, "signal")
            await rig.waits(handle, "paid")
        await handle.cancel("meanwhile")
        assert not (await handle.status()).ended_at
        async with connect(rig.url) as other, rig.worker(other, shop.workflow):
            with pytest.raises(RunCancelled, match="meanwhile"):
                await rig.end(handle)
    assert shop.log == ["released", "closed"]


async def test_a_cancel_of_a_completed_or_failed_run_is_refused(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context, fail: bool) -> None:
        if fail:
            raise ValueError

    async with rig.serving(wf) as client:
        for fail in (False, True):
            handle = await client.start(wf, fail)
            await rig.state(handle, "failed" if fail else "completed")
            with pytest.raises(RunEnded):
                await handle.cancel()
            with pytest.raises(RunEnded):
                await handle.terminate()
        with pytest.raises(RunNotFound):
            await client.cancel("nobody")


@pytest.mark.slow
async def test_a_cancel_that_races_with_the_end_gives_one_of_the_two(rig: Any) -> None:
    """I10."""

    @step
    async def quick() -> int:
        return 1

    @workflow
    async def wf(ctx: Context) -> int:
        return sum([await ctx.step(quick) for _ in range(3)])

    async with rig.serving(wf) as client:
        for delay in range(12):
            handle = await client.start(wf)
            for _ in range(delay * 3):
                await asyncio.sleep(0)
            try:
                await handle.cancel()
            except RunEnded:
                assert await rig.end(handle) == 3
                continue
            status = await rig.state(handle, "cancelled", "completed")
            assert status.state in ("cancelled", "completed")


async def test_rule_17_a_run_that_swallows_its_cancel_and_continues_as_new_is_cancelled(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context, n: int) -> str:
        try:
            await ctx.wait_for_signal("never")
        except asyncio.CancelledError:
            raise ctx.continue_as(wf, n + 1) from None
        return "?"

    async with rig.serving(wf) as client:
        handle = await client.start(wf, 0)
        await rig.waits(handle, "never")
        await handle.cancel()
        with pytest.raises(RunCancelled):
            await rig.end(handle)


async def test_rule_17_other_tasks_are_cancelled_when_the_main_task_ends(rig: Any) -> None:
    shop = Shop()

    @workflow
    async def wf(ctx: Context) -> str:
        async def side() -> None:
            try:
                await ctx.wait_for_signal("never")
            finally:
                await ctx.step("tidy", lambda: shop.log.append("tidied"))

        asyncio.ensure_future(side())
        await asyncio.sleep(0)
        return "ended"

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == "ended"
    assert shop.log == ["tidied"]


async def test_terminate_ends_a_run_at_once_and_its_clean_up_does_not_run(rig: Any) -> None:
    shop = Shop()
    async with rig.serving(shop.workflow) as client:
        handle = await client.start(shop.workflow, "step")
        await shop.begun.wait()
        await handle.terminate("enough")
        with pytest.raises(RunCancelled, match="enough"):
            await rig.end(handle)
        assert "Terminated" in await handle.explain()
        shop.go.set()
        await asyncio.sleep(0.03)
        assert (await handle.status()).state == "cancelled"
        assert await handle.history() == []
    assert "released" not in shop.log
    assert "closed" not in shop.log


@pytest.mark.parametrize("before", ["pending", "waiting", "paused", "blocked"])
async def test_terminate_works_from_every_live_state(rig: Any, before: str) -> None:
    @workflow
    async def wf(ctx: Context) -> None:
        if before == "blocked":
            open("/dev/null")  # noqa: SIM115
        await ctx.wait_for_signal("never")

    async with connect(rig.url) as client:
        if before == "pending":
            handle = await client.start(wf)
            await handle.terminate()
            await rig.state(handle, "cancelled")
            return
        async with rig.worker(client, wf):
            handle = await client.start(wf)
            if before == "paused":
                await rig.waits(handle, "never")
                await handle.pause()
            await rig.state(handle, before)
            await handle.terminate()
            await rig.state(handle, "cancelled")


async def test_rule_17_a_blocked_run_is_cancelled_by_the_store(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> None:
        open("/dev/null")  # noqa: SIM115

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        await rig.state(handle, "blocked")
        await handle.cancel("hopeless")
        with pytest.raises(RunCancelled, match="hopeless"):
            await rig.end(handle)


@pytest.mark.slow
async def test_rule_17_a_workflow_over_its_time_limit_cleans_up_and_fails_with_timeout_error(rig: Any) -> None:
    log: list[str] = []

    @workflow(timeout="150ms")
    async def wf(ctx: Context) -> None:
        try:
            await ctx.wait_for_signal("never")
        finally:
            await ctx.step("tidy", lambda: log.append("tidied"))

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        with pytest.raises(RunFailed, match="longer than its limit") as caught:
            await rig.end(handle)
        assert (await handle.status()).state == "failed"
    assert type(caught.value.__cause__) is TimeoutError
    assert log == ["tidied"]


@pytest.mark.slow
async def test_the_time_limit_of_a_workflow_holds_over_a_restart(rig: Any) -> None:
    @workflow(timeout=0.4)
    async def wf(ctx: Context) -> None:
        await ctx.wait_for_signal("never")

    async with connect(rig.url) as client:
        async with rig.worker(client, wf):
            handle = await client.start(wf)
            await rig.waits(handle, "never")
        async with connect(rig.url) as other, rig.worker(other, wf):
            with pytest.raises(RunFailed, match="limit of 0.4"):
                await rig.end(handle)


async def test_a_run_that_ends_in_time_hears_nothing_of_its_limit(rig: Any) -> None:
    @workflow(timeout="1h")
    async def wf(ctx: Context) -> str:
        await ctx.sleep(0.01)
        return "in time"

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == "in time"


async def test_a_pending_run_is_paused_and_resumed(rig: Any) -> None:
    shop = Shop()
    async with connect(rig.url) as client:
        handle = await client.start(shop.workflow, "signal")
        await handle.signal("paid")
        await handle.pause()
        async with rig.worker(client, shop.workflow):
            await asyncio.sleep(0.03)
            assert (await handle.status()).state == "paused"
            assert shop.log == []
            assert "resume" in await handle.explain()
            await handle.resume()
            assert await rig.end(handle) == "ok"


async def test_a_waiting_run_is_paused_and_keeps_its_signals(rig: Any) -> None:
    shop = Shop()
    async with rig.serving(shop.workflow) as client:
        handle = await client.start(shop.workflow, "signal")
        await rig.waits(handle, "paid")
        await handle.pause()
        await rig.state(handle, "paused")
        await handle.signal("paid")
        await asyncio.sleep(0.03)
        assert (await handle.status()).state == "paused"
        assert shop.log == []
        await handle.resume()
        assert await rig.end(handle) == "ok"
    assert shop.log == ["delivered", "closed"]


async def test_a_pause_lets_the_step_in_flight_end_and_begins_no_other(rig: Any) -> None:
    shop = Shop()
    async with rig.serving(shop.workflow) as client:
        handle = await client.start(shop.workflow, "step")
        await shop.begun.wait()
        await handle.pause()
        await asyncio.sleep(0.03)
        shop.go.set()
        await rig.state(handle, "paused")
        await asyncio.sleep(0.03)
        assert shop.log == ["slow done"]
        await handle.resume()
        assert await rig.end(handle) == "ok"
    assert shop.log == ["slow done", "delivered", "closed"]


async def test_a_resume_before_the_pause_was_carried_out_takes_it_back(rig: Any) -> None:
    shop = Shop()
    async with rig.serving(shop.workflow) as client:
        handle = await client.start(shop.workflow, "step")
        await shop.begun.wait()
        await handle.pause()
        await handle.resume()
        shop.go.set()
        assert await rig.end(handle) == "ok"


async def test_a_paused_run_can_be_cancelled(rig: Any) -> None:
    shop = Shop()
    async with rig.serving(shop.workflow) as client:
        handle = await client.start(shop.workflow, "signal")
        await rig.waits(handle, "paid")
        await handle.pause()
        await rig.state(handle, "paused")
        await handle.cancel()
        with pytest.raises(RunCancelled):
            await rig.end(handle)
    assert shop.log == ["released", "closed"]


async def test_an_ended_run_is_neither_paused_nor_resumed(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> None: ...

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        await rig.end(handle)
        with pytest.raises((RunEnded, RunConflict)):
            await handle.pause()
        with pytest.raises((RunEnded, RunConflict)):
            await handle.resume()


@pytest.mark.slow
async def test_rule_14_eviction_runs_no_clean_up_of_the_user(rig: Any) -> None:
    log: list[str] = []

    @workflow
    async def wf(ctx: Context, n: int) -> int:
        try:
            await ctx.wait_for_signal("go")
        except BaseException as error:
            log.append(type(error).__name__)
            await ctx.step("tidy", lambda: log.append("step in clean-up"))
        finally:
            ctx.set("left", n)
        return n

    async with rig.serving(wf, cache=1) as client:
        handles = [await client.start(wf, n) for n in range(6)]
        for handle in handles:
            await rig.waits(handle, "go")
        assert not any([(await handle.status()).values for handle in handles])
        for handle in handles:
            await handle.signal("go")
        assert [await rig.end(handle) for handle in handles] == list(range(6))
    assert "step in clean-up" not in log


async def test_closing_an_ended_run_is_not_taken_for_a_theft(memory: Any, caplog: Any) -> None:
    """The store has closed it, its answer is on the way, and a poll comes in between."""
    polled = asyncio.Event()

    @workflow
    async def leaf(ctx: Context) -> None: ...

    @workflow
    async def wf(ctx: Context) -> None:
        await ctx.child(leaf)

    async with connect(memory.url) as client:
        store = client.store
        commit, poll = store.commit, store.poll
        closed = asyncio.Event()

        async def slowly(commits: Any) -> Any:
            answers = await commit(commits)
            if any(isinstance(one.then, Closed) for one in commits):
                closed.set()
                await polled.wait()
                await asyncio.sleep(0.05)  # the worker looks at that poll's answer
            return answers

        async def counted(*args: Any) -> Any:
            begun_after = closed.is_set()
            answer = await poll(*args)
            if begun_after:
                polled.set()
            return answer

        store.commit, store.poll = slowly, counted
        async with memory.worker(client, wf, leaf, poll=0.02):
            await memory.end(await client.start(wf))
            await memory.until(polled.is_set)
            await asyncio.sleep(0.1)
    assert "another worker" not in caplog.text
