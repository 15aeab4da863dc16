"""Bad weather on every call of the seam at once: nothing is lost, nothing is done twice."""

import contextlib
import random
from collections import Counter
from typing import Any

import pytest

from durable import Completion, Context, OutcomeUnknown, RunEnded, Transient, step, workflow
from tests.unit.engine.faults import CALLS, faulty_client

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", range(4))
async def test_hostile_lost_answers_everywhere(rig: Any, seed: int) -> None:
    done: Counter[str] = Counter()
    completions: Counter[str] = Counter()

    @step(effect="at_most_once")
    async def pay(name: str) -> str:
        done[name] += 1
        return name

    @step
    async def note(c: str) -> None:
        completions[c] += 1

    @workflow
    async def follower(ctx: Context, c: Completion) -> None:
        await ctx.step(note, f"{c.run_id}/{c.result}")

    @workflow
    async def kid(ctx: Context, name: str) -> str:
        await ctx.sleep(0.01)
        return await ctx.step(pay, f"{name}/kid")

    @workflow
    async def wf(ctx: Context, name: str, left: int) -> list[int]:
        await ctx.step(pay, f"{name}/{left}")
        await ctx.child(kid, f"{name}/{left}")
        got = [await ctx.wait_for_signal("n") for _ in range(3)]
        ctx.emit("got", got)
        if left:
            raise ctx.continue_as(wf, name, left - 1)
        return got

    chance = random.Random(seed)
    client, store = faulty_client(rig.url)
    async with client, rig.worker(client, wf, kid, follower, concurrency=8):
        for call in CALLS[1:]:
            if call in ("renew", "leave"):
                continue
            store.fail(call, lambda: OutcomeUnknown("lost"), moment="after", when=lambda _: chance.random() < 0.15)
            store.fail(call, lambda: Transient("gone"), moment="before", when=lambda _: chance.random() < 0.15)
        handles = [await client.start(wf.bind(f"r{n}", 1), id=f"r{n}", on_complete=follower) for n in range(8)]
        for number in range(6):
            for handle in handles:
                await handle.signal("n", number)
            if number % 2:
                with contextlib.suppress(RunEnded):
                    await handles[0].pause()
                    await handles[0].resume()
        assert [await handle.result(timeout=20) for handle in handles] == [[3, 4, 5]] * 8
        await rig.until(lambda: len(completions) == 8, 10)
        store.clear()
        for handle in handles:
            assert [item async for item in handle.stream("got")] == [[0, 1, 2], [3, 4, 5]]
    assert set(done.values()) == {1}
    assert len(done) == 32
    assert set(completions.values()) == {1}
