"""Workers come and go: leases, fences, drains, crash budgets. A run belongs to one worker at a time."""

import asyncio
import logging
import threading
import time
from typing import Any

import pytest

from durable import Client, Context, Retry, Worker, connect, step, workflow
from durable.errors import Corrupt, DurableError, Transient
from durable_testing import MemoryStore

pytestmark = pytest.mark.slow


def holding() -> Any:
    """A workflow whose step waits for an event, and what it notes."""

    class Held:
        def __init__(self) -> None:
            self.begun: list[str] = []
            self.ended: list[str] = []
            self.go = asyncio.Event()
            held = self

            @step
            async def hold(name: str) -> str:
                held.begun.append(name)
                await held.go.wait()
                held.ended.append(name)
                return name

            @step
            async def after(name: str) -> str:
                held.ended.append(f"after {name}")
                return name

            @workflow
            async def wf(ctx: Context, name: str) -> str:
                return await ctx.step(after, await ctx.step(hold, name))

            self.workflow = wf

    return Held()


async def test_two_workers_share_the_runs(rig: Any) -> None:
    @step
    async def work() -> None:
        await asyncio.sleep(0.01)

    @workflow
    async def wf(ctx: Context) -> None:
        await ctx.step(work)

    async with connect(rig.url) as client, connect(rig.url) as other:
        async with rig.worker(client, wf, concurrency=2) as one, rig.worker(other, wf, concurrency=2) as two:
            handles = [await client.start(wf) for _ in range(30)]
            for handle in handles:
                await rig.end(handle)
            assert one._committer.commits > 5
            assert two._committer.commits > 5


async def test_the_runs_of_a_dead_worker_move_within_its_lease(rig: Any) -> None:
    held = holding()
    async with connect(rig.url) as client:
        worker = rig.worker(client, held.workflow, lease=0.4)
        await worker._start()
        handle = await client.start(held.workflow, "a")
        await rig.until(lambda: held.begun)
        await rig.crash(worker, proven=False)
        died = time.monotonic()
        held.go.set()
        async with connect(rig.url) as other, rig.worker(other, held.workflow):
            assert await rig.end(handle) == "a"
        assert time.monotonic() - died < rig.soon(1.2)
    assert held.begun == ["a", "a"]
    assert held.ended == ["a", "after a"]


async def test_a_stale_worker_writes_nothing(rig: Any) -> None:
    """I4: its session expires while its step runs on; what the step says then is refused."""
    held = holding()
    async with connect(rig.url) as client, connect(rig.url) as other:
        stale = rig.worker(client, held.workflow, lease=0.3)
        await stale._start()
        handle = await other.start(held.workflow, "a")
        await rig.until(lambda: held.begun)
        [runner] = stale._held.values()
        await rig.stall(stale)
        async with rig.worker(other, held.workflow):
            await rig.until(lambda: len(held.begun) == 2)
            held.go.set()
            assert await rig.end(handle) == "a"
            await rig.until(lambda: runner._closed)
            rows = await handle.history()
        await rig.crash(stale)
    assert [row.event for row in rows if row.event != "attempt_begun"] == ["step_completed", "step_completed"]
    assert held.ended.count("after a") == 1


async def test_a_worker_whose_lease_ran_out_begins_nothing(rig: Any) -> None:
    held = holding()
    async with connect(rig.url) as client, connect(rig.url) as other:
        stale = rig.worker(client, held.workflow, lease=0.3)
        await stale._start()
        handle = await client.start(held.workflow, "a")
        await rig.until(lambda: held.begun)
        await rig.stall(stale)
        await asyncio.sleep(0.35)
        held.go.set()
        await asyncio.sleep(0.05)
        assert "after a" not in held.ended
        await rig.crash(stale)
        async with rig.worker(other, held.workflow):
            assert await rig.end(other.handle(handle.id)) == "a"


async def test_rule_11_a_worker_whose_loop_is_blocked_keeps_its_runs(rig: Any) -> None:
    runs = []

    @step
    async def block() -> int:
        runs.append(1)
        time.sleep(0.6)
        return len(runs)

    @workflow
    async def wf(ctx: Context) -> int:
        return await ctx.step(block)

    done = threading.Event()

    async def rival() -> None:
        async with rig.serving(wf):
            while not done.is_set():
                await asyncio.sleep(0.01)

    async with connect(rig.url) as client, rig.worker(client, wf, lease=0.3):
        handle = await client.start(wf)
        await rig.until(lambda: runs)
        other = threading.Thread(target=lambda: asyncio.run(rival()))
        other.start()
        try:
            assert await rig.end(handle) == 1
        finally:
            done.set()
            await asyncio.get_running_loop().run_in_executor(None, other.join, 5)
    assert runs == [1]


