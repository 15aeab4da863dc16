"""What a step takes in the file, and what a talk that grows with each call does."""

from __future__ import annotations

import random
import sqlite3
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.beds import directory
from benchmarks.passes import Figures, Plan, Row, Table
from benchmarks.programs import STEPS, WORKFLOWS, chain
from benchmarks.starts import started
from durable import Client, Context, Worker, connect, step, workflow

RUNS: Final = 1000
LONG: Final = 5000
CALLS: Final = 100
MESSAGE_BYTES: Final = 10_000
TALK: Final = "MB of a talk"
RECORDED: Final = "a growing talk, recorded"

Message = dict[str, str]


async def _answer(messages: list[Message]) -> Message:
    text = random.Random(len(messages)).randbytes(MESSAGE_BYTES // 2).hex()
    return {"role": "assistant", "content": text}


answer = step(name="answer")(_answer)
recorded = step(name="recorded", record_input=True)(_answer)


@workflow
async def talk(ctx: Context, calls: int, record: bool) -> int:
    """Each call is given all that was said before it."""
    messages: list[Message] = []
    for _ in range(calls):
        messages.append(await ctx.step(recorded if record else answer, messages))
    return len(messages)


async def measure(plan: Plan) -> Figures:
    """Bytes of the file, indexes included, after a checkpoint."""
    runs, steps = plan.count(RUNS, 10), plan.count(LONG, 50)
    with directory(plan) as folder:
        path = folder / "bench.db"
        async with connect(f"sqlite:///{path}?durability=relaxed") as client:
            empty = checkpointed(path)
            await _finished(client, runs, STEPS)
            many = checkpointed(path)
            await _finished(client, 1, steps)
            one = checkpointed(path)
    return {"bytes a step": (one - many) / steps, "bytes a run of ten steps": (many - empty) / runs}


async def _finished(client: Client, runs: int, steps: int) -> None:
    async with Worker(client, workflows=WORKFLOWS):
        for handle in await started(client, chain, runs, steps):
            await handle.result()


async def measure_talk(plan: Plan, *, record: bool) -> Figures:
    """The file with one run in it, of so many calls."""
    with directory(plan) as folder:
        path = folder / "bench.db"
        async with connect(f"sqlite:///{path}?durability=relaxed") as client:
            empty = checkpointed(path)
            async with Worker(client, workflows=[talk]):
                handle = await client.start(talk.bind(plan.count(CALLS, 10), record))
                await handle.result()
            return {TALK: (checkpointed(path) - empty) / 1e6}


def checkpointed(path: Path) -> int:
    """The file's size, with everything in it."""
    raw = sqlite3.connect(path)
    busy, _, _ = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert not busy
    raw.close()
    return path.stat().st_size


TABLE: Final = Table(
    "size",
    "Size",
    f"Growth of the SQLite file, indexes included, after a checkpoint: by a run of {LONG:,} trivial steps, and by "
    f"{RUNS:,} ended runs of {STEPS}, rows of the runs included. A growing talk is one run of {CALLS} calls of a step "
    f"that is given the list of all answers so far and returns another of {MESSAGE_BYTES // 1000} kB: what it is given "
    f"is {CALLS * (CALLS - 1) // 2 * MESSAGE_BYTES / 1e6:.0f} MB in all; recorded with `record_input=True`.",
    (
        Row("SQLite", measure, passes=1),
        Row("a growing talk", partial(measure_talk, record=False), passes=1),
        Row(RECORDED, partial(measure_talk, record=True), passes=1),
    ),
)
