"""The whole check of a definition, in one pass from its members to its code."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, final

from durable.errors import DurableError, MissingExtra
from durable_dag.graph import layers
from durable_dag.graph.definition import Edge, canonical
from durable_dag.js.runtime import JsRuntime
from durable_dag.problems import Problem, Report, pointer
from durable_dag.validation.graph import check_graph
from durable_dag.validation.params import check_params
from durable_dag.validation.reader import Reader, told
from durable_dag.validation.references import CODE_NAMES, Source, check_references
from durable_dag.validation.shape import check_step, check_workflow

Json: TypeAlias = Any

__all__ = ["BYTES_MAX", "STEPS_MAX", "Checked", "Checks", "check"]

STEPS_MAX: Final = 1000
EDGES_MAX: Final = 50_000
BYTES_MAX: Final = 512 * 1024
DEPTH_MAX: Final = 64


@final
@dataclass(frozen=True, slots=True)
class Checked:
    """What a check has found.

    Attributes:
        layers: Ids of the steps by their longest path from a root; those in circles are left out.
    """

    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    layers: list[list[str]] = field(default_factory=list)

    @property
    def valid(self) -> bool:
        """Whether the definition can be registered."""
        return not self.errors


@dataclass(frozen=True, slots=True)
class Checks:
    """What a definition is held against.

    Attributes:
        actions: Known actions, with the schema of their params, or None.
        secrets: Known names; None if that is not known here.
        allow_unknown_actions: Whether a worker may bring an action later.
        js: Compiles the code; None if it cannot be checked here.
    """

    actions: Mapping[str, Json]
    secrets: Collection[str] | None = None
    allow_unknown_actions: bool = False
    js: JsRuntime | None = None


async def check(document: Json, checks: Checks) -> Checked:
    """Check a definition; everything that is wrong with it at once."""
    report = Report()
    edges: dict[str, list[Edge]] = {}
    if not isinstance(document, dict):
        report.error("", "invalid_json", f"a definition is an object, not {told(document)}")
    elif (depth := _too_deep(document)) is not None:
        report.error(depth, "limit_exceeded", f"nested deeper than {DEPTH_MAX} levels")
    elif (bad := _not_json(document)) is not None:
        report.error("", "invalid_json", bad)
    else:
        edges = _check_members(document, checks, report)
        graph = {id: [edge.step for edge in found] for id, found in edges.items()}
        sources = check_references(document, layers.ancestors(graph), checks.secrets, report)
        await _check_code(sources, checks.js, report)
        return Checked(tuple(report.errors), tuple(report.warnings), layers.layers(graph))
    return Checked(tuple(report.errors), tuple(report.warnings))


def _check_members(document: Mapping[str, Json], checks: Checks, report: Report) -> dict[str, list[Edge]]:
    reader = Reader(document, "", report)
    check_workflow(reader)
    if document.get("steps") is None:
        report.error("/steps", "missing_field", "steps is missing")
        return {}
    given = reader.of("steps", list)
    if given is None:
        return {}
    if not 1 <= len(given) <= STEPS_MAX:
        report.error("/steps", "limit_exceeded", f"a workflow has from 1 to {STEPS_MAX:,} steps, not {len(given):,}")
        return {}
    steps: list[Mapping[str, Json]] = []
    defaults = document.get("defaults")
    queued = isinstance(defaults, dict) and defaults.get("queue") is not None
    for index, raw in enumerate(given):
        if not isinstance(raw, dict):
            report.error(pointer("steps", index), "invalid_type", f"a step is an object, not {told(raw)}")
            raw = {}
        else:
            at = pointer("steps", index)
            check_step(Reader(raw, at, report), queued=queued)
            check_params(raw, at, checks.actions, report, allow_unknown=checks.allow_unknown_actions)
        steps.append(raw)
    edges = check_graph(steps, report)
    if sum(map(len, edges.values())) > EDGES_MAX:
        report.error("/steps", "limit_exceeded", f"more than {EDGES_MAX:,} dependencies")
        return {}
    return edges


async def _check_code(sources: Sequence[Source], js: JsRuntime | None, report: Report) -> None:
    """Compile only: nothing of it runs."""
    for source in sources:
        if js is None:
            _no_engine(source, "no JavaScript engine is installed", report)
            return
        try:
            problem = await js.check(source.text, source.kind, CODE_NAMES)
        except MissingExtra as missing:
            _no_engine(source, str(missing), report)
            return
        except DurableError as error:
            report.error(source.path, "js_syntax", str(error)[:500])
            continue
        if problem is not None:
            where = {"line": problem.line, "column": problem.column}
            report.error(source.path, "js_syntax", problem.message, **where)


def _no_engine(source: Source, why: str, report: Report) -> None:
    message = f"JavaScript needs its engine: pip install 'durable-engine[js]' ({why[:200]})"
    report.error(source.path, "js_runtime_unavailable", message)


def _too_deep(document: Json) -> str | None:
    """The first place that is nested too deeply; without recursion, for it may be very deep."""
    waiting: list[tuple[Json, str, int]] = [(document, "", 1)]
    while waiting:
        node, at, depth = waiting.pop()
        members = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        if depth > DEPTH_MAX and members:
            return at
        waiting += [(value, at + pointer(name), depth + 1) for name, value in members if isinstance(value, dict | list)]
    return None


def _not_json(document: Json) -> str | None:
    try:
        size = len(canonical(document).encode())
    except (TypeError, ValueError) as error:
        return f"the definition is not JSON: {error}"
    return None if size <= BYTES_MAX else f"the definition has {size:,} bytes; the limit is {BYTES_MAX:,}"
