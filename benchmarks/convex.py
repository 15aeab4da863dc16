"""``python -m benchmarks.convex``: what runs cost on Convex, in seconds and in function calls.

On the stand-in, with its data on disk and 20 ms added to each message, each way, which is about what a deployment in
the same part of the world answers. Calls are those that the deployment has counted: queries, mutations, and the runs of
subscribed queries. The whole takes some twelve minutes; ``--only`` picks rows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from typing import Final

from benchmarks.convex_bed import (
    STEPS,
    TOKEN,
    WORKFLOWS,
    Deployment,
    Meter,
    chain,
    deployment,
    hinted,
    holding,
    meters,
    recovered,
    resumed,
)
from durable import Client, Worker, connect
from durable_convex import ConvexStore

MONTH_SECONDS: Final = 30 * 86_400
LEASE_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Attributes:
        scale: Of the number of runs; 1 is what the page tells.
        passes: Of each throughput; the median is told, and the best.
        settle: Seconds before an idle worker is looked at: its housekeeping looks more and more seldom, and from then
            on not within the look; what it costs at its slowest is added.
        idle: Seconds for which it is looked at, at least; the look ends with a call, as it began.
    """

    latency: float = 20.0
    scale: float = 1.0
    passes: int = 3
    settle: float = 260.0
    idle: float = 120.0

    def runs(self, number: int) -> int:
        return max(1, round(number * self.scale))


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    value: float
    unit: str
    note: str = ""
    target: str = ""


# ── steps a second ───────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Throughput:
    steps_per_second: float
    calls_per_step: float


async def throughput(where: Deployment, client: Client, flight: int, runs: int) -> Throughput:
    """Of one worker on runs that were there before it."""
    for begin in range(0, runs, 500):
        await asyncio.gather(*(client.start(chain, run) for run in range(begin, min(begin + 500, runs))))
    meter = meters[-1] = Meter(runs * STEPS)
    before = await where.total()
    async with Worker(client, workflows=WORKFLOWS, concurrency=flight):
        await meter.done.wait()
        calls = await where.total() - before
    return Throughput(runs * STEPS / (meter.ended - meter.began), calls / (runs * STEPS))


async def repeated(plan: Plan, flight: int, runs: int, *, batch: int | None = None) -> Throughput:
    """The median of the passes; the first, which warms everything, is not one of them."""
    with deployment(plan.latency) as where:
        store = ConvexStore(where.url, auth=TOKEN)
        if batch is not None:
            store._writes._limits = replace(store._writes._limits, items=batch)
        async with Client(store) as client:
            if batch is None:
                await throughput(where, client, flight, plan.runs(min(flight, 64)))
            found = [await throughput(where, client, flight, plan.runs(runs)) for _ in range(plan.passes)]
    rates = [one.steps_per_second for one in found]
    say(f"  {flight} in flight: " + ", ".join(f"{rate:.0f}" for rate in rates) + " steps/s")
    return Throughput(statistics.median(rates), statistics.median(one.calls_per_step for one in found))


async def steps_rows(plan: Plan) -> list[Row]:
    few = await repeated(plan, 1, 10)
    many = await repeated(plan, 64, 256)
    more = await repeated(plan, 512, 1024)
    single = await repeated(replace(plan, passes=1), 64, 64, batch=1)
    ratio = many.steps_per_second / single.steps_per_second
    return [
        Row("steps, 1 run in flight", few.steps_per_second, "a second"),
        Row("steps, 64 runs in flight", many.steps_per_second, "a second", target="500 or more"),
        Row("steps, 512 runs in flight", more.steps_per_second, "a second"),
        Row("steps, 64 in flight, one item a call", single.steps_per_second, "a second", f"batches: {ratio:.0f} times"),
        Row("function calls, 1 run in flight", few.calls_per_step, "a step"),
        Row("function calls, 64 runs in flight", many.calls_per_step, "a step", target="0.1 or fewer"),
        Row("function calls, 512 runs in flight", more.calls_per_step, "a step"),
    ]


# ── signals and starts ───────────────────────────────────────────────────────────────────────────────────────────────


