"""What the next commit says: the run's waits, its unflushed commands, and when it can be left alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import assert_never

from durable._core.call import Call
from durable._core.state import RunState
from durable._model.commands import CloseChild, Command, EmitItem, MarkPatch, SendMessage, SetValue, StartChild
from durable._model.commits import Emit
from durable._model.defaults import COMMIT_BYTES_MAX, COMMIT_ITEMS_MAX
from durable._model.entries import CallKind, Entry, PatchMarked
from durable._model.messages import Message
from durable._model.runs import NewRun, Wait, WaitKind

__all__ = ["LAYERS_OWN", "Flush", "StepFacts", "flush", "next_wake", "waits"]

_WAITS_SHOWN = 20
LAYERS_OWN = "."
"""Signals whose names begin so are for a layer's own use: a run is always open for them, and so waits for none."""


@dataclass(slots=True)
class Flush:
    """The fire-and-forget part of a commit.

    Attributes:
        count: How many of ``state.fired`` it takes; ``complete`` if all.
    """

    count: int = 0
    complete: bool = True
    flushed: tuple[int, int] = (0, 0)
    values: list[tuple[str, bytes]] = field(default_factory=list)
    emits: list[Emit] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    children: list[NewRun] = field(default_factory=list)
    closes: list[CloseChild] = field(default_factory=list)
    notes: list[Entry] = field(default_factory=list)


def flush(state: RunState) -> Flush:
    """Take as many unflushed commands as one commit may hold, in order."""
    taken = Flush()
    size = 0
    for command in state.fired:
        if isinstance(command, CloseChild) and command.child.id in {child.id for child in taken.children}:
            break  # it is closed before the commit that says so, but not before it exists
        size += _put(taken, command)
        taken.count += 1
        if taken.count >= COMMIT_ITEMS_MAX or size >= COMMIT_BYTES_MAX // 2:
            break
    taken.complete = taken.count == len(state.fired)
    taken.flushed = state.flushed_now() if taken.complete else state.flushed_part(taken.count)
    return taken


def _put(taken: Flush, command: Command) -> int:
    match command:
        case SetValue(key=key, payload=payload):
            taken.values.append((key, payload))
            return len(payload)
        case EmitItem(stream=stream, payload=payload):
            taken.emits.append(Emit(stream, payload))
            return len(payload)
        case SendMessage(message=message):
            taken.messages.append(message)
            return len(message.payload)
        case StartChild(run=run):
            taken.children.append(run)
            return len(run.input)
        case CloseChild():
            taken.closes.append(command)
            return 0
        case MarkPatch(change=change):
            taken.notes.append(PatchMarked(change))
            return 0
        case _ as never:
            assert_never(never)


@dataclass(frozen=True, slots=True)
class StepFacts:
    """What the summary tells of a step, taken from its spec by the author's floor."""

    attempts_max: int | None
    child: str | None = None


def waits(
    state: RunState,
    executing: Mapping[str, float],
    facts: Callable[[Call], StepFacts],
    error: Callable[[bytes], str | None],
) -> tuple[Wait, ...]:
    """The typed summary of what a run waits for.

    Args:
        executing: Identity of each call with a running attempt, and when that began.
        facts: About a call, from its spec.
        error: One line about an error payload; None to keep it out of the summary.
    """
    found: list[Wait] = []
    covered = _timeouts(state)
    for call in state.calls.values():
        if call.kind is CallKind.TIMER and call.handle is not None and call.due in covered:
            continue
        if call.kind is CallKind.SIGNAL and call.name.startswith(LAYERS_OWN):
            continue
        found.append(_wait(call, executing, facts(call), error))
        if len(found) == _WAITS_SHOWN:
            break
    return tuple(found)


def _timeouts(state: RunState) -> set[float]:
    return {call.due for call in state.calls.values() if call.kind is CallKind.SIGNAL and call.due is not None}


def _wait(call: Call, executing: Mapping[str, float], facts: StepFacts, error: Callable[[bytes], str | None]) -> Wait:
    match call.kind:
        case CallKind.TIMER:
            return Wait(WaitKind.TIMER, call.name, call.id, call.issued_at, call.due)
        case CallKind.SIGNAL:
            return Wait(WaitKind.SIGNAL, call.name, call.id, call.issued_at, call.due)
        case CallKind.CHILD:
            return Wait(WaitKind.CHILD, facts.child or call.name, call.id, call.issued_at)
        case CallKind.STEP:
            last = None if call.last_error is None else error(call.last_error)
            since = executing.get(call.id)
            if since is None and call.retry_at is not None:
                return Wait(
                    WaitKind.RETRY,
                    call.name,
                    call.id,
                    call.issued_at,
                    call.retry_at,
                    call.failed + 1,
                    facts.attempts_max,
                    last,
                )
            begun = call.issued_at if since is None else since
            return Wait(WaitKind.STEP, call.name, call.id, begun, None, call.failed + 1, facts.attempts_max, last)
        case _ as never:
            assert_never(never)


def next_wake(state: RunState) -> float | None:
    """When something happens by itself: the earliest timer or end of a back-off."""
    instants = [
        instant
        for call in state.calls.values()
        if (instant := call.due if call.kind is CallKind.TIMER else call.retry_at) is not None
    ]
    return min(instants, default=None)
