"""A whole workload: the generations of one run, how it is left, and the signals that are sent to it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from durable_testing.workloads import interpreter, nodes
from durable_testing.workloads.interpreter import LAST
from durable_testing.workloads.nodes import Node

Json = Any
NAMES: Final = ("a", "b", "c")

__all__ = ["NAMES", "Sending", "Workload", "demand", "dump", "is_confluent", "job_of", "load", "nodes_of"]


@dataclass(frozen=True, slots=True)
class Sending:
    """A signal: its name, its payload, and how many seconds after the one before it is sent."""

    name: str
    payload: Json
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Workload:
    """What a scenario starts and sends.

    Attributes:
        rounds: Generations; between them stands ``continue_as``.
        leaving: Where ``continue_as`` is raised: inside nothing, a saga or a ``try`` with a ``finally``.
        raises: A last round that fails makes the run fail; else its error is only told.
        leaves: Tasks that a failed ``gather`` has left running are left to the end of the run, not cancelled by the
            code. Only without ``drains``: such a task could take a signal that the code waits for.
        drains: Before its end the run takes every signal that is left, so that none can be lost unseen.
        signals: In the order in which they are sent.
    """

    rounds: tuple[Node, ...]
    leaving: Literal["plain", "saga", "cleanup"] = "plain"
    raises: bool = False
    leaves: bool = False
    drains: bool = False
    signals: tuple[Sending, ...] = ()

    def __post_init__(self) -> None:
        assert self.rounds
        assert not (self.leaves and self.drains)

    @property
    def sendings(self) -> tuple[Sending, ...]:
        """All that is sent: the signals, and where the run drains, the last one of each name."""
        return self.signals + tuple(Sending(name, LAST) for name in self.drained)

    @property
    def drained(self) -> tuple[str, ...]:
        """The names whose inbox the run empties."""
        return tuple(sorted({sending.name for sending in self.signals})) if self.drains else ()


def nodes_of(workload: Workload) -> list[Node]:
    """Every node of every round, children's included."""
    return [node for one in workload.rounds for node in nodes.walk(one)]


def demand(node: Node) -> Counter[str]:
    """How many signals of each name the run of this node can take at most; children are told by their parents.

    With that many sent, no wait without a timeout waits for ever.
    """
    match node:
        case nodes.Wait():
            return Counter([node.name])
        case nodes.Listen():
            return Counter({node.name: node.count})
        case nodes.Child():
            return Counter()
        case nodes.Loop():
            return Counter({name: count * node.times for name, count in demand(node.body).items()})
        case _:
            return sum((demand(part) for part in nodes.parts_of(node)), Counter())


def is_confluent(workload: Workload) -> bool:
    """Whether every order of events leads to the same tale, times and chance apart (``model.essence``).

    It says no where it is not sure: yes means that nothing is cut, no timeout can pass, nothing fails beside something
    else, and no two waits stand side by side.
    """
    return not workload.leaves and all(_settled(one, alone=True) for one in workload.rounds)


def _settled(node: Node, *, alone: bool) -> bool:
    match node:
        case nodes.Race() | nodes.Limit() | nodes.Cancel() | nodes.Wait(seconds=float()):
            return False
        case nodes.Wait() | nodes.Listen():
            return alone
        case nodes.Gather() | nodes.Group() | nodes.Parallel() | nodes.Map():
            kept = isinstance(node, nodes.Gather) and node.keep
            safe = kept or not any(_may_fail(part) for part in nodes.walk(node))
            return safe and all(_settled(part, alone=False) for part in nodes.parts_of(node))
        case nodes.Child():
            return all(_settled(part, alone=True) for part in node.rounds)
        case _:
            return all(_settled(part, alone=alone) for part in nodes.parts_of(node))


def _may_fail(node: Node) -> bool:
    return isinstance(node, nodes.Raise) or (isinstance(node, nodes.Step) and node.does not in ("return", "flaky"))


def job_of(workload: Workload, who: str, scale: float) -> Json:
    """The input of the run.

    Args:
        who: Its name, which begins every uid; also its id.
        scale: Factor of all durations.
    """
    return interpreter.job_of(
        who,
        workload.rounds,
        scale,
        leaving=workload.leaving,
        leaves=workload.leaves,
        raises=workload.raises,
        drains=workload.drained,
    )


def dump(workload: Workload) -> Json:
    """As plain JSON."""
    return {**asdict(workload), "rounds": [nodes.dump(one) for one in workload.rounds]}


def load(data: Json) -> Workload:
    """And back."""
    rounds = tuple(nodes.load(one) for one in data["rounds"])
    signals = tuple(Sending(**one) for one in data["signals"])
    return Workload(**{**data, "rounds": rounds, "signals": signals})