async def signal_rows(plan: Plan) -> list[Row]:
    """From the call of ``signal()`` in one process's client to the beginning of a step in another client's worker."""
    runs, took = plan.runs(200), []
    with deployment(plan.latency) as where:
        async with connect(where.url) as sender, hinted(where.url) as client:
            meter = meters[-1] = Meter(runs)
            handles = await asyncio.gather(*(client.start(resumed, run) for run in range(runs)))
            async with Worker(client, workflows=WORKFLOWS):
                await parked(client, runs)
                for run, handle in enumerate(handles):
                    sent = time.perf_counter()
                    await sender.signal(handle.id, "go")
                    while run not in meter.first:
                        await asyncio.sleep(0.001)
                    took.append((meter.first[run] - sent) * 1000)
                    await asyncio.sleep(0.25 + 0.01 * (run % 10))  # the worker has come to rest, and nothing is in step
    return [
        Row("signal sent → step begun, median", statistics.median(took), "ms", target="under 150"),
        Row("signal sent → step begun, p99", percentile(took, 0.99), "ms", f"of {runs}", target="under 150"),
    ]


async def parked(client: Client, runs: int) -> None:
    """Until all of them wait."""
    while await client.count(status="waiting") < runs:
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.5)


async def start_rows(plan: Plan) -> list[Row]:
    runs = plan.runs(1000)
    with deployment(plan.latency) as where:
        async with connect(where.url) as client:
            await client.start(chain, 0)
            before, began = await where.total(), time.perf_counter()
            await asyncio.gather(*(client.start(chain, run) for run in range(runs)))
            took = time.perf_counter() - began
            calls = await where.total() - before
    return [Row("starts, all at once", runs / took, "a second", f"{runs} runs in {calls} calls")]


# ── a worker that is killed ──────────────────────────────────────────────────────────────────────────────────────────


async def recovery_rows(plan: Plan) -> list[Row]:
    """SIGKILL for a process that holds runs, while another worker stands by."""
    runs = plan.runs(50)
    with deployment(plan.latency) as where, tempfile.TemporaryDirectory() as folder:
        async with hinted(where.url) as client:
            victim = subprocess.Popen([sys.executable, "-m", "benchmarks.convex", "--work", where.url])
            try:
                handles = await asyncio.gather(*(client.start(recovered, f"{folder}/{run}") for run in range(runs)))
                while len(os.listdir(folder)) < runs:
                    await asyncio.sleep(0.02)
                meter = meters[-1] = Meter(runs)
                async with Worker(client, workflows=WORKFLOWS, lease=LEASE_SECONDS):
                    await asyncio.sleep(6.0)  # the worker that stands by has settled, and the victim has beaten
                    victim.kill()
                    killed = time.perf_counter()
                    await asyncio.gather(*(handle.result(timeout=120) for handle in handles))
                    ended = time.perf_counter() - killed
            finally:
                victim.kill()
                victim.wait()
    took = [moment - killed for moment in meter.first.values()]
    note = f"{len(took)} of {runs} runs; the lease is {LEASE_SECONDS:g} s"
    return [
        Row("worker killed → its runs go on, median", statistics.median(took), "s", note),
        Row("worker killed → the last of them has ended", ended, "s"),
    ]


async def work(url: str) -> None:
    """The victim."""
    async with connect(url) as client:
        await Worker(client, workflows=WORKFLOWS, lease=LEASE_SECONDS).run()


# ── a worker with nothing to do ──────────────────────────────────────────────────────────────────────────────────────


async def idle_rows(plan: Plan) -> list[Row]:
    """Three deployments at a time: a worker alone, with runs that wait for signals, and with runs whose steps last."""
    alone, waiting, held = await asyncio.gather(idle(plan), idle(plan, waiting=10), idle(plan, held=10))
    return [
        Row("idle worker", alone, "calls a month", target="under 100,000"),
        Row("idle worker, 10 runs wait for signals", waiting, "calls a month", target="under 100,000"),
        Row("worker with 10 steps that last", held, "calls a month"),
    ]


