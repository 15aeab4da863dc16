"""Operators' verbs in the checker's picture: what a person, or a parent, does to a run from outside."""

from __future__ import annotations

from durable.store import (
    Cancel,
    Control,
    Controlled,
    Created,
    Creation,
    Fork,
    Message,
    MessageId,
    MessageKind,
    Pause,
    Resume,
    Retry,
    RunStatus,
    Sent,
    Settle,
    Terminate,
    VerbOutcome,
)
from durable_testing.invariants import rows
from durable_testing.invariants.history import History, RunSeen
from durable_testing.invariants.seen import (
    ControlSeen,
)
from durable_testing.trace import Event

__all__ = ["controlled"]


def controlled(history: History, event: Event) -> None:
    """Verbs, with their answers."""
    for control, answer in zip(event.data["asked"][0], event.data["answer"], strict=True):
        if answer.outcome is VerbOutcome.NOT_FOUND:
            continue
        run = history.run(control.run)
        repeated = control.request_id in run.requests
        run.requests.add(control.request_id)
        seen = ControlSeen(event, control, answer, repeated, run.status, run.generation.number)
        run.controls.append(seen)
        if not repeated:
            _carried_out(history, event, run, control, answer)
        seen.after = run.status


def _carried_out(history: History, event: Event, run: RunSeen, control: Control, answer: Controlled) -> None:
    outcome = answer.outcome
    if outcome is VerbOutcome.DONE:
        _done(history, event, run, control, answer)
    elif outcome is VerbOutcome.ASKED and isinstance(control.verb, Cancel):
        id = MessageId(f"cancel/{run.generation.number}")
        message = Message(run.id, id, MessageKind.CANCEL, "", control.verb.payload)
        rows.deliver(history, event, message, Sent.ACCEPTED)
        if run.status is RunStatus.PAUSED:
            rows.move(run, event, RunStatus.WAITING, "cancel")
    elif outcome is VerbOutcome.ASKED:
        message = Message(run.id, MessageId(f"pause/{control.request_id}"), MessageKind.PAUSE, "", b"")
        rows.deliver(history, event, message, Sent.ACCEPTED)


def _done(history: History, event: Event, run: RunSeen, control: Control, answer: Controlled) -> None:
    verb = control.verb
    run.free_from = 0.0
    match verb:
        case Cancel() | Terminate():
            rows.end(run, event, RunStatus.CANCELLED, verb.outcome, type(verb).__name__.lower())
            run.terminated = isinstance(verb, Terminate)
            rows.tell_parent(history, run, event, verb.outcome)
        case Pause():
            rows.drop_owner(run)
            rows.move(run, event, RunStatus.PAUSED, "pause")
        case Resume():
            _resumed(event, run, answer)
        case Retry():
            rows.drop_owner(run)
            rows.next_generation(run)
            run.strikes, run.terminated = 0, False
            rows.move(run, event, RunStatus.PENDING, "retry")
        case Fork(new=new):
            made = Created(Creation.CREATED, new.workflow, run.digest, None, 1, RunStatus.PENDING)
            rows.born(history, event, new, made).digest = run.digest
        case Settle(entry=entry):
            _unblocked(run, event)
            run.at = max(run.at, event.data["now"])
            rows.append(run, event, run.at, 0, (entry,))
            run.strikes = 0
            rows.move(run, event, RunStatus.WAITING, "settle")


def _resumed(event: Event, run: RunSeen, answer: Controlled) -> None:
    status = answer.status
    if (status is RunStatus.PENDING or status is RunStatus.WAITING) and run.owner is None:
        _unblocked(run, event)
        run.strikes = 0
        if run.status in (RunStatus.PAUSED, RunStatus.BLOCKED):
            rows.move(run, event, status, "resume")
    for message in run.inbox.values():
        if message.message.kind is MessageKind.PAUSE:
            message.unread = False


def _unblocked(run: RunSeen, event: Event) -> None:
    """A poll that finds the crash budget spent blocks a run without saying so: it shows when somebody helps."""
    if run.status not in (RunStatus.PAUSED, RunStatus.BLOCKED) and run.claims and run.owner is None:
        last = run.claims[-1].want
        if run.strikes >= last.lonely_after + last.crash_budget:
            rows.move(run, event, RunStatus.BLOCKED, "crash budget")
