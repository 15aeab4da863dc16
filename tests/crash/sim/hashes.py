"""``python -m tests.crash.sim.hashes``: traces of some entries under schedules with many faults, one hash a line."""

from collections.abc import Iterator
from random import Random

from durable_testing.catalogue import entry
from durable_testing.exploring import setting_of
from durable_testing.plans import random_schedule
from durable_testing.sim import START
from durable_testing.trial import carry_out

NAMES = (
    "tickets",
    "storm of signals",
    "branches of two steps",
    "task group with a failure",
    "grandchildren",
    "children left behind",
    "retry of a failed run",
    "one id, many starts",
)
FAULTS = 12


def hashes(store: str = "memory://", names: tuple[str, ...] = NAMES) -> Iterator[str]:
    """One line for each simulation: entry, schedule, hash of the trace, how it went."""
    for name in names:
        of = entry(name)
        setting = setting_of(
            of.scenario, of.workflows, of.steps, of.redeployed, START, store, None, dict(of.worker_options)
        )
        for number in range(3):
            schedule = random_schedule(Random(f"{name}/{number}"), 40, FAULTS, 4)
            trial = carry_out(setting, schedule)
            yield f"{name} {schedule} {trial.trace.hash()} {len(trial.trace)} events, {trial.error!r}"


if __name__ == "__main__":
    for line in hashes():
        print(line)
