"""Taking a claimed run up: its journal is replayed, and what a crash may have left open is found out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from functools import partial
from typing import Any, Final

from durable._author.calls import ChildSpec, Scope, StepSpec
from durable._author.context import Context
from durable._author.definitions import Workflow
from durable._core.call import Call
from durable._core.identity import child_id
from durable._core.state import RunFacts, RunState
from durable._engine import endings
from durable._engine.guard import activation
from durable._engine.services import Services
from durable._model import defaults
from durable._model.claims import Claim, Poll
from durable._model.commands import StartChild
from durable._model.commits import Blocked
from durable._model.entries import CallKind, Entry, PatchMarked, Settled, decode_entry
from durable._model.ids import CallId, RunId
from durable._model.messages import InboxMessage, MessageKind
from durable._model.runs import Created, Creation, NewRun, RunRecord
from durable.codec import Codec, dump_error
from durable.codec.exceptions import text_of
from durable.errors import InvalidInput, RunConflict

__all__ = [
    "FORK_LABEL",
    "cut_by_a_crash",
    "has_chosen_id",
    "is_in_doubt",
    "more_unread",
    "never_started",
    "refusal_of",
    "replayed",
    "run_facts",
    "strangers",
    "strangers_among",
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
    try:
        with activation:
            state.start(program, frozenset(entry.change for entry, _ in entries if isinstance(entry, PatchMarked)))
        for index, (entry, at) in enumerate(entries):
            with activation:
                state.apply(entry, at)
            if index % _BREATH == _BREATH - 1:
                await services.clock.sleep(0)
    except BaseException:
        with activation:
            state.close()  # half replayed, it is nobody's: no ``finally`` of it may reach a step
        raise
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


def more_unread(poll: Poll, held: Container[RunId]) -> bool:
    """Whether the inbox of a held run may have more than this answer brought: no further hint tells of it."""
    brought = Counter(item.message.run for item in poll.messages if item.message.run in held)
    return any(count >= defaults.PAGE_SIZE_MAX for count in brought.values())


def cut_by_a_crash(state: RunState) -> list[Call]:
    """At-most-once calls with an attempt that has begun and of which nothing more is known (rule 3)."""
    return [call for call in state.calls.values() if is_in_doubt(call)]


def is_in_doubt(call: Call) -> bool:
    """Whether an at-most-once attempt has begun that does not run here, and of which nothing more is known."""
    return (
        isinstance(call.spec, StepSpec)
        and call.spec.policy.effect == "at_most_once"
        and call.begun > max(call.failed, call.not_done)
    )


async def what_became_of(call: Call, key: str, services: Services) -> Entry | Blocked:
    """Ask the step's ``check``; what stays unknown blocks the run at that call."""
    doubt = ""
    try:
        entry = await services.executor.check(call, key)
    except Exception as error:  # a check that fails cannot tell either
        entry, doubt = None, f"; its check failed with {type(error).__name__}: {text_of(error)}"
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


def strangers_among(wanted: Sequence[NewRun], created: Sequence[Created]) -> list[NewRun]:
    """Children that a commit was to create and whose ids belong to runs of others."""
    return [
        child
        for child, row in zip(wanted, created, strict=False)
        if row.outcome is not Creation.CREATED and row.parent != child.parent
    ]


def refusal_of(wanted: NewRun, state: RunState, codec: Codec) -> Settled | None:
    """What the call comes to that has chosen a stranger's id for its child; None if the code wants it no longer."""
    assert wanted.parent is not None
    call = state.calls.get(CallId(wanted.parent.call))
    if call is None:
        return None
    error = RunConflict(f"Run {wanted.id} exists already and is not this call's child.", wanted.id)
    payload = codec.seal(dump_error(error), "a child's conflict")
    return Settled(CallKind.CHILD, call.id, call.fingerprint, False, payload)


async def never_started(
    state: RunState, run: RunRecord, unread: Sequence[InboxMessage], services: Services
) -> list[NewRun]:
    """Children that changed code asks for in a part that has run before: replay takes their starts for done.

    Those that the row names, or that have sent their result, were started; the others are looked up.
    """
    known = {wait.call for wait in run.waits}
    known |= {item.message.name for item in unread if item.message.kind is MessageKind.RESULT}
    known |= {
        command.run.parent.call for command in state.fired if isinstance(command, StartChild) and command.run.parent
    }
    asked = [
        call.spec.run for call in state.calls.values() if isinstance(call.spec, ChildSpec) and call.id not in known
    ]
    found: list[NewRun] = []
    for start in range(0, len(asked), 500):
        page = asked[start : start + 500]
        rows = await services.weather.through(partial(services.store.get, [child.id for child in page]))
        found += [child for child, row in zip(page, rows, strict=True) if row is None]
    return found


def has_chosen_id(child: NewRun) -> bool:
    """Whether the author has named the child."""
    parent = child.parent
    return parent is not None and child.id != child_id(parent.run, parent.generation, parent.call)
