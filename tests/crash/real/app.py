"""Workflows whose steps harm the process that they run in, for workers that may die of it."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from durable import Context, Retry, Signal, Worker, connect, step, workflow
from tests.crash.app import write

go = Signal("go", int)
_LIBC = ctypes.PyDLL(None)  # whose calls hold the GIL


def first_time(name: str) -> bool:
    """Whether nobody has come here before, in this process or another."""
    mark = Path(os.environ["LEDGER"]).with_name(f"mark-{name}")
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def exhaust_memory() -> None:
    """Allocate until there is no more, which is soon."""
    with open("/proc/self/statm") as pages:
        used = int(pages.read().split()[0]) * resource.getpagesize()
    old = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000, old[1]))
    hoard: list[bytearray] = []
    try:
        while True:
            hoard.append(bytearray(20_000_000))
    finally:
        hoard.clear()
        resource.setrlimit(resource.RLIMIT_AS, old)


def recurse() -> None:
    recurse()


def die(way: str) -> None:
    """Take the process down."""
    if way == "exit":
        os._exit(3)
    if way == "segfault":
        ctypes.string_at(0)
    os.kill(os.getpid(), signal.SIGKILL)


def raise_in(way: str) -> None:
    """Raise what most code does not expect."""
    if way == "memory":
        exhaust_memory()
    if way == "recursion":
        recurse()
    raise {"exit": SystemExit, "interrupt": KeyboardInterrupt, "generator": GeneratorExit}[way]("in a step")


@step(retry=Retry(1))
async def harm(way: str) -> str:
    write("begin", f"harm-{way}")
    if first_time(way):
        die(way)
    return f"survived {way}"


@step(retry=Retry(1))
async def throw(way: str) -> str:
    raise_in(way)
    return way


@step(retry=Retry(1))
def throw_in_thread(way: str) -> str:
    raise_in(way)
    return way


@step
async def fine(name: str) -> str:
    write("begin", name)
    write("end", name)
    return name


@step
async def block_the_loop(seconds: float) -> str:
    write("begin", "loop")
    time.sleep(seconds)
    write("end", "loop")
    return "loop"


@step
async def hold_the_gil(seconds: float) -> str:
    write("begin", "gil")
    if first_time("gil"):
        _LIBC.usleep(ctypes.c_uint(int(seconds * 1e6)))
    write("end", "gil")
    return "gil"


@step
def leave_a_fork(seconds: float) -> str:
    """A child of a step that outlives the worker: it holds copies of every descriptor."""
    write("begin", "fork")
    if first_time("fork"):
        child = os.fork()
        if child == 0:
            time.sleep(seconds)
            os._exit(0)
        write("forked", str(child))
        time.sleep(seconds)
    return "fork"


@step(run_in="process")
def in_a_process(seconds: float) -> str:
    Path(os.environ["LEDGER"]).with_name("process-step").write_text(str(os.getpid()))
    time.sleep(seconds)
    return "process"


@step
async def slow(name: str, seconds: float) -> str:
    write("begin", name)
    await asyncio.sleep(seconds)
    write("end", name)
    return name


@step
async def held(name: str) -> str:
    """The first time, until the worker is killed."""
    fresh = first_time(name)
    write("begin", name)  # last: who reads this line may kill the worker
    if fresh:
        await asyncio.sleep(60.0)
    return name


STEPS: dict[str, Any] = {step.name: step for step in (harm, throw, throw_in_thread, block_the_loop, hold_the_gil)}
STEPS |= {step.name: step for step in (leave_a_fork, in_a_process)}


@workflow
async def one(ctx: Context, name: str, argument: Any) -> Any:
    return await ctx.step(STEPS[name], argument)


@workflow
async def healthy(ctx: Context, number: int) -> list[str]:
    return [await ctx.step(fine, f"{ctx.run_id}-{place}") for place in range(3)]


@workflow
async def halfway(ctx: Context, number: int) -> int:
    await ctx.step(fine, f"{ctx.run_id}-first")
    heard = await ctx.wait_for_signal(go)
    await ctx.step(fine, f"{ctx.run_id}-last")
    return number + heard


@workflow
async def holding(ctx: Context, number: int) -> int:
    await ctx.step(fine, f"{ctx.run_id}-first")
    await ctx.step(held, f"{ctx.run_id}-held")
    return number


@workflow
async def steady(ctx: Context, seconds: float) -> list[str]:
    return [await ctx.step(slow, f"{ctx.run_id}-{place}", seconds) for place in range(2)]


WORKFLOWS = [one, healthy, halfway, holding, steady]


def die_when_claiming(worker: Worker, seconds: float) -> None:
    """SIGKILL so long after the first poll that brought anything."""
    poll = worker._link.store.poll

    async def deadly(*words: Any) -> Any:
        answer = await poll(*words)
        if answer.claims:
            timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
            timer.daemon = True
            timer.start()
        return answer

    worker._link.store.poll = deadly  # type: ignore[method-assign]


async def main() -> None:
    logging.basicConfig(level=logging.CRITICAL)
    async with connect(os.environ["STORE"]) as client:
        worker = Worker(client, workflows=WORKFLOWS, lease=float(os.environ["LEASE"]), drain=10, concurrency=300)
        if "DIE_AFTER" in os.environ:
            die_when_claiming(worker, float(os.environ["DIE_AFTER"]))
        print("ready", flush=True)
        await worker.run()


if __name__ == "__main__":
    from tests.crash.real import app  # steps that run in a process are found by this module's real name

    asyncio.run(app.main())
    sys.exit(0)
