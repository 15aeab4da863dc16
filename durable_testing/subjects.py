"""What a soak simulates: the scenarios of the catalogue, and random workloads with their model."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final, final

from durable_testing import workloads
from durable_testing.catalogue import ENTRIES, Entry
from durable_testing.schedules import Schedule
from durable_testing.sim import Sim, code_of
from durable_testing.trial import Setting, carry_out
from durable_testing.workloads.ledger import fresh
from durable_testing.workloads.model import violations

__all__ = ["CATALOGUE", "Subject", "random_subject", "subject"]

_WORKLOAD: Final = "workload-"


@final
@dataclass(frozen=True, slots=True)
class Subject:
    """Something to simulate, again and again.

    Attributes:
        name: With a schedule, it is all that is needed to do it again.
        ops: Store operations of a simulation without faults.
    """

    name: str
    setting: Setting
    ops: int


def _of_entry(entry: Entry) -> Subject:
    later = (
        None if entry.redeployed is None else code_of(entry.redeployed, entry.steps, None, dict(entry.worker_options))
    )
    code = code_of(entry.workflows, entry.steps, None, dict(entry.worker_options))
    setting = Setting(entry.scenario, code, later)
    return Subject(entry.name, setting, carry_out(setting, Schedule()).ops)


def _of_workload(number: int) -> Subject:
    """A random workload; what it may lead to, its model says."""
    workload = workloads.random_workload(Random(number))

    async def scenario(sim: Sim) -> None:
        ledger = fresh()
        ending = await workloads.scenario(sim, workload)
        wrong = violations(workload, ending, ledger.of(ending.who), crashes=True)
        assert not wrong, "\n".join(wrong)

    setting = Setting(scenario, code_of(workloads.WORKFLOWS, workloads.STEPS, workloads.QUEUES, None))
    return Subject(f"{_WORKLOAD}{number}", setting, carry_out(setting, Schedule()).ops)


class _Catalogue:
    """Each entry, measured when it is first asked for."""

    def __init__(self) -> None:
        self._known: dict[str, Subject] = {}
        self.names: tuple[str, ...] = tuple(entry.name for entry in ENTRIES)

    def __getitem__(self, name: str) -> Subject:
        if name not in self._known:
            self._known[name] = _of_entry(next(entry for entry in ENTRIES if entry.name == name))
        return self._known[name]


CATALOGUE: Final = _Catalogue()


def random_subject(dice: Random) -> Subject:
    """An entry of the catalogue, or as often a random workload."""
    if dice.random() < 0.5:
        return CATALOGUE[dice.choice(CATALOGUE.names)]
    return _of_workload(dice.randrange(2**31))


def subject(name: str) -> Subject:
    """The subject of this name.

    Raises:
        KeyError: There is none.
    """
    if name.startswith(_WORKLOAD):
        return _of_workload(int(name.removeprefix(_WORKLOAD)))
    if name not in CATALOGUE.names:
        raise KeyError(name)
    return CATALOGUE[name]
