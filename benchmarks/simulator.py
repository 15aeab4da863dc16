"""How many complete crash-recovery simulations one core carries out a second: ``python -m benchmarks.simulator``.

Each simulation is a world of its own: one to four workers, a client and a store on one virtual-time loop, a workflow of
fourteen steps, up to three faults (at least one a crash), and the check of every invariant over the whole trace.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass
from random import Random

from durable import Context, step, workflow
from durable_testing import Fault, FaultKind, Schedule, Sim
from durable_testing.crew import Code
from durable_testing.trial import Setting, Trial, carry_out


@step
async def one(number: int) -> int:
    """A step that costs nothing, so that the simulator is what is measured."""
    return number


@workflow
async def fourteen(ctx: Context, start: int) -> int:
    """One step after the other."""
    total = start
    for number in range(14):
        total += await ctx.step(one, number)
    return total


async def scenario(sim: Sim) -> None:
    """It ends, with the right result."""
    handle = await sim.start(fourteen, 1, id="run")
    assert await handle.result() == 92
    assert len({call.key for call in sim.calls(one)}) == 14


_CRASHES = (FaultKind.CRASH_BEFORE, FaultKind.CRASH_AFTER, FaultKind.KILL)
_OTHERS = (FaultKind.ERROR, FaultKind.UNKNOWN, FaultKind.STOP, FaultKind.DEAFEN)


def schedule(dice: Random) -> Schedule:
    """One crash for certain, up to two mishaps more."""
    faults = [Fault(dice.randint(2, 20), dice.choice(_CRASHES))]
    for _ in range(dice.randint(0, 2)):
        kind = dice.choice((*_CRASHES, *_OTHERS))
        seconds = 20.0 if kind in (FaultKind.STOP, FaultKind.DEAFEN) else 0.0
        faults.append(Fault(dice.randint(2, 40), kind, seconds, 1 if kind in (FaultKind.STOP, FaultKind.KILL) else 0))
    return Schedule(dice.randint(1, 4), dice.randrange(2**20), tuple(sorted(faults)))


@dataclass(frozen=True)
class Round:
    """What one round showed; the traces are let go, for a heap full of them is slow to collect.

    Attributes:
        rate: Simulations a second of one core's time.
        on_the_wall: The same by the clock on the wall.
        crashed: In how many a worker was lost.
        failed: Those that broke an invariant, or did not end as they should.
    """

    rate: float
    on_the_wall: float
    crashed: int
    failed: list[Trial]


def measure(count: int, seed: int) -> Round:
    """Carry out ``count`` simulations."""
    setting = Setting(scenario, Code((fourteen,)))
    dice = Random(seed)
    schedules = [schedule(dice) for _ in range(count)]
    carry_out(setting, schedules[0])
    began, spent = time.perf_counter(), time.process_time()
    crashed, failed = 0, list[Trial]()
    for each in schedules:
        trial = carry_out(setting, each)
        crashed += any(event.kind == "down" for event in trial.trace)
        if trial.failed:
            failed.append(trial)
    return Round(count / (time.process_time() - spent), count / (time.perf_counter() - began), crashed, failed)


def main() -> None:
    """Measure, and say it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300, help="simulations in a round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rounds = [measure(options.count, seed) for seed in range(options.rounds)]
    failed = [trial for each in rounds for trial in each.failed]
    rates = [each.rate for each in rounds]
    wall = statistics.median(each.on_the_wall for each in rounds)
    print(
        f"{statistics.median(rates):.0f} simulations in a second of one core's time (of {options.rounds} rounds: "
        f"{min(rates):.0f} to {max(rates):.0f}; {wall:.0f} by the clock on the wall); "
        f"{sum(each.crashed for each in rounds)} of {options.rounds * options.count} lost a worker; "
        f"{len(failed)} failed"
    )
    for trial in failed[:5]:
        print(trial.schedule, trial.error, *trial.violations, sep="\n  ")
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
