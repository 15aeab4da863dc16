"""``client.start_many``: many starts in a few transactions, each of them a start like any other."""

from typing import Any

import pytest

from durable import Completion, Context, InvalidInput, RunConflict, UnknownWorkflow, connect, workflow
from durable._engine.gathering import ITEMS_MAX
from tests.unit.engine.faults import faulty_client


@workflow
async def double(ctx: Context, n: int) -> int:
    return 2 * n


@workflow
async def add(ctx: Context, a: int, b: int) -> int:
    return a + b


@workflow
async def nothing(ctx: Context) -> str:
    return "done"


async def test_many_runs_are_started_in_the_order_of_their_inputs(rig: Any) -> None:
    async with rig.serving(double) as client:
        handles = await client.start_many(double, range(20))
        assert [await rig.end(handle) for handle in handles] == [2 * n for n in range(20)]
        assert len({handle.id for handle in handles}) == 20


async def test_a_page_of_runs_is_one_transaction(rig: Any) -> None:
    client, store = faulty_client(rig.url)
    async with client:
        await client.start_many(double, range(ITEMS_MAX + 1))
        assert store.calls["create"] == 2
        assert await client.count() == ITEMS_MAX + 1


async def test_calls_may_be_of_different_workflows(rig: Any) -> None:
    async with rig.serving(double, add, nothing) as client:
        handles = await client.start_many([add.bind(1, b=2), double.bind(4), nothing.bind()])
        assert [await rig.end(handle) for handle in handles] == [3, 8, "done"]
        assert await client.start_many([]) == []
        assert await client.start_many(double, []) == []


async def test_by_name_inputs_are_json_and_who_knows_the_name_is_asked_once(rig: Any) -> None:
    async with connect(rig.url) as serving, rig.worker(serving, double):
        client, store = faulty_client(rig.url)
        async with client:
            handles = await client.start_many("double", [1, 2, 3])
            assert [await rig.end(handle) for handle in handles] == [2, 4, 6]
            assert store.calls["sessions"] == 1
            with pytest.raises(UnknownWorkflow):
                await client.start_many("dubble", [1])
        assert [await rig.end(handle) for handle in await serving.start_many("double", [5])] == [10]


async def test_options_hold_for_each_run(rig: Any) -> None:
    seen: list[str] = []

    @workflow
    async def after(ctx: Context, completion: Completion) -> None:
        seen.append(completion.run_id)

    async with rig.serving(double, after) as client:
        handles = await client.start_many(
            double, [1, 2], ids=["one", "two"], labels={"of": "both"}, priority=3, on_complete=after
        )
        assert [handle.id for handle in handles] == ["one", "two"]
        for handle in handles:
            await rig.end(handle)
        assert await client.count(labels={"of": "both"}) == 2
        await rig.until(lambda: sorted(seen) == ["one", "two"])


async def test_starting_the_same_again_attaches(rig: Any) -> None:
    async with rig.serving(double) as client:
        first = await client.start_many(double, [1, 2], ids=["a", "b"], if_exists="reject")
        again = await client.start_many(double, [1, 2, 3], ids=["a", "b", "c"])
        assert [handle.id for handle in again] == [*(handle.id for handle in first), "c"]
        assert await client.count() == 3


async def test_one_conflict_keeps_no_other_from_starting(rig: Any) -> None:
    async with rig.serving(double) as client:
        await client.start(double, 1, id="b")
        with pytest.raises(RunConflict) as raised:
            await client.start_many(double, [1, 2, 3], ids=["a", "b", "c"])
        assert raised.value.run_id == "b"
        assert raised.value.__notes__ == ["1 of 3 runs were not started; the others were."]
        assert [await rig.end(client.handle(id)) for id in ("a", "b", "c")] == [2, 2, 6]
        with pytest.raises(RunConflict) as raised:
            await client.start_many(double, [1, 4], ids=["a", "d"], if_exists="reject")
        assert raised.value.run_id == "a"
        assert await rig.end(client.handle("d")) == 8


async def test_one_misfit_starts_nothing(rig: Any) -> None:
    async with connect(rig.url) as client:
        misfits: list[Any] = [
            lambda: client.start_many(double, [1, object()]),  # type: ignore[list-item]
            lambda: client.start_many(double, [1, 2], ids=["one"]),
            lambda: client.start_many(double, [1, 2], ids=["one", ""]),
            lambda: client.start_many(double, [1], if_exists="replace"),
            lambda: client.start_many(double, "12"),  # type: ignore[arg-type]
            lambda: client.start_many(double, 12),  # type: ignore[call-overload]
            lambda: client.start_many(double),  # type: ignore[call-overload]
            lambda: client.start_many([double]),  # type: ignore[list-item]
            lambda: client.start_many(double.bind(1), [1]),  # type: ignore[call-overload]
            lambda: client.start_many([double.bind(1)], ids="ab"),
        ]
        for misfit in misfits:
            with pytest.raises((InvalidInput, TypeError)):
                await misfit()
        assert await client.count() == 0


def test_the_blocking_client_starts_many_too() -> None:
    with connect("memory://").sync as client:
        handles = client.start_many(double, [1, 2], ids=["a", "b"])
        assert [handle.id for handle in handles] == ["a", "b"]
        assert handles[0].status().state == "pending"
