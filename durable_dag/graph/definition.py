"""A definition as values: what is left of the JSON when it is known to be good, its defaults filled in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from durable_dag.graph.actions import INTERPRETED

Json: TypeAlias = Any
Join = Literal["active", "all", "any", "done"]
Kind = Literal["plain", "condition", "switch"]
Policy = Literal["queue", "reject", "cancelOldest"]

__all__ = [
    "PLAIN_SUCCESS",
    "STEP_TIMEOUT_MS",
    "Concurrency",
    "Definition",
    "Edge",
    "Hook",
    "Join",
    "Json",
    "Kind",
    "Policy",
    "RetryPolicy",
    "StepDef",
    "canonical",
    "cases_of",
    "digest_of",
    "kind_of",
    "read_definition",
    "read_hooks",
    "read_retry",
]

STEP_TIMEOUT_MS: Final = 60_000.0
PLAIN_SUCCESS: Final = "success?"
"""``on`` of a dependency that is written as a bare string: a success, or a condition that holds."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a step is tried; durations in milliseconds.

    Attributes:
        max_attempts: All attempts together.
        max_delay: None for no bound.
        jitter: Random share of each wait, 0 to 1.
        retry_on: Names of errors and HTTP statuses, as texts; if there are any, only these are retried.
        do_not_retry_on: These never are.
        max_elapsed: No attempt begins later than this after the first; None for no bound.
    """

    max_attempts: int = 1
    multiplier: float = 2.0
    initial_delay: float = 1000.0
    max_delay: float | None = None
    jitter: float = 0.0
    retry_on: tuple[str, ...] = ()
    do_not_retry_on: tuple[str, ...] = ()
    max_elapsed: float | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """A dependency: ``on`` is what must have become of ``step``."""

    step: str
    on: str = PLAIN_SUCCESS


@dataclass(frozen=True, slots=True)
class Hook:
    """An endpoint for webhooks.

    Attributes:
        event: ``onComplete``, ``onFailure`` or ``onStep``.
        secret: With which deliveries are signed (``whsec_...`` or a template); None for unsigned ones.
        events: Types that are sent; empty for all.
        max_attempts: None for the whole schedule.
    """

    event: str
    url: str
    secret: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    events: tuple[str, ...] = ()
    max_attempts: int | None = None


@dataclass(frozen=True, slots=True)
class Concurrency:
    """How many executions with one key are under way at once.

    Attributes:
        key: A template, rendered from the start's context; executions with different texts are none of each other's
            affair.
        policy: What becomes of one execution too many: it waits for a slot, it is refused, or the oldest is cancelled
            for it.
    """

    key: str = ""
    limit: int = 1
    policy: Policy = "queue"


@dataclass(frozen=True, slots=True)
class StepDef:
    """One step.

    Attributes:
        edges: Its dependencies, those from other steps' ``onSuccess`` and ``onFailure`` included.
        timeout: Milliseconds of one attempt; None where nothing was said.
        schedule_timeout: Milliseconds until a worker must have taken it up; None for no limit.
        kind: Whether its outcome has branches.
        cases: Branches that a switch can take, in order.
    """

    id: str
    name: str
    action: str
    params: Mapping[str, Json]
    edges: tuple[Edge, ...]
    retry: RetryPolicy
    timeout: float | None
    join: Join
    critical: bool
    kind: Kind
    when: str | None = None
    cases: tuple[str, ...] = ()
    queue: str | None = None
    priority: int = 0
    output_schema: Json = None
    save_output: bool = True
    schedule_timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Definition:
    """A workflow; durations in milliseconds.

    Attributes:
        steps: By id, in the order in which they are written.
        limit: How many steps of one run are under way at once; None for no limit.
        output: Template of the result; None for the results of the leaves.
        has_output: Whether there is such a template (it may be null).
    """

    id: str
    name: str
    description: str
    steps: Mapping[str, StepDef]
    hooks: tuple[Hook, ...] = ()
    timeout: float | None = None
    limit: int | None = None
    fail_fast: bool = False
    input_schema: Json = None
    output: Json = None
    has_output: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    concurrency: Concurrency | None = None


def canonical(document: Json) -> str:
    """One text for equal documents: keys sorted, no spaces, numbers as Python writes them."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_of(document: Json) -> str:
    """The address of a document: SHA-256 of its canonical text, as hex."""
    return hashlib.sha256(canonical(document).encode()).hexdigest()


def kind_of(action: object) -> Kind:
    """What branches a step with this action has."""
    if action == "condition":
        return "condition"
    return "switch" if action == "switch" else "plain"


def cases_of(params: Mapping[str, Json]) -> tuple[str, ...]:
    """The branches that a switch's params name, the default last."""
    given = params.get("cases")
    names = list(given) if isinstance(given, Mapping | list) else []
    default = params.get("default")
    if isinstance(default, str) and default not in names:
        names.append(default)
    return tuple(name for name in names if isinstance(name, str))


