"""What lives for a short while: one workflow of each kind, all under ``retention=``, and how each has to end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Final

from durable import Client, Context, Handle, NonRetryable, Retention, Retry, RunCancelled, RunFailed, Signal, step
from durable import workflow as declare

__all__ = ["KINDS", "THREADS", "WORKFLOWS", "live", "warm"]

THREADS: Final = 4  # of a worker; ``warm`` has all of them made
KEEP: Final = Retention(completed="1s", failed="1500ms", cancelled="500ms")

go = Signal("go", int)
_all_here = threading.Barrier(THREADS)


@step
async def add(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


@step
def double(number: int) -> int:
    return 2 * number


@step
async def refuse(number: int) -> int:
    raise NonRetryable("it is refused")  # always the same: pydantic keeps the last 16,384 texts that it has parsed


@step
def gather_here() -> int:
    return _all_here.wait(30)


@step(queue="afar", retention="500ms")
async def far(number: int) -> int:
    return number + 7


@declare(retention=KEEP)
async def single(ctx: Context, number: int) -> int:
    return await ctx.step(add, number, 1)


@declare(retention=KEEP)
async def signalled(ctx: Context, number: int) -> int:
    first = await ctx.step(add, number, 1)
    told = await ctx.wait_for_signal(go)
    return await ctx.step(add, await ctx.step(double, first), told)


@declare(retention=KEEP)
async def asleep(ctx: Context, number: int) -> int:
    await ctx.sleep("20ms")
    return await ctx.step(add, number, 2)


@declare(retention=KEEP)
async def parent(ctx: Context, number: int) -> int:
    return await ctx.child(single, number) + 10


@declare(retention=KEEP)
async def failing(ctx: Context, number: int) -> int:
    return await ctx.step(refuse, number)


@declare(retention=KEEP)
async def waiting(ctx: Context, number: int) -> int:
    return await ctx.wait_for_signal(go) + number


@declare(retention=KEEP)
async def telling(ctx: Context, number: int) -> int:
    for item in range(3):
        ctx.set("stage", item)
        ctx.emit("items", {"item": item, "of": number})
    return await ctx.step(add, number, 3)


@declare(retention=KEEP)
async def beside(ctx: Context, number: int) -> int:
    a, b = await asyncio.gather(ctx.step(add, number, 1), ctx.step(double, number))
    return a + b


@declare(retention=KEEP)
async def again(ctx: Context, number: int) -> int:
    if number >= 0:
        raise ctx.continue_as(again, -number - 1)
    return await ctx.step(add, number, 1)


@declare(retention=KEEP, retry=Retry(2, initial="1ms"))
async def remote(ctx: Context, number: int) -> int:
    return await ctx.step(far, number)


@declare(retention=KEEP)
async def threads(ctx: Context) -> int:
    return len(await asyncio.gather(*(ctx.step(gather_here) for _ in range(THREADS))))


WORKFLOWS: Final = (
    single, signalled, asleep, parent, failing, waiting, telling, beside, again, remote, threads,
)  # fmt: skip
STEPS: Final = (far,)
QUEUES: Final = ("default", "afar")

# ── how a client lives through one of each ───────────────────────────────────────────────────────────────────────────

Kind = Callable[[Client, int], Awaitable[bool]]


async def _plain(client: Client, workflow: Any, number: int, expected: int, **options: Any) -> bool:
    handle: Handle[Any] = await client.start(workflow, number, id=f"{workflow.name}-{number}", **options)
    return bool(await handle.result() == expected)


async def _signalled(client: Client, number: int) -> bool:
    handle = await client.start(signalled, number, id=f"signalled-{number}")
    await handle.signal(go, 5, id="once")
    return await handle.result() == 2 * (number + 1) + 5


async def _failed(client: Client, number: int) -> bool:
    handle = await client.start(failing, number, id=f"failing-{number}")
    try:
        await handle.result()
    except RunFailed as error:
        return "is refused" in str(error)
    return False


async def _gone(handle: Handle[Any]) -> bool:
    try:
        await handle.result()
    except RunCancelled:
        return True
    return False


async def _cancelled(client: Client, number: int) -> bool:
    """At once, so that it is often the store that ends it, before any worker has seen it."""
    handle = await client.start(waiting, number, id=f"cancelled-{number}")
    await handle.cancel("not needed")
    return await _gone(handle)


async def _terminated(client: Client, number: int) -> bool:
    handle = await client.start(waiting, number, id=f"terminated-{number}")
    await handle.terminate("not needed")
    return await _gone(handle)


async def _labelled(client: Client, number: int) -> bool:
    """Also a start that is said twice, and a stream that is read to its end."""
    options: Any = {"id": f"labelled-{number}", "labels": {"kind": "labelled", "number": f"{number}"}}
    handle = await client.start(telling, number, **options)
    await client.start(telling, number, **options)
    items = [item["item"] async for item in handle.stream("items")]
    return await handle.result() == number + 3 and items == [0, 1, 2]


KINDS: Final[dict[str, Kind]] = {
    "one step": lambda client, number: _plain(client, single, number, number + 1),
    "three steps and a signal": _signalled,
    "a short sleep": lambda client, number: _plain(client, asleep, number, number + 2),
    "a child": lambda client, number: _plain(client, parent, number, number + 11),
    "failing": _failed,
    "cancelled": _cancelled,
    "values, labels and a stream": _labelled,
    "two steps at once, one in a thread": lambda client, number: _plain(client, beside, number, 3 * number + 1),
    "terminated": _terminated,
    "continued as new": lambda client, number: _plain(client, again, number, -number),
    "a step on another queue": lambda client, number: _plain(client, remote, number, number + 7),
}


async def live(client: Client, number: int) -> str | None:
    """Live through run ``number``, of the kind whose turn it is; what was wrong with its end, if anything was."""
    kind = list(KINDS)[number % len(KINDS)]
    return None if await KINDS[kind](client, number) else f"run {number} ({kind}) did not end as it should"


async def warm(client: Client) -> None:
    """Have every thread made that a worker makes, so that there is a base to come back to."""
    await (await client.start(threads)).result()
