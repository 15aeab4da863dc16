"""Operator verbs: each a transition of the state graph, carried out once per request."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from durable.store import (
    Cancel,
    Control,
    Controlled,
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
from durable_testing._memory.rows import Run
from durable_testing._memory.state import State

__all__ = ["control"]


def control(state: State, asked: Control, now: float) -> Controlled:
    run = state.runs.get(asked.run)
    if run is None:
        return Controlled(VerbOutcome.NOT_FOUND, None)
    answered = run.requests.get(asked.request_id)
    if answered is None:
        outcome = carry_out(state, run, asked, now)
        answered = run.requests[asked.request_id] = Controlled(outcome, run.status, run.generation)
    return answered


def carry_out(state: State, run: Run, asked: Control, now: float) -> VerbOutcome:
    match asked.verb:
        case Cancel() as verb:
            return cancel(state, run, verb, now)
        case Terminate() as verb:
            return terminate(state, run, verb, now)
        case Pause():
            return pause(state, run, asked.request_id, now)
        case Resume():
            return resume(state, run, now)
        case Retry() as verb:
            return retry(state, run, verb, now)
        case Fork() as verb:
            return fork(state, run, verb, now)
        case Settle() as verb:
            return settle(state, run, verb, now)
        case _ as never:
            assert_never(never)


def cancel(state: State, run: Run, verb: Cancel, now: float) -> VerbOutcome:
    if run.ended:
        return VerbOutcome.ALREADY if run.status is RunStatus.CANCELLED else VerbOutcome.NOT_ALLOWED
    unbegun = run.status is RunStatus.PENDING and run.started_at is None
    if run.epoch == 0 or unbegun or run.status is RunStatus.BLOCKED:
        end(state, run, verb.reason, verb.outcome, now)
        return VerbOutcome.DONE
    id = MessageId(f"cancel/{run.generation}")
    sent = state.send(Message(run.id, id, MessageKind.CANCEL, "", verb.payload), now)
    if sent is Sent.DUPLICATE:
        return VerbOutcome.ALREADY
    if run.status is RunStatus.PAUSED:
        state.hold(run, RunStatus.WAITING, now)
    return VerbOutcome.ASKED


def terminate(state: State, run: Run, verb: Terminate, now: float) -> VerbOutcome:
    if run.ended:
        return VerbOutcome.ALREADY if run.status is RunStatus.CANCELLED else VerbOutcome.NOT_ALLOWED
    run.raise_epoch()
    run.terminated = True
    end(state, run, verb.reason, verb.outcome, now)
    return VerbOutcome.DONE


def end(state: State, run: Run, reason: str, outcome: bytes, now: float) -> None:
    """The store ends the run itself. Always closing: only a worker can tell whether anything is left to close."""
    state.end(run, RunStatus.CANCELLED, outcome, reason, max(now, run.at), now, closing=True)
    state.tell_parent(run, now)


def pause(state: State, run: Run, request_id: str, now: float) -> VerbOutcome:
    if run.ended or run.status is RunStatus.BLOCKED:
        return VerbOutcome.NOT_ALLOWED
    if run.status is RunStatus.PAUSED or unread_pauses(run):
        return VerbOutcome.ALREADY
    if run.owner is None:
        state.hold(run, RunStatus.PAUSED, None)
        return VerbOutcome.DONE
    state.send(Message(run.id, MessageId(f"pause/{request_id}"), MessageKind.PAUSE, "", b""), now)
    return VerbOutcome.ASKED


def resume(state: State, run: Run, now: float) -> VerbOutcome:
    if run.ended:
        return VerbOutcome.NOT_ALLOWED
    if run.status is RunStatus.PAUSED or run.status is RunStatus.BLOCKED:
        run.clear_blocked()
        run.strikes = 0
        state.hold(run, RunStatus.PENDING if run.epoch == 0 else RunStatus.WAITING, now)
        return VerbOutcome.DONE
    pauses = unread_pauses(run)
    for id in pauses:
        run.consume(id)
    return VerbOutcome.DONE if pauses else VerbOutcome.ALREADY


def unread_pauses(run: Run) -> list[MessageId]:
    return [letter.message.id for letter in run.unread.values() if letter.message.kind is MessageKind.PAUSE]


def retry(state: State, run: Run, verb: Retry, now: float) -> VerbOutcome:
    if not run.ended:
        return VerbOutcome.NOT_ALLOWED
    state.take_away(run)
    del state.ended[run.id]
    for id in unread_pauses(run):
        run.consume(id)  # they were meant for the generation that has ended
    run.next_generation()
    run.revive()
    run.strikes = 0
    run.rewind = verb.order
    run.closing = True
    state.due.put(run, now)
    return VerbOutcome.DONE


def fork(state: State, run: Run, verb: Fork, now: float) -> VerbOutcome:
    if verb.new.id in state.runs:
        return VerbOutcome.EXISTS
    version = run.version if verb.new.version is None else verb.new.version
    new = replace(verb.new, version=version, input=run.input, seed=run.seed, digest=run.digest)
    made = state.add(new, now)
    made.rewind = verb.order
    made.started_at = run.started_at
    if run.started_at is not None:
        made.at = run.started_at
    return VerbOutcome.DONE


def settle(state: State, run: Run, verb: Settle, now: float) -> VerbOutcome:
    if run.status is not RunStatus.BLOCKED or run.rewind is not None or verb.position != len(run.journal):
        return VerbOutcome.NOT_ALLOWED
    run.at = max(now, run.at)
    run.journal.append((run.at, verb.entry))
    run.strikes = 0
    run.clear_blocked()
    state.hold(run, RunStatus.WAITING, now)
    return VerbOutcome.DONE
