"""The first take: steps are answered for, signals come, timers fire in virtual time, and a journal comes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, final

from durable._author.calls import why_unreadable
from durable._author.definitions import Signal, Workflow
from durable._core import plan
from durable._core.identity import kind_of, name_of
from durable._core.inbox import select
from durable._core.state import DEADLINE
from durable._model.entries import CallKind, Entry, encode_entry
from durable._model.ids import MessageId, RunId
from durable._model.messages import InboxMessage, Message, MessageKind
from durable.errors import InvalidInput
from durable_testing._determinism.actors import Actors
from durable_testing._determinism.scene import Scene
from durable_testing._determinism.takes import BEGAN, RUN, Drive, Take

__all__ = ["ENTRIES_MAX", "first_take", "inbox_of"]

ENTRIES_MAX: Final = 1_000
_STEP_SECONDS: Final = 0.25  # what a step takes in virtual time


def inbox_of(signals: Sequence[tuple[Signal[Any] | str, Any]]) -> list[InboxMessage]:
    """The inbox at the run's begin, in the order in which the signals are given.

    Raises:
        InvalidInput: A payload does not fit its signal.
    """
    found: list[InboxMessage] = []
    for number, (given, payload) in enumerate(signals, 1):
        named: Signal[Any] = given if isinstance(given, Signal) else Signal(given)
        raw = named.value_type.dump(payload, f"signal {named.name!r}")
        message = Message(RunId(RUN), MessageId(f"signal/{number}"), MessageKind.SIGNAL, named.name, raw)
        found.append(InboxMessage(message, number, BEGAN))
    return found


def first_take(
    workflow: Workflow[..., Any], sealed: bytes, scene: Scene, actors: Actors, inbox: list[InboxMessage]
) -> Take:
    """Play until the code has ended, waits for what will not come, or the journal has a thousand entries.

    Raises:
        InvalidInput: Somebody has to answer for a step or child.
        WorkflowCodeError: The code does what a workflow may not.
    """
    drive = Drive(workflow, sealed, scene)
    try:
        drive.begin()
        return _Recorder(drive, actors, inbox).play()
    finally:
        drive.leave()


@final
class _Recorder:
    def __init__(self, drive: Drive, actors: Actors, inbox: list[InboxMessage]) -> None:
        self._drive = drive
        self._actors = actors
        self._inbox = inbox
        self._now = BEGAN

    def play(self) -> Take:
        drive, take = self._drive, Take()
        while not drive.finished and len(take.rows) < ENTRIES_MAX:
            entry = self._next()
            if entry is None:
                break
            data = encode_entry(entry)
            take.rows.append((data, self._now))
            drive.deliver(data, self._now)
        take.turns, take.patches, take.end = drive.turns, tuple(drive.patches), drive.end()
        if not drive.finished:
            waits = [call.id for call in drive.calls.values() if call.id != DEADLINE]
            take.waits_for = tuple(f"{kind_of(call)} {name_of(call)}" for call in waits)
        return take

    def _next(self) -> Entry | None:
        """What happens next: messages and due timers, then a step, then a child, then time passes."""
        while True:
            entry = self._arrived() or self._worked()
            if entry is not None:
                return entry
            wake = plan.next_wake(self._drive)
            if wake is None:
                return None
            self._now = max(self._now, wake)

    def _arrived(self) -> Entry | None:
        codec = self._drive.codec
        chosen = select(
            self._drive, self._inbox, self._now, lambda call, payload: why_unreadable(codec, call, payload), room=1
        )
        if chosen.dead:
            raise InvalidInput(f"A wait of the workflow cannot read this signal: {chosen.dead[0].reason}")
        gone = set(chosen.consumed)
        self._inbox = [item for item in self._inbox if item.message.id not in gone]
        return chosen.entries[0] if chosen.entries else None

    def _worked(self) -> Entry | None:
        for call in self._drive.calls.values():
            if call.kind is CallKind.STEP and (call.retry_at is None or call.retry_at <= self._now):
                self._now += _STEP_SECONDS
                return self._actors.step(call, self._now)
        for call in self._drive.calls.values():
            if call.kind is CallKind.CHILD:
                self._now += _STEP_SECONDS
                return self._actors.child(call)
        return None
