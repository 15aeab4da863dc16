"""Whether a step runs, is skipped or waits, from the states of its edges: dead paths are eliminated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from durable_dag.graph.definition import Join
from durable_dag.graph.edges import EdgeState

Verdict = Literal["run", "skip:condition", "skip:dependency_failed", "wait"]

__all__ = ["Tally", "Verdict", "decide"]


@dataclass(slots=True)
class Tally:
    """How many of a step's edges are in which state; the rest have no state yet."""

    edges: int
    live: int = 0
    dead: int = 0
    broken: int = 0

    @property
    def settled(self) -> bool:
        """Whether every edge has a state."""
        return self.live + self.dead + self.broken == self.edges

    def add(self, state: EdgeState) -> None:
        """One more edge has a state."""
        if state == "live":
            self.live += 1
        elif state == "dead":
            self.dead += 1
        else:
            self.broken += 1


def decide(join: Join, tally: Tally) -> Verdict:
    """What becomes of a step.

    ``active`` runs when every edge is settled, none is broken, and one at least is live. ``all`` wants every edge live.
    ``any`` runs at the first live edge. ``done`` runs when all are settled, whatever happened.
    """
    if tally.edges == 0 or (join == "any" and tally.live):
        return "run"
    if not tally.settled:
        return "wait"
    if join == "done":
        return "run"
    if tally.broken:
        return "skip:dependency_failed"
    if join == "any":
        return "skip:condition"
    if join == "all":
        return "skip:condition" if tally.dead else "run"
    return "run" if tally.live else "skip:condition"
