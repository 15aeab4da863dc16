"""I6, I7: messages, and the waits that they end."""

from __future__ import annotations

from collections.abc import Iterator

from durable._model.entries import CallKind, CancelAsked, Settled
from durable.store import MessageKind, Sent, WaitKind
from durable_testing.invariants.history import History, RunSeen
from durable_testing.invariants.seen import (
    EntrySeen,
    Generation,
)
from durable_testing.invariants.violation import Finding, invariant


@invariant("I6", "Signals of one name are received in the order in which they were accepted.")
def signals_are_received_in_order(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for seen in run.consumed:
            if seen.skipped is not None and seen.message is not None:
                oldest, taken = seen.skipped, seen.message
                found = f"signal {taken.message.id!r} was received before {oldest.message.id!r}, which came earlier"
                yield Finding(run.id, found, (oldest.event, taken.event, seen.commit.event))


@invariant("I6", "A message is received at most once, and only if it was accepted.")
def messages_are_received_once(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for seen in run.consumed:
            if seen.message is None:
                yield Finding(run.id, f"message {seen.id!r} was received, and nobody had sent it", (seen.commit.event,))
            elif seen.again and seen.message.message.kind is not MessageKind.PAUSE:
                yield Finding(run.id, f"message {seen.id!r} was received twice", (seen.commit.event,))


@invariant("I6", "An entry is made of a message that its commit has read, and of no other entry's.")
def entries_are_made_of_messages(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for seen in run.commits:
            for entry in seen.entries:
                message = entry.entry.message if isinstance(entry.entry, Settled | CancelAsked) else None
                if message is not None and message not in seen.commit.consumed:
                    found = f"entry {entry.position} was made of message {message!r}, which stays unread"
                    yield Finding(run.id, found, (seen.event,))


@invariant("I6", "A message is accepted once for its id, refused by a run that has ended, and by no other.")
def messages_are_accepted_once(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for seen in run.messages:
            id, answer = seen.message.id, seen.answer
            if answer is Sent.ACCEPTED and seen.known:
                yield Finding(run.id, f"message {id!r} was accepted twice", (seen.event,))
            elif answer is Sent.DUPLICATE and not seen.known:
                yield Finding(run.id, f"message {id!r} was refused as a duplicate, and is none", (seen.event,))
            elif answer is Sent.ACCEPTED and seen.ended:
                yield Finding(run.id, f"message {id!r} was accepted by a run that had ended", (seen.event,))
            elif answer in (Sent.ENDED, Sent.NOT_FOUND) and not seen.ended:
                yield Finding(run.id, f"message {id!r} was refused by a run that had not ended", (seen.event,))


@invariant("I6", "At the end a message is unread in the store exactly if nothing was made of it.")
def unread_messages_are_unread(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for letter in history.snapshot.messages.get(run.id, ()):
            seen = run.inbox.get(letter.message.id)
            if seen is None:
                yield Finding(run.id, f"message {letter.message.id!r} is in the inbox, and nobody has sent it")
            elif letter.consumed == seen.unread and letter.message.kind is not MessageKind.PAUSE:
                states = ("unread", "read")
                found = (
                    f"message {letter.message.id!r} is {states[letter.consumed]}, and must be {states[not seen.unread]}"
                )
                yield Finding(run.id, found, (seen.event,))


@invariant("I7", "A wait that has timed out receives no signal: a later one is for the next wait.")
def timed_out_waits_receive_nothing(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        limits = _limits_of(run)
        if not limits:
            continue
        for generation in run.generations.values():
            yield from _received_too_late(run, generation, limits)


def _limits_of(run: RunSeen) -> dict[tuple[int, str], float]:
    """Until when each signal is waited for, as the run has told."""
    return {
        (seen.generation.number, wait.call): wait.until
        for seen in run.commits
        for wait in seen.commit.waits or ()
        if wait.kind is WaitKind.SIGNAL and wait.until is not None
    }


def _received_too_late(run: RunSeen, generation: Generation, limits: dict[tuple[int, str], float]) -> Iterator[Finding]:
    fired: dict[tuple[str, float], EntrySeen] = {}
    for seen in generation.entries:
        entry = seen.entry
        if not isinstance(entry, Settled):
            continue
        path, kind = entry.call.partition("/")[::2]
        if entry.kind is CallKind.TIMER and entry.due is not None and kind.startswith("timer/timer#"):
            fired.setdefault((path, entry.due), seen)
        elif entry.kind is CallKind.SIGNAL:
            until = limits.get((generation.number, entry.call))
            timer = None if until is None else fired.get((path, until))
            if timer is not None:
                found = (
                    f"{entry.call} received message {entry.message!r} at position {seen.position}, and had timed out"
                )
                yield Finding(run.id, f"{found} at position {timer.position}", (timer.event, seen.event))


@invariant("I7", "A signal is received first in its commit: what comes before it could end the wait that it is for.")
def signals_open_their_commits(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for seen in run.commits:
            delivered = [one.entry for one in seen.entries if isinstance(one.entry, Settled | CancelAsked)]
            for entry in delivered[1:]:
                if isinstance(entry, Settled) and entry.kind is CallKind.SIGNAL:
                    found = f"{entry.call} received message {entry.message!r} behind another entry of the same commit"
                    yield Finding(run.id, found, (seen.event,))
