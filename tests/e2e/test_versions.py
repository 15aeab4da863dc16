"""Changed code: patched, versions side by side, strict and tolerant replay, forbidden calls (I13)."""

import asyncio
import random
import socket
import time
from typing import Any

import pytest

from durable import Context, NonDeterminismError, RunFailed, WorkflowCodeError, connect, step, workflow

log: list[str] = []


@step
async def one() -> str:
    log.append("one")
    return "1"


@step
async def two() -> str:
    log.append("two")
    return "2"


@step
async def say(text: str) -> str:
    log.append(text)
    return text


@pytest.fixture(autouse=True)
def fresh_log() -> None:
    log.clear()


async def handed_over(rig: Any, old: Any, new: Any, *input: Any) -> Any:
    """Start with the old code, wait until the run rests at ``go``; the new code finds a signal there."""
    async with connect(rig.url) as client, rig.worker(client, old):
        handle = await client.start(old, *input)
        await rig.waits(handle, "go")
    client = connect(rig.url)
    await client.open()
    worker = rig.worker(client, new)
    await worker._start()
    handle = client.handle(handle.id, new)
    await handle.signal("go")
    return client, worker, handle


async def left(client: Any, worker: Any) -> None:
    await worker._stop()
    await client.close()


async def blocked_then_finished_by_the_old_code(rig: Any, old: Any, new: Any) -> str:
    """The new code blocks the run before any effect; the old code finishes it. What was said when it was blocked."""
    client, worker, handle = await handed_over(rig, old, new)
    try:
        effects = list(log)
        status = await rig.state(handle, "blocked")
        said = await handle.explain()
        assert log == effects
        row = (await client.store.get([handle.id]))[0]
        assert row.blocked_kind == "non_determinism"
        assert "Deploy" in said
    finally:
        await left(client, worker)
    async with connect(rig.url) as client, rig.worker(client, old):
        handle = client.handle(handle.id, old)
        await handle.resume()
        assert await rig.end(handle) == "old"
    return str(status.error)


def old_workflow() -> Any:
    @workflow("job")
    async def job(ctx: Context) -> str:
        await ctx.step(one)
        await ctx.step(two)
        await ctx.wait_for_signal("go")
        return "old"

    return job


async def test_unchanged_code_in_another_worker_goes_on(rig: Any) -> None:
    client, worker, handle = await handed_over(rig, old_workflow(), old_workflow())
    try:
        assert await rig.end(handle) == "old"
    finally:
        await left(client, worker)
    assert log == ["one", "two"]


async def test_a_dropped_step_blocks_the_run(rig: Any) -> None:
    @workflow("job")
    async def job(ctx: Context) -> str:
        await ctx.step(two)
        await ctx.wait_for_signal("go")
        return "new"

    said = await blocked_then_finished_by_the_old_code(rig, old_workflow(), job)
    assert 'step "one"' in said
    assert 'step "two"' in said
    assert "test_versions.py:" in said


async def test_swapped_steps_block_the_run(rig: Any) -> None:
    @workflow("job")
    async def job(ctx: Context) -> str:
        await ctx.step(two)
        await ctx.step(one)
        await ctx.wait_for_signal("go")
        return "new"

    await blocked_then_finished_by_the_old_code(rig, old_workflow(), job)


async def test_an_inserted_step_blocks_the_run(rig: Any) -> None:
    @workflow("job")
    async def job(ctx: Context) -> str:
        await ctx.step(one)
        await ctx.step(say, "inserted")
        await ctx.step(two)
        await ctx.wait_for_signal("go")
        return "new"

    await blocked_then_finished_by_the_old_code(rig, old_workflow(), job)


async def test_another_kind_of_call_blocks_the_run(rig: Any) -> None:
    @workflow("job")
    async def job(ctx: Context) -> str:
        await ctx.step(one)
        await ctx.sleep("two", 1)
        await ctx.wait_for_signal("go")
        return "new"

    await blocked_then_finished_by_the_old_code(rig, old_workflow(), job)


async def test_a_shorter_workflow_blocks_the_run(rig: Any) -> None:
    @workflow("job")
    async def job(ctx: Context) -> str:
        await ctx.step(one)
        return "new"

    said = await blocked_then_finished_by_the_old_code(rig, old_workflow(), job)
    assert "ended" in said


