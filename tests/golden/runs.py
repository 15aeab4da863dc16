"""Whole runs for golden journals: workflows, and the world that they were recorded in.

``python tests/golden/runs.py FILE`` runs them on a memory store with a worker and records their journals. The workflows
here are never edited, for they stand for code that people have in production: new ones are added below, and recorded
into a new file.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from durable import Client, Context, Retry, RunFailed, Signal, Worker, connect, step, workflow
from durable_testing import golden

go = Signal("go", int)
attempts: dict[str, int] = {}


@step(retry=Retry(3, initial="1ms"))
async def fetch(what: str) -> dict[str, Any]:
    attempts[what] = attempts.get(what, 0) + 1
    if what == "shaky" and attempts[what] < 3:
        raise ConnectionError("no answer")
    return {"what": what, "größe": 1.5, "at": None}


@step(effect="at_most_once")
async def charge(amount: int) -> str:
    return f"receipt for {amount}"


@step
def refuse(why: str) -> None:
    raise ValueError(why)


@step
async def refund(receipt: str) -> None:
    pass


@step(undo=refund)
async def reserve(name: str) -> str:
    return f"reserved {name}"


@step(queue="elsewhere")
async def remote(number: int) -> int:
    return number + 1


@workflow("golden-child")
async def child(ctx: Context, number: int) -> int:
    await ctx.sleep("5ms")
    return number * 2


@workflow("golden-all")
async def everything(ctx: Context, name: str, when: datetime) -> dict[str, Any]:
    """Each kind of call and of command once."""
    ctx.set("phase", "begun")
    first = await ctx.step(fetch, name)
    both = await asyncio.gather(ctx.step(fetch, "shaky"), ctx.child(child, 4))
    if ctx.patched("since-the-beginning"):
        ctx.emit("log", {"token": str(ctx.uuid()), "lot": ctx.random.randint(0, 9)})
    receipt = await ctx.step(charge, 7)
    try:
        async with asyncio.timeout(0.01):
            await ctx.wait_for_signal("nobody-sends-this")
    except TimeoutError:
        ctx.set("phase", "alone")
    number = await ctx.wait_for_signal(go, timeout="1h")
    mapped = await ctx.map(fetch, ["a", "b", "c"], limit=2, key=lambda item: item)
    ctx.signal("somebody", "news", receipt)
    far = await ctx.step(remote, number)
    return {"first": first, "child": both[1], "receipt": receipt, "mapped": len(mapped), "far": far, "year": when.year}


@workflow("golden-undo")
async def undone(ctx: Context) -> None:
    async with ctx.saga():
        await ctx.step(reserve, "hotel")
        await ctx.parallel(ctx.step(reserve, "car"), ctx.step("inline", lambda: 1))
        await ctx.step(refuse, "no money")


@workflow("golden-waits")
async def waits(ctx: Context, limit: int) -> int:
    total = 0
    async for number in ctx.signals(go):
        total += number
        await ctx.step(fetch, str(total))
        if total >= limit:
            return total
    return -1


@workflow("golden-generations")
async def generations(ctx: Context, count: int) -> int:
    await ctx.step(fetch, str(count))
    await ctx.sleep(0.001)
    if count < 2:
        raise ctx.continue_as(generations, count + 1)
    return count


@workflow("golden-cleans", replay="tolerant", timeout="1d")
async def cleans(ctx: Context) -> str:
    try:
        await ctx.wait_for_signal("never")
    finally:
        await ctx.step(fetch, "clean-up")
    return "not reached"


WORKFLOWS = [everything, child, undone, waits, generations, cleans]
STEPS = [remote]


async def record(path: str) -> None:
    """Let every run come to where it is recorded: most to their end, some to a wait."""
    async with connect("memory://golden") as client:
        worker = Worker(client, workflows=WORKFLOWS, steps=STEPS, queues=("default", "elsewhere"))
        async with worker:
            ids = await _played(client)
        for number, run in enumerate(ids):
            await golden.record(client, run, path, append=number > 0)
    lines = [_without_tracebacks(json.loads(line)) for line in Path(path).read_text().splitlines()]
    Path(path).write_text("".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines))


def _without_tracebacks(line: dict[str, Any]) -> dict[str, Any]:
    """They name directories of the machine that recorded, and nothing reads them."""
    for key in ("entry", "outcome"):
        head, newline, payload = (line.get(key) or "").partition("\n")
        if payload.startswith('{"type":'):
            error = json.loads(payload)
            error.pop("traceback", None)
            line[key] = head + newline + json.dumps(error, ensure_ascii=False, separators=(",", ":"))
    return line


async def _played(client: Client) -> list[str]:
    handle = await client.start(everything, "plain", datetime(2024, 5, 6), id="all")
    await handle.signal(go, 5)
    await handle.result()
    failed = await client.start(undone, id="undone")
    try:
        await failed.result()
    except RunFailed:
        pass
    open_run = await client.start(waits, 100, id="open")
    for number in (3, 4):
        await open_run.signal(go, number)
    await _until(client, "open", lambda row: row.position == 4 and row.status == "waiting")
    await (await client.start(generations, 0, id="generations")).result()
    cancelled = await client.start(cleans, id="cancelled")
    await _until(client, "cancelled", lambda row: row.status == "waiting")
    await cancelled.cancel("enough")
    await _until(client, "cancelled", lambda row: row.ended)
    fork = await client.handle("all").fork(at="charge", id="fork")
    await fork.signal(go, 6)
    await fork.result()
    children = [row.id for row in (await client.list(workflow="golden-child"))]
    return ["all", "undone", "open", "generations", "cancelled", "fork", children[0]]


async def _until(client: Client, run: str, reached: Callable[[Any], bool]) -> None:
    while True:
        row = (await client.store.get([run]))[0]  # type: ignore[list-item]
        if reached(row):
            return
        await asyncio.sleep(0.005)


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1]))
