"""A look at a real deployment, if the environment names one: DURABLE_CONVEX_URL and DURABLE_CONVEX_TOKEN.

The conformance kit moves its store's clock, which nobody can do there. What can be asked of a real one without that is
here; each test works on runs of its own, in a queue of its own, and purges them.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from durable import Client, Context, Retry, Worker, step, workflow
from durable.errors import InvalidInput
from durable.store import (
    CLOSING_LANE,
    Commit,
    Ended,
    Lane,
    NewRun,
    PurgeQuery,
    RunId,
    RunStatus,
    SessionId,
    Verdict,
    Want,
    WorkerSession,
)
from durable_convex import ConvexStore

URL = os.environ.get("DURABLE_CONVEX_URL", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not URL or not os.environ.get("DURABLE_CONVEX_TOKEN"),
        reason="names no deployment: DURABLE_CONVEX_URL and DURABLE_CONVEX_TOKEN",
    ),
]


def address() -> str:
    return URL if URL.startswith("convex+") else f"convex+{URL}"


@pytest.fixture
async def store() -> AsyncIterator[ConvexStore]:
    store = ConvexStore(address())
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
def queue() -> str:
    return f"test-{secrets.token_hex(6)}"


async def test_a_wrong_token_is_refused() -> None:
    store = ConvexStore(address(), auth="surely not the token")
    with pytest.raises(InvalidInput, match="refuses the token"):
        await store.open()
    await store.close()


async def test_a_run_of_every_byte_lives_from_its_creation_to_its_purge(store: ConvexStore, queue: str) -> None:
    id, payload = RunId(f"{queue}/é"), bytes(range(256)) * 6_000  # a MiB and a half, over a document's limit
    new = NewRun(id, "w", "1", queue, payload[:1_000_000], "digest", "seed", labels={"größe": "$1"})
    assert [one.outcome for one in await store.create([new])] == ["created"]
    assert [one.outcome for one in await store.create([new])] == ["existed"]
    session = WorkerSession(SessionId(queue), "test", 30.0, (("w", "1"),), (queue,))
    want = Want("poll", (Lane(queue, "w", "1"), CLOSING_LANE), 1)
    (claim,) = (await store.poll(session, want)).claims
    assert (claim.run.id, claim.input, dict(claim.run.labels)) == (id, payload[:1_000_000], {"größe": "$1"})
    commit = Commit(id, claim.run.epoch, 0, 0, (payload[:900_000], b"second"))
    assert [(await store.commit([commit]))[0].verdict for _ in range(2)] == [Verdict.APPLIED, Verdict.ALREADY_APPLIED]
    assert [row.data for row in (await store.journal(id, 1)).rows] == list(commit.append)
    stale = Commit(id, claim.run.epoch + 1, 0, 2)
    assert (await store.commit([stale]))[0].verdict is Verdict.LEASE_LOST
    done = Commit(id, claim.run.epoch, 1, 2, then=Ended(RunStatus.COMPLETED, payload[:1_000_000]))
    assert (await store.commit([done]))[0].verdict is Verdict.APPLIED
    assert await store.outcome(id) == payload[:1_000_000]
    await store.leave(session.id)
    while await store.purge(PurgeQuery(runs=(id,))):
        pass
    assert await store.get([id]) == [None]


async def test_fifty_commits_travel_together(store: ConvexStore, queue: str) -> None:
    ids = [RunId(f"{queue}/{n:02}") for n in range(50)]
    await store.create([NewRun(id, "w", "1", queue, b"", "d", "s") for id in ids])
    session = WorkerSession(SessionId(queue), "test", 60.0, (("w", "1"),), (queue,))
    claims = (await store.poll(session, Want("poll", (Lane(queue, "w", "1"),), 50))).claims
    assert len(claims) == 50
    before = store._writes.calls
    ends = [
        Commit(claim.run.id, claim.run.epoch, 0, 0, (b"entry",), Ended(RunStatus.COMPLETED, b"")) for claim in claims
    ]
    assert {answer.verdict for answer in await store.commit(ends)} == {Verdict.APPLIED}
    assert store._writes.calls == before + 1
    while await store.purge(PurgeQuery(runs=tuple(ids))):
        pass


@step(retry=Retry(3, initial=0.1))
async def double(n: int) -> int:
    return 2 * n


@workflow
async def doubled(ctx: Context, n: int) -> int:
    first: int = await ctx.step(double, n)
    await ctx.sleep(0.5)
    return await ctx.step(double, first) + await ctx.wait_for_signal("more", int)


async def test_workers_and_callers_in_two_places_hear_of_each_other(queue: str) -> None:
    here, there = Client(ConvexStore(address())), Client(ConvexStore(address()))
    async with here, there, Worker(here, workflows=[doubled], queues=[queue]):
        await hinted(here)
        handles: list[Any] = [await there.start(doubled, n, id=f"{queue}/{n}", queue=queue) for n in range(5)]
        for handle in handles:
            await handle.signal("more", 1)
        assert [await handle.result(timeout=60) for handle in handles] == [4 * n + 1 for n in range(5)]
        await there.purge(ids=[handle.id for handle in handles])


async def hinted(client: Client) -> None:
    async with asyncio.timeout(20):
        while not client.store.hinted:
            await asyncio.sleep(0.05)


async def test_what_the_store_says_of_itself_is_sound(store: ConvexStore) -> None:
    assert list(await store.check()) == []
