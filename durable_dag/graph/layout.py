"""Where the boxes and lines of a graph go: computed once, here, and drawn by whoever draws. Pure.

Layers by the longest path, places within a layer by four sweeps of barycentres, long lines bent around boxes by way of
dummy nodes (the method of Sugiyama and others).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from durable_dag.graph import layers

Json: TypeAlias = Any

__all__ = ["Box", "Layout", "Line", "layout"]

BOX_WIDTH: Final = 180.0
BOX_HEIGHT: Final = 44.0
GAP_ACROSS: Final = 70.0
GAP_ALONG: Final = 22.0
MARGIN: Final = 20.0
SWEEPS: Final = 4
DUMMIES_MAX: Final = 20_000

Edge = tuple[str, str]
Node = str | tuple[int, int]


@dataclass(frozen=True, slots=True)
class Box:
    """A node: its upper left corner and its size, in pixels."""

    id: str
    x: float
    y: float
    width: float = BOX_WIDTH
    height: float = BOX_HEIGHT


@dataclass(frozen=True, slots=True)
class Line:
    """An edge, through its points from the source's right side to the target's left one."""

    source: str
    target: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything in its place."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]

    def as_json(self, marks: Mapping[Edge, Mapping[str, Json]] | None = None) -> dict[str, Json]:
        """As answers of a server carry it; ``marks`` adds members to edges."""
        known = marks or {}
        return {
            "width": self.width,
            "height": self.height,
            "nodes": [{"id": box.id, "x": box.x, "y": box.y, "w": box.width, "h": box.height} for box in self.boxes],
            "edges": [
                {
                    "from": line.source,
                    "to": line.target,
                    **known.get((line.source, line.target), {}),
                    "points": [list(point) for point in line.points],
                }
                for line in self.lines
            ],
        }


def layout(graph: Mapping[str, Sequence[str]]) -> Layout:
    """Lay a graph out from left to right.

    Args:
        graph: Each node's sources. Nodes in circles are left out.
    """
    ranks: list[list[Node]] = [list(layer) for layer in layers.layers(graph)]
    depth = {node: number for number, layer in enumerate(ranks) for node in layer if isinstance(node, str)}
    edges = [(source, node) for node in depth for source in dict.fromkeys(graph[node])]
    paths = _with_dummies(ranks, depth, edges)
    _order(ranks, paths)
    places = _places(ranks)
    boxes = [Box(node, *places[node]) for node in graph if node in depth]
    lines = tuple(_line(edge, path, places) for edge, path in zip(edges, paths, strict=True))
    width = 2 * MARGIN + max(len(ranks) * (BOX_WIDTH + GAP_ACROSS) - GAP_ACROSS, 0)
    height = 2 * MARGIN + max((len(rank) * (BOX_HEIGHT + GAP_ALONG) - GAP_ALONG for rank in ranks), default=0)
    return Layout(width, height, tuple(boxes), lines)


def _with_dummies(ranks: list[list[Node]], depth: Mapping[str, int], edges: Sequence[Edge]) -> list[list[Node]]:
    """Each edge as a path with one node in each layer; straight where that would be too many."""
    paths: list[list[Node]] = []
    made = 0
    for number, (source, target) in enumerate(edges):
        path: list[Node] = [source]
        between = range(depth[source] + 1, depth[target])
        if made + len(between) <= DUMMIES_MAX:
            made += len(between)
            for rank in between:
                dummy = (number, rank)
                ranks[rank].append(dummy)
                path.append(dummy)
        paths.append([*path, target])
    return paths


def _order(ranks: list[list[Node]], paths: Sequence[Sequence[Node]]) -> None:
    """Put each node at the mean of its neighbours, forwards and backwards in turn."""
    before: dict[Node, list[Node]] = {}
    after: dict[Node, list[Node]] = {}
    for path in paths:
        for left, right in zip(path, path[1:], strict=False):
            before.setdefault(right, []).append(left)
            after.setdefault(left, []).append(right)
    place: dict[Node, float] = {node: float(index) for rank in ranks for index, node in enumerate(rank)}
    for sweep in range(SWEEPS):
        neighbours = after if sweep % 2 else before
        for rank in reversed(ranks) if sweep % 2 else ranks:
            weight = {node: _mean(neighbours.get(node, ()), place, place[node]) for node in rank}
            rank.sort(key=lambda node: weight[node])
            place.update((node, float(index)) for index, node in enumerate(rank))


def _mean(nodes: Sequence[Node], place: Mapping[Node, float], otherwise: float) -> float:
    return sum(place[node] for node in nodes) / len(nodes) if nodes else otherwise


def _places(ranks: Sequence[Sequence[Node]]) -> dict[Node, tuple[float, float]]:
    """Upper left corners; each layer in the middle of the picture's height."""
    tallest = max((len(rank) for rank in ranks), default=0)
    found: dict[Node, tuple[float, float]] = {}
    for number, rank in enumerate(ranks):
        x = MARGIN + number * (BOX_WIDTH + GAP_ACROSS)
        top = MARGIN + (tallest - len(rank)) * (BOX_HEIGHT + GAP_ALONG) / 2
        for index, node in enumerate(rank):
            found[node] = (x, top + index * (BOX_HEIGHT + GAP_ALONG))
    return found


def _line(edge: Edge, path: Sequence[Node], places: Mapping[Node, tuple[float, float]]) -> Line:
    points: list[tuple[float, float]] = []
    for node in path:
        x, y = places[node]
        middle = y + BOX_HEIGHT / 2
        if node != edge[0]:
            points.append((x, middle))
        if node != edge[1]:
            points.append((x + BOX_WIDTH, middle))
    return Line(edge[0], edge[1], tuple(points))
