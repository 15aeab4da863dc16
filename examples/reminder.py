"""A reminder: write, wait for a day, write again. Stop the program while it waits; the day goes on."""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path

from durable import Context, Worker, connect, idempotency_key, step, workflow

EFFECTS = Path("reminder-effects.txt")


@step
def send_email(to: str, body: str) -> None:
    with EFFECTS.open("a") as file:
        file.write(f"{idempotency_key()} wrote to {to}: {body}\n")
    print(f"  wrote to {to}: {body}", flush=True)


@workflow
async def reminder(ctx: Context, email: str, wait: str = "24h") -> None:
    await ctx.step(send_email, email, "Welcome!")
    await ctx.sleep(wait)
    await ctx.step(send_email, email, body="How's it going?")


async def work(store: str, run_id: str, wait: str) -> None:
    async with connect(store) as client, Worker(client, workflows=[reminder]):
        known = (await client.list(id_prefix=run_id)).runs
        print(f"{'Resuming' if known else 'Starting'} run {run_id}", flush=True)
        handle = await client.start(reminder.bind("ada@example.com", wait=wait), id=run_id)
        await asyncio.sleep(0.5)
        print(f"  {await handle.explain()}", flush=True)
        await handle.result()
        print("Done: two letters, one wait")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", nargs="?", default=os.environ.get("DURABLE_STORE", "sqlite:///reminder.db"))
    parser.add_argument("--id", default="reminder-ada", help="of the run")
    parser.add_argument("--wait", default="3s", help="24h in earnest")
    given = parser.parse_args()
    asyncio.run(work(given.store, given.id, given.wait))


if __name__ == "__main__":
    main()
