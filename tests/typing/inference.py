"""What users' code infers, without a cast: checked, and never run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type
from uuid import UUID

from programs import (
    Approval,
    Order,
    Receipt,
    approval,
    approved,
    book_hotel,
    charge,
    crawl,
    order,
    reminder,
    scrape,
    send_email,
    trip,
)

from durable import (
    AsyncStep,
    Client,
    Completion,
    Context,
    Continue,
    Handle,
    Invocation,
    Retry,
    Saga,
    Signal,
    Status,
    Step,
    StepCall,
    SyncStep,
    Worker,
    Workflow,
    connect,
    heartbeat,
    idempotency_key,
    run,
    step,
    workflow,
)

# ── declarations ─────────────────────────────────────────────────────────────────────────────────────────────────────


@step
def area(width: int, height: int = 1) -> float:
    return float(width * height)


@step(timeout="1m")
def length(text: str) -> int:
    return len(text)


@step
async def fetch(url: str) -> bytes:
    return url.encode()


@step
async def nothing() -> None: ...


@workflow
async def no_input(ctx: Context) -> float:
    return await ctx.step(area, 2)


@workflow("renamed", version="2", timeout=timedelta(hours=1), retry=Retry(2), key=lambda text: text)
async def one_input(ctx: Context, text: str) -> list[int]:
    return [await ctx.step(length, text)]


@workflow
async def ended(ctx: Context, completion: Completion) -> None:
    assert_type(completion.run_id, str)


async def called_outside() -> None:
    assert_type(area(3, height=2), float)
    assert_type(length("text"), int)
    assert_type(await fetch("url"), bytes)
    coroutine: Coroutine[Any, Any, bytes] = fetch("url")
    assert_type(await coroutine, bytes)


def declared() -> None:
    assert_type(length.name, str)
    assert_type(length.options(key="a", retry=Retry(2)).name, str)
    takes: Step[[str], int] = length
    urls: AsyncStep[[str], bytes] = fetch
    plain: SyncStep[[str], int] = length
    more: Step[[str], int] = length.options(
        name="other", retry=Retry(3), timeout=5, key="k", rate_limit="1/s", queue="q"
    )
    one: Workflow[[str], list[int]] = one_input
    none: Workflow[[], float] = no_input
    two: Workflow[[str, str], str] = approval.options(id="a", on_parent_close="abandon", queue="q")
    given: Callable[[str], Any] = length.fn
    print(takes, urls, plain, more, one, none, two, given)
    assert_type(one_input.bind("a"), Invocation[list[int]])
    assert_type(approval.bind("bob", manager="eve"), Invocation[str])
    assert_type(no_input.bind(), Invocation[float])


# ── inside a workflow ────────────────────────────────────────────────────────────────────────────────────────────────


async def steps(ctx: Context, bought: Order) -> None:
    assert_type(ctx.step(charge, bought), StepCall[Receipt])
    assert_type(await ctx.step(charge, bought), Receipt)
    assert_type(await ctx.step(charge, order=bought), Receipt)
    assert_type(await ctx.step(area, 2), float)
    assert_type(await ctx.step(area, 2, height=3), float)
    assert_type(await ctx.step(send_email, "a", body="b"), None)
    assert_type(await ctx.step(charge.options(key=bought.id), bought), Receipt)
    assert_type(await ctx.step("inline", lambda: 5), int)
    assert_type(await ctx.step("inline", lambda: length("text")), int)
    assert_type(await ctx.step("inline", lambda: fetch("url"), timeout="1m", retry=Retry(2)), bytes)

    async def local() -> Receipt:
        return Receipt(charge_id="a")

    assert_type(await ctx.step("inline", local, type=Receipt), Receipt)
    assert_type(await ctx.step("inline", nothing), None)


async def many(ctx: Context, urls: list[str], bought: Order) -> None:
    assert_type(await asyncio.gather(*(ctx.step(scrape, url) for url in urls)), list[int])
    assert_type(await asyncio.gather(ctx.step(charge, bought), ctx.step(fetch, "a")), tuple[Receipt, bytes])
    assert_type(await asyncio.create_task(ctx.step(charge, bought)), Receipt)
    assert_type(await asyncio.wait_for(ctx.step(charge, bought), 5), Receipt)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(ctx.step(fetch, "a"))
    assert_type(task.result(), bytes)
    receipt, content = await ctx.parallel(ctx.step(charge, bought), ctx.step(fetch, "a"))
    assert_type(receipt, Receipt)
    assert_type(content, bytes)
    three = await ctx.parallel(ctx.step(charge, bought), ctx.step(fetch, "a"), ctx.step(area, 1), limit=2)
    assert_type(three, tuple[Receipt, bytes, float])
    four = await ctx.parallel(ctx.step(length, "a"), ctx.step(fetch, "a"), ctx.step(area, 1), ctx.step(nothing))
    assert_type(four, tuple[int, bytes, float, None])
    assert_type(await ctx.parallel([ctx.step(length, "a")], limit=2, tolerate=1), list[int])
    assert_type(await ctx.parallel(ctx.step(scrape, url) for url in urls), list[int])
    assert_type(await ctx.map(scrape, urls, limit=20, tolerate=0.05, key=lambda url: url), list[int])
    assert_type(await ctx.map(charge, [bought]), list[Receipt])
    assert_type(await ctx.map(length, urls), list[int])


async def waits(ctx: Context) -> None:
    assert_type(await ctx.wait_for_signal(approved), Approval)
    assert_type(await ctx.wait_for_signal(approved, timeout=timedelta(days=2)), Approval)
    assert_type(await ctx.wait_for_signal("approved", Approval, timeout=5), Approval)
    assert_type(await ctx.wait_for_signal("count", int), int)
    assert_type(await ctx.wait_for_signal("anything", timeout="1m"), Any)
    async for answer in ctx.signals(approved):
        assert_type(answer, Approval)
    assert_type(await ctx.sleep("24h"), None)
    assert_type(await ctx.sleep("follow-up", 5), None)
    assert_type(await ctx.sleep_until(datetime.now(UTC)), None)


async def others(ctx: Context, bought: Order) -> None:
    assert_type(ctx.child(order, bought), StepCall[Receipt])
    assert_type(await ctx.child(order, bought), Receipt)
    assert_type(await ctx.child(approval.options(id="a"), "bob", manager="eve"), str)
    assert_type(await ctx.child(no_input), float)
    assert_type(ctx.continue_as(one_input, "a"), Continue)
    async with ctx.saga() as saga:
        assert_type(saga, Saga)
        saga.on_failure(send_email, "a", body="b")
        assert_type(await ctx.step(book_hotel, "t"), str)
    assert_type(ctx.now(), datetime)
    assert_type(ctx.uuid(), UUID)
    assert_type(ctx.random.random(), float)
    assert_type(ctx.patched("change"), bool)
    assert_type(ctx.run_id, str)
    assert_type(ctx.is_replaying, bool)
    ctx.signal("other", approved, Approval(approved=True, by="eve"))


# ── inside a step ────────────────────────────────────────────────────────────────────────────────────────────────────


@step
async def keyed() -> str:
    assert_type(heartbeat({"done": 5}), Any)
    assert_type(idempotency_key(), str)
    return idempotency_key()


# ── outside ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def starting(client: Client, bought: Order) -> None:
    assert_type(await client.start(order, bought), Handle[Receipt])
    assert_type(await client.start(one_input, "a", id="a", on_complete=ended), Handle[list[int]])
    assert_type(await client.start(no_input), Handle[float])
    assert_type(await client.start(approval.bind("bob", "eve"), priority=5), Handle[str])
    assert_type(await client.start("order", {"id": "42"}), Handle[Any])
    assert_type(await (await client.start(order, bought)).result(), Receipt)
    assert_type(await (await client.start(trip, "a")).result(timeout="1m"), tuple[str, str])
    assert_type(await (await client.start(reminder, "a")).result(), None)


async def holding(client: Client) -> None:
    assert_type(client.handle("a", crawl), Handle[int])
    assert_type(await client.handle("a", crawl).result(), int)
    assert_type(client.handle("a"), Handle[Any])
    handle = client.handle("a", order)
    status = await handle.status()
    assert_type(status, Status)
    assert_type(status.current, list[str])
    assert_type(await handle.fork(at="charge"), Handle[Receipt])
    assert_type(await handle.explain(), str)
    await handle.signal(approved, Approval(approved=True, by="eve"))
    await handle.signal("anything", {"any": "json"}, id="a")
    await client.signal("a", approved, Approval(approved=True, by="eve"))
    async for item in handle.stream("thoughts"):
        assert_type(item, Any)
    for summary in (await client.list(status="failed", workflow=order)).runs:
        assert_type(summary.id, str)
    for summary in await client.list():
        assert_type(summary.id, str)
    assert_type(await client.count(labels={"a": "b"}), int)
    assert_type(await client.purge(older_than="30d"), int)


async def working() -> None:
    async with (
        connect() as client,
        Worker(client, workflows=[order, approval, no_input], steps=[charge, area]) as worker,
    ):
        assert_type(client, Client)
        assert_type(worker, Worker)
        await worker.run()


def blocking(bought: Order) -> None:
    with connect("memory://").sync as client:
        handle = client.start(order, bought)
        assert_type(handle.result(timeout=5), Receipt)
        assert_type(handle.status(), Status)
        assert_type(client.start(approval.bind("bob", "eve")).result(), str)
        assert_type(client.handle("a", crawl).result(), int)


def script(bought: Order) -> None:
    assert_type(run(order, bought, id="a"), Receipt)
    assert_type(run(no_input), float)
    assert_type(run(approval.bind("bob", "eve"), store="memory://"), str)
    kept: Signal[Approval] = Signal("approved", Approval)
    print(kept)
