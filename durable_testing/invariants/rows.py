"""The checker's own picture of a run's row: the few moves that every operation is made of.

Written after the protocol's text, not after a store's code, and as small as the invariants allow: what no invariant
asks about is not kept.
"""

from __future__ import annotations

from collections.abc import Iterable

from durable._model.entries import Settled, decode_entry
from durable.store import (
    ENDED,
    Created,
    Message,
    MessageId,
    MessageKind,
    NewRun,
    RunStatus,
    Sent,
)
from durable_testing.invariants.history import History, RunSeen
from durable_testing.invariants.seen import (
    BirthSeen,
    CommitSeen,
    ConsumedSeen,
    EntrySeen,
    Generation,
    MessageSeen,
    Move,
)
from durable_testing.trace import Event

__all__ = [
    "append",
    "born",
    "consume",
    "deliver",
    "drop_owner",
    "end",
    "move",
    "next_generation",
    "noted",
    "released",
    "replaced",
    "tell_parent",
    "unconsume",
]


def born(history: History, event: Event, new: NewRun, made: Created, creator: RunSeen | None = None) -> RunSeen:
    """A new row. An id that was there before has been purged since, or the store forgets (I19 tells)."""
    old = history.runs.get(new.id)
    run = RunSeen(new.id)
    if old is not None:
        if history.purged:
            history.gone.append(old)
        else:
            run = old
    history.runs[new.id] = run
    run.generations.setdefault(run.generation.number, run.generation)
    run.digest, run.workflow, run.parent, run.replaced_by = new.digest, new.workflow, new.parent, new.replace
    noted(run, event, new, made, creator)
    parent = None if new.parent is None else history.runs.get(new.parent.run)
    if parent is not None:
        parent.children.append(run)
    return run


def noted(run: RunSeen, event: Event, new: NewRun, made: Created, creator: RunSeen | None = None) -> None:
    """A start, a child or a fork, and how the row stands after it."""
    generation = 0 if creator is None else creator.generation.number
    by = None if creator is None else creator.id
    run.births.append(BirthSeen(event, new, made, by, generation, run.digest, run.generation.number))


def move(run: RunSeen, event: Event, after: RunStatus, why: str) -> None:
    """A change of status, which I9 judges."""
    if run.status is not after or after in ENDED:
        run.moves.append(Move(event, run.status, after, why))
        run.status = after


def drop_owner(run: RunSeen) -> None:
    """Nobody holds the run."""
    if run.owner is not None:
        run.owner.held.pop(run.id, None)
        run.owner = None


def released(run: RunSeen) -> None:
    """Its claim has come to nothing, and that was nobody's fault."""
    drop_owner(run)
    if not run.ended:
        run.strikes = max(0, run.strikes - 1)


def next_generation(run: RunSeen) -> None:
    """An empty journal under the next number."""
    run.generation = Generation(run.generation.number + 1)
    run.generations[run.generation.number] = run.generation


def replaced(run: RunSeen, event: Event, new: NewRun) -> None:
    """A start with ``if_exists="replace"``."""
    drop_owner(run)
    for message in run.inbox.values():
        if message.unread:
            message.unread, message.dropped = False, True
    run.signals.clear()
    run.values.clear()
    run.digest, run.workflow, run.replaced_by = new.digest, new.workflow, new.replace
    run.strikes, run.free_from = 0, 0.0
    run.terminated = False
    if run.parent is not None and new.parent is not None and run.parent.run == new.parent.run:
        run.parent = new.parent
    next_generation(run)
    move(run, event, RunStatus.PENDING, "replace")


def append(run: RunSeen, event: Event, at: float, epoch: int, datas: Iterable[bytes]) -> list[EntrySeen]:
    """Entries at the end of the current journal; the only place where they are decoded."""
    entries = run.generation.entries
    number = run.generation.number
    added: list[EntrySeen] = []
    for data in datas:
        entry = decode_entry(data)
        seen = EntrySeen(len(entries), at, entry, data, event, epoch)
        entries.append(seen)
        added.append(seen)
        if isinstance(entry, Settled):
            run.settled.setdefault((number, entry.call), seen)
    return added


def deliver(
    history: History,
    event: Event,
    message: Message,
    answer: Sent | None = None,
    sender: CommitSeen | None = None,
    *,
    by_store: bool = False,
) -> None:
    """A message is said to a run. A commit's messages have no answer of their own: there it is what it must be."""
    run = history.runs.get(message.run)
    if run is None:
        return
    known = message.id in run.inbox
    if answer is None:
        answer = Sent.DUPLICATE if known else Sent.ENDED if run.ended else Sent.ACCEPTED
    seen = MessageSeen(event, message, answer, known, run.ended, sender=sender, by_store=by_store)
    run.messages.append(seen)
    if answer is Sent.ACCEPTED and not known:
        seen.order = len(run.inbox) + 1
        run.inbox[message.id] = seen
        if message.kind is MessageKind.SIGNAL:
            run.signals.setdefault(message.name, {})[message.id] = seen


def consume(run: RunSeen, commit: CommitSeen, id: MessageId, *, dead: bool = False) -> None:
    """A commit reads a message; noted with it: the oldest unread signal of that name, which had to come first.

    Args:
        dead: It is set aside, not received: in any order.
    """
    message = run.inbox.get(id)
    if message is None or not message.unread:
        run.consumed.append(ConsumedSeen(commit, id, message, message is not None, None))
        return
    skipped: MessageSeen | None = None
    if message.message.kind is MessageKind.SIGNAL:
        unread = run.signals[message.message.name]
        oldest = next(iter(unread.values()))
        skipped = None if dead or oldest is message else oldest
        del unread[id]
    run.consumed.append(ConsumedSeen(commit, id, message, False, skipped))
    message.unread = False


def unconsume(run: RunSeen, ids: Iterable[MessageId]) -> None:
    """A rewind has cut off what these were read by."""
    for id in ids:
        message = run.inbox.get(id)
        if message is None or message.unread:
            continue
        message.unread = True
        name = message.message.name
        unread = [*run.signals.get(name, {}).values(), message]
        run.signals[name] = {one.message.id: one for one in sorted(unread, key=lambda one: one.order)}


def end(run: RunSeen, event: Event, status: RunStatus, outcome: bytes, why: str) -> None:
    """The last thing that a generation does, unless it goes on as another."""
    drop_owner(run)
    if run.generation.ended is None:
        run.generation.ended, run.generation.ended_by, run.generation.outcome = status, event, outcome
    run.strikes = 0
    move(run, event, status, why)


def tell_parent(history: History, run: RunSeen, event: Event, outcome: bytes) -> None:
    """The store has ended the run itself, so it has told the parent, too."""
    parent = run.parent
    if parent is not None and parent.notify:
        id = MessageId(f"result/{run.id}/{run.generation.number}")
        message = Message(parent.run, id, MessageKind.RESULT, parent.call, outcome, parent.generation)
        deliver(history, event, message, by_store=True)