async def idle(plan: Plan, waiting: int = 0, held: int = 0) -> float:
    """Calls a month, from those of a while; the looks of housekeeping that the while has none of are added."""
    with deployment(plan.latency) as where:
        async with hinted(where.url) as client:
            meter = meters[-1] if held == 0 else Meter(held)
            meters[-1] = meter
            await asyncio.gather(*(client.start(resumed, run) for run in range(waiting)))
            await asyncio.gather(*(client.start(holding) for _ in range(held)))
            async with Worker(client, workflows=WORKFLOWS, drain=0.1):
                await parked(client, waiting)
                if held:
                    await meter.done.wait()
                await asyncio.sleep(plan.settle)
                before, began = await next_call(where)
                await asyncio.sleep(plan.idle)
                after, ended = await next_call(where)
            housekeeping = MONTH_SECONDS / (ConvexStore(where.url, auth=TOKEN).rhythm.purge_seconds or 60.0)
    kinds = ", ".join(f"{after[kind] - before[kind]} {kind}" for kind in after)
    say(f"  {waiting} waiting, {held} held: {kinds} in {ended - began:.1f} s")
    return (sum(after.values()) - sum(before.values())) / (ended - began) * MONTH_SECONDS + housekeeping


async def next_call(where: Deployment) -> tuple[dict[str, int], float]:
    """When the deployment is called next, and what it has counted once that call is over."""
    last = await where.total()
    while await where.total() == last:
        await asyncio.sleep(0.1)
    moment = time.perf_counter()
    await asyncio.sleep(1.0)  # what the call brings with it belongs to it
    return await asyncio.to_thread(where.calls), moment


# ── telling it ───────────────────────────────────────────────────────────────────────────────────────────────────────

PARTS: Final[dict[str, Callable[[Plan], Awaitable[list[Row]]]]] = {
    "steps": steps_rows,
    "signals": signal_rows,
    "starts": start_rows,
    "recovery": recovery_rows,
    "idle": idle_rows,
}


def percentile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def machine() -> str:
    """One line about where this was measured."""
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    return f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, Node {node}"


def table(rows: list[Row]) -> list[str]:
    """Lines of a Markdown table."""
    lines = ["| | | | target |", "|---|---:|---|---|"]
    for row in rows:
        value = f"{row.value:,.0f}" if row.value >= 100 else f"{row.value:.3g}"
        lines.append(f"| {row.name} | {value} {row.unit} | {row.note} | {row.target} |")
    return lines


async def measured(plan: Plan, only: str = "") -> list[Row]:
    """All rows of the parts whose name has this text."""
    os.environ["DURABLE_TOKEN"] = TOKEN
    rows: list[Row] = []
    for name, part in PARTS.items():
        if only in name:
            say(f"{name}, load {os.getloadavg()[0]:.1f}")
            rows += await part(plan)
    return rows


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.convex", description=__doc__)
    parser.add_argument("--latency", type=float, default=20.0, help="milliseconds each way (default 20)")
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of runs (default 1)")
    parser.add_argument("--passes", type=int, default=3, help="of each throughput (default 3)")
    parser.add_argument("--settle", type=float, default=260.0, help="seconds before an idle worker is looked at")
    parser.add_argument("--idle", type=float, default=120.0, help="seconds for which it is looked at")
    parser.add_argument("--only", default="", help=f"only parts whose name has this text: {', '.join(PARTS)}")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.add_argument("--work", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        asyncio.run(work(given.work))
        return
    plan = Plan(given.latency, given.scale, given.passes, given.settle, given.idle)
    load = os.getloadavg()[0]
    rows = asyncio.run(measured(plan, given.only))
    told = f"{machine()}; load {load:.1f} before, {os.getloadavg()[0]:.1f} after; {plan.latency:g} ms each way"
    if given.json:
        print(json.dumps({"machine": told, "plan": asdict(plan), "rows": [asdict(row) for row in rows]}, indent=2))
    else:
        print(told, *table(rows), sep="\n")


if __name__ == "__main__":
    main()
