"""``python -m durable_testing.soak --minutes 30``: simulate until told to stop, and say what was proved.

Every simulation draws a scenario (of the catalogue, or a random workload with its model), a number of workers, a seed
and some faults, and checks what the scenario asserts and every invariant. Each tenth is carried out twice: the traces
must agree, byte for byte. A soak fails when anything did not hold, and when a mark was never reached: then it has
proved less than it says.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from multiprocessing import get_context
from random import Random
from typing import Final, final

from durable.clock import SystemClock
from durable_testing.crash import single_faults
from durable_testing.marks import MARKS, marks_of
from durable_testing.plans import random_schedule
from durable_testing.report import report
from durable_testing.schedules import Schedule
from durable_testing.subjects import CATALOGUE, Subject, random_subject, subject
from durable_testing.trial import Trial, carry_out

__all__ = ["Tally", "main", "soak"]

_FAULTS_MAX: Final = 5
_WORKERS_MAX: Final = 4
_TWICE_EVERY: Final = 10
_BATCH: Final = 40
_SHOWN_MAX: Final = 5
_clock: Final = SystemClock()


@final
@dataclass(slots=True)
class Tally:
    """What was done, and what came of it.

    Attributes:
        exhaustive: Simulations of the single-fault catalogue among all.
        lost_workers: Simulations in which a worker died, was stopped or drained.
        twice: Simulations that were carried out a second time.
        marks: In how many simulations each was reached.
        faults: How many of each kind have struck.
        failures: Scenario, schedule and report of each failing simulation.
    """

    simulations: int = 0
    exhaustive: int = 0
    operations: int = 0
    events: int = 0
    lost_workers: int = 0
    twice: int = 0
    marks: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Take another tally in."""
        self.simulations += other.simulations
        self.exhaustive += other.exhaustive
        self.operations += other.operations
        self.events += other.events
        self.lost_workers += other.lost_workers
        self.twice += other.twice
        self.marks += other.marks
        self.faults += other.faults
        self.failures += other.failures

    def note(self, name: str, trial: Trial) -> None:
        """One simulation more."""
        self.simulations += 1
        self.operations += trial.ops
        self.events += len(trial.trace)
        self.lost_workers += any(event.kind in ("down", "stop") for event in trial.trace)
        self.marks.update(marks_of(trial.trace))
        self.faults.update(fault.kind.value for fault in trial.schedule.faults if fault.at < trial.ops)
        if trial.failed:
            self.failures.append((name, str(trial.schedule), report(trial, f"{name}: it fails.")))


def one(tally: Tally, what: Subject, schedule: Schedule, *, twice: bool = False) -> None:
    """Simulate once, or twice."""
    trial = carry_out(what.setting, schedule)
    tally.note(what.name, trial)
    if twice and not trial.failed:
        tally.twice += 1
        again = carry_out(what.setting, schedule)
        if again.trace.hash() != trial.trace.hash():
            tally.failures.append((what.name, str(schedule), "The same schedule gave two different traces."))


def random_batch(seed: int) -> Tally:
    """Some random simulations."""
    dice, tally = Random(seed), Tally()
    for number in range(_BATCH // 4):
        what = random_subject(dice)
        for again in range(4):
            schedule = random_schedule(dice, what.ops, _FAULTS_MAX, _WORKERS_MAX)
            one(tally, what, schedule, twice=(4 * number + again) % _TWICE_EVERY == 0)
    return tally


def exhaustive_batch(name: str) -> Tally:
    """Every single fault at every store operation of one entry."""
    what, tally = CATALOGUE[name], Tally()
    for faults in single_faults(what.ops):
        one(tally, what, Schedule(1, 0, faults))
    tally.exhaustive = tally.simulations
    return tally


def soak(
    seconds: float, *, seed: int = 0, jobs: int = 1, simulations: int = 0, exhaustive: bool = False
) -> Iterator[Tally]:
    """Simulate for so long, and until there were so many; yields the tally so far, now and then."""
    total = Tally()
    began = _clock.monotonic()

    def enough() -> bool:
        return _clock.monotonic() - began >= seconds and total.simulations - total.exhaustive >= simulations

    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        todo = list(CATALOGUE.names) if exhaustive else []
        running: set[Future[Tally]] = set()
        batches = 0
        while True:
            while len(running) < 2 * jobs and (todo or not enough()) and not total.failures:
                if todo:
                    running.add(pool.submit(exhaustive_batch, todo.pop()))
                else:
                    running.add(pool.submit(random_batch, (seed << 32) + batches))
                    batches += 1
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for each in done:
                total.add(each.result())
            yield total


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m durable_testing.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long (default 1)")
    parser.add_argument("--simulations", type=int, default=0, help="at least so many random ones")
    parser.add_argument("--exhaustive", action="store_true", help="first every single fault at every store operation")
    parser.add_argument("--seed", type=int, default=None, help="of everything (default: drawn)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one for each core)")
    parser.add_argument("--no-marks", action="store_true", help="too short a run to reach every mark")
    parser.add_argument("--only", metavar="NAME:SCHEDULE", help="one simulation again, as a failing soak prints it")
    options = parser.parse_args(arguments)
    if options.only is not None:
        return again(options.only)
    seed = Random().randrange(2**31) if options.seed is None else options.seed
    print(f"seed {seed}, {options.jobs} processes", flush=True)
    began = said = _clock.monotonic()
    total = Tally()
    asked = {"seed": seed, "jobs": options.jobs, "simulations": options.simulations, "exhaustive": options.exhaustive}
    for total in soak(options.minutes * 60, **asked):
        if _clock.monotonic() - said > 10:
            said = _clock.monotonic()
            print(f"{said - began:6.0f} s  {total.simulations:>8,} simulations", flush=True)
    return conclusion(total, _clock.monotonic() - began, options.jobs, marks=not options.no_marks)


def again(text: str) -> int:
    """One simulation, told."""
    name, _, schedule = text.partition(":")
    what = subject(name)
    trial = carry_out(what.setting, Schedule.parse(schedule))
    print(report(trial, f"{name}: it {'fails' if trial.failed else 'holds'}."))
    return int(trial.failed)


def conclusion(total: Tally, seconds: float, jobs: int, *, marks: bool) -> int:
    """Say it; the exit code."""
    missing = [mark for mark in MARKS if not total.marks[mark]] if marks else []
    print(
        f"\n{total.simulations:,} simulations in {seconds:.0f} s ({total.simulations / max(seconds, 1e-9):.0f}/s on "
        f"{jobs} processes), {total.exhaustive:,} of them exhaustive single faults\n"
        f"{total.operations:,} store operations, {total.events:,} events checked, {sum(total.faults.values()):,} "
        f"faults; {total.lost_workers:,} simulations lost a worker\n"
        f"{total.twice:,} simulated twice, to the same trace\n"
    )
    print("Faults: " + ", ".join(f"{kind} {count:,}" for kind, count in sorted(total.faults.items())) + "\n")
    for mark in MARKS:
        print(f"{total.marks[mark]:>9,}  {mark}" + ("   <-- never reached" if mark in missing else ""))
    for name, schedule, said in total.failures[:_SHOWN_MAX]:
        print(f"\nFAILED {name}:{schedule}\n{said}\n    python -m durable_testing.soak --only '{name}:{schedule}'")
    print(f"\n{len(total.failures)} failed" + (f", {len(missing)} marks never reached" if missing else ""))
    return int(bool(total.failures or missing))


if __name__ == "__main__":
    sys.exit(main())
