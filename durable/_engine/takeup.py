"""Taking a claimed run up: its journal is replayed, and what a crash may have left open is found out."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from durable._author.calls import ChildSpec, Scope, StepSpec
from durable._author.context import Context
from durable._author.definitions import Workflow
from durable._core.identity import child_id
from durable._core.state import Call, RunFacts, RunState
from durable._engine import endings
from durable._engine.guard import activation
from durable._engine.services import Services
from durable._model import defaults
from durable._model.claims import Claim
from durable._model.commands import StartChild
from durable._model.commits import Blocked
from durable._model.entries import Entry, PatchMarked, decode_entry
from durable._model.ids import RunId
from durable._model.messages import InboxMessage
from durable._model.runs import NewRun, RunRecord
from durable.errors import InvalidInput

__all__ = [
    "FORK_LABEL",
    "cut_by_a_crash",
    "has_chosen_id",
    "replayed",
    "run_facts",
    "strangers",
    "unread_after",
    "what_became_of",
]

FORK_LABEL: Final = "durable.forked_from"
_BREATH: Final = 500  # entries between two breaths of the worker's loop


def run_facts(run: RunRecord, workflow: Workflow[..., Any]) -> RunFacts:
    """What replay may know of a run, from its row."""
    assert run.started_at is not None
    return RunFacts(
        run.id,
        run.generation,
        run.seed,
        run.started_at,
        run.flushed,
        workflow.policy.replay == "tolerant",
        run.created_at if FORK_LABEL in run.labels else 0.0,
        workflow.policy.timeout,
    )


async def replayed(claim: Claim, workflow: Workflow[..., Any], services: Services) -> RunState | Blocked:
    """The run's state after its whole journal.

    Raises:
        NonDeterminismError: The code does not do what the journal says.
    """
    run = claim.run
    entries: list[tuple[Entry, float]] = []
    start: int | None = 0 if run.position else None
    while start is not None and len(entries) < run.position:
        page = await services.weather.through(partial(services.store.journal, run.id, run.generation, start))
        entries += [(decode_entry(row.data), row.at) for row in page.rows]
        start = page.next
    state = RunState(run_facts(run, workflow))
    context = Context(Scope(state, services.codec, run.queue, run.priority))
    program = endings.program(workflow, context, services.codec, claim.input)
    if isinstance(program, InvalidInput):
        return Blocked("payload", str(program))
    with activation:
        state.start(program, frozenset(entry.change for entry, _ in entries if isinstance(entry, PatchMarked)))
    for index, (entry, at) in enumerate(entries):
        with activation:
            state.apply(entry, at)
        if index % _BREATH == _BREATH - 1:
            await services.clock.sleep(0)
    return state


async def unread_after(run: RunId, seq: int, services: Services) -> list[InboxMessage]:
    """The whole of the inbox from there on: what the code waits for may lie behind more than a page of other things."""
    found: list[InboxMessage] = []
    while True:
        page = await services.weather.through(partial(services.store.messages, run, seq))
        found += page
        if len(page) < defaults.PAGE_SIZE_MAX:
            return found
        seq = page[-1].seq


def cut_by_a_crash(state: RunState) -> list[Call]:
    """At-most-once calls with an attempt that has begun and of which nothing more is known (rule 3)."""
    return [
        call
        for call in state.calls.values()
        if isinstance(call.spec, StepSpec)
        and call.spec.policy.effect == "at_most_once"
        and call.begun > max(call.failed, call.not_done)
    ]


async def what_became_of(call: Call, key: str, services: Services) -> Entry | Blocked:
    """Ask the step's ``check``; what stays unknown blocks the run at that call."""
    doubt = ""
    try:
        entry = await services.executor.check(call, key)
    except Exception as error:  # a check that fails cannot tell either
        entry, doubt = None, f"; its check failed with {type(error).__name__}: {error}"
    if entry is not None:
        return entry
    reason = (
        f"the outcome of step {call.name!r} is unknown: its worker died in the middle of attempt {call.begun}, and "
        f"effect='at_most_once' forbids to repeat it (idempotency key {key}){doubt}"
    )
    return Blocked("unknown_outcome", reason, call.id)


async def strangers(state: RunState, services: Services) -> list[NewRun]:
    """Children whose chosen id belongs to another run: a crash may have cut the answer that said so."""
    unflushed = {command.run.id for command in state.fired if isinstance(command, StartChild)}
    started = [
        call.spec.run
        for call in state.calls.values()
        if isinstance(call.spec, ChildSpec) and has_chosen_id(call.spec.run) and call.spec.run.id not in unflushed
    ]
    found: list[NewRun] = []
    for start in range(0, len(started), 500):
        page = started[start : start + 500]
        rows = await services.weather.through(partial(services.store.get, [run.id for run in page]))
        found += [run for run, row in zip(page, rows, strict=True) if row is not None and row.parent != run.parent]
    return found


def has_chosen_id(child: NewRun) -> bool:
    """Whether the author has named the child."""
    parent = child.parent
    return parent is not None and child.id != child_id(parent.run, parent.generation, parent.call)
