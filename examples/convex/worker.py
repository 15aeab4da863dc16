"""A worker for the shop: its steps run here, on your machine; what it remembers lies in Convex."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from pydantic import BaseModel

from durable import Context, Retry, Signal, Worker, connect, idempotency_key, step, workflow

SHIPMENTS = Path("shipments.txt")


class Order(BaseModel):
    order: str
    item: str
    total: float


approved = Signal("approved", bool)


@step(retry=Retry(5, initial="1s"))
async def charge(order: Order) -> str:
    await asyncio.sleep(1)  # a payment provider takes its time
    return f"receipt for {order.total:.2f}"


@step
async def ship(order: Order) -> str:
    await asyncio.sleep(1)
    with SHIPMENTS.open("a") as file:
        file.write(f"{idempotency_key()} {order.item}\n")
    return f"{order.item} is on its way"


@step
async def refund(order: Order) -> str:
    return f"{order.total:.2f} given back"


@workflow
async def checkout(ctx: Context, order: Order) -> str:
    """Charge, ask a person if it is much, ship. While it waits for the person, it holds no worker."""
    ctx.set("progress", "charging")
    await ctx.step(charge, order)
    if order.total > 100:
        ctx.set("progress", "waiting for a person")
        try:
            may_ship = await ctx.wait_for_signal(approved, timeout="48h")
        except TimeoutError:
            may_ship = False
        if not may_ship:
            ctx.set("progress", "refused")
            return await ctx.step(refund, order)
    ctx.set("progress", "shipping")
    return await ctx.step(ship, order)


async def main() -> None:
    store = os.environ.get("DURABLE_STORE", "convex+http://127.0.0.1:3210")
    async with connect(store) as client, Worker(client, workflows=[checkout]) as worker:
        print(f"Working for {store}; stop with Ctrl-C", flush=True)
        await worker.run()


if __name__ == "__main__":
    asyncio.run(main())
