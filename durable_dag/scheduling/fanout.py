"""``map``: the calls that one step makes for each of its items."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from durable_dag.errors import TemplateUnresolved
from durable_dag.graph.definition import STEP_TIMEOUT_MS, StepDef, read_retry
from durable_dag.graph.templates import TemplateSyntax
from durable_dag.scheduling.commands import Child, Err, Job, Many, Work
from durable_dag.scheduling.scope import Facts, Rendered, Scope

Json: TypeAlias = Any

__all__ = ["CHILDREN_MAX", "ITEMS_MAX", "allowed_failures", "fan_out"]

ITEMS_MAX: Final = 10_000
CHILDREN_MAX: Final = 5_000  # a run may have twice as many children, and webhooks are some, too


def fan_out(step: StepDef, scope: Scope, params: Mapping[str, Json], facts: Facts) -> Many | Err:
    """The calls of a map step, or what is wrong with its params."""
    items = params.get("items")
    if not isinstance(items, list):
        return Err("BadItems", f"items is a list, not {items!r:.100}")
    most = CHILDREN_MAX if params.get("workflow") is not None else ITEMS_MAX
    if len(items) > most:
        return Err("BadItems", f"{len(items):,} items, and the limit is {most:,}; give them in batches")
    try:
        calls = _calls(step, scope, items, params, facts)
    except (TemplateUnresolved, TemplateSyntax) as error:
        return Err(type(error).__name__, str(error))
    limit = params.get("concurrency")
    limit = limit if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0 else None
    return Many(calls, limit, allowed_failures(params.get("tolerateFailures", 0), len(calls)), step.timeout)


def allowed_failures(given: Json, calls: int) -> int:
    """How many may fail: a count, a share below 1, or all of them for true."""
    if given is True:
        return calls
    if isinstance(given, bool) or not isinstance(given, int | float) or not given > 0 or not math.isfinite(given):
        return 0
    return int(given * calls + 1e-9) if isinstance(given, float) and given < 1 else int(given)


def _calls(
    step: StepDef, scope: Scope, items: Sequence[Json], params: Mapping[str, Json], facts: Facts
) -> list[Work | Child]:
    workflow = params.get("workflow")
    if isinstance(workflow, str):
        return [_child(step, scope, item, index, params, facts) for index, item in enumerate(items)]
    inner: Mapping[str, Json] = step.params.get("step") or {}
    jobs = [_job(step, scope, item, index, inner, facts) for index, item in enumerate(items)]
    retry = read_retry(inner["retryPolicy"]) if inner.get("retryPolicy") else step.retry
    timeout = inner.get("timeout", STEP_TIMEOUT_MS)
    batch = params.get("batch")
    name = f"item:{step.id}"
    if isinstance(batch, int) and not isinstance(batch, bool) and batch > 1:
        groups = [tuple(jobs[at : at + batch]) for at in range(0, len(jobs), batch)]
        return [Work(name, group, retry, timeout, step.queue, True, step.schedule_timeout) for group in groups]
    return [Work(name, (job,), retry, timeout, step.queue, False, step.schedule_timeout) for job in jobs]


def _job(step: StepDef, scope: Scope, item: Json, index: int, inner: Mapping[str, Json], facts: Facts) -> Job:
    action = inner.get("action", "noop")
    given: Mapping[str, Json] = inner.get("params") or {}
    one = scope.with_roots({"item": item, "index": index})
    code = {"code", "expression"} if action in ("transform", "condition", "switch") else set()
    rendered: Rendered = one.render({name: value for name, value in given.items() if name not in code})
    params = {**given, **rendered.value}
    if action == "transform":
        params.setdefault("input", item)
    variables = None if action in ("http.request", "webhook") else one.variables
    return Job(step.id, action, params, f"{facts.execution}:{step.id}:{index}", rendered.late, variables)


def _child(step: StepDef, scope: Scope, item: Json, index: int, params: Mapping[str, Json], facts: Facts) -> Child:
    template = step.params.get("context")
    one = scope.with_roots({"item": item, "index": index})
    context = {"item": item, "index": index} if template is None else one.render(template).value
    request = {
        "workflowId": params.get("workflow"),
        "version": params.get("version"),
        "context": context,
        "depth": facts.depth + 1,
        "parent": facts.execution,
    }
    return Child(request, step.queue, step.timeout, None, step.schedule_timeout, step.retry)
