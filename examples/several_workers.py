"""Two worker processes on one file: they share the runs, and when one is killed, the other goes on with its runs."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from pathlib import Path

from durable import Context, Worker, connect, step, workflow

EFFECTS = Path("several-workers-effects.txt")
RUNS = 12


@step
async def pack(box: int, part: int) -> str:
    await asyncio.sleep(0.15)
    name = os.environ.get("WORKER", "?")
    with EFFECTS.open("a") as file:
        file.write(f"box {box} part {part} by {name}\n")
    return name


@workflow
async def shipment(ctx: Context, box: int) -> list[str]:
    return [await ctx.step(pack, box, part) for part in range(3)]


async def serve(store: str) -> None:
    """A worker process: it works until its standard input ends, also when that is because its parent was killed."""
    async with connect(store) as client, Worker(client, workflows=[shipment], concurrency=4):
        await asyncio.to_thread(sys.stdin.read)


async def spawn(store: str, name: str) -> Process:
    command = [sys.executable, __file__, store, "--serve"]
    return await asyncio.create_subprocess_exec(*command, stdin=PIPE, env={**os.environ, "WORKER": name})


async def work(store: str, kill: bool) -> None:
    async with connect(store) as client:
        known = (await client.list(workflow=shipment)).runs
        print(f"{'Resuming' if known else 'Starting'} run shipment-0 to shipment-{RUNS - 1}", flush=True)
        handles = [await client.start(shipment, box, id=f"shipment-{box}") for box in range(RUNS)]
        processes = [await spawn(store, name) for name in ("first", "second")]
        try:
            if kill:
                while await client.count(workflow=shipment, status="completed") < RUNS // 3:
                    await asyncio.sleep(0.05)
                print("  killing the first worker", flush=True)
                processes[0].kill()
            packed = Counter([name for handle in handles for name in await handle.result()])
        finally:
            for process in processes:
                if process.stdin is not None:
                    process.stdin.close()
                await process.wait()
        print(f"Done: {RUNS} shipments; steps carried out: {dict(sorted(packed.items()))}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", nargs="?", default=os.environ.get("DURABLE_STORE", "sqlite:///several_workers.db"))
    parser.add_argument("--serve", action="store_true", help="be one of the workers")
    parser.add_argument("--no-kill", action="store_true", help="let both workers live")
    given = parser.parse_args()
    asyncio.run(serve(given.store) if given.serve else work(given.store, not given.no_kill))


if __name__ == "__main__":
    main()
