"""Many calls at once: asyncio's own tools, ctx.parallel and ctx.map."""

import asyncio
import gc
import warnings
from typing import Any

import pytest

from durable import Context, InvalidInput, Retry, RunFailed, step, workflow


class Crew:
    """Steps that end when they are told to."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.cancelled: list[int] = []

        @step
        async def work(n: int) -> int:
            self.begun.append(n)
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                await asyncio.sleep(0.01 if n >= 0 else 60)
                if n == 13:
                    raise ValueError("unlucky")
                self.ended.append(n)
                return n * n
            except asyncio.CancelledError:
                self.cancelled.append(n)
                raise
            finally:
                self.running -= 1

        self.work = work


async def test_gather_runs_steps_side_by_side_and_keeps_their_order(rig: Any) -> None:
    crew = Crew()

    @workflow
    async def wf(ctx: Context) -> list[int]:
        return await asyncio.gather(*(ctx.step(crew.work, n) for n in (3, 1, 2)))

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == [9, 1, 4]
    assert crew.most == 3


async def test_gather_of_nothing_returns_at_once(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> list[Any]:
        return [await asyncio.gather(), await ctx.parallel([]), await ctx.map(Crew().work, [])]

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == [[], [], []]


async def test_parallel_of_several_gives_a_tuple_and_of_an_iterable_a_list(rig: Any) -> None:
    crew = Crew()

    @workflow
    async def wf(ctx: Context) -> Any:
        pair = await ctx.parallel(ctx.step(crew.work, 1), ctx.step(crew.work, 2))
        many = await ctx.parallel(ctx.step(crew.work, n) for n in (3, 4))
        return [type(pair).__name__, list(pair), type(many).__name__, many]

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == ["tuple", [1, 4], "list", [9, 16]]


async def test_a_failure_in_parallel_cancels_the_siblings_and_awaits_them(rig: Any) -> None:
    crew = Crew()
    tidied = []

    @step
    async def tidy(n: int) -> None:
        tidied.append(n)

    @workflow
    async def wf(ctx: Context) -> None:
        async def branch(n: int) -> int:
            try:
                return await ctx.step(crew.work, n)
            except asyncio.CancelledError:
                await ctx.step(tidy, n)
                raise

        try:
            await ctx.parallel([branch(-1), branch(13), branch(-2)])
        finally:
            assert len(tidied) == 2

    async with rig.serving(wf) as client:
        with pytest.raises(RunFailed, match="unlucky"):
            await rig.run(client, wf)
        await rig.until(lambda: sorted(crew.cancelled) == [-2, -1])
    assert sorted(tidied) == [-2, -1]


async def test_parallel_keeps_to_its_limit(rig: Any) -> None:
    crew = Crew()

    @workflow
    async def wf(ctx: Context) -> list[int]:
        return await ctx.parallel((ctx.step(crew.work, n) for n in range(7)), limit=2)

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == [n * n for n in range(7)]
    assert crew.most == 2


async def test_a_failure_under_a_limit_begins_no_further_call(rig: Any) -> None:
    crew = Crew()

    @workflow
    async def wf(ctx: Context) -> list[int]:
        return await ctx.parallel((ctx.step(crew.work, n) for n in (13, 1, 2, 3)), limit=1)

    async with rig.serving(wf) as client:
        with pytest.raises(RunFailed, match="unlucky"):
            await rig.run(client, wf)
    assert crew.begun == [13]


async def test_map_gives_results_in_the_order_of_the_items(rig: Any) -> None:
    crew = Crew()

    @workflow
    async def wf(ctx: Context) -> list[int]:
        return await ctx.map(crew.work, [5, 4, 3, 2], limit=3)

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == [25, 16, 9, 4]
    assert crew.most == 3


@pytest.mark.parametrize(("tolerate", "passes"), [(1, True), (0, False), (0.25, True), (0.2, False), (1.0, True)])
async def test_map_tolerates_so_many_or_such_a_share(rig: Any, tolerate: float, passes: bool) -> None:
    crew = Crew()

    @workflow
    async def wf(ctx: Context) -> list[int]:
        return await ctx.map(crew.work, [1, 13, 2, 3], tolerate=tolerate)

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        if passes:
            assert await rig.end(handle) == [1, 4, 9]
        else:
            with pytest.raises(RunFailed, match="unlucky"):
                await rig.end(handle)


async def test_parallel_tolerates_several_failures_in_one_round(rig: Any) -> None:
    @step
    async def fail(n: int) -> int:
        if n % 2:
            raise ValueError(n)
        return n

    @workflow
    async def wf(ctx: Context) -> list[int]:
        return await ctx.parallel([ctx.step(fail, n) for n in range(6)], tolerate=3)

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == [0, 2, 4]


@pytest.mark.parametrize(
    "options", [{"limit": 0}, {"limit": -1}, {"limit": True}, {"tolerate": -1}, {"tolerate": 1.5}, {"tolerate": True}]
)
async def test_a_limit_or_tolerance_without_sense_is_refused(rig: Any, options: dict[str, Any]) -> None:
    crew = Crew()

    @workflow
    async def wf(ctx: Context) -> str:
        try:
            await ctx.map(crew.work, [1], **options)
        except InvalidInput as error:
            return str(error)
        return "no error"

    async with rig.serving(wf) as client:
        assert next(iter(options)) in await rig.run(client, wf)
    assert crew.begun == []


async def test_a_key_names_each_call_after_its_item(rig: Any) -> None:
    @step
    async def fetch(city: str) -> str:
        return city.upper()

    @workflow
    async def wf(ctx: Context) -> list[str]:
        return await ctx.map(fetch, ["oslo", "rome"], key=lambda city: city)

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        assert await rig.end(handle) == ["OSLO", "ROME"]
        assert {row.name for row in await handle.history()} == {"fetch[oslo]", "fetch[rome]"}


async def test_asyncio_tools_are_durable(rig: Any) -> None:
    crew = Crew()

    @workflow
    async def wf(ctx: Context) -> Any:
        seen: list[Any] = []
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ctx.step(crew.work, n)) for n in (1, 2)]
        seen.append([task.result() for task in tasks])
        done, pending = await asyncio.wait(
            [asyncio.ensure_future(ctx.step(crew.work, n)) for n in (3, -1)], return_when=asyncio.FIRST_COMPLETED
        )
        seen.append([task.result() for task in done])
        for task in pending:
            task.cancel()
        for next_done in asyncio.as_completed([ctx.step(crew.work, 4)]):
            seen.append(await next_done)
        seen.append(await asyncio.wait_for(ctx.step(crew.work, 5), 30))
        seen.append(await asyncio.shield(ctx.step(crew.work, 6)))
        lock, gate, box = asyncio.Lock(), asyncio.Semaphore(1), asyncio.Queue[int]()
        async with lock, gate:
            await box.put(await ctx.step(crew.work, 7))
        seen.append(await box.get())
        flag, condition = asyncio.Event(), asyncio.Condition()
        flag.set()
        await flag.wait()
        async with condition:
            condition.notify_all()
        return seen

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == [[1, 4], [9], 16, 25, 36, 49]


async def test_an_exception_group_of_a_task_group_reaches_the_client(rig: Any) -> None:
    crew = Crew()

    @workflow
    async def wf(ctx: Context) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(ctx.step(crew.work, 13))
            group.create_task(ctx.step(crew.work, -1))

    async with rig.serving(wf) as client:
        with pytest.raises(RunFailed) as caught:
            await rig.run(client, wf)
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert "unlucky" in str(caught.value.__cause__.exceptions[0])


async def test_rule_16_the_outcome_of_a_cancelled_call_advances_time_and_delivers_nothing(rig: Any) -> None:
    gate = asyncio.Event()

    @step
    def stubborn() -> str:
        import time

        time.sleep(0.05)
        return "too late"

    @workflow
    async def wf(ctx: Context) -> Any:
        task = asyncio.ensure_future(ctx.step(stubborn))
        await ctx.sleep(0.01)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass
        before = ctx.now()
        await ctx.wait_for_signal("go")
        return [task.cancelled(), ctx.now() >= before]

    del gate
    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        await asyncio.sleep(0.1)
        await handle.signal("go")
        assert await rig.end(handle) == [True, True]
        assert "step_completed" not in [row.event for row in await handle.history()]


async def test_many_branches_with_back_offs_keep_their_results_apart(rig: Any) -> None:
    tries: dict[int, int] = {}

    @step(retry=Retry(3, initial=0))
    async def one(n: int) -> int:
        tries[n] = tries.get(n, 0) + 1
        if tries[n] <= n % 3:
            raise ValueError
        return n

    @step
    async def two(n: int) -> int:
        return n + 100

    @workflow
    async def wf(ctx: Context) -> list[int]:
        async def branch(n: int) -> int:
            return await ctx.step(two, await ctx.step(one, n))

        return await asyncio.gather(*(branch(n) for n in range(30)))

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == [n + 100 for n in range(30)]


@pytest.mark.parametrize("where", ["body", "cleanup"])
async def test_a_run_that_leaves_memory_leaves_no_coroutine_of_parallel_behind(memory: Any, where: str) -> None:
    memory.cache = 0

    @workflow
    async def wf(ctx: Context) -> None:
        async def one() -> Any:
            return await ctx.wait_for_signal("go")

        try:
            if where == "body":
                await ctx.parallel([one() for _ in range(3)], limit=1)
            await ctx.wait_for_signal("go")
        finally:
            await ctx.parallel([one() for _ in range(3)])

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        async with memory.serving(wf) as client:
            await memory.waits(await client.start(wf), "go")
        gc.collect()
    assert [str(one.message) for one in heard if issubclass(one.category, RuntimeWarning)] == []
