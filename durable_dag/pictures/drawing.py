"""What a picture shows: boxes with a name and a status, and lines with what they stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from durable_dag.graph.definition import PLAIN_SUCCESS
from durable_dag.graph.edges import Ended, edge_state
from durable_dag.graph.layout import Layout, layout
from durable_dag.graph.plan import Plan

Json: TypeAlias = Any

__all__ = ["Arrow", "Drawing", "Mark", "drawing_of", "printable"]

SYMBOLS: Mapping[str, str] = {"success": "✓", "failed": "✗", "running": "●", "skipped": "⤼", "pending": "○"}


@dataclass(frozen=True, slots=True)
class Mark:
    """A box: a step, its name, and its status (``pending`` in a definition)."""

    id: str
    label: str
    status: str = "pending"
    kind: str = "plain"


@dataclass(frozen=True, slots=True)
class Arrow:
    """A line.

    Attributes:
        on: What it waits for; empty for a plain success.
        state: ``live``, ``dead``, ``broken``, or ``open`` while its source has not ended.
    """

    source: str
    target: str
    on: str = ""
    state: str = "open"


@dataclass(frozen=True)
class Drawing:
    """Everything that a picture shows, without places."""

    title: str
    marks: tuple[Mark, ...]
    arrows: tuple[Arrow, ...]

    @cached_property
    def graph(self) -> dict[str, list[str]]:
        """Each box's sources."""
        found: dict[str, list[str]] = {mark.id: [] for mark in self.marks}
        for arrow in self.arrows:
            if arrow.source not in found[arrow.target]:
                found[arrow.target].append(arrow.source)
        return found

    @cached_property
    def layout(self) -> Layout:
        """Where things go."""
        return layout(self.graph)

    def arrows_between(self, source: str, target: str) -> Sequence[Arrow]:
        """Lines that share a way."""
        return self._between.get((source, target), ())

    @cached_property
    def _between(self) -> dict[tuple[str, str], list[Arrow]]:
        found: dict[tuple[str, str], list[Arrow]] = {}
        for arrow in self.arrows:
            found.setdefault((arrow.source, arrow.target), []).append(arrow)
        return found

    def layout_json(self) -> dict[str, Json]:
        """The layout with what is known of each line."""
        marks = {
            way: {"on": " / ".join(one.on or "success" for one in found), "state": found[0].state}
            for way, found in self._between.items()
        }
        return self.layout.as_json(marks)


def drawing_of(plan: Plan, steps: Mapping[str, Mapping[str, Json]] | None = None) -> Drawing:
    """A drawing of a definition, or of an execution whose ``stepResults`` are given."""
    known = steps or {}
    marks = tuple(
        Mark(step.id, step.name, str(known.get(step.id, {}).get("status", "pending")), step.kind)
        for step in plan.steps.values()
    )
    arrows = tuple(
        Arrow(edge.step, step.id, "" if edge.on == PLAIN_SUCCESS else edge.on, _state(plan, edge.step, edge.on, known))
        for step in plan.steps.values()
        for edge in step.edges
    )
    return Drawing(plan.definition.name, marks, arrows)


def _state(plan: Plan, source: str, on: str, known: Mapping[str, Mapping[str, Json]]) -> str:
    result = known.get(source, {})
    status = result.get("status")
    if status not in ("success", "failed", "skipped"):
        return "open"
    step = plan.steps[source]
    reason = result.get("skipReason")
    ended = Ended(status, step.kind, result.get("branch"), reason, step.critical, source in plan.handled)
    return edge_state(on, ended)


def printable(text: str, longest: int) -> str:
    """One line of a text, at most so many characters, without control and direction characters."""
    line = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return line if len(line) <= longest else line[: longest - 1] + "…"
