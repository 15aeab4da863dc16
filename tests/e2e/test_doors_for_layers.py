"""What layers above the engine stand on: records, a run's input, its waits as values, labels of children."""

from __future__ import annotations

import pytest

from durable import Context, DurableError, Retry, attempt_number, step, workflow
from tests.conftest import Rig

attempts: list[int] = []


@step(retry=Retry(3, initial="10ms"))
async def flaky() -> int:
    attempts.append(attempt_number())
    if attempt_number() < 3:
        raise ValueError("not yet")
    return attempt_number()


@workflow
async def parent(ctx: Context, order: str) -> int:
    return await ctx.child(child.options(labels={"order": order}))


@workflow
async def child(ctx: Context) -> int:
    return await ctx.step(flaky)


@workflow
async def waiting(ctx: Context, order: str, total: int) -> None:
    await ctx.wait_for_signal("paid")


async def test_an_attempt_knows_its_number(rig: Rig) -> None:
    attempts.clear()
    async with rig.serving(parent, child) as client:
        assert await rig.run(client, parent, "42") == 3
    assert attempts == [1, 2, 3]
    with pytest.raises(DurableError, match="inside a step"):
        attempt_number()


async def test_a_child_is_listed_by_the_labels_that_its_parent_gives_it(rig: Rig) -> None:
    async with rig.serving(parent, child) as client:
        handle = await client.start(parent, "43")
        await rig.end(handle)
        [listed] = (await client.list(labels={"order": "43"})).runs
    assert (listed.workflow, listed.parent) == ("child", handle.id)


async def test_a_runs_input_and_waits_can_be_read(rig: Rig) -> None:
    async with rig.serving(waiting) as client:
        handle = await client.start(waiting.bind("42", total=7))
        await rig.waits(handle, "paid")
        [wait] = (await handle.status()).waits
        assert (wait.kind, wait.name, wait.until) == ("signal", "paid", None)
        assert await handle.input() == ["42", 7]
        await handle.signal("paid")
        await rig.end(handle)
        assert (await handle.status()).waits == ()


async def test_records_are_versioned(rig: Rig) -> None:
    async with rig.serving() as client:
        records = client.records
        first = await records.put("kind", "a", b"1", expect=0)
        assert first is not None
        assert await records.put("kind", "a", b"2", expect=0) is None
        second = await records.put("kind", "a", b"2", expect=first.version)
        assert second is not None
        assert second.version == first.version + 1
        await records.put("kind", "b", b"3")
        assert [row.key for row in await records.list("kind")] == ["a", "b"]
        assert [row.key for row in await records.list("kind", after="a")] == ["b"]
        found = await records.get("kind", "a")
        assert found is not None
        assert found.value == b"2"
        assert found.updated_at <= await records.now()
        assert (await records.delete("kind", "a"), await records.delete("kind", "a")) == (True, False)
        assert await records.get("kind", "a") is None
