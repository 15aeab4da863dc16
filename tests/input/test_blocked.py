"""A run that nobody can decide about but a person: hostile reasons, and hostile answers."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from durable import Completion, Context, NotSerializable, PayloadTooLarge, connect, step, workflow
from tests.input.hostile_values import ROWS, nested
from tests.input.tally import TRIED
from tests.input.test_errors import ERRORS

FITS_ITS_OWN_TYPE = {"complex", "dataclass-of-another", "nested-181"}
"""``settle`` has no declaration, and takes the value's own type for one."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.getLogger("durable").setLevel(logging.CRITICAL + 1)
    yield
    logging.getLogger("durable").setLevel(logging.NOTSET)


async def blocked_by_a_crash(rig: Any, client: Any, wf: Any, began: asyncio.Event, *input: Any) -> Any:
    """A run whose at-most-once step was cut by a crash."""
    began.clear()
    worker = rig.worker(client, wf)
    await worker.__aenter__()
    handle = await client.start(wf, *input)
    await asyncio.wait_for(began.wait(), 5)
    await rig.crash(worker)
    return handle


@pytest.mark.parametrize("name", ["surrogate", "nul", "huge-text", "mute", "absent", "stubborn", "closed", "huge-int"])
async def test_a_check_that_fails_in_an_odd_way_blocks_its_run_with_the_reason(rig: Any, name: str) -> None:
    began = asyncio.Event()

    async def check(key: str) -> Any:
        raise ERRORS[name][0]()

    @step(effect="at_most_once", check=check)
    async def once() -> None:
        began.set()
        await asyncio.Event().wait()

    @workflow
    async def wf(ctx: Context) -> None:
        await ctx.step(once)

    async with connect(rig.url) as client:
        handle = await blocked_by_a_crash(rig, client, wf, began)
        async with rig.worker(client, wf):
            status = await rig.state(handle, "blocked")
            assert "the outcome of step 'once' is unknown" in status.error
            assert len(status.error) < 10_000
            assert status.error.encode()
            await handle.settle("once", result=None)
            assert await rig.end(handle) is None


async def test_an_answer_that_cannot_be_kept_is_refused_and_the_run_stays_as_it_is(rig: Any) -> None:
    began = asyncio.Event()

    @step(effect="at_most_once")
    async def once() -> Any:
        began.set()
        await asyncio.Event().wait()

    @workflow
    async def wf(ctx: Context) -> Any:
        return await ctx.step(once)

    async with connect(rig.url) as client:
        handle = await blocked_by_a_crash(rig, client, wf, began)
        async with rig.worker(client, wf):
            await rig.state(handle, "blocked")
            (before,) = await client.store.get([handle.id])
            for row in ROWS:
                if row.declared is None or row.plain is None or row.mistyped or row.id in FITS_ITS_OWN_TYPE:
                    continue
                with pytest.raises((NotSerializable, PayloadTooLarge)):
                    await handle.settle("once", result=row.make())
                TRIED["values at doors"] += 1
            assert list(await client.store.get([handle.id])) == [before]
            await handle.settle("once", result={"a": [1]})
            assert await rig.end(handle) == {"a": [1]}


async def test_what_follows_a_run_is_started_however_deep_its_result_is(rig: Any) -> None:
    """A result of 200 levels was let in where its type was declared, and there was no room left to hand it on."""
    started: list[Completion] = []

    @workflow
    async def deep(ctx: Context, levels: int) -> list[Any]:
        return nested(levels)

    @workflow
    async def after(ctx: Context, completion: Completion) -> None:
        started.append(completion)

    async with rig.serving(deep, after) as client:
        for levels, kind in ((180, "success"), (200, "error")):
            handle = await client.start(deep, levels, on_complete=after)
            await rig.until(lambda: [one for one in started if one.run_id == handle.id])
            assert started[-1].kind == kind


def test_a_completion_of_an_older_result_without_room_is_handed_on_without_it() -> None:
    from durable._engine.closer import _packed

    assert _packed(Completion("r", "w", "success", nested(180))) is not None
    assert _packed(Completion("r", "w", "success", nested(200))) is None
