"""Workflows whose steps leave a line in a ledger file, for tests that kill their workers."""

from __future__ import annotations

import asyncio
import os
import sys
import time

from durable import Context, Retry, Signal, Worker, connect, idempotency_key, step, workflow

go = Signal("go", int)


def write(phase: str, name: str) -> None:
    """One line, one write, one fsync: what is in the ledger has happened."""
    line = f"{time.time():.6f} {os.getpid()} {idempotency_key()} {name} {phase}\n"
    ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(ledger, line.encode())
        os.fsync(ledger)
    finally:
        os.close(ledger)


@step(retry=Retry(5, initial=0.05))
async def work(name: str, seconds: float) -> str:
    write("begin", name)
    await asyncio.sleep(seconds)
    write("end", name)
    return name


@step
def in_thread(name: str, seconds: float) -> str:
    write("begin", name)
    time.sleep(seconds)
    write("end", name)
    return name


@step(effect="at_most_once")
async def pay(name: str, seconds: float) -> str:
    write("begin", name)
    await asyncio.sleep(seconds)
    write("end", name)
    return f"paid {name}"


@workflow
async def chain(ctx: Context, count: int, seconds: float) -> list[str]:
    return [await ctx.step(work, f"{ctx.run_id}-{index}", seconds) for index in range(count)]


@workflow
async def mixed(ctx: Context, seconds: float) -> list[object]:
    first = await ctx.step(work, f"{ctx.run_id}-a", seconds)
    pair = await asyncio.gather(
        ctx.step(work, f"{ctx.run_id}-b", seconds), ctx.step(in_thread, f"{ctx.run_id}-c", seconds)
    )
    await ctx.sleep(0.3)
    number = await ctx.wait_for_signal(go)
    last = await ctx.step(work, f"{ctx.run_id}-d", seconds)
    return [first, *pair, number, last]


@workflow
async def payment(ctx: Context, seconds: float) -> str:
    await ctx.step(work, f"{ctx.run_id}-before", 0.0)
    receipt = await ctx.step(pay, ctx.run_id, seconds)
    await ctx.step(work, f"{ctx.run_id}-after", 0.0)
    return receipt


WORKFLOWS = [chain, mixed, payment]


async def main() -> None:
    async with connect(os.environ["STORE"]) as client:
        worker = Worker(client, workflows=WORKFLOWS, lease=float(os.environ.get("LEASE", "3")), drain=10)
        print("ready", flush=True)
        await worker.run()


if __name__ == "__main__":
    asyncio.run(main())
    sys.exit(0)