async def test_other_arguments_block_the_run_strict_and_tolerant(rig: Any) -> None:
    @workflow("job")
    async def old(ctx: Context) -> str:
        await ctx.step(say, "a")
        await ctx.wait_for_signal("go")
        return "old"

    @workflow("job", replay="tolerant")
    async def new(ctx: Context) -> str:
        await ctx.step(say, "b")
        await ctx.wait_for_signal("go")
        return "new"

    said = await blocked_then_finished_by_the_old_code(rig, old, new)
    assert "other arguments" in said


async def test_tolerant_replay_goes_through_insertions_and_deletions(rig: Any) -> None:
    @workflow("job", replay="tolerant")
    async def job(ctx: Context) -> str:
        await ctx.step(say, "inserted")
        await ctx.step(two)
        await ctx.wait_for_signal("go")
        return "new"

    client, worker, handle = await handed_over(rig, old_workflow(), job)
    try:
        assert await rig.end(handle) == "new"
    finally:
        await left(client, worker)
    assert log == ["one", "two", "inserted"]


async def test_an_appended_step_is_no_change_to_what_was(rig: Any) -> None:
    @workflow("job")
    async def job(ctx: Context) -> str:
        await ctx.step(one)
        await ctx.step(two)
        await ctx.wait_for_signal("go")
        return await ctx.step(say, "appended")

    client, worker, handle = await handed_over(rig, old_workflow(), job)
    try:
        assert await rig.end(handle) == "appended"
    finally:
        await left(client, worker)


async def test_chance_in_workflow_code_is_found_out_by_replay(memory: Any) -> None:
    rolled = iter([one, two])

    @workflow
    async def wf(ctx: Context) -> None:
        await ctx.step(next(rolled))
        await ctx.wait_for_signal("go")

    async with connect(memory.url) as client:
        async with memory.worker(client, wf):
            handle = await client.start(wf)
            await memory.waits(handle, "go")
        async with connect(memory.url) as other, memory.worker(other, wf):
            await handle.signal("go")
            await memory.state(handle, "blocked")


async def test_patched_is_false_for_runs_from_before_the_change_and_true_for_new_ones(rig: Any) -> None:
    @workflow("job")
    async def old(ctx: Context) -> str:
        await ctx.step(one)
        await ctx.wait_for_signal("go")
        await ctx.step(two)
        return "old"

    @workflow("job")
    async def new(ctx: Context) -> str:
        if ctx.patched("say instead of one"):
            await ctx.step(say, "new")
        else:
            await ctx.step(one)
        await ctx.wait_for_signal("go")
        await ctx.step(two)
        return "new code"

    client, worker, handle = await handed_over(rig, old, new)
    try:
        assert await rig.end(handle) == "new code"
        assert log == ["one", "two"]
        log.clear()
        fresh = await client.start(new)
        await rig.waits(fresh, "go")
    finally:
        await left(client, worker)
    async with connect(rig.url) as client, rig.worker(client, new):
        await client.signal(fresh.id, "go")
        assert await rig.end(client.handle(fresh.id, new)) == "new code"
        events = [row.event for row in await client.handle(fresh.id).history()]
    assert log == ["new", "two"]
    assert events.count("patched") == 1


async def test_patched_is_false_after_a_crash_where_a_later_outcome_shows_that_the_code_was_run(rig: Any) -> None:
    """Nothing but outcomes of steps was ever committed; they tell all the same how far the old code has come."""
    begun = asyncio.Event()
    go = asyncio.Event()

    @step
    async def hold() -> None:
        begun.set()
        await go.wait()

    @workflow("job")
    async def old(ctx: Context) -> str:
        await ctx.step(one)
        await ctx.step(two)
        await ctx.step(hold)
        return "old"

    @workflow("job")
    async def new(ctx: Context) -> str:
        await ctx.step(one)
        patched = ctx.patched("something else before two")
        await ctx.step(two)
        await ctx.step(hold)
        return f"new code, patched={patched}"

    async with connect(rig.url) as client, connect(rig.url) as other:
        worker = rig.worker(client, old)
        await worker._start()
        handle = await client.start("job")
        await begun.wait()
        await rig.crash(worker)
        go.set()
        async with rig.worker(other, new):
            assert await rig.end(handle) == "new code, patched=False"


