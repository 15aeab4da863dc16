"""The shape of a graph: who is above whom, by the longest path; and circles, with their path."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import final

__all__ = ["Above", "ancestors", "cycles", "descendants", "layers", "topological"]

Graph = Mapping[str, Sequence[str]]
"""Each node's sources, in order."""


def topological(graph: Graph) -> list[str]:
    """Every node after its sources, otherwise in the graph's own order; nodes in or behind circles are left out."""
    waiting = {node: len(set(sources)) for node, sources in graph.items()}
    targets = _targets(graph)
    ready = [node for node, count in waiting.items() if count == 0]
    for node in ready:  # grows while it is read
        for target in targets[node]:
            waiting[target] -= 1
            if waiting[target] == 0:
                ready.append(target)
    return ready


def layers(graph: Graph) -> list[list[str]]:
    """Nodes by the length of the longest path that leads to them; each layer in the graph's own order."""
    depth: dict[str, int] = {}
    for node in topological(graph):
        depth[node] = max((depth[source] + 1 for source in graph[node]), default=0)
    found: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for node in graph:
        if node in depth:
            found[depth[node]].append(node)
    return found


@final
class Above(Container[str]):
    """The nodes above one node; a set of bits, so that a thousand of them are no matter."""

    __slots__ = ("_bits", "_places")

    def __init__(self, bits: int, places: Mapping[str, int]) -> None:
        self._bits = bits
        self._places = places

    def __contains__(self, node: object) -> bool:
        place = self._places.get(node) if isinstance(node, str) else None
        return place is not None and bool(self._bits >> place & 1)


def ancestors(graph: Graph) -> dict[str, Above]:
    """All sources of each node, direct and indirect; nodes in or behind circles are left out."""
    order = topological(graph)
    place = {node: number for number, node in enumerate(order)}
    bits: dict[str, int] = {}
    for node in order:
        mine = 0
        for source in graph[node]:
            mine |= bits[source] | 1 << place[source]
        bits[node] = mine
    return {node: Above(mine, place) for node, mine in bits.items()}


def descendants(graph: Graph, roots: Iterable[str]) -> set[str]:
    """The roots, and every node that some path leads to from them."""
    targets = _targets(graph)
    found = list(dict.fromkeys(roots))
    seen = set(found)
    for node in found:  # grows while it is read
        for target in targets[node]:
            if target not in seen:
                seen.add(target)
                found.append(target)
    return seen


def cycles(graph: Graph) -> list[list[str]]:
    """One circle for each group of nodes that reach each other: ``[a, b, a]``. Loops of one node are left out."""
    sound = set(topological(graph))
    left = {node: [s for s in sources if s in graph and s not in sound] for node, sources in graph.items()}
    left = {node: sources for node, sources in left.items() if node not in sound}
    found: list[list[str]] = []
    seen: set[str] = set()
    for start in left:
        path: list[str] = []
        node = start
        places: dict[str, int] = {}
        while node not in seen and node not in places:
            places[node] = len(path)
            path.append(node)
            others = [source for source in left[node] if source != node]
            if not others:
                break
            node = others[0]
        if node in places and path and any(source == node for source in left[path[-1]]):
            circle = path[places[node] :]
            if len(circle) > 1:
                found.append([node, *reversed(circle)])
        seen.update(path)
    return found


def _targets(graph: Graph) -> dict[str, list[str]]:
    targets: dict[str, list[str]] = {node: [] for node in graph}
    for node, sources in graph.items():
        for source in dict.fromkeys(sources):
            targets[source].append(node)
    return targets