def read_definition(document: Mapping[str, Json]) -> Definition:
    """The values of a document that has been validated."""
    defaults: Mapping[str, Json] = document.get("defaults") or {}
    raw_steps: Sequence[Mapping[str, Json]] = document["steps"]
    sugar = _sugar(raw_steps)
    steps = {raw["id"]: _step(raw, sugar.get(raw["id"], ()), defaults) for raw in raw_steps}
    return Definition(
        id=document["id"],
        name=document.get("name", document["id"]),
        description=document.get("description", ""),
        steps=steps,
        hooks=read_hooks(document.get("webhooks") or {}),
        timeout=document.get("timeout"),
        limit=document.get("maxConcurrency"),
        fail_fast=document.get("failFast", False),
        input_schema=document.get("inputSchema"),
        output=document.get("output"),
        has_output="output" in document,
        tags=document.get("tags") or {},
        concurrency=_concurrency(document.get("concurrency")),
    )


def _concurrency(raw: Mapping[str, Json] | None) -> Concurrency | None:
    if raw is None:
        return None
    return Concurrency(raw.get("key") or "", raw.get("limit") or 1, raw.get("policy") or "queue")


def _sugar(raw_steps: Sequence[Mapping[str, Json]]) -> dict[str, list[Edge]]:
    """Edges that ``onSuccess`` and ``onFailure`` add, by the step that they lead to."""
    added: dict[str, list[Edge]] = {}
    for raw in raw_steps:
        condition = raw.get("action") == "condition"
        for member, on in (
            ("onSuccess", "true" if condition else "success"),
            ("onFailure", "false" if condition else "failure"),
        ):
            for target in raw.get(member) or ():
                added.setdefault(target, []).append(Edge(raw["id"], on))
    return added


def _step(raw: Mapping[str, Json], sugar: Sequence[Edge], defaults: Mapping[str, Json]) -> StepDef:
    params: Mapping[str, Json] = raw.get("params") or {}
    action: str = raw.get("action", "noop")
    kind = kind_of(action)
    edges = [
        Edge(given) if isinstance(given, str) else Edge(given["step"], _on(given.get("on", PLAIN_SUCCESS)))
        for given in raw.get("dependencies") or ()
    ]
    return StepDef(
        id=raw["id"],
        name=raw.get("name", raw["id"]),
        action=action,
        params=params,
        edges=tuple(dict.fromkeys([*edges, *sugar])),
        retry=read_retry(raw.get("retryPolicy") or defaults.get("retryPolicy")),
        timeout=raw.get("timeout", None if action in INTERPRETED else defaults.get("timeout")),
        join=raw.get("join", "active"),
        critical=raw.get("critical", True),
        kind=kind,
        when=raw.get("when"),
        cases=cases_of(params) if kind == "switch" else (),
        queue=raw.get("queue", defaults.get("queue")),
        priority=raw.get("priority", 0),
        output_schema=raw.get("outputSchema"),
        save_output=raw.get("saveOutput", True),
        schedule_timeout=raw.get("scheduleTimeout"),
    )


def _on(given: str | bool) -> str:
    """``true`` and ``"true"`` are the same branch."""
    return str(given).lower() if isinstance(given, bool) else given


def read_retry(raw: Mapping[str, Json] | None) -> RetryPolicy:
    """A ``retryPolicy``; without one, one attempt."""
    if not raw:
        return RetryPolicy()
    return RetryPolicy(
        max_attempts=raw.get("maxAttempts", 1),
        multiplier=raw.get("backoffMultiplier", 2.0),
        initial_delay=raw.get("initialDelay", 1000.0),
        max_delay=raw.get("maxDelay"),
        jitter=raw.get("jitter", 0.0),
        retry_on=tuple(str(one) for one in raw.get("retryOn") or ()),
        do_not_retry_on=tuple(str(one) for one in raw.get("doNotRetryOn") or ()),
        max_elapsed=raw.get("maxElapsed"),
    )


def read_hooks(webhooks: Mapping[str, Json]) -> tuple[Hook, ...]:
    """The endpoints of a ``webhooks`` object; an event may have one, or a list of them."""
    found: list[Hook] = []
    for event in ("onComplete", "onFailure", "onStep"):
        given = webhooks.get(event)
        for one in given if isinstance(given, list) else () if given is None else (given,):
            found.append(Hook(event, one) if isinstance(one, str) else _hook(event, one))
    return tuple(found)


def _hook(event: str, raw: Mapping[str, Json]) -> Hook:
    return Hook(
        event,
        raw["url"],
        raw.get("secret"),
        raw.get("headers") or {},
        tuple(raw.get("events") or ()),
        raw.get("maxAttempts"),
    )
