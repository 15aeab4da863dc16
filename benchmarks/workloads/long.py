"""One run with a long journal: what its last steps cost, and what it costs to take it up again."""

from __future__ import annotations

from typing import Final

from benchmarks.beds import MEMORY, RELAXED, SQLITE, Bed
from benchmarks.hands import Order, hand
from benchmarks.limits import ONE, ONE_RELAXED, bare_commits
from benchmarks.passes import Figures, Plan, Ratio, Row, Table
from benchmarks.programs import WORKFLOWS, Meter, interrupted, meters
from durable import Worker, connect

FIRST: Final = "µs a step, first tenth"


def of(bed: Bed, steps: int, passes: int | None = None) -> Row:
    """A chain of so many steps; where a process can die, it dies behind the last, and another one ends the run."""

    async def measure(plan: Plan) -> Figures:
        count = plan.count(steps, 20)
        with bed.lay(plan) as url:
            async with connect(url) as client:
                if not bed.processes:
                    return await _in_this_process(url, count)
                await client.start(interrupted.bind(count, 0))
                async with hand(Order(url, wanted=count + 1, halt=True)) as victim:
                    await victim.go()
                    figures = _tenths((await victim.hear("moments"))["moments"])
                    await victim.kill()
                async with hand(Order(url, wanted=1, completed=1)) as heir:
                    await heir.go()
                    done = (await heir.hear("completed"))["completed"]
        return {**figures, "s to resume": done - heir.began}

    return Row(name(bed, steps), measure, _ratios(bed), passes)


def name(bed: Bed, steps: int) -> str:
    """Of the row."""
    return f"{bed.name}, {steps:,} steps"


async def _in_this_process(url: str, count: int) -> Figures:
    meter = meters[-1] = Meter(count + 1, keep=True)
    async with connect(url) as client, Worker(client, workflows=WORKFLOWS):
        await (await client.start(interrupted.bind(count, 0))).result()
    return _tenths(sorted(meter.kept.values()))


def _tenths(moments: list[float]) -> Figures:
    tenth = len(moments) // 10
    first = (moments[tenth] - moments[0]) / tenth
    last = (moments[-1] - moments[-1 - tenth]) / tenth
    return {FIRST: first * 1e6, "µs a step, last tenth": last * 1e6, "last / first": last / first}


def _ratios(bed: Bed) -> tuple[Ratio, ...]:
    if bed is MEMORY:
        return ()
    bare = ONE_RELAXED if bed is RELAXED else ONE
    return (Ratio("{} bare commits a step", FIRST, bare, "commits a second", 1e-6, times=True),)


TABLE: Final = Table(
    "long",
    "Long runs",
    "One run, one step after the other. At its last step its worker's process gets SIGKILL; *to resume* is from the "
    "start of a new process, the interpreter's and the imports included, to the end of the run.",
    (
        bare_commits(1, "FULL"),
        bare_commits(1, "NORMAL"),
        of(MEMORY, 20_000, 3),
        of(SQLITE, 5_000, 3),
        of(SQLITE, 20_000),
        of(RELAXED, 20_000, 3),
    ),
)