async def test_rule_11_the_heartbeat_of_a_loop_that_hangs_for_long_stops(rig: Any) -> None:
    held = holding()
    async with connect(rig.url) as client, connect(rig.url) as other:
        worker = rig.worker(client, held.workflow, lease=0.3)
        await worker._start()
        worker._heartbeat._stall_seconds = 0.1
        handle = await client.start(held.workflow, "a")
        await rig.until(lambda: held.begun)
        for task in worker._tasks:
            task.cancel()
        worker._ticked = 0.0
        held.go.set()
        async with rig.worker(other, held.workflow):
            assert await rig.end(other.handle(handle.id)) == "a"
        await rig.crash(worker)


async def test_a_drain_lets_the_step_in_flight_end_and_nobody_repeats_it(rig: Any) -> None:
    held = holding()
    async with connect(rig.url) as client, connect(rig.url) as other:
        async with rig.worker(client, held.workflow, drain=5) as worker:
            handle = await client.start(held.workflow, "a")
            await rig.until(lambda: held.begun)
            stopping = asyncio.create_task(worker._stop())
            async with rig.worker(other, held.workflow):
                late = await client.start(held.workflow, "b")
                await asyncio.sleep(0.05)
                held.go.set()
                await stopping
                assert await rig.end(other.handle(handle.id)) == "a"
                assert await rig.end(other.handle(late.id)) == "b"
        row = (await client.store.get([handle.id]))[0]
    assert held.begun == ["a", "b"]
    assert row.strikes == 0


async def test_a_drain_begins_no_further_step(rig: Any) -> None:
    held = holding()
    async with connect(rig.url) as client, connect(rig.url) as other:
        async with rig.worker(client, held.workflow, drain=5) as worker:
            handle = await client.start(held.workflow, "a")
            await rig.until(lambda: held.begun)
            stopping = asyncio.create_task(worker._stop())
            await asyncio.sleep(0)
            held.go.set()
            await stopping
        assert held.ended == ["a"]
        async with rig.worker(other, held.workflow):
            assert await rig.end(other.handle(handle.id)) == "a"
    assert held.begun == ["a"]


async def test_a_drain_longer_than_the_lease_keeps_the_lease(rig: Any) -> None:
    """B22: the heartbeat outlives the last step in flight."""
    held = holding()
    async with connect(rig.url) as client, connect(rig.url) as other:
        worker = rig.worker(client, held.workflow, lease=0.6, drain=10)
        await worker._start()
        handle = await client.start(held.workflow, "a")
        await rig.until(lambda: held.begun)
        stopping = asyncio.create_task(worker._stop())
        async with rig.worker(other, held.workflow):
            await asyncio.sleep(1.2)
            held.go.set()
            await stopping
            assert await rig.end(other.handle(handle.id)) == "a"
    assert held.begun == ["a"]


async def test_a_drain_that_takes_too_long_gives_the_run_back(rig: Any) -> None:
    held = holding()
    async with connect(rig.url) as client, connect(rig.url) as other:
        async with rig.worker(client, held.workflow, drain=0.05):
            handle = await client.start(held.workflow, "a")
            await rig.until(lambda: held.begun)
        held.go.set()
        async with rig.worker(other, held.workflow):
            assert await rig.end(other.handle(handle.id)) == "a"
    assert held.begun == ["a", "a"]


async def test_a_stop_before_anything_was_claimed_is_quick(rig: Any) -> None:
    """B12."""
    held = holding()
    begun = time.monotonic()
    for _ in range(5):
        async with rig.serving(held.workflow):
            pass
    assert time.monotonic() - begun < rig.soon(1.5)


async def test_stop_ends_run(rig: Any) -> None:
    held = holding()
    held.go.set()
    async with connect(rig.url) as client:
        worker = rig.worker(client, held.workflow)
        running = asyncio.create_task(worker.run())
        assert await rig.run(client, held.workflow, "a") == "a"
        worker.stop()
        await asyncio.wait_for(running, 3)


