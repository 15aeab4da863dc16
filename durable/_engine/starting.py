"""What a start asks for, as a row; and what the store's answer to it means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, final

from durable._author.definitions import Invocation, Workflow, checked_labels
from durable._core.identity import follows
from durable._engine.closer import Completion, pack_on_complete
from durable._engine.link import Link
from durable._model import defaults
from durable._model.duration import Duration, seconds_of
from durable._model.ids import RunId, check_name
from durable._model.runs import Created, Creation, NewRun
from durable._model.shown import shown
from durable.codec import ValueType, digest
from durable.errors import InvalidInput, RunConflict, UnknownWorkflow

__all__ = ["IfExists", "Options", "Wanted", "all_wanted", "conflicts", "new_run", "new_runs", "wanted"]

IfExists = Literal["attach", "reject", "replace"]
_JSON: ValueType[Any] = ValueType.of(Any)
_PAGE = 500


@final
@dataclass(frozen=True, slots=True)
class Options:
    """What a starter may say of a run besides its workflow, its input and its id; see ``Client.start``."""

    if_exists: IfExists
    delay: Duration | None
    priority: int
    queue: str | None
    labels: Mapping[str, str] | None
    on_complete: Workflow[[Completion], Any] | None
    on_complete_context: Any
    request_id: str | None


@final
@dataclass(frozen=True, slots=True)
class Wanted:
    """A workflow and its input.

    Attributes:
        workflow: None if this process does not know it; then ``args`` are JSON.
        by_name: Whether the version is left to the worker.
    """

    name: str
    workflow: Workflow[..., Any] | None
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    by_name: bool


async def wanted(link: Link, wf: Any, input: tuple[Any, ...], verb: str = "start") -> Wanted:
    """What is to be started.

    Raises:
        InvalidInput: It is no workflow, or the input does not fit.
        UnknownWorkflow: Nobody knows the name.
    """
    if isinstance(wf, Invocation):
        if input:
            raise InvalidInput("workflow.bind(...) carries its arguments already; give no other input.")
        return Wanted(wf.workflow.name, wf.workflow, wf.args, wf.kwargs, by_name=False)
    if isinstance(wf, Workflow):
        return Wanted(wf.name, wf, input, {}, by_name=False)
    if not isinstance(wf, str):
        raise InvalidInput(f"client.{verb} takes a workflow, workflow.bind(...) or a registered name, not {shown(wf)}.")
    name = check_name("workflow name", wf)
    known = link.registry.get(name, None)
    if known is not None:
        args, kwargs = _positional(known, input)
        return Wanted(name, known, args, kwargs, by_name=True)
    await _require_known(link, name)
    return Wanted(name, None, input, {}, by_name=True)


def new_run(link: Link, what: Wanted, id: str | None, options: Options) -> NewRun:
    """The row of a start.

    Raises:
        InvalidInput, NotSerializable, PayloadTooLarge: Something about it cannot be stored.
    """
    workflow, name = what.workflow, what.name
    queue = check_name("queue name", options.queue) if options.queue is not None else defaults.QUEUE
    if workflow is None:
        raw = b"[" + b",".join(_JSON.dump(a, "input") for a in what.args) + b"]"
    else:
        raw = workflow.arguments.dump(what.args, what.kwargs, f"workflow {name!r}")
        if id is None and workflow.policy.key is not None:
            id = f"{name}-{workflow.policy.key(*what.args, **what.kwargs)}"
        if workflow.queue is not None and queue == defaults.QUEUE:
            queue = workflow.queue
    follower = options.on_complete
    return NewRun(
        RunId(check_name("run id", link.clock.token() if id is None else id)),
        name,
        None if workflow is None or what.by_name else workflow.version,
        queue,
        link.codec.seal(raw, f"input of workflow {name!r}"),
        digest(name, raw),
        link.clock.token(),
        _priority(options.priority),
        0.0 if options.delay is None else seconds_of(options.delay, "delay"),
        checked_labels(options.labels),
        None,
        None if follower is None else _follower(link, follower, options.on_complete_context, queue),
        _replace_id(options.if_exists, options.request_id),
    )


async def all_wanted(link: Link, wf: Any, inputs: Any) -> list[Wanted]:
    """As ``wanted``, for each input, or each ``workflow.bind(...)`` if none are given."""
    if inputs is ...:
        calls = _several("workflow.bind(...)", wf)
        strange = next((call for call in calls if not isinstance(call, Invocation)), None)
        if strange is not None:
            raise InvalidInput(f"client.start_many takes inputs, or workflow.bind(...) alone, not {shown(strange)}.")
        return [await wanted(link, call, ()) for call in calls]
    if isinstance(wf, Invocation):
        raise InvalidInput("client.start_many takes a list of workflow.bind(...) and no other inputs.")
    given = _several("inputs", inputs)
    if not given or isinstance(wf, Workflow) or (isinstance(wf, str) and link.registry.get(wf, None) is not None):
        return [await wanted(link, wf, (one,), "start_many") for one in given]
    first = await wanted(link, wf, (given[0],), "start_many")
    return [first, *(replace(first, args=(one,)) for one in given[1:])]  # who knows the name is asked but once


def new_runs(link: Link, whats: Sequence[Wanted], ids: Any, options: Options) -> list[NewRun]:
    """As ``new_run``, for each.

    Raises:
        InvalidInput: Besides, there are more or fewer ids.
    """
    named: Sequence[str | None] = [None] * len(whats) if ids is None else _several("ids", ids)
    if len(named) != len(whats):
        raise InvalidInput(f"client.start_many was given {len(whats):,} runs and {len(named):,} ids.")
    return [new_run(link, what, id, options) for what, id in zip(whats, named, strict=True)]


def _several(what: str, given: Any) -> list[Any]:
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise InvalidInput(f"client.start_many takes a list of {what}, not {shown(given)}.")
    return list(given)


async def conflicts(
    link: Link, news: Sequence[NewRun], answers: Sequence[Created], if_exists: IfExists
) -> list[RunConflict]:
    """The errors of those that were not started because others have their ids."""
    own = set[int]()
    if if_exists == "reject":
        found = [n for n, answer in enumerate(answers) if answer.outcome is Creation.EXISTED]
        for start in range(0, len(found), _PAGE):
            page = found[start : start + _PAGE]
            rows = await link.reach(lambda page=page: link.store.get([news[n].id for n in page]))  # type: ignore[misc]
            for n, row in zip(page, rows, strict=True):
                if row is not None and follows(row.seed, news[n].seed, row.generation):  # this very start made it
                    own.add(n)
    pairs = zip(news, answers, strict=True)
    errors = [_conflict(new, answer, if_exists) for n, (new, answer) in enumerate(pairs) if n not in own]
    return [error for error in errors if error is not None]


def _conflict(new: NewRun, created: Created, if_exists: IfExists) -> RunConflict | None:
    if created.outcome is not Creation.EXISTED:
        return None
    if created.digest != new.digest:  # it tells the workflow, too, and stays the same however the run continues
        if created.workflow != new.workflow:
            return RunConflict(
                f"Run {new.id} exists already and runs workflow {created.workflow!r}, not {new.workflow!r}.", new.id
            )
        return RunConflict(f"Run {new.id} exists already, with another input. Choose another id.", new.id)
    if if_exists == "reject":
        return RunConflict(f"Run {new.id} exists already ({created.status}).", new.id)
    return None


def _follower(link: Link, workflow: Workflow[[Completion], Any], context: Any, queue: str) -> bytes:
    if not isinstance(workflow, Workflow):
        raise InvalidInput(f"on_complete= takes a function decorated with @workflow, not {shown(workflow)}.")
    return pack_on_complete(workflow.name, workflow.version, workflow.queue or queue, context, link.codec)


def _positional(workflow: Workflow[..., Any], input: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """JSON given by name becomes the declared types, so that a misfit shows at the call."""
    raw = b"[" + b",".join(_JSON.dump(value, f"input of workflow {workflow.name!r}") for value in input) + b"]"
    return workflow.arguments.load(raw, f"input of workflow {workflow.name!r}")


async def _require_known(link: Link, name: str) -> None:
    sessions = await link.reach(link.store.sessions)
    names = {workflow for session in sessions for workflow, _ in session.registered}
    if name not in names:
        listed = ", ".join(sorted(n for n in names if not n.startswith("step:"))) or "none"
        raise UnknownWorkflow(
            f"No worker of this store has ever had a workflow {name!r} (known: {listed}). Start a worker that has "
            "it first, or pass the workflow itself instead of its name."
        )


def _priority(priority: int) -> int:
    if isinstance(priority, bool) or not isinstance(priority, int) or abs(priority) > 1_000_000:
        raise InvalidInput(f"priority= is a whole number up to a million either way, not {shown(priority)}.")
    return priority


def _replace_id(if_exists: str, request_id: str | None) -> str | None:
    if not isinstance(if_exists, str) or if_exists not in ("attach", "reject", "replace"):
        raise InvalidInput(f"if_exists= is 'attach', 'reject' or 'replace', not {shown(if_exists)}.")
    if if_exists != "replace":
        return None
    if request_id is None:
        raise InvalidInput(
            'if_exists="replace" needs request_id="...": the same one again (a retry of your request) replaces nothing.'
        )
    return check_name("request id", request_id)
