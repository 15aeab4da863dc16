"""Run by the Python that LangGraph is installed for: ``langgraph_driver.py JOB ORDER``, in an empty directory.

It imports nothing of ours. What it has to tell it prints as lines of JSON. Workflows are entrypoints and tasks of its
functional interface, as coroutines (they were faster than plain functions), with its checkpoints in a SQLite file and
``durability="sync"``. It has no worker: who invokes a workflow carries it out.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

imported = time.perf_counter()
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver  # noqa: E402
from langgraph.func import entrypoint, task  # noqa: E402

imported = (time.perf_counter() - imported) * 1000

STEPS = 10
Invoke = Callable[[int, str], Awaitable[int]]


@task
async def trivial(number: int) -> int:
    return number


def tell(**words: object) -> None:
    print(json.dumps(words), flush=True)


def percentile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def invoking(workflow: Any) -> Invoke:
    """Calls it with an input, under the name of a thread of its own."""

    async def invoke(given: int, thread: str) -> int:
        result: int = await workflow.ainvoke(given, {"configurable": {"thread_id": thread}}, durability="sync")
        return result

    return invoke


def chain_of(checkpoints: Any) -> Invoke:
    @entrypoint(checkpointer=checkpoints)
    async def chain(steps: int) -> int:
        total = 0
        for number in range(steps):
            total += await trivial(number)
        return total

    return invoking(chain)


def fanout_of(checkpoints: Any) -> Invoke:
    @entrypoint(checkpointer=checkpoints)
    async def fanout(width: int) -> int:
        return sum(await asyncio.gather(*(trivial(number) for number in range(width))))

    return invoking(fanout)


# ── jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def measure_hello(checkpoints: Any, runs: int) -> None:
    chain, taken = chain_of(checkpoints), []
    for number in range(runs + 3):
        began = time.perf_counter()
        assert await chain(1, str(number)) == 0
        taken.append((time.perf_counter() - began) * 1000)
    taken = taken[3:]
    tell(figures={"ms from start() to result": statistics.median(taken), "ms, p99": percentile(taken, 0.99)})


async def measure_chain(checkpoints: Any, runs: int, flight: int) -> None:
    chain = chain_of(checkpoints)
    await chain(STEPS, "first")
    began = time.perf_counter()
    for begin in range(0, runs, flight):
        await asyncio.gather(*(chain(STEPS, str(number)) for number in range(begin, min(begin + flight, runs))))
    tell(figures={"steps a second": runs * STEPS / (time.perf_counter() - began)})


async def measure_fanout(checkpoints: Any, width: int) -> None:
    fanout = fanout_of(checkpoints)
    await fanout(2, "first")
    began = time.perf_counter()
    assert await fanout(width, "second") == width * (width - 1) // 2
    tell(figures={"steps a second": width / (time.perf_counter() - began)})


async def cold(checkpoints: Any) -> None:
    assert await chain_of(checkpoints)(1, "only") == 0
    tell(result=time.perf_counter())


JOBS: dict[str, Callable[..., Awaitable[None]]] = {
    "hello": measure_hello,
    "chain": measure_chain,
    "fanout": measure_fanout,
    "cold": cold,
}


async def main(job: str, order: dict[str, int]) -> None:
    if job == "import":
        tell(figures={"ms": imported})
        return
    async with AsyncSqliteSaver.from_conn_string("bench.db") as checkpoints:
        await JOBS[job](checkpoints, **order)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
