"""A definition carried out in this process, in a store in memory, with made-up answers for what has effects.

The document is changed as little as possible: waits are cut out (delays, and the pauses before further attempts), what
would have to come from elsewhere is answered by mocks, and webhooks of the workflow are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias, final

from durable import Secret, Worker, connect
from durable.clock import SystemClock
from durable.errors import NonRetryable
from durable_dag.engine import Engine
from durable_dag.errors import HttpStatusError, StepFailure
from durable_dag.executors import StepContext
from durable_dag.graph.actions import INTERPRETED
from durable_dag.graph.templates import Path, TemplateSyntax, parse, templates_in
from durable_dag.program.waits import delayed

Json: TypeAlias = Any

__all__ = ["Mocks", "Trial", "carried_out"]

_MOCK: Final = "test.mock"
_DELAY: Final = "test.delay"
_PURE: Final = frozenset({"transform", "condition", "switch", "js.evaluate"})
_OUTSIDE: Final = ("http.request", "webhook")


class NeedsMock(NonRetryable):
    """A step was reached that would have effects, and has no mock."""


@final
class Mocks:
    """Made-up answers by step: one attempt after the other, the last one for all further ones."""

    def __init__(self, answers: Mapping[str, Sequence[Json]]) -> None:
        self._answers = answers
        self.missing: dict[str, str] = {}

    def __contains__(self, step: str) -> bool:
        return step in self._answers

    def answer(self, step: str, attempt: int) -> Json:
        """The answer to one attempt, counted from 1; ``{"$fail": {"name", "message", "status"}}`` is raised."""
        answers = self._answers[step]
        answer = answers[min(attempt, len(answers)) - 1]
        if not isinstance(answer, dict) or set(answer) != {"$fail"}:
            return answer
        raise _failure(answer["$fail"])

    def lacks(self, step: str, action: str) -> NeedsMock:
        """Note that a step has no mock."""
        self.missing.setdefault(step, action)
        return NeedsMock(f"{action} needs the world outside, and this step has no mock")


def _failure(given: Json) -> Exception:
    """An error of the given name, which retry policies see."""
    told: Mapping[str, Json] = given if isinstance(given, dict) else {"message": given}
    message = str(told.get("message") or "")
    if isinstance(told.get("status"), int):
        return HttpStatusError(message or f"answered {told['status']}", told["status"])
    name = str(told.get("name") or "StepFailure")
    kind: type[Exception] = type(name if name.isidentifier() else "StepFailure", (_Mocked,), {})
    return kind(message)


class _Mocked(Exception):
    """What a mock raises."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it.

    Attributes:
        execution: The execution object.
        missing: Steps that were reached and had no mock, each with its action.
        skipped_waits: Steps whose delays were not waited for.
        hooks: Whether webhooks of the workflow were left out.
    """

    execution: dict[str, Json]
    missing: Mapping[str, str] = field(default_factory=dict)
    skipped_waits: Sequence[str] = ()
    hooks: bool = False


async def carried_out(document: Mapping[str, Json], context: Json, mocks: Mocks, *, allow_http: bool) -> Trial:
    """Carry a good definition out to its end.

    Raises:
        InvalidContext: The context cannot be its start's.
    """
    engine = Engine(secrets=_secrets(document, real=allow_http), allow_unknown_actions=True)
    waits: list[str] = []
    _prepare(engine, document, mocks, waits, allow_http=allow_http)
    clock = SystemClock()
    try:
        async with connect(f"memory://test-{clock.token()}") as client:
            engine.bind(client)
            async with Worker(client, **engine.worker_parts(), drain=0.5):
                started = await engine.start(definition=_without_effects(document, mocks), context=context)
                execution = await engine.result(started.execution_id)
    finally:
        await engine.close()
    return Trial(execution, mocks.missing, waits, "webhooks" in document)


# ── the document ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _without_effects(document: Mapping[str, Json], mocks: Mocks) -> dict[str, Json]:
    """The same graph, with nothing in it that waits or that the interpreter would get from elsewhere."""
    changed = {name: value for name, value in document.items() if name != "webhooks"}
    if isinstance(document.get("defaults"), dict):
        changed["defaults"] = {name: one for name, one in document["defaults"].items() if name != "queue"}
        changed["defaults"] |= _at_once(document["defaults"])
    changed["steps"] = [_step(step, mocks) for step in document["steps"]]
    return changed


def _step(step: Mapping[str, Json], mocks: Mocks) -> dict[str, Json]:
    changed = {name: value for name, value in step.items() if name != "queue"} | _at_once(step)
    action = step.get("action", "noop")
    if action in ("signal.wait", "workflow.run") or (action in INTERPRETED and step["id"] in mocks):
        changed |= {"action": _MOCK, "params": {"action": action}}
    elif action == "delay":
        changed["action"] = _DELAY
        changed.pop("outputSchema", None)  # nobody holds what a delay comes to against one
    elif action == "map":
        changed["params"] = _map_params(step.get("params") or {})
    return changed


def _map_params(params: Mapping[str, Json]) -> dict[str, Json]:
    """What a map does with each item: a further workflow would have to be mocked as a whole."""
    if isinstance(params.get("workflow"), str):
        kept = {name: value for name, value in params.items() if name not in ("workflow", "version", "context")}
        return {**kept, "step": {"action": _MOCK, "params": {"action": "a map over a workflow"}}}
    inner = params.get("step")
    return {**params, "step": {**inner, **_at_once(inner)}} if isinstance(inner, dict) else dict(params)


def _at_once(holder: Mapping[str, Json]) -> dict[str, Json]:
    """Its retry policy without pauses."""
    policy = holder.get("retryPolicy")
    return {"retryPolicy": {**policy, "initialDelay": 0, "maxDelay": 0}} if isinstance(policy, dict) else {}


# ── the engine ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _prepare(engine: Engine, document: Mapping[str, Json], mocks: Mocks, waits: list[str], *, allow_http: bool) -> None:
    """Let every executor ask the mocks first."""
    names = {*_PURE, *_OUTSIDE, _MOCK, *_actions(document)} - INTERPRETED
    for name in names:
        engine.register_executor(name, _executor(engine, name, mocks, allow_http=allow_http))

    async def delay(params: Mapping[str, Json], context: Json, step: StepContext) -> Json:
        now = await engine.client.records.now()
        ending = delayed(params, datetime.fromtimestamp(now, UTC))
        if ending.error is not None:
            raise StepFailure(ending.error.text)
        waits.append(step.id)
        return ending.value

    engine.register_executor(_DELAY, delay)


def _executor(engine: Engine, name: str, mocks: Mocks, *, allow_http: bool) -> Any:
    own = engine.executors.get(name)
    real = own is not None and (name in _PURE or (allow_http and name in _OUTSIDE))

    async def perform(params: Mapping[str, Json], context: Json, step: StepContext) -> Json:
        if step.id in mocks and name != "js.evaluate":
            return _branched(name, mocks.answer(step.id, step.attempt))
        if real and own is not None:
            return await own.fn(params, context, step)
        raise mocks.lacks(step.id, str(params.get("action", name)) if name == _MOCK else name)

    return perform


def _branched(action: str, answer: Json) -> Json:
    """The mock of a condition or a switch may be the branch alone."""
    if action == "condition" and not (isinstance(answer, dict) and "branch" in answer):
        word = str(answer).lower() if isinstance(answer, bool) else answer
        return {"result": answer, "branch": "true" if word not in ("false", None, 0, "") else "false"}
    if action == "switch" and (answer is None or isinstance(answer, str)):
        return {"result": answer, "branch": answer}
    return answer


def _actions(document: Mapping[str, Json]) -> set[str]:
    """Every action that is named, in what maps do, too."""
    found: set[str] = set()
    for step in document["steps"]:
        inner = (step.get("params") or {}).get("step")
        found.add(step.get("action", "noop"))
        found |= {inner["action"]} if isinstance(inner, dict) and isinstance(inner.get("action"), str) else set()
    return found


def _secrets(document: Mapping[str, Json], *, real: bool) -> dict[str, Secret | str]:
    """The secrets that templates name: from the environment for real requests, else texts that say so."""
    names: set[str] = set()
    for _, text in templates_in(dict(document)):
        try:
            parts = parse(text).expressions
        except TemplateSyntax:
            continue
        names |= {str(one.segments[0]) for one in parts if isinstance(one, Path) and one.root == "secrets"}
    return {name: Secret.env(name) if real else f"secret {name}" for name in names}
