"""The life of one step, from its beginning to its end: a generator that asks and is answered. Pure.

The scheduler and the view drive the same generators, the one with the engine's answers, the other with the journal's:
so what is shown of a run is what has happened in it, and nothing needs to be written down beside the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final, TypeAlias

from durable_dag.errors import TemplateUnresolved
from durable_dag.graph.backoff import another
from durable_dag.graph.definition import STEP_TIMEOUT_MS, RetryPolicy, StepDef, kind_of
from durable_dag.graph.schemas import misfit
from durable_dag.graph.templates import TemplateSyntax
from durable_dag.scheduling.board import Outcome
from durable_dag.scheduling.commands import Answer, Child, Command, Err, Job, Many, Ok, Sleep, Wait, Work
from durable_dag.scheduling.fanout import fan_out
from durable_dag.scheduling.scope import Facts, Rendered, Scope, scripts_in

Json: TypeAlias = Any
Steps = Generator[Command, Answer, "Ending"]

__all__ = ["Ending", "Steps", "life", "script", "truthy"]

SCRIPT: Final = "js.evaluate"
_SCRIPT_RETRY: Final = RetryPolicy(max_attempts=5, initial_delay=200.0, max_delay=5000.0)
_ID_BYTES_MAX: Final = 200
_YEARS_MS: Final = 100 * 365 * 86_400_000.0
# Params that are code, or belong to somebody else's steps: templates in them are not ours.
UNTOUCHED: Final[Mapping[str, frozenset[str]]] = {
    "transform": frozenset({"code", "inputKey"}),
    "condition": frozenset({"expression"}),
    "switch": frozenset({"expression", "cases", "default"}),
    "map": frozenset({"step", "context"}),
}


@dataclass(frozen=True, slots=True)
class Ending:
    """How a step ended, and with what.

    Attributes:
        by_hand: Somebody has said so.
    """

    outcome: Outcome
    value: Json = None
    error: Err | None = None
    by_hand: bool = False

    @staticmethod
    def failed(name: str, message: str) -> Ending:
        """A failure that the step itself has found."""
        return Ending(Outcome("failed"), None, Err(name, message))


def truthy(value: Json) -> bool:
    """Whether a JSON value counts as true in JavaScript."""
    return not (value is None or value is False or value == "" or (isinstance(value, int | float) and value == 0))


def life(step: StepDef, scope: Scope, facts: Facts, now: Callable[[], datetime]) -> Steps:
    """What a step does.

    Args:
        now: The time of the last answer.

    Yields:
        What it wants; it is sent the answer.

    Returns:
        How it ended.
    """
    try:
        if step.when is not None:
            answer = yield from _guard(step, scope)
            if isinstance(answer, Err):
                return Ending(Outcome("failed"), None, answer)
            if not truthy(answer.value):
                return Ending(Outcome("skipped", None, "condition"))
        scripts: dict[str, Json] = {}
        mine = {name: v for name, v in step.params.items() if name not in UNTOUCHED.get(step.action, ())}
        sources = scripts_in(mine)
        if sources:
            answer = yield script(f"render:{step.id}", step.id, scope, sources)
            if isinstance(answer, Err):
                return Ending(Outcome("failed"), None, answer)
            scripts = dict(zip(sources, answer.value, strict=True))
        params = scope.render(mine, scripts)
    except TemplateUnresolved as error:
        return Ending.failed("TemplateUnresolved", str(error))
    except TemplateSyntax as error:
        return Ending.failed("TemplateSyntax", str(error))
    return (yield from _act(step, scope, params, facts, now))


def _guard(step: StepDef, scope: Scope) -> Generator[Command, Answer, Answer]:
    """Whether ``when`` lets the step run; the words true and false need no engine."""
    source = (step.when or "").strip()
    if source in ("true", "false"):
        return Ok(source == "true")
    answer = yield script(f"when:{step.id}", step.id, scope, [source])
    return answer if isinstance(answer, Err) else Ok(answer.value[0])


def script(name: str, step: str, scope: Scope, sources: list[str]) -> Work:
    """The work that evaluates JavaScript expressions: a list of their values."""
    job = Job(step, SCRIPT, {"expressions": sources}, name, (), scope.variables)
    return Work(name, (job,), _SCRIPT_RETRY, STEP_TIMEOUT_MS)


def _act(step: StepDef, scope: Scope, params: Rendered, facts: Facts, now: Callable[[], datetime]) -> Steps:
    match step.action:
        case "noop":
            return Ending(Outcome("success"), None)
        case "fail":
            return Ending.failed(str(params.value.get("name", "StepFailure")), str(params.value.get("message", "")))
        case "delay":
            return (yield from _delay(params.value, now()))
        case "signal.wait":
            return _checked(step, (yield from _wait(step, params.value, now)))
        case "workflow.run":
            return _checked(step, (yield from _run(step, params.value, facts, now)))
        case "map":
            return _checked(step, (yield from _map(step, scope, params.value, facts)))
        case _:
            return _after(step, (yield work_of(step, scope, params, facts)))


def work_of(step: StepDef, scope: Scope, params: Rendered, facts: Facts) -> Work:
    """The durable step that an executor carries out."""
    value = {**step.params, **params.value}
    if step.action == "transform":
        value = _with_input(step, scope, value)
    key = f"{facts.execution}:{step.id}"
    variables = scope.variables if step.action not in ("http.request", "webhook") else None
    job = Job(step.id, step.action, value, key, params.late, variables, step.output_schema, step.save_output)
    if kind_of(step.action) != "plain":
        job = Job(step.id, step.action, value, key, params.late, variables, step.output_schema)
    timeout = STEP_TIMEOUT_MS if step.timeout is None else step.timeout
    return Work(step.id, (job,), step.retry, timeout, step.queue, pick_up=step.schedule_timeout)


def _with_input(step: StepDef, scope: Scope, value: dict[str, Json]) -> dict[str, Json]:
    """A transform's input: whether the key is there decides, not what is there."""
    key = step.params.get("inputKey")
    if isinstance(key, str) and scope.has(key):
        return {**value, "input": scope.member(key)}
    return {**value, "input": value.get("input")}


