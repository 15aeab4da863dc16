"""What happens after a run has ended: a workflow that is started exactly once, with how it ended."""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path

from durable import Completion, Context, RunCancelled, RunFailed, Worker, connect, idempotency_key, step, workflow

EFFECTS = Path("on-complete-effects.txt")


@step
async def divide(number: int) -> float:
    await asyncio.sleep(0.3)
    return 100 / number


@workflow
async def division(ctx: Context, number: int) -> float:
    if number < 0:
        await ctx.sleep("1h")  # long enough to be cancelled
    return await ctx.step(divide, number)


@step
async def tell(text: str) -> None:
    with EFFECTS.open("a") as file:
        file.write(f"{idempotency_key()} {text}\n")
    print(f"  {text}", flush=True)


@workflow
async def ended(ctx: Context, completion: Completion) -> None:
    said = completion.result if completion.kind == "success" else completion.error
    await ctx.step(tell, f"{completion.context['for']} hears: {completion.run_id}, {completion.kind}, {said}")


async def work(store: str) -> None:
    async with connect(store) as client, Worker(client, workflows=[division, ended]):
        known = (await client.list(workflow=division)).runs
        print(f"{'Resuming' if known else 'Starting'} run division-4, division-0 and division--1", flush=True)
        for number in (4, 0, -1):
            handle = await client.start(
                division,
                number,
                id=f"division-{number}",
                on_complete=ended,
                on_complete_context={"for": "Ada"},
            )
            if number < 0:
                await handle.cancel("it took too long")
            try:
                await handle.result()
            except (RunFailed, RunCancelled) as error:
                print(f"  {error}", flush=True)
        while await client.count(workflow=ended, status="completed") < 3:
            await asyncio.sleep(0.05)
        print("Done: three runs, three messages")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", nargs="?", default=os.environ.get("DURABLE_STORE", "sqlite:///on_complete.db"))
    given = parser.parse_args()
    asyncio.run(work(given.store))


if __name__ == "__main__":
    main()
