"""What can be seen and done from outside: values, streams, status, lists, on_complete, the blocking twin."""

import asyncio
import sys
import threading
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from durable import (
    Client,
    Completion,
    Context,
    DurableError,
    InvalidInput,
    Retry,
    RunFailed,
    RunNotFound,
    Worker,
    connect,
    run,
    step,
    workflow,
)


@workflow
async def waiting(ctx: Context, n: int) -> int:
    ctx.set("n", n)
    await ctx.wait_for_signal("go")
    return n


async def test_values_are_readable_while_the_run_waits_and_after_its_end(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> None:
        ctx.set("phase", 1)
        ctx.set("phase", 2)
        ctx.set("other", {"a": [None]})
        await ctx.wait_for_signal("go")
        ctx.set("phase", 3)

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        await rig.waits(handle, "go")
        assert await handle.values() == {"phase": 2, "other": {"a": [None]}}
        assert (await handle.status()).values == {"phase": 2, "other": {"a": [None]}}
        await handle.signal("go")
        await rig.end(handle)
        assert (await handle.values())["phase"] == 3


async def test_a_stream_is_followed_from_any_offset_until_the_run_ends(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> None:
        for n in range(3):
            ctx.emit("numbers", n)
        ctx.emit("other", "x")
        await ctx.wait_for_signal("go")
        for n in range(3, 6):
            ctx.emit("numbers", n)

    async def read(handle: Any, start: int) -> list[int]:
        return [item async for item in handle.stream("numbers", start=start)]

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        await rig.waits(handle, "go")
        readers = [asyncio.create_task(read(handle, start)) for start in (0, 2, 5)]
        await asyncio.sleep(0.02)
        assert not any(reader.done() for reader in readers)
        await handle.signal("go")
        async with asyncio.timeout(5):
            assert [await reader for reader in readers] == [[0, 1, 2, 3, 4, 5], [2, 3, 4, 5], [5]]
        assert await read(handle, 4) == [4, 5]
        assert await read(handle, 99) == []
        assert [item async for item in handle.stream("nothing")] == []


async def test_a_stream_of_no_run_says_so(rig: Any) -> None:
    async with connect(rig.url) as client:
        with pytest.raises(RunNotFound):
            async for _ in client.handle("nobody").stream("s"):
                pass


@pytest.mark.slow
async def test_rule_6_items_and_values_are_not_doubled_by_a_crash(rig: Any) -> None:
    begun = asyncio.Event()

    @step
    async def hold(n: int) -> None:
        if n == 1 and not begun.is_set():
            begun.set()
            await asyncio.sleep(60)

    @workflow
    async def wf(ctx: Context) -> None:
        for n in range(3):
            ctx.emit("s", f"before {n}")
            await ctx.step(hold, n)
            ctx.emit("s", f"after {n}")
            ctx.emit("s", f"again {n}")

    async with connect(rig.url) as client:
        worker = rig.worker(client, wf)
        await worker._start()
        handle = await client.start(wf)
        await begun.wait()
        await rig.crash(worker)
        async with connect(rig.url) as other, rig.worker(other, wf):
            await rig.end(handle)
        items = [item async for item in handle.stream("s")]
    assert items == [f"{word} {n}" for n in range(3) for word in ("before", "after", "again")]


async def test_rule_6_more_commands_in_one_activation_than_one_commit_holds(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> None:
        for n in range(350):
            ctx.emit("s", n)
            ctx.set(f"k{n % 7}", n)
        await ctx.wait_for_signal("go")
        ctx.emit("s", "end")

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        await rig.waits(handle, "go")
        await handle.signal("go")
        await rig.end(handle)
        assert [item async for item in handle.stream("s")] == [*range(350), "end"]


@pytest.mark.parametrize("end", ["success", "error", "canceled", "terminated"])
async def test_rule_19_on_complete_is_started_exactly_once_however_the_run_ends(rig: Any, end: str) -> None:
    seen: list[Completion] = []

    @step
    async def note(completion: Completion) -> None:
        seen.append(completion)

    @workflow
    async def after(ctx: Context, completion: Completion) -> None:
        await ctx.step(note, completion)

    @workflow
    async def wf(ctx: Context) -> dict[str, int]:
        await ctx.wait_for_signal("go")
        if end == "error":
            raise ValueError("went wrong")
        return {"total": 7}

    async with rig.serving(wf, after) as client:
        handle = await client.start(wf, id="r", on_complete=after, on_complete_context={"to": "eve"})
        await rig.waits(handle, "go")
        if end == "canceled":
            await handle.cancel("no more")
        elif end == "terminated":
            await handle.terminate("at once")
        else:
            await handle.signal("go")
        await rig.until(lambda: seen)
        await asyncio.sleep(0.05)
        assert await client.count(workflow="after") == 1
    [completion] = seen
    assert (completion.run_id, completion.workflow, completion.context) == ("r", "wf", {"to": "eve"})
    expected = {
        "success": ("success", {"total": 7}, None),
        "error": ("error", None, "ValueError: went wrong"),
        "canceled": ("canceled", None, "no more"),
        "terminated": ("canceled", None, "at once"),
    }[end]
    assert (completion.kind, completion.result, completion.error) == expected


async def test_on_complete_of_a_run_that_never_began(rig: Any) -> None:
    @workflow
    async def after(ctx: Context, completion: Completion) -> str:
        return completion.kind

    async with connect(rig.url) as client:
        handle = await client.start(waiting, 1, on_complete=after, delay="1h")
        await handle.cancel()
        async with rig.worker(client, waiting, after):
            [run] = await rig.until(lambda: _listed(client, workflow="after", status="completed"))
            assert await rig.end(client.handle(run.id, after)) == "canceled"


async def _listed(client: Any, **query: Any) -> Any:
    return (await client.list(**query)).runs


async def test_a_completion_may_be_taken_as_json(rig: Any) -> None:
    @workflow
    async def after(ctx: Context, completion: dict[str, Any]) -> str:
        return completion["kind"]

    @workflow
    async def wf(ctx: Context) -> None: ...

    async with rig.serving(wf, after) as client:
        await client.start(wf, on_complete=after)
        [run] = await rig.until(lambda: _listed(client, workflow="after", status="completed"))
        assert await rig.end(client.handle(run.id, after)) == "success"


async def test_lists_filter_by_every_condition(rig: Any) -> None:
    @workflow
    async def done(ctx: Context) -> str:
        return "ok"

    async with rig.serving(waiting, done) as client:
        before = datetime.now(UTC)
        for n in range(3):
            await client.start(waiting, n, id=f"wait_{n}", labels={"team": "ops", "n": str(n)})
        await client.start(waiting, 9, id="waitx9", labels={"team": "dev"}, queue="other")
        await rig.run(client, done, id="done-1")
        await rig.waits(client.handle("wait_2"), "go")

        async def ids(**query: Any) -> set[str]:
            page = await client.list(**query)
            found = {run.id for run in page}
            while page.cursor is not None:
                page = await client.list(**query, cursor=page.cursor)
                found |= {run.id for run in page}
            return found

        assert await ids(workflow="done") == await ids(workflow=done) == {"done-1"}
        assert await ids(status="completed") == {"done-1"}
        assert await ids(status=["completed", "pending"]) == {"done-1", "waitx9"}
        assert await ids(labels={"team": "ops"}) == {"wait_0", "wait_1", "wait_2"}
        assert await ids(labels={"team": "ops", "n": "1"}) == {"wait_1"}
        assert await ids(id_prefix="wait_") == {"wait_0", "wait_1", "wait_2"}
        assert await ids(id_prefix="WAIT") == set()
        assert await ids(queue="other") == {"waitx9"}
        assert len(await ids(created_after=before - timedelta(seconds=1))) == 5
        assert await ids(created_before=before - timedelta(seconds=1)) == set()
        assert await client.count() == 5
        assert await client.count(labels={"team": "ops"}) == 3
        summary = (await client.list(workflow=done)).runs[0]
        assert (summary.state, summary.version, summary.queue) == ("completed", "1", "default")
        assert summary.ended_at >= summary.started_at >= summary.created_at
        with pytest.raises(InvalidInput, match="status"):
            await client.list(status="broken")
        with pytest.raises(InvalidInput, match="limit"):
            await client.list(limit=0)
        with pytest.raises(InvalidInput, match="limit"):
            await client.list(limit=1001)
        with pytest.raises(InvalidInput):
            await client.list(cursor="made up")
        with pytest.raises(InvalidInput, match="time zone"):
            await client.list(created_after=datetime(2026, 1, 1))


async def test_pages_show_each_run_once_newest_first(rig: Any) -> None:
    async with connect(rig.url) as client:
        for n in range(7):
            await client.start(waiting, n, id=f"r{n}")
        found: list[str] = []
        cursor = None
        while True:
            page = await client.list(limit=3, cursor=cursor)
            found += [run.id for run in page]
            cursor = page.cursor
            if cursor is None:
                break
    assert sorted(found) == [f"r{n}" for n in range(7)]
    assert len(found) == 7


async def test_purge_deletes_ended_runs_that_fit(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context, fail: bool) -> None:
        ctx.emit("s", 1)
        if fail:
            raise ValueError

    async with rig.serving(wf, waiting) as client:
        handles = [await client.start(wf, n % 2 == 1, id=f"r{n}") for n in range(4)]
        for handle in handles:
            await rig.state(handle, "completed", "failed")
        live = await client.start(waiting, 1)
        with pytest.raises(InvalidInput, match="older_than=0"):
            await client.purge()
        assert await client.purge(older_than="1h") == 0
        assert await client.purge(status="failed") == 2
        assert await client.purge(ids=["r0", live.id]) == 1
        assert await client.purge(older_than=0) == 1
        assert await client.count() == 1
        with pytest.raises(RunNotFound):
            await handles[0].status()
        again = await client.start(wf, False, id="r0")
        assert await rig.end(again) is None


async def test_retention_lets_ended_runs_go(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from durable._engine import retention

    monkeypatch.setattr(retention, "_EVERY_SECONDS", 0.02)

    @workflow(retention=0.01)
    async def short(ctx: Context) -> None: ...

    @workflow
    async def kept(ctx: Context) -> None: ...

    async with rig.serving(short, kept) as client:
        await client.start(short)
        await rig.run(client, kept)
        await rig.until(lambda: _count_is(client, 1))
        assert await client.count(workflow="kept") == 1


async def _count_is(client: Any, count: int) -> bool:
    return await client.count() == count


async def test_a_run_with_a_delay_starts_no_earlier(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> datetime:
        return ctx.now()

    async with rig.serving(wf) as client:
        before = datetime.now(UTC)
        handle = await client.start(wf, delay="150ms")
        assert "its delay ends" in await handle.explain()
        assert (await handle.status()).state == "pending"
        assert await rig.end(handle) - before >= timedelta(milliseconds=149)


@pytest.mark.slow
async def test_status_and_explain_say_what_a_run_does(rig: Any) -> None:
    go = asyncio.Event()

    @step(retry=Retry(2))
    async def work() -> None:
        await go.wait()

    @workflow
    async def wf(ctx: Context) -> str:
        await asyncio.gather(ctx.step(work), ctx.wait_for_signal("go", timeout="1h"), ctx.sleep("nap", 0.25))
        return "ok"

    async with rig.serving(wf, name="the worker") as client:
        handle = await client.start(wf, labels={"a": "b"})

        async def shown() -> Any:
            status = await handle.status()
            return status if status.current else None

        status = await rig.until(shown)
        assert status.state == "running"
        assert status.current == ["work", "signal go", "timer nap"]
        assert (status.workflow, status.version, dict(status.labels)) == ("wf", "1", {"a": "b"})
        assert "Running on the worker. Step work is executing since" in await handle.explain()
        go.set()
        await handle.signal("go")
        assert await rig.end(handle) == "ok"
        status = await handle.status()
        assert (status.state, status.current, status.error) == ("completed", [], None)
        assert (await handle.explain()).startswith("Completed")


async def test_a_failed_run_shows_its_error_in_one_line(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> None:
        raise ValueError("first line\nsecond line")

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        with pytest.raises(RunFailed):
            await rig.end(handle)
        status = await handle.status()
        assert status.error == "ValueError: first line\\nsecond line"
        assert "\n" not in await handle.explain()
        assert (await client.list(status="failed")).runs[0].error == status.error


async def test_a_result_with_a_timeout_says_what_the_run_waits_for(rig: Any) -> None:
    async with rig.serving(waiting) as client:
        handle = await client.start(waiting, 1)
        await rig.waits(handle, "go")
        with pytest.raises(TimeoutError, match="signal go"):
            await handle.result(timeout="10ms")
        with pytest.raises(InvalidInput):
            await handle.result(timeout=-1)
        with pytest.raises(RunNotFound):
            await client.handle("nobody").result(timeout=1)


async def test_a_result_is_typed_by_the_workflow_of_the_handle_or_of_the_worker(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> tuple[int, bytes]:
        return 1, b"x"

    async with rig.serving(wf) as client:
        handle = await client.start(wf, id="r")
        assert await rig.end(handle) == (1, b"x")
        assert await rig.end(client.handle("r")) == (1, b"x")
        async with connect(rig.url) as other:
            if not rig.url.startswith("sqlite"):
                assert await rig.end(other.handle("r", wf)) == (1, b"x")


async def test_history_shows_the_journal_for_people(rig: Any) -> None:
    @step(retry=Retry(2, initial=0))
    async def flaky(n: int) -> int:
        flaky_calls.append(n)
        if len(flaky_calls) == 1:
            raise ValueError("once")
        return n

    flaky_calls: list[int] = []

    @workflow
    async def wf(ctx: Context) -> int:
        n = await ctx.step(flaky, 7)
        await ctx.sleep("nap", 0)
        await ctx.wait_for_signal("go")
        ctx.patched("change")
        return await ctx.child(waiting_for_nothing, n)

    @workflow
    async def waiting_for_nothing(ctx: Context, n: int) -> int:
        return n

    async with rig.serving(wf, waiting_for_nothing) as client:
        handle = await client.start(wf)
        await handle.signal("go", {"a": 1})
        assert await rig.end(handle) == 7
        rows = await handle.history()
    assert [(row.event, row.name, row.attempt, row.value, row.error) for row in rows] == [
        ("attempt_failed", "flaky", 1, None, "ValueError: once"),
        ("step_completed", "flaky", 2, 7, None),
        ("timer_fired", "nap", 0, None, None),
        ("signal_received", "go", 0, {"a": 1}, None),
        ("patched", "change", 0, None, None),
        ("child_ended", "waiting_for_nothing", 0, 7, None),
    ]
    assert [row.position for row in rows] == list(range(6))
    assert all(one.at <= two.at for one, two in zip(rows, rows[1:], strict=False))


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


async def test_who_waits_for_a_run_that_no_worker_can_take_is_told_once(
    rig: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from durable._engine import watching

    monkeypatch.setattr(watching, "_UNSERVED_SECONDS", 0.1)

    @workflow
    async def nobodys(ctx: Context) -> int:
        return 1

    async with connect(rig.url) as client, rig.worker(client, waiting):
        handle = await client.start(nobodys)
        with pytest.raises(TimeoutError):
            await handle.result(timeout=3.5)
        (told,) = [record.getMessage() for record in caplog.records if handle.id in record.getMessage()]
        reason = "No live worker has workflow nobodys version 1. Start one that does."
        assert told == f"Waiting for run {handle.id}: {reason}"
        caplog.clear()
        held = await client.start(waiting, 1)
        with pytest.raises(TimeoutError):
            await held.result(timeout=1)
        assert not caplog.records


async def test_durable_run_says_what_to_write_in_a_running_loop() -> None:
    with pytest.raises(DurableError, match="async with connect"):
        run(waiting, 1, store="memory://")


async def test_a_call_that_was_not_awaited_is_told_of_with_its_line(rig: Any) -> None:
    lines: list[int] = []

    @step
    async def charge() -> None: ...

    @workflow
    async def wf(ctx: Context) -> None:
        lines.append(sys._getframe().f_lineno + 1)
        receipt = ctx.step(charge)
        await ctx.sleep("10ms")
        del receipt

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        async with rig.serving(wf) as client:
            await rig.end(await client.start(wf))
    found = {(one.filename, one.lineno) for one in heard if "'charge' was never awaited" in str(one.message)}
    assert found == {(__file__, lines[0])}


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