def _after(step: StepDef, answer: Answer) -> Ending:
    if isinstance(answer, Err):
        return Ending(Outcome("failed"), None, answer)
    branch = None
    if step.kind != "plain" and isinstance(answer.value, Mapping):
        branch = answer.value.get("branch")
    return Ending(Outcome("success", branch), answer.value)


def _checked(step: StepDef, ending: Ending) -> Ending:
    """The result of an action that no executor carries out, held against the schema here."""
    if ending.outcome.status != "success" or step.output_schema is None:
        return ending
    wrong = misfit(ending.value, step.output_schema)
    return ending if wrong is None else Ending.failed("InvalidOutput", f"the result does not fit outputSchema: {wrong}")


def _delay(params: Mapping[str, Json], now: datetime) -> Steps:
    until = params.get("until")
    if until is not None:
        try:
            due = datetime.fromisoformat(str(until))
        except ValueError:
            return Ending.failed("BadDelay", f"{until!r} is no ISO 8601 instant")
        due = due.replace(tzinfo=UTC) if due.tzinfo is None else due
        milliseconds = max(0.0, (due - now).total_seconds() * 1000)
    else:
        given = params.get("duration", 0)
        if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= _YEARS_MS:
            return Ending.failed("BadDelay", f"duration is milliseconds, 0 or more, not {given!r}")
        milliseconds, due = given, now + timedelta(milliseconds=given)
    if milliseconds > 0:
        yield Sleep(due)
    return Ending(Outcome("success"), {"delayed": milliseconds})


def _wait(step: StepDef, params: Mapping[str, Json], now: Callable[[], datetime]) -> Steps:
    """A signal that does not fit the schema is passed over: whoever sent it was told, or will see it in the journal."""
    limit = params.get("timeout", step.timeout)
    until = None
    if limit is not None:
        if isinstance(limit, bool) or not isinstance(limit, int | float):
            return Ending.failed("BadTimeout", f"timeout is milliseconds, not {limit!r}")
        until = now() + timedelta(milliseconds=min(max(limit, 0), _YEARS_MS))
    schema = params.get("schema")
    form = {member: params[member] for member in ("prompt", "schema", "assignees") if member in params}
    while True:
        answer = yield Wait(str(params.get("name", step.id)), until, form)
        if isinstance(answer, Err):
            if params.get("onTimeout") == "continue":
                return Ending(Outcome("success"), None)
            return Ending(Outcome("failed"), None, answer)
        if schema is None or misfit(answer.value, schema) is None:
            return Ending(Outcome("success"), answer.value)


def _run(step: StepDef, params: Mapping[str, Json], facts: Facts, now: Callable[[], datetime]) -> Steps:
    context = params.get("context", {})
    if not isinstance(context, Mapping):
        return Ending.failed("BadContext", f"context is an object, not {context!r:.100}")
    request = {
        "workflowId": params.get("workflowId"),
        "version": params.get("version"),
        "context": dict(context),
        "depth": facts.depth + 1,
        "parent": facts.execution,
    }
    queue = step.queue
    if params.get("wait", True) is False:
        id = _detached_id(facts, step.id)
        yield Child(request, queue, None, id)
        return Ending(Outcome("success"), {"executionId": id})
    attempt, began = 1, now()
    while True:
        answer = yield Child(request, queue, step.timeout, pick_up=step.schedule_timeout)
        elapsed = (now() - began).total_seconds()
        pause = None if isinstance(answer, Ok) else another(step.retry, attempt, answer.name, elapsed)
        if pause is None:
            return _after(step, answer)
        if pause > 0:
            yield Sleep(now() + timedelta(seconds=pause))
        attempt += 1


def _detached_id(facts: Facts, step: str) -> str:
    """Of a child that nobody awaits: known beforehand, another one in each attempt, and never too long."""
    again = "" if (facts.incarnation, facts.attempt) == (1, 1) else f".{facts.incarnation}-{facts.attempt}"
    id = f"{facts.execution}.{step}{again}"
    return id if len(id.encode()) <= _ID_BYTES_MAX else f"exec-{sha256(id.encode()).hexdigest()[:32]}"


def _map(step: StepDef, scope: Scope, params: Mapping[str, Json], facts: Facts) -> Steps:
    many = fan_out(step, scope, params, facts)
    if isinstance(many, Err):
        return Ending(Outcome("failed"), None, many)
    if not many.calls:
        return Ending(Outcome("success"), [])
    answer = yield many
    if isinstance(answer, Ok) and many_batched(many):
        return Ending(Outcome("success"), [one for batch in answer.value for one in _spread(batch)])
    return _after(step, answer)


def many_batched(many: Many) -> bool:
    """Whether its calls stand for several items each."""
    first = many.calls[0]
    return isinstance(first, Work) and first.batched


def _spread(batch: Json) -> list[Json]:
    return batch if isinstance(batch, list) else []
