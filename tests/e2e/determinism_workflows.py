"""Workflows for ``check_determinism``, in a module that another process can import: one culprit for each cause."""

import gc
import os
import random
import secrets
import time
import uuid
from datetime import UTC, date, datetime
from random import choice
from time import strftime

from durable import Context, Retry, Signal, step, workflow

approved = Signal("approved", bool)
calls = 0


@step
async def charge(order: str) -> str:
    return f"charged {order}"


@step(retry=Retry(3))
def ship(order: str, day: str = "") -> str:
    return f"shipped {order}"


@step(queue="mail")
async def post(order: str) -> str:
    return f"posted {order}"


@workflow
async def child(ctx: Context, order: str) -> str:
    return await ctx.step(charge, order)


# ── well-behaved ─────────────────────────────────────────────────────────────────────────────────────────────────────


@workflow
async def good(ctx: Context, order: str) -> str:
    receipt = await ctx.step(charge, order)
    day = ctx.now().date().isoformat()
    if ctx.random.random() < 0.5 or ctx.patched("always"):
        ctx.set("token", str(ctx.uuid()))
    names = ctx.random.sample(["a", "b", "c"], 3)
    await ctx.parallel([ctx.step(ship, name, day) for name in names])
    await ctx.sleep("packing", "2h")
    ctx.emit("events", {"receipt": receipt})
    ok = await ctx.wait_for_signal(approved, timeout="30d")
    ctx.signal("ledger", "paid", order)
    posted = await ctx.step(post, order)
    return f"{posted} {await ctx.child(child, order)} {ok}"


@workflow
async def sorted_set(ctx: Context) -> None:
    for name in sorted({"red", "green", "blue"}):
        await ctx.step(charge, name)


@workflow
async def reads_and_does_not_care(ctx: Context) -> str:
    print(datetime.now(), random.random(), os.environ.get("HOME"), uuid.uuid4())  # seen by people, not by the journal
    return await ctx.step(charge, "42")


# ── culprits ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@workflow
async def datetime_now(ctx: Context) -> None:
    await ctx.step(charge, "42")
    if datetime.now().hour < 12:
        await ctx.step(charge, "morning")
    else:
        await ctx.step(ship, "afternoon")


@workflow
async def datetime_utc(ctx: Context) -> None:
    await ctx.step(ship, "42", datetime.now(UTC).isoformat())


@workflow
async def weekday(ctx: Context) -> None:
    if date.today().weekday() >= 5:
        await ctx.sleep("1d")


@workflow
async def collecting(ctx: Context) -> None:
    gc.collect()
    await ctx.step(charge, str(time.time()))


@workflow
async def time_time(ctx: Context) -> None:
    await ctx.sleep(time.time() % 7)


@workflow
async def formatted(ctx: Context) -> None:
    ctx.set("month", strftime("%Y-%m"))


@workflow
async def monotonic(ctx: Context) -> None:
    if int(time.monotonic_ns() // 1_000_000_000) % 2:
        ctx.emit("odd", 1)


@workflow
async def random_random(ctx: Context) -> None:
    if random.random() < 0.5:
        await ctx.step(charge, "lucky")


@workflow
async def random_choice(ctx: Context) -> None:
    await ctx.step(charge, choice(["a", "b", "c"]))


@workflow
async def uuid4(ctx: Context) -> None:
    await ctx.step(charge, str(uuid.uuid4()))


@workflow
async def urandom(ctx: Context) -> None:
    if os.urandom(1)[0] % 2:
        await ctx.step(charge, "odd")


@workflow
async def token(ctx: Context) -> None:
    ctx.signal("other", "token", secrets.token_hex(4))


@workflow
async def environ(ctx: Context) -> None:
    if os.environ.get("FEATURE_OF_A_TEST") == "1":
        await ctx.step(charge, "feature")


@workflow
async def home(ctx: Context) -> str:
    return await ctx.step(charge, os.environ["HOME"])


@workflow
async def getenv(ctx: Context) -> None:
    ctx.set("path", os.getenv("PATH", "none"))


@workflow
async def local_zone(ctx: Context) -> None:
    ctx.set("hour", ctx.now().astimezone().hour)


@workflow
async def replaying(ctx: Context) -> None:
    if not ctx.is_replaying:
        await ctx.step(charge, "once")


@workflow
async def set_order(ctx: Context) -> None:
    for name in {"red", "green", "blue"}:
        await ctx.step(charge, name)


@workflow
async def hashed(ctx: Context) -> None:
    await ctx.sleep(1 + hash("shard") % 97)


class Thing:
    pass


_thing = Thing()


@workflow
async def identity(ctx: Context) -> None:
    ctx.set("id", id(_thing))


@workflow
async def counted(ctx: Context) -> None:
    global calls
    calls += 1
    await ctx.step(charge, str(calls))


@workflow
async def result_only(ctx: Context) -> float:
    return random.random()
