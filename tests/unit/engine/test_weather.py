"""Store trouble is weather (I23): it is waited out, nothing becomes an outcome of a run, nothing is doubled."""

import asyncio
import logging
from typing import Any

import pytest
from faults import faulty_client

from durable import (
    Context,
    Corrupt,
    OutcomeUnknown,
    ReadOnly,
    RunConflict,
    Signal,
    StoreError,
    StoreFull,
    Transient,
    connect,
    step,
    workflow,
)

numbers = Signal("number", int)


class Job:
    """Two steps, a stream, a signal to another run, a child, and a signal from outside."""

    def __init__(self) -> None:
        self.log: list[str] = []

        @step
        async def one(n: int) -> int:
            self.log.append("one")
            return n + 1

        @step
        async def two(n: int) -> int:
            self.log.append("two")
            return n * 2

        @workflow
        async def child(ctx: Context, n: int) -> int:
            return n

        @workflow
        async def job(ctx: Context, n: int) -> int:
            ctx.emit("s", "begin")
            n = await ctx.step(one, n)
            ctx.signal("listener", numbers, n)
            n += await ctx.wait_for_signal(numbers)
            n = await ctx.child(child, await ctx.step(two, n))
            ctx.emit("s", "end")
            return n

        @workflow
        async def listener(ctx: Context) -> list[int]:
            seen = []
            while True:
                n = await ctx.wait_for_signal(numbers)
                if n == 0:
                    return seen
                seen.append(n)

        self.job, self.child, self.listener = job, child, listener

    async def go(self, rig: Any, client: Any) -> None:
        """Run it through, and check that everything happened once."""
        async with rig.worker(client, self.job, self.child, self.listener):
            listener = await client.start(self.listener, id="listener")
            handle = await client.start(self.job, 1, id="job")
            await handle.signal(numbers, 10)
            assert await rig.end(handle) == 24
            await listener.signal(numbers, 0)
            assert await rig.end(listener) == [2]
            assert [item async for item in handle.stream("s")] == ["begin", "end"]
            events = [row.event for row in await handle.history()]
            assert events == ["step_completed", "signal_received", "step_completed", "child_ended"]
            assert await client.count() == 3
        assert self.log == ["one", "two"]
        assert await client.store.check() == []


async def test_in_fine_weather(rig: Any) -> None:
    client, _ = faulty_client(rig.url)
    async with client:
        await Job().go(rig, client)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("call", ["create", "poll", "commit", "send", "get", "outcome", "journal", "now", "stream"])
@pytest.mark.parametrize("nth", [1, 2, 3])
async def test_a_call_that_fails_once_changes_nothing(rig: Any, call: str, moment: Any, nth: int) -> None:
    client, store = faulty_client(rig.url)
    error = Transient if moment == "before" else OutcomeUnknown
    store.fail(call, lambda: error("weather"), moment=moment, when=lambda n: n == nth)
    async with client:
        await Job().go(rig, client)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("call", ["create", "poll", "commit", "send", "get"])
async def test_a_call_that_fails_every_other_time_changes_nothing(rig: Any, call: str, moment: Any) -> None:
    client, store = faulty_client(rig.url)
    error = Transient if moment == "before" else OutcomeUnknown
    store.fail(call, lambda: error("weather"), moment=moment, when=lambda n: n % 2 == 1)
    async with client:
        await Job().go(rig, client)
    assert store.failed[call] >= 1


@pytest.mark.slow
@pytest.mark.parametrize("error", [StoreFull, ReadOnly])
async def test_a_store_that_cannot_be_written_is_waited_for(rig: Any, error: type[StoreError], caplog: Any) -> None:
    client, store = faulty_client(rig.url)
    caplog.set_level(logging.WARNING, "durable.store")
    store.fail("commit", lambda: error("no room"), when=lambda n: n <= 4)
    async with client:
        await Job().go(rig, client)
    said = [record.getMessage() for record in caplog.records if record.name == "durable.store"]
    assert sum("no room" in line for line in said) == 1
    assert "works again" in said[-1]


