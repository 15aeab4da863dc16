"""Where each step of a run stands, and which may begin next. Pure: outcomes in, steps to begin out.

Law: ``settle`` and ``stop`` are the whole of its input; the same outcomes, in whatever order, give the same statuses
(unless ``failFast`` cuts a run short, where the order is the point).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, final

from durable_dag.graph import layers
from durable_dag.graph.edges import Ended, SkipReason, edge_state
from durable_dag.graph.plan import Plan
from durable_dag.scheduling.decide import Tally, decide

Standing = Literal["pending", "ready", "running", "success", "failed", "skipped"]

__all__ = ["Board", "Outcome", "Place", "Standing"]

_OVER: Final = ("success", "failed", "skipped")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a step ended.

    Attributes:
        branch: That a condition or switch took.
        reason: Of a skip.
    """

    status: Literal["success", "failed", "skipped"]
    branch: str | None = None
    reason: SkipReason | None = None


@dataclass(slots=True)
class Place:
    """Where one step stands; ``ready`` is a step that waits for a slot."""

    tally: Tally
    standing: Standing = "pending"
    branch: str | None = None
    reason: SkipReason | None = None


@final
class Board:
    """The steps of one run.

    Attributes:
        news: Ids of steps that have ended since somebody last emptied this list, in that order.
        tripped: A failure has cut the run short (``failFast``), or it was stopped.
        dropped: Steps that were under way when that happened; their outcomes are of no interest any more.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._order = {id: number for number, id in enumerate(plan.steps)}
        self._places = {id: Place(Tally(len(step.edges))) for id, step in plan.steps.items()}
        self._ready: list[tuple[int, int, str]] = []
        self._arrivals = 0
        self._running = 0
        self._open = len(plan.steps)
        self.news: list[str] = []
        self.dropped: list[str] = []
        self.tripped = False

    # ── moves ────────────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self) -> list[str]:
        """The steps that begin at once."""
        self._look_at(self._places)
        return self._started()

    def settle(self, id: str, outcome: Outcome) -> list[str]:
        """A step that was under way has ended; the steps that begin now. One that was dropped meanwhile is ignored.

        So may one end that waits for a slot: somebody has settled it.
        """
        standing = self._places[id].standing
        if standing not in ("running", "ready"):
            return []
        if standing == "running":
            self._running -= 1
        self._end(id, outcome)
        if self._plan.definition.fail_fast and not self.tripped and self._blocks(id):
            self._trip(spare_cleanup=True)
        return self._started()

    def stop(self) -> None:
        """The run's time is over: whatever has not ended is skipped."""
        self._trip(spare_cleanup=False)

    def again(self, ids: Iterable[str]) -> list[str]:
        """Let steps that have ended begin anew, for a retry; the steps that begin now."""
        chosen = set(ids)
        self.tripped = False
        for id in chosen:
            step = self._plan.steps[id]
            if self._places[id].standing in _OVER:
                self._open += 1
            self._places[id] = place = Place(Tally(len(step.edges)))
            for edge in step.edges:
                if edge.step not in chosen and self.over(edge.step):
                    place.tally.add(edge_state(edge.on, self._ended(edge.step)))
        self._look_at(sorted(chosen, key=self._order.__getitem__))
        return self._started()

    # ── what can be asked ────────────────────────────────────────────────────────────────────────────────────────

    def place(self, id: str) -> Place:
        """Where a step stands."""
        return self._places[id]

    def over(self, id: str) -> bool:
        """Whether a step has ended."""
        return self._places[id].standing in _OVER

    @property
    def all_over(self) -> bool:
        """Whether every step has ended."""
        return self._open == 0

    @property
    def blocking(self) -> list[str]:
        """Failed steps that make the run a failed one: critical, and handled by nothing."""
        return [id for id in self._places if self._blocks(id)]

    @property
    def in_the_way(self) -> list[str]:
        """What a retry does again: blocking failures, and what was skipped because of them or of the end."""
        behind = layers.descendants(self._plan.graph, self.blocking)
        return [
            id
            for id, place in self._places.items()
            if self._blocks(id)
            or (place.standing == "skipped" and (id in behind or place.reason in ("cancelled", "dependency_failed")))
        ]

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _blocks(self, id: str) -> bool:
        failed = self._places[id].standing == "failed"
        return failed and self._plan.steps[id].critical and id not in self._plan.handled

    def _ended(self, id: str) -> Ended:
        place, step = self._places[id], self._plan.steps[id]
        assert place.standing in ("success", "failed", "skipped")
        handled = id in self._plan.handled
        return Ended(place.standing, step.kind, place.branch, place.reason, step.critical, handled)

    def _end(self, id: str, outcome: Outcome) -> None:
        """Write an outcome down, and whatever follows from it for steps that will not run."""
        waiting = [(id, outcome)]
        for each, what in waiting:  # grows while it is read
            place = self._places[each]
            place.standing, place.branch, place.reason = what.status, what.branch, what.reason
            self._open -= 1
            self.news.append(each)
            ended = self._ended(each)
            for target, edge in self._plan.targets[each]:
                there = self._places[target]
                there.tally.add(edge_state(edge.on, ended))
                if (skip := self._look(target)) is not None:
                    waiting.append((target, skip))
                    there.standing = "skipped"  # so that a second edge does not do it twice

    def _look_at(self, ids: Iterable[str]) -> None:
        for id in ids:
            if self._places[id].standing == "pending" and (skip := self._look(id)) is not None:
                self._end(id, skip)

    def _look(self, id: str) -> Outcome | None:
        """Make a pending step ready if it may run; how it is skipped, if it is."""
        place, step = self._places[id], self._plan.steps[id]
        if place.standing != "pending":
            return None
        verdict = decide(step.join, place.tally)
        if verdict == "wait":
            return None
        if verdict == "run":
            if self.tripped and step.join != "done":
                return Outcome("skipped", None, "cancelled")
            place.standing = "ready"
            heapq.heappush(self._ready, (-step.priority, self._arrivals, id))
            self._arrivals += 1
            return None
        if verdict == "skip:condition":
            return Outcome("skipped", None, "condition")
        return Outcome("skipped", None, "cancelled" if self.tripped else "dependency_failed")

    def _started(self) -> list[str]:
        limit = self._plan.definition.limit
        started: list[str] = []
        while self._ready and (limit is None or self._running < limit):
            id = heapq.heappop(self._ready)[2]
            if self._places[id].standing == "ready":
                self._places[id].standing = "running"
                self._running += 1
                started.append(id)
        return started

    def _trip(self, *, spare_cleanup: bool) -> None:
        """Skip what has not ended; clean-up (``join: done``) may still come, unless time is over."""
        self.tripped = True
        for id, place in self._places.items():
            if place.standing == "running":
                self._running -= 1
                self.dropped.append(id)
                self._end(id, Outcome("skipped", None, "cancelled"))
        for id, place in self._places.items():
            spared = spare_cleanup and self._plan.steps[id].join == "done"
            if place.standing in ("pending", "ready") and not spared:
                place.standing = "pending"
                self._end(id, Outcome("skipped", None, "cancelled"))