async def test_patched_in_a_loop_answers_the_same_ever_after(rig: Any) -> None:
    @workflow("job")
    async def old(ctx: Context) -> str:
        for _ in range(2):
            await ctx.wait_for_signal("go")
            await ctx.step(one)
        return "old"

    @workflow("job")
    async def new(ctx: Context) -> str:
        answers = []
        for _ in range(2):
            await ctx.wait_for_signal("go")
            answers.append(ctx.patched("x"))
            await ctx.step(two if answers[-1] else one)
        return f"{answers}"

    async with connect(rig.url) as client:
        async with rig.worker(client, old):
            handle = await client.start(old)
            await handle.signal("go")
            await rig.until(lambda: log == ["one"])
            await rig.waits(handle, "go")
        async with connect(rig.url) as other, rig.worker(other, new):
            await handle.signal("go")
            assert await rig.end(other.handle(handle.id, new)) == "[False, False]"


async def test_versions_side_by_side_serve_the_runs_that_began_on_them(rig: Any) -> None:
    @workflow("job", version="1")
    async def first(ctx: Context) -> str:
        await ctx.wait_for_signal("go")
        return "version 1"

    @workflow("job", version="2")
    async def second(ctx: Context) -> str:
        await ctx.wait_for_signal("go")
        return "version 2"

    async with connect(rig.url) as client:
        async with rig.worker(client, first):
            early = await client.start(first)
            await rig.waits(early, "go")
        async with connect(rig.url) as other, rig.worker(other, first, second):
            late = await other.start(second)
            by_name = await other.start("job")
            for handle in (early, late, by_name):
                await handle.signal("go")
            assert [await rig.end(handle) for handle in (early, late, by_name)] == [
                "version 1",
                "version 2",
                "version 2",
            ]
            assert (await by_name.status()).version == "2"


async def test_a_version_that_nobody_has_waits_for_its_workers_and_says_so(rig: Any) -> None:
    @workflow("job", version="1")
    async def first(ctx: Context) -> str:
        return "version 1"

    @workflow("job", version="2")
    async def second(ctx: Context) -> str:
        return "version 2"

    async with connect(rig.url) as client:
        handle = await client.start(second)
        async with rig.worker(client, first, name="w1"):
            await asyncio.sleep(0.03)
            assert (await handle.status()).state == "pending"
            said = await handle.explain()
            assert "No live worker has workflow job version 2" in said
            assert "w1 has version 1" in said
        async with connect(rig.url) as other, rig.worker(other, second):
            assert await rig.end(handle) == "version 2"
            assert (await client.store.get([handle.id]))[0].strikes == 0


def forbidden_calls() -> dict[str, Any]:
    return {
        "open": lambda: open("/dev/null"),
        "socket": lambda: socket.create_connection(("127.0.0.1", 9)),
        "time.sleep": lambda: time.sleep(0.001),
        "executor": lambda: asyncio.get_running_loop().run_in_executor(None, print),
        "call_soon_threadsafe": lambda: asyncio.get_running_loop().call_soon_threadsafe(print),
        "subprocess": lambda: __import__("subprocess").run(["true"]),
    }


@pytest.mark.parametrize("name", list(forbidden_calls()))
async def test_a_forbidden_call_blocks_the_run_and_the_worker_lives_on(rig: Any, name: str) -> None:
    broken = True

    @workflow
    async def wf(ctx: Context) -> str:
        if broken:
            forbidden_calls()[name]()
        return "mended"

    @workflow
    async def other(ctx: Context) -> str:
        return "alive"

    async with rig.serving(wf, other) as client:
        handle = await client.start(wf)
        status = await rig.state(handle, "blocked")
        row = (await client.store.get([handle.id]))[0]
        assert row.blocked_kind == "workflow_code"
        assert any(cure in status.error for cure in ("step", "ctx.sleep", "signal"))
        assert await rig.run(client, other) == "alive"
        broken = False
        await handle.resume()
        assert await rig.end(handle) == "mended"


