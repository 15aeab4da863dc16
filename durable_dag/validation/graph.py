"""Steps among each other: ids, dependencies, circles, branches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from durable_dag.graph import layers
from durable_dag.graph.definition import PLAIN_SUCCESS, Edge, cases_of, kind_of
from durable_dag.problems import Report, pointer
from durable_dag.validation.reader import told

Json: TypeAlias = Any

__all__ = ["check_graph"]

OUTCOMES: Final = ("success", "failure", "skipped", "done")
_EXCLUSIVE: Final = frozenset({"success", "failure", "skipped"})


def check_graph(steps: Sequence[Mapping[str, Json]], report: Report) -> dict[str, list[Edge]]:
    """Check the graph; each good id's edges, as far as they lead somewhere."""
    by_id: dict[str, Mapping[str, Json]] = {}
    for index, raw in enumerate(steps):
        id = raw.get("id")
        if not isinstance(id, str):
            continue
        if id in by_id:
            report.error(pointer("steps", index, "id"), "duplicate_step_id", f"another step has the id {id!r}")
        else:
            by_id[id] = raw
    edges: dict[str, list[Edge]] = {id: [] for id in by_id}
    for index, raw in enumerate(steps):
        own = by_id.get(raw["id"]) is raw if isinstance(raw.get("id"), str) else False
        found = _dependencies(raw, index, by_id, report)
        if own:
            edges[raw["id"]] += found
        for source, target, on in _sugar(raw, index, by_id, report):
            edges[target].append(Edge(source, on))
    _check_circles(edges, steps, report)
    _check_reachable(edges, steps, by_id, report)
    return edges


def _dependencies(
    raw: Mapping[str, Json], index: int, by_id: Mapping[str, Mapping[str, Json]], report: Report
) -> list[Edge]:
    given = raw.get("dependencies")
    at = pointer("steps", index, "dependencies")
    if given is None:
        return []
    if not isinstance(given, list):
        report.error(at, "invalid_type", f"dependencies is a list, not {told(given)}")
        return []
    found: list[Edge] = []
    for number, one in enumerate(given):
        edge = _edge(one, at + pointer(number), raw.get("id"), by_id, report)
        if edge is not None:
            found.append(edge)
    return found


def _edge(one: Json, at: str, own: Json, by_id: Mapping[str, Mapping[str, Json]], report: Report) -> Edge | None:
    source: Json = one
    on: Json = PLAIN_SUCCESS
    if isinstance(one, Mapping):
        source, on = one.get("step"), one.get("on", PLAIN_SUCCESS)
        on = str(on).lower() if isinstance(on, bool) else on
        if source is None:
            report.error(at + "/step", "missing_field", "step is missing")
            return None
        for member in one:
            if member not in ("step", "on") and not member.startswith("x-"):
                report.warn(at + pointer(member), "unknown_field", f"nobody reads {member[:100]!r}")
    if not isinstance(source, str) or not isinstance(on, str):
        report.error(at, "invalid_type", f"a step's id, or an object with step and on, not {told(one)}")
        return None
    if not _known(source, at, own, by_id, report):
        return None
    _check_on(source, on, at, by_id[source], report)
    return Edge(source, on)


def _known(name: str, at: str, own: Json, by_id: Mapping[str, Mapping[str, Json]], report: Report) -> bool:
    if name == own:
        report.error(at, "self_dependency", f"step {name!r} depends on itself")
        return False
    if name in by_id:
        return True
    hint = report.meant(name, by_id)
    meant = "" if hint is None else f"; did you mean {hint!r}?"
    data = {} if hint is None else {"hint": hint}
    report.error(at, "unknown_dependency", f"there is no step {name[:140]!r}{meant}", **data)
    return False


def _check_on(source: str, on: str, at: str, raw: Mapping[str, Json], report: Report) -> None:
    if on in OUTCOMES or on == PLAIN_SUCCESS:
        return
    kind = kind_of(raw.get("action"))
    params = raw.get("params")
    branches: tuple[str, ...] = ()
    if kind == "condition":
        branches = ("true", "false")
    elif kind == "switch" and isinstance(params, Mapping):
        branches = cases_of(params)
    if on not in branches:
        listed = ", ".join([*OUTCOMES, *branches])
        report.error(
            at + "/on",
            "branch_unknown",
            f"step {source!r} never ends as {on[:100]!r}; it may be {listed}",
            known=listed,
        )


def _sugar(
    raw: Mapping[str, Json], index: int, by_id: Mapping[str, Mapping[str, Json]], report: Report
) -> list[tuple[str, str, str]]:
    """(source, target, on) of ``onSuccess`` and ``onFailure``."""
    found: list[tuple[str, str, str]] = []
    condition = raw.get("action") == "condition"
    words = {"onSuccess": "true" if condition else "success", "onFailure": "false" if condition else "failure"}
    for member, on in words.items():
        given = raw.get(member)
        at = pointer("steps", index, member)
        if given is None:
            continue
        if not isinstance(given, list):
            report.error(at, "invalid_type", f"{member} is a list of steps, not {told(given)}")
            continue
        for number, target in enumerate(given):
            place = at + pointer(number)
            if not isinstance(target, str):
                report.error(place, "invalid_type", f"a step's id, not {told(target)}")
            elif _known(target, place, raw.get("id"), by_id, report) and isinstance(raw.get("id"), str):
                found.append((raw["id"], target, on))
    return found


def _check_circles(edges: Mapping[str, list[Edge]], steps: Sequence[Mapping[str, Json]], report: Report) -> None:
    graph = {id: [edge.step for edge in found] for id, found in edges.items()}
    places = {raw["id"]: index for index, raw in reversed(list(enumerate(steps))) if isinstance(raw.get("id"), str)}
    for circle in layers.cycles(graph):
        path = " → ".join(circle)
        at = pointer("steps", places[circle[0]], "dependencies")
        report.error(at, "cycle", f"steps wait for each other in a circle: {path}", cycle=circle)


def _check_reachable(
    edges: Mapping[str, list[Edge]],
    steps: Sequence[Mapping[str, Json]],
    by_id: Mapping[str, Mapping[str, Json]],
    report: Report,
) -> None:
    """A join of all edges, two of which can never be live together."""
    for index, raw in enumerate(steps):
        id = raw.get("id")
        if not isinstance(id, str) or raw.get("join") != "all" or by_id.get(id) is not raw:
            continue
        wanted: dict[str, set[str]] = {}
        for edge in edges[id]:
            plain = "true" if kind_of(by_id[edge.step].get("action")) == "condition" else "success"
            wanted.setdefault(edge.step, set()).add(plain if edge.on == PLAIN_SUCCESS else edge.on)
        for source, ons in wanted.items():
            branches = ons - _EXCLUSIVE - {"done"}
            if len(branches) > 1 or len(ons & _EXCLUSIVE) > 1 or (branches and ons & {"failure", "skipped"}):
                report.warn(
                    pointer("steps", index, "dependencies"),
                    "unreachable_branch",
                    f"step {id!r} never runs: it wants {source!r} to end in {len(ons)} ways at once",
                )
