"""An approval: ask a person and wait for up to two days. Nobody holds a process meanwhile: the run is a row."""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path

from pydantic import BaseModel

from durable import Context, Handle, Signal, Worker, connect, idempotency_key, step, workflow

EFFECTS = Path("approval-effects.txt")


class Approval(BaseModel):
    approved: bool
    by: str


approved = Signal("approved", Approval)


@step
async def request_approval(manager: str) -> None:
    effect(f"asked {manager}")


@step
async def provision(user: str) -> None:
    effect(f"gave {user} access")


@workflow
async def approval(ctx: Context, user: str, manager: str, patience: str = "48h") -> str:
    await ctx.step(request_approval, manager)
    try:
        answer = await ctx.wait_for_signal(approved, timeout=patience)
    except TimeoutError:
        return "timed out"
    if answer.approved:
        await ctx.step(provision, user)
    return f"{'granted' if answer.approved else 'refused'} by {answer.by}"


def effect(text: str) -> None:
    """The world outside: a line in a file."""
    with EFFECTS.open("a") as file:
        file.write(f"{idempotency_key()} {text}\n")
    print(f"  {text}", flush=True)


async def answer(handle: Handle[str], word: str) -> None:
    """The manager, who takes a moment. Clicking twice is clicking once: the signal has an id."""
    await asyncio.sleep(1)
    print(f"  Eve says {word}", flush=True)
    await handle.signal(approved, Approval(approved=word == "yes", by="eve"), id="click-17")


async def work(store: str, run_id: str, word: str, patience: str) -> None:
    async with connect(store) as client, Worker(client, workflows=[approval]):
        known = (await client.list(id_prefix=run_id)).runs
        print(f"{'Resuming' if known else 'Starting'} run {run_id}", flush=True)
        handle = await client.start(approval.bind("bob", manager="eve", patience=patience), id=run_id)
        if word != "nothing" and (await handle.status()).state != "completed":
            await answer(handle, word)
        print(f"Done: {await handle.result()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", nargs="?", default=os.environ.get("DURABLE_STORE", "sqlite:///approval.db"))
    parser.add_argument("--id", default="approval-bob", help="of the run")
    parser.add_argument("--answer", choices=["yes", "no", "nothing"], default="yes", help="what the manager says")
    parser.add_argument("--patience", default="48h", help="how long the run waits; try --answer nothing --patience 3s")
    given = parser.parse_args()
    asyncio.run(work(given.store, given.id, given.answer, given.patience))


if __name__ == "__main__":
    main()