async def test_a_forbidden_call_that_the_code_catches_blocks_all_the_same(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> str:
        try:
            open("/dev/null")  # noqa: SIM115
        except WorkflowCodeError:
            return "hidden"
        return "?"

    async with rig.serving(wf) as client:
        await rig.state(await client.start(wf), "blocked")


async def test_a_workflow_that_awaits_what_nobody_sets_says_so(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> None:
        await asyncio.get_running_loop().create_future()

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        await rig.until(lambda: _state(handle, "waiting"))
        assert "only it can set" in await handle.explain()
        await handle.terminate()


async def _state(handle: Any, state: str) -> bool:
    return (await handle.status()).state == state


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, RecursionError])
async def test_any_exception_of_the_code_fails_its_run_alone(rig: Any, kind: type[BaseException]) -> None:
    @workflow
    async def wf(ctx: Context) -> None:
        await ctx.step(one)
        raise kind("out")

    @workflow
    async def other(ctx: Context) -> str:
        return "alive"

    async with rig.serving(wf, other) as client:
        with pytest.raises(RunFailed):
            await rig.run(client, wf)
        assert await rig.run(client, other) == "alive"


async def test_rule_12_the_standard_wait_for_under_its_own_name_is_refused(memory: Any) -> None:
    from durable._core import primitives

    standard = primitives._standard_as_completed

    @workflow
    async def wf(ctx: Context) -> None:
        for each in standard([ctx.step(one)]):
            await each

    async with memory.serving(wf) as client:
        handle = await client.start(wf)
        status = await memory.state(handle, "blocked", "failed")
        assert "as_completed" in status.error


async def test_rule_15_the_guard_leaves_other_code_alone(rig: Any) -> None:
    """Rule 15: what imports, logs and encodes may open files; so may steps while a workflow runs."""

    @step
    def read() -> int:
        with open("/dev/null") as file:
            return len(file.read())

    @workflow
    async def wf(ctx: Context) -> int:
        import colorsys  # noqa: F401
        from zoneinfo import ZoneInfo

        ctx.now().astimezone(ZoneInfo("Europe/Rome"))
        ctx.log.info("hello")
        random.Random(1).random()
        return await ctx.step(read)

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == 0


def test_run_raises_the_error_of_a_blocked_run(memory: Any) -> None:
    import durable

    @workflow
    async def wf(ctx: Context) -> None:
        open("/dev/null")  # noqa: SIM115

    with pytest.raises(WorkflowCodeError, match="opens a file"):
        durable.run(wf, store=memory.url)


def test_run_resumes_where_the_last_script_stopped(memory: Any) -> None:
    import durable

    attempts = []

    @workflow("script")
    async def broken(ctx: Context, n: int) -> str:
        await ctx.step(one)
        attempts.append(1)
        open("/dev/null")  # noqa: SIM115
        return "?"

    @workflow("script")
    async def mended(ctx: Context, n: int) -> str:
        await ctx.step(one)
        return await ctx.step(say, f"done {n}")

    async def resume() -> None:
        async with connect(memory.url) as client:
            await client.handle("nightly").resume()

    with pytest.raises(WorkflowCodeError):
        durable.run(broken, 7, id="nightly", store=memory.url)
    asyncio.run(resume())
    assert durable.run(mended, 7, id="nightly", store=memory.url) == "done 7"
    assert durable.run(mended, 7, id="nightly", store=memory.url) == "done 7"
    assert log == ["one", "done 7"]


@pytest.mark.slow
def test_run_raises_non_determinism_as_itself(memory: Any) -> None:
    import durable

    @workflow("script")
    async def before(ctx: Context) -> None:
        await ctx.step(one)
        open("/dev/null")  # noqa: SIM115

    @workflow("script")
    async def after(ctx: Context) -> None:
        await ctx.step(two)

    async def resume() -> None:
        async with connect(memory.url) as client:
            await client.handle("job").resume()

    with pytest.raises(WorkflowCodeError):
        durable.run(before, id="job", store=memory.url)
    asyncio.run(resume())
    with pytest.raises(NonDeterminismError, match='step "one"'):
        durable.run(after, id="job", store=memory.url)