async def test_a_graceful_end_counts_no_strike(rig: Any) -> None:
    """B114."""
    held = holding()
    async with connect(rig.url) as client:
        handle = await client.start(held.workflow, "a")
        for _ in range(4):
            async with connect(rig.url) as other, rig.worker(other, held.workflow, drain=0.01):
                count = len(held.begun)
                await rig.until(lambda count=count: len(held.begun) > count)
        row = (await client.store.get([handle.id]))[0]
        assert row.strikes <= 1
        assert row.status in ("waiting", "running")
        assert row.owner is None
        await handle.terminate()


async def test_rule_10_a_run_that_kills_its_workers_is_tried_alone_and_then_blocked(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The budget counts lonely claims only (B113)."""
    from durable._engine import polling
    from durable._model.claims import Want as RealWant

    def small_budget(*args: Any, **kwargs: Any) -> Any:
        return RealWant(*args, **{**kwargs, "crash_budget": 1, "lonely_after": 2})

    monkeypatch.setattr(polling, "Want", small_budget)
    began: list[Any] = []

    @step
    async def poison() -> None:
        began.append(1)
        await asyncio.sleep(60)

    @workflow
    async def bad(ctx: Context) -> None:
        await ctx.step(poison)

    @workflow
    async def good(ctx: Context, n: int) -> int:
        return n

    async with connect(memory.url) as client:
        handle = await client.start(bad)
        for crash in range(3):
            async with connect(memory.url) as other:
                worker = memory.worker(other, bad, good, lease=0.05)
                await worker._start()
                await memory.until(lambda crash=crash: len(began) > crash)
                if crash == 2:
                    assert [runner.lonely for runner in worker._held.values()] == [True]
                await memory.crash(worker)
            await asyncio.sleep(0.06)
        async with connect(memory.url) as other, memory.worker(other, bad, good):
            status = await memory.state(handle, "blocked")
            assert (await client.store.get([handle.id]))[0].blocked_kind == "crash_budget"
            assert "3 workers" in status.error
            assert "resume" in await handle.explain()
            assert await memory.run(other, good, 7) == 7
        assert len(began) == 3


@pytest.mark.needs("memory", reason="it looks into that store's rows")
async def test_rule_10_a_lonely_run_waits_until_its_worker_has_nothing_else(memory: Any) -> None:
    held = holding()
    alone: list[bool] = []
    workers: list[Any] = []

    @step
    async def look() -> None:
        alone.append(len(workers[0]._held) == 1)

    @workflow
    async def suspect(ctx: Context) -> None:
        await ctx.step(look)

    async with connect(memory.url) as client:
        handle = await client.start(suspect)
        client.store._state.runs[handle.id].strikes = 3
        async with memory.worker(client, held.workflow, suspect) as worker:
            workers.append(worker)
            others = [await client.start(held.workflow, f"{n}") for n in range(3)]
            await asyncio.sleep(0.05)
            held.go.set()
            await memory.end(handle)
            for other in others:
                await memory.end(other)
    assert alone == [True]


@pytest.mark.needs("memory", reason="it looks into that store's rows")
async def test_rule_10_a_worker_that_holds_a_lonely_run_takes_no_other(memory: Any) -> None:
    held = holding()

    @workflow
    async def other(ctx: Context) -> str:
        return "done"

    async with connect(memory.url) as client:
        lonely = await client.start(held.workflow, "lonely")
        client.store._state.runs[lonely.id].strikes = 3
        async with memory.worker(client, held.workflow, other):
            await memory.until(lambda: held.begun)
            late = await client.start(other)
            await asyncio.sleep(0.1)
            assert (await late.status()).state == "pending"
            held.go.set()
            assert await memory.end(lonely) == "lonely"
            assert await memory.end(late) == "done"


async def test_a_crash_between_the_steps_repeats_none_that_was_committed(rig: Any) -> None:
    """I3: killed at every point where a step has begun, each committed step has run once."""
    log: list[int] = []
    cut: set[int] = set()
    begun = asyncio.Event()

    @step
    async def work(n: int) -> int:
        if n not in cut:
            cut.add(n)
            begun.set()
            await asyncio.sleep(60)
        log.append(n)
        return n

    @workflow
    async def wf(ctx: Context) -> list[int]:
        return [await ctx.step(work, n) for n in range(4)]

    async with connect(rig.url) as client:
        handle = await client.start(wf)
        for _ in range(4):
            begun.clear()
            async with connect(rig.url) as other:
                worker = rig.worker(other, wf)
                await worker._start()
                await begun.wait()
                await rig.crash(worker)
        async with connect(rig.url) as other, rig.worker(other, wf):
            assert await rig.end(handle) == [0, 1, 2, 3]
    assert log == [0, 1, 2, 3]


async def test_a_crash_in_a_gather_gives_no_branch_the_result_of_another(rig: Any) -> None:
    """I11."""
    gate = asyncio.Event()

    @step
    async def first(n: int) -> int:
        return n

    @step
    async def second(n: int) -> int:
        if n % 2:
            await gate.wait()
        return n * 10

    @workflow
    async def wf(ctx: Context) -> list[int]:
        async def branch(n: int) -> int:
            return await ctx.step(second, await ctx.step(first, n))

        return await asyncio.gather(*(branch(n) for n in range(10)))

    async with connect(rig.url) as client:
        worker = rig.worker(client, wf)
        await worker._start()
        handle = await client.start(wf)

        async def half() -> bool:
            return len([row for row in await handle.history() if row.name.startswith("second")]) >= 5

        await rig.until(half)
        await rig.crash(worker)
        gate.set()
        async with connect(rig.url) as other, rig.worker(other, wf):
            assert await rig.end(handle) == [n * 10 for n in range(10)]


async def test_the_log_tells_of_lost_runs_and_not_of_errors(rig: Any, caplog: Any) -> None:
    caplog.set_level(logging.INFO, "durable.worker")
    held = holding()
    async with connect(rig.url) as client, connect(rig.url) as other:
        stale = rig.worker(client, held.workflow, lease=0.3)
        await stale._start()
        handle = await other.start(held.workflow, "a")
        await rig.until(lambda: held.begun)
        await rig.stall(stale)
        async with rig.worker(other, held.workflow):
            await rig.until(lambda: len(held.begun) == 2)
            held.go.set()
            await rig.end(handle)
            await asyncio.sleep(0.03)
        await rig.crash(stale)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_nothing_is_left_behind(memory: Any) -> None:
    """I22."""

    @step(retry=Retry(2, initial=0))
    def work(n: int) -> int:
        return n

    @workflow
    async def wf(ctx: Context, n: int) -> int:
        if n % 3 == 0:
            await ctx.wait_for_signal("go")
        return await ctx.step(work, n)

    async with memory.serving(wf) as client:
        assert await memory.run(client, wf, 1) == 1
    tasks, threads = len(asyncio.all_tasks()), threading.active_count()
    for _ in range(3):
        async with memory.serving(wf) as client:
            handles = [await client.start(wf, n) for n in range(30)]
            for n, handle in enumerate(handles):
                if n % 3 == 0:
                    await handle.signal("go")
            for n, handle in enumerate(handles):
                assert await memory.end(handle) == n
            await client.purge(older_than=0)
    await memory.until(lambda: len(asyncio.all_tasks()) <= tasks and threading.active_count() <= threads + 1)


async def test_an_idle_worker_does_little(memory: Any) -> None:
    """I22: no loop spins while nothing is to be done."""
    held = holding()
    async with memory.serving(held.workflow) as client:
        calls = 0
        poll = client.store.poll

        async def counted(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            return await poll(*args)

        client.store.poll = counted
        await asyncio.sleep(0.5)
    assert calls <= 5


async def test_runs_of_a_waiting_crowd_cost_no_slot_and_all_wake(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context, n: int) -> int:
        await ctx.wait_for_signal("go")
        return n

    async with rig.serving(wf, concurrency=4) as client:
        handles = [await client.start(wf, n) for n in range(60)]
        await rig.until(lambda: _count(client, 60))
        for handle in handles:
            await handle.signal("go")
        assert [await rig.end(handle) for handle in handles] == list(range(60))


async def _count(client: Any, expected: int) -> bool:
    return await client.count(status="waiting") == expected


async def test_the_cache_keeps_to_its_size(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> None:
        await ctx.wait_for_signal("go")

    async with connect(rig.url) as client, rig.worker(client, wf, cache=2) as worker:
        handles = [await client.start(wf) for _ in range(6)]
        for handle in handles:
            await rig.waits(handle, "go")
        await rig.until(lambda: not worker._held)
        assert len(worker._cache) == 2
        for handle in handles:
            await handle.signal("go")
            await rig.end(handle)


class Unreachable(MemoryStore):
    """Cannot be opened, or is away from then on."""

    opens = False

    async def open(self) -> None:
        if not self.opens:
            raise Corrupt("This is no store.")
        await super().open()

    async def now(self) -> float:
        raise Transient("away")


async def test_a_worker_whose_store_cannot_be_opened_says_only_that() -> None:
    """It said `AttributeError: 'Worker' object has no attribute '_executor'`, and the reason somewhere above."""
    held = holding()
    with pytest.raises(Corrupt) as raised:
        await Worker(Client(Unreachable()), workflows=[held.workflow]).run()
    assert raised.value.__context__ is None


async def test_a_worker_that_cannot_reach_its_store_is_stopped_all_the_same() -> None:
    """It waited for its store, whatever it was told."""
    held, store = holding(), Unreachable()
    store.opens = True
    async with asyncio.timeout(10), Client(store) as client:
        worker = Worker(client, workflows=[held.workflow])
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(0.3)
        assert not running.done()
        worker.stop()
        await running


async def test_a_worker_that_waits_for_steps_when_its_block_is_left_says_so(
    memory: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Ctrl-C was followed by half a minute of nothing."""
    held = holding()
    async with connect(memory.url) as client:
        async with memory.worker(client, held.workflow, drain=10):
            await client.start(held.workflow, "a")
            await memory.until(lambda: held.begun)
            asyncio.get_running_loop().call_later(1.5, held.go.set)
    said = [record.getMessage() for record in caplog.records if "Stopping" in record.getMessage()]
    assert said == ["Stopping: waiting up to 10 s for steps in flight."]


async def test_what_is_abandoned_while_it_drains_writes_nothing_more(rig: Any) -> None:
    """Found by a review: a worker that was stopping kept its runs, and its steps' outcomes were committed."""
    held = holding()
    async with connect(rig.url) as client:
        worker = rig.worker(client, held.workflow)
        await worker._start()
        handle = await client.start(held.workflow, "a")
        await rig.until(lambda: held.begun)
        stopping = asyncio.create_task(worker._stop())
        await asyncio.sleep(0.05)
        worker.abandon()
        assert worker.held == 0
        held.go.set()
        await stopping
        assert [row.event for row in await handle.history()] == []


async def test_a_worker_works_once(rig: Any) -> None:
    """Found by a review: entered twice at once it was two, and entered again it beat and took nothing."""
    held = holding()
    async with connect(rig.url) as client:
        worker = rig.worker(client, held.workflow)
        results = await asyncio.gather(worker.__aenter__(), worker.__aenter__(), return_exceptions=True)
        assert results[0] is worker
        assert results[1] is worker or "already" in str(results[1])  # if the first was not through yet
        assert len([session for session in await client.store.sessions() if session.alive]) == 1
        await worker.__aexit__(None, None, None)
        with pytest.raises(DurableError, match="Make another one"):
            await worker.run()


async def test_a_start_that_is_cancelled_leaves_nobody_in_the_store(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    held = holding()
    async with connect(rig.url) as client:
        renew = client.store.renew

        async def slow(session: Any) -> Any:
            answer = await renew(session)
            await asyncio.sleep(10)
            return answer

        monkeypatch.setattr(client.store, "renew", slow)
        starting = asyncio.create_task(rig.worker(client, held.workflow).run())
        await asyncio.sleep(0.2)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert [session for session in await client.store.sessions() if session.alive] == []


async def test_workers_that_open_their_client_at_once_wait_for_it(rig: Any, caplog: pytest.LogCaptureFixture) -> None:
    held = holding()
    client = connect(rig.url)
    workers = [rig.worker(client, held.workflow) for _ in range(3)]
    await asyncio.gather(*(worker.__aenter__() for worker in workers))
    assert [record.getMessage() for record in caplog.records] == []
    for worker in workers:
        await worker.__aexit__(None, None, None)
    await client.close()


class Held(MemoryStore):
    """Takes no session, and holds up whoever takes his leave."""

    async def renew(self, session: Any) -> Any:
        raise Transient("locked")

    async def leave(self, session: Any) -> None:
        await asyncio.sleep(3600)


async def test_a_start_that_is_stopped_is_not_kept_by_its_farewell() -> None:
    """A locked file held it up for its eight seconds of patience."""
    held = holding()
    async with asyncio.timeout(10), Client(Held()) as client:
        worker = Worker(client, workflows=[held.workflow])
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(0.1)
        worker.stop()
        await running