async def test_a_client_gives_up_after_a_while_with_the_stores_own_error(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from durable._engine import weather

    monkeypatch.setattr(weather, "_FIRST_SECONDS", 0.0005)
    monkeypatch.setattr(weather, "_LONGEST_SECONDS", 0.001)
    client, store = faulty_client(memory.url)
    async with client:
        store.fail("create", lambda: Transient("down"), when=lambda n: True)
        with pytest.raises(Transient, match="down"):
            await client.start(Job().child, 1)
        store.clear()
        assert await client.count() == 0


async def test_corrupt_is_no_weather(memory: Any) -> None:
    client, store = faulty_client(memory.url)
    async with client:
        store.fail("get", lambda: Corrupt("damaged"), when=lambda n: True)
        with pytest.raises(Corrupt, match="damaged"):
            await client.handle("x").status()
    assert store.calls["get"] == 1


@pytest.mark.parametrize("kind", ["attach", "reject", "replace"])
async def test_a_lost_acknowledgement_of_a_start_is_no_conflict_with_itself(rig: Any, kind: Any) -> None:
    client, store = faulty_client(rig.url)
    job = Job()
    async with client:
        store.fail("create", lambda: OutcomeUnknown("lost"), moment="after")
        options = {"request_id": "q"} if kind == "replace" else {}
        async with rig.worker(client, job.child):
            handle = await client.start(job.child, 3, id="c", if_exists=kind, **options)
            assert await rig.end(handle) == 3
            assert (await handle.status()).generation == 1
            if kind == "reject":
                with pytest.raises(RunConflict):
                    await client.start(job.child, 3, id="c", if_exists="reject")
    assert store.failed["create"] == 1


@pytest.mark.parametrize("verb", ["cancel", "terminate", "pause", "retry", "fork"])
async def test_a_lost_acknowledgement_of_a_verb_does_it_once(rig: Any, verb: str) -> None:
    client, store = faulty_client(rig.url)

    @step
    async def one() -> int:
        return 1

    @workflow
    async def wf(ctx: Context) -> int:
        n = await ctx.step(one)
        if verb not in ("retry", "fork"):
            await ctx.wait_for_signal("go")
        return n

    async with client, rig.worker(client, wf):
        handle = await client.start(wf)
        if verb in ("retry", "fork"):
            await rig.end(handle)
        else:
            await rig.waits(handle, "go")
        store.fail("control", lambda: OutcomeUnknown("lost"), moment="after")
        if verb == "retry":
            await handle.retry()
            assert await rig.end(handle) == 1
            assert (await handle.status()).generation == 2
        elif verb == "fork":
            fork = await handle.fork(at="one")
            assert await rig.end(fork) == 1
            assert await client.count() == 2
        else:
            await getattr(handle, verb)()
            await rig.state(handle, "paused" if verb == "pause" else "cancelled")


async def test_a_lost_acknowledgement_of_a_signal_delivers_it_once(rig: Any) -> None:
    client, store = faulty_client(rig.url)

    @workflow
    async def wf(ctx: Context) -> list[int]:
        return [await ctx.wait_for_signal(numbers), await ctx.wait_for_signal(numbers)]

    async with client, rig.worker(client, wf):
        handle = await client.start(wf)
        store.fail("send", lambda: OutcomeUnknown("lost"), moment="after")
        await handle.signal(numbers, 1)
        await handle.signal(numbers, 2)
        assert await rig.end(handle) == [1, 2]


async def test_trouble_is_never_shown_to_workflow_code(rig: Any) -> None:
    """I23."""
    client, store = faulty_client(rig.url)
    caught: list[str] = []

    @step
    async def one() -> int:
        return 1

    @workflow
    async def wf(ctx: Context) -> int:
        try:
            return await ctx.step(one)
        except BaseException as error:
            caught.append(type(error).__name__)
            raise

    store.fail("commit", lambda: Transient("down"), when=lambda n: n <= 3)
    async with client, rig.worker(client, wf):
        assert await rig.run(client, wf) == 1
    assert caught == []


@pytest.mark.slow
async def test_a_surprise_in_the_poll_does_not_leave_a_worker_that_takes_nothing(rig: Any, caplog: Any) -> None:
    """B14: it goes on, or it dies loudly; it does not beat on for ever and claim nothing."""
    client, store = faulty_client(rig.url)

    @workflow
    async def wf(ctx: Context) -> int:
        return 1

    store.fail("poll", lambda: RuntimeError("a bug of the adapter"), when=lambda n: n == 2)
    async with client, rig.worker(client, wf, poll=0.01):
        await asyncio.sleep(0.03)
        assert await rig.run(client, wf) == 1


async def test_a_damaged_store_is_said_aloud_by_the_worker(memory: Any, caplog: Any) -> None:
    client, store = faulty_client(memory.url)

    @workflow
    async def wf(ctx: Context) -> int:
        return 1

    async with client, memory.worker(client, wf):
        store.fail("commit", lambda: Corrupt("damaged"))
        await client.start(wf)
        await memory.until(lambda: any("damaged" in str(record.exc_info) for record in caplog.records))


async def test_one_broken_commit_does_not_fail_its_neighbours(rig: Any) -> None:
    client, store = faulty_client(rig.url)
    inner = store.inner.commit

    async def commit(commits: Any) -> Any:
        if any(one.run == "poison" and one.append for one in commits):
            raise ValueError("this one cannot be written")
        return await inner(commits)

    store.inner.commit = commit

    @step
    async def one(n: int) -> int:
        return n

    @workflow
    async def wf(ctx: Context, n: int) -> int:
        return await ctx.step(one, n)

    async with client, rig.worker(client, wf):
        poison = await client.start(wf, -1, id="poison")
        others = [await client.start(wf, n) for n in range(20)]
        assert [await rig.end(handle) for handle in others] == list(range(20))
        status = await rig.state(poison, "blocked")
        assert "cannot be written" in status.error


@pytest.mark.needs("pages", "batches", reason="it counts the runs that one transaction writes")
async def test_group_commit_takes_many_runs_in_one_transaction(rig: Any) -> None:
    @step
    async def one(n: int) -> int:
        return n

    @workflow
    async def wf(ctx: Context, n: int) -> int:
        return sum([await ctx.step(one, n) for _ in range(5)])

    async with connect(rig.url) as client:
        handles = [await client.start(wf, n) for n in range(50)]
        async with rig.worker(client, wf) as worker:
            for n, handle in enumerate(handles):
                assert await rig.end(handle) == 5 * n
            committer = worker._committer
            assert committer.commits >= 250
            assert committer.transactions * 5 <= committer.commits


async def test_one_write_per_step(rig: Any) -> None:
    @step
    async def one(n: int) -> int:
        return n

    @workflow
    async def wf(ctx: Context) -> int:
        return sum([await ctx.step(one, n) for n in range(10)])

    async with connect(rig.url) as client, rig.worker(client, wf) as worker:
        assert await rig.run(client, wf) == 45
        assert worker._committer.commits <= 11
