"""A definition with its graph worked out: what the scheduler, the pictures and the checks all ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from durable_dag.graph import layers
from durable_dag.graph.definition import Definition, Edge, StepDef

__all__ = ["Plan"]


@dataclass(frozen=True)
class Plan:
    """The graph of a good definition.

    Attributes:
        targets: Of each step, the steps that depend on it and the edges by which they do, in the order of the steps.
        handled: Steps whose failure some edge ``on: failure`` takes up.
    """

    definition: Definition
    targets: Mapping[str, tuple[tuple[str, Edge], ...]]
    handled: frozenset[str]

    @staticmethod
    def of(definition: Definition) -> Plan:
        """Work it out."""
        targets: dict[str, list[tuple[str, Edge]]] = {id: [] for id in definition.steps}
        for step in definition.steps.values():
            for edge in step.edges:
                targets[edge.step].append((step.id, edge))
        handled = {edge.step for step in definition.steps.values() for edge in step.edges if edge.on == "failure"}
        return Plan(definition, {id: tuple(found) for id, found in targets.items()}, frozenset(handled))

    @property
    def steps(self) -> Mapping[str, StepDef]:
        """By id."""
        return self.definition.steps

    @cached_property
    def graph(self) -> dict[str, list[str]]:
        """Each step's sources."""
        return {id: list(dict.fromkeys(edge.step for edge in step.edges)) for id, step in self.steps.items()}

    @cached_property
    def ancestors(self) -> dict[str, layers.Above]:
        """Of each step, the steps that come before it on some path."""
        return layers.ancestors(self.graph)

    @cached_property
    def layers(self) -> list[list[str]]:
        """Steps by their longest path from a root."""
        return layers.layers(self.graph)

    @cached_property
    def leaves(self) -> list[str]:
        """Steps on which none depends."""
        return [id for id in self.steps if not self.targets[id]]
