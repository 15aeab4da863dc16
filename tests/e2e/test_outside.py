"""What can be seen and done from outside: values, streams, status, lists, on_complete, words of warning."""

import asyncio
import sys
import warnings
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from durable import (
    Completion,
    Context,
    InvalidInput,
    Retry,
    RunFailed,
    RunNotFound,
    connect,
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


async def test_who_was_told_that_nobody_takes_the_run_is_told_when_it_is_blocked(
    rig: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from durable._engine import watching

    monkeypatch.setattr(watching, "_UNSERVED_SECONDS", 0.1)

    @workflow
    async def wf(ctx: Context) -> None:
        await client.list()

    def told(what: str) -> list[str]:
        return [
            one.getMessage() for one in caplog.records if handle.id in one.getMessage() and what in one.getMessage()
        ]

    async with connect(rig.url) as client:
        handle = await client.start(wf)
        result = asyncio.create_task(handle.result())
        await rig.until(lambda: told("No live worker"))
        async with rig.worker(client, wf):
            await rig.until(lambda: told("which is blocked"))
        result.cancel()
    assert len(told("No live worker")) == len(told("which is blocked")) == 1


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
