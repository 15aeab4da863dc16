"""An order: charge the card, with retries, then write to the customer. Kill it where you like, and run it again."""

from __future__ import annotations

import argparse
import asyncio
import os
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel

from durable import Context, NonRetryable, Retry, Worker, connect, idempotency_key, step, workflow

EFFECTS = Path("order-effects.txt")


class Order(BaseModel):
    id: str
    total: Decimal
    email: str


class Receipt(BaseModel):
    charge_id: str


class CardDeclined(NonRetryable):
    """Trying again would not help, so it is not tried again."""


@step(
    retry=Retry(5, initial="0.3s", factor=2, max_interval="1m", jitter=0.2, give_up_on=(CardDeclined,)),
    timeout="30s",
)
async def charge(order: Order) -> Receipt:
    key = idempotency_key()  # a bank refuses a second charge with the same key, and so does our file
    tries = happened(f"{key} asked the bank")
    effect(f"{key} asked the bank")
    await asyncio.sleep(0.5)
    if tries == 0:
        raise ConnectionError("the bank does not answer")  # the first attempt always fails: see the retry
    if order.total > 1000:
        raise CardDeclined(f"no card of ours pays {order.total}")
    if not happened(f"{key} charged"):
        effect(f"{key} charged {order.total}")
    return Receipt(charge_id=f"ch_{order.id}")


@step
def send_email(to: str, body: str) -> None:
    effect(f"{idempotency_key()} wrote to {to}: {body}")


@workflow
async def order(ctx: Context, order: Order) -> Receipt:
    receipt = await ctx.step(charge, order)
    await ctx.step("notify", lambda: send_email(order.email, "Thanks for your order!"))
    return receipt


def effect(text: str) -> None:
    """The world outside: a line in a file."""
    with EFFECTS.open("a") as file:
        file.write(text + "\n")
    print(f"  {text}", flush=True)


def happened(beginning: str) -> int:
    """How many lines begin so."""
    return sum(line.startswith(beginning) for line in EFFECTS.read_text().splitlines()) if EFFECTS.exists() else 0


async def work(store: str, run_id: str, total: Decimal) -> None:
    async with connect(store) as client, Worker(client, workflows=[order]):
        known = (await client.list(id_prefix=run_id)).runs
        print(f"{'Resuming' if known else 'Starting'} run {run_id}", flush=True)
        handle = await client.start(order, Order(id="42", total=total, email="ada@example.com"), id=run_id)
        receipt = await handle.result(timeout="1m")
        print(f"Done: {receipt.charge_id}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", nargs="?", default=os.environ.get("DURABLE_STORE", "sqlite:///order.db"))
    parser.add_argument("--id", default="order-42", help="of the run; another id is another order")
    parser.add_argument("--total", type=Decimal, default=Decimal("9.99"), help="over 1000, the card is declined")
    given = parser.parse_args()
    asyncio.run(work(given.store, given.id, given.total))


if __name__ == "__main__":
    main()
