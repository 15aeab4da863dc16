"""Run by the Python that DBOS is installed for: ``dbos_driver.py JOB ORDER``, in an empty directory.

It imports nothing of ours. What it has to tell it prints as lines of JSON. Workflows are written as DBOS
documents them: plain functions where one step follows the other (they were a little faster than coroutines), coroutines
where many steps are to run at once. The database is DBOS's default, a SQLite file in the working directory.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Awaitable, Callable

imported = time.perf_counter()
from dbos import DBOS  # noqa: E402

imported = (time.perf_counter() - imported) * 1000

STEPS = 10
halting = False
halted = 0
lock = threading.Lock()
resumed: dict[int, float] = {}
lateness: list[float] = []


@DBOS.step()
def trivial(number: int) -> int:
    return number


@DBOS.step()
async def trivial_async(number: int) -> int:
    return number


@DBOS.step()
async def halt(number: int) -> int:
    """In the life that is to end here it never ends."""
    global halted
    if halting:
        halted += 1
        await asyncio.Event().wait()
    return number


@DBOS.workflow()
def chain(steps: int) -> int:
    return sum(trivial(number) for number in range(steps))


@DBOS.workflow()
async def fanout(width: int) -> int:
    return sum(await asyncio.gather(*(trivial_async(number) for number in range(width))))


@DBOS.workflow()
async def interrupted(before: int, after: int) -> int:
    total = 0
    for number in range(before):
        total += await trivial_async(number)
    total += await halt(before)
    for number in range(before + 1, before + 1 + after):
        total += await trivial_async(number)
    return total


@DBOS.step()
async def noted(number: int) -> None:
    resumed[number] = time.perf_counter()


@DBOS.workflow()
async def parked(number: int) -> None:
    await DBOS.recv_async("go", timeout_seconds=600)
    await noted(number)


@DBOS.step()
async def woken(due: float) -> None:
    lateness.append(time.time() - due)


@DBOS.step()
async def now() -> float:
    return time.time()


@DBOS.workflow()
async def sleeper(seconds: float) -> None:
    due = await now() + seconds
    await DBOS.sleep_async(seconds)
    await woken(due)


def tell(**words: object) -> None:
    print(json.dumps(words), flush=True)


def percentile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


# ── jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def measure_hello(runs: int) -> None:
    whole, since_started = [], []
    for _ in range(runs + 3):
        began = time.perf_counter()
        handle = DBOS.start_workflow(chain, 1)
        started = time.perf_counter()
        assert handle.get_result() == 0
        ended = time.perf_counter()
        whole.append((ended - began) * 1000)
        since_started.append((ended - started) * 1000)
    whole, since_started = whole[3:], since_started[3:]
    tell(
        figures={
            "ms from started to result": statistics.median(since_started),
            "ms from start() to result": statistics.median(whole),
            "ms, p99": percentile(whole, 0.99),
        }
    )


def measure_chain(runs: int, flight: int) -> None:
    """``flight`` runs at once, wave after wave of them, started by this thread."""
    DBOS.start_workflow(chain, STEPS).get_result()
    began = time.perf_counter()
    for begin in range(0, runs, flight):
        handles = [DBOS.start_workflow(chain, STEPS) for _ in range(min(flight, runs - begin))]
        for handle in handles:
            handle.get_result()
    tell(figures={"steps a second": runs * STEPS / (time.perf_counter() - began)})


async def measure_fanout(width: int) -> None:
    async def once() -> float:
        began = time.perf_counter()
        handle = await DBOS.start_workflow_async(fanout, width)
        assert await handle.get_result() == width * (width - 1) // 2
        return time.perf_counter() - began

    await once() if width <= 100 else None
    tell(figures={"steps a second": width / await once()})


async def measure_signals(runs: int) -> None:
    handles = [await DBOS.start_workflow_async(parked, number) for number in range(runs)]
    await asyncio.sleep(1.5)
    taken = []
    for number, handle in enumerate(handles):
        sent = time.perf_counter()
        await DBOS.send_async(handle.workflow_id, None, "go")
        while number not in resumed:
            await asyncio.sleep(0.0005)
        taken.append((resumed[number] - sent) * 1000)
        await asyncio.sleep(0.05 + 0.037 * (number % 10))  # so that nothing falls into step with its looks
    tell(
        figures={
            "ms, p50": statistics.median(taken),
            "ms, p99": percentile(taken, 0.99),
            "ms, worst": max(taken),
        }
    )


async def measure_timers(timers: int, milliseconds: int) -> None:
    handles = [await DBOS.start_workflow_async(sleeper, milliseconds / 1000) for _ in range(timers)]
    for handle in handles:
        await handle.get_result()
    late = [seconds * 1000 for seconds in lateness]
    tell(
        figures={
            "ms late, p50": statistics.median(late),
            "ms late, p99": percentile(late, 0.99),
            "ms late, worst": max(late),
            "ms late, best": min(late),
            "early": sum(one < 0 for one in late),
        }
    )


async def begin_and_halt(runs: int, before: int, after: int) -> None:
    global halting
    halting = True
    for _ in range(runs):
        await DBOS.start_workflow_async(interrupted, before, after)
    while halted < runs:
        await asyncio.sleep(0.01)
    tell(halted=halted)
    await asyncio.Event().wait()


async def recover(runs: int, before: int, after: int) -> None:
    """DBOS takes up pending workflows when it is launched."""
    while len(await DBOS.list_workflows_async(status="SUCCESS", load_input=False, load_output=False)) < runs:
        await asyncio.sleep(0.02)
    tell(completed=time.perf_counter())


def main(job: str, order: dict[str, int]) -> None:
    """Carry out one job, and leave."""
    if job == "import":
        tell(figures={"ms": imported})
        return
    DBOS(config={"name": "bench", "log_level": "ERROR", "application_version": "1"})
    if job in PLAIN:
        DBOS.launch()
        PLAIN[job](**order)
    else:
        asyncio.run(on_a_loop(job, order))
    sys.stdout.flush()
    os._exit(0)  # what is measured has been told, and its threads need not be waited for


async def on_a_loop(job: str, order: dict[str, int]) -> None:
    """DBOS keeps the loop on which it is launched for its coroutines."""
    DBOS.launch()
    await ON_A_LOOP[job](**order)


def cold() -> None:
    """One run of one step."""
    assert DBOS.start_workflow(chain, 1).get_result() == 0
    tell(result=time.perf_counter())


PLAIN: dict[str, Callable[..., None]] = {"hello": measure_hello, "chain": measure_chain, "cold": cold}
ON_A_LOOP: dict[str, Callable[..., Awaitable[None]]] = {
    "fanout": measure_fanout,
    "signals": measure_signals,
    "timers": measure_timers,
    "halt": begin_and_halt,
    "recover": recover,
}


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
