"""Retry and fork: which entries of an old journal the new one keeps, found by replaying the code (rules 4 and 5)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, final

from durable._author import outcomes
from durable._author.calls import ChildSpec, Scope
from durable._author.context import Context
from durable._author.definitions import Workflow
from durable._core.state import DEADLINE, RunState
from durable._engine import endings
from durable._engine.guard import activation
from durable._engine.runner import Runner
from durable._engine.services import Services
from durable._engine.takeup import has_chosen_id, run_facts, unread_after
from durable._model.claims import Claim
from durable._model.commits import Commit, Rewound, Running
from durable._model.entries import (
    CallKind,
    CancelAsked,
    Entry,
    PatchMarked,
    Rebegun,
    Settled,
    decode_entry,
    encode_entry,
)
from durable._model.ids import CallId, MessageId, RunId
from durable._model.messages import InboxMessage, MessageKind
from durable._model.runs import NewRun, Parent, RunRecord
from durable.codec import Codec
from durable.errors import InvalidInput
from durable.store import Store

__all__ = ["Order", "default_cut", "find_cut", "read_journal", "rewind"]


@final
class Order:
    """A retry or fork as it lies in the run's row until a worker carries it out."""

    __slots__ = ("cut", "generation", "source")

    def __init__(self, source: str, generation: int, cut: int) -> None:
        self.source = source
        self.generation = generation
        self.cut = cut

    def pack(self) -> bytes:
        """As bytes, opaque to the store."""
        return json.dumps({"source": self.source, "generation": self.generation, "cut": self.cut}).encode()

    @staticmethod
    def unpack(data: bytes) -> Order:
        """Back from bytes."""
        fields = json.loads(data)
        return Order(fields["source"], fields["generation"], fields["cut"])


async def read_journal(store: Store, run: str, generation: int) -> list[tuple[Entry, float]]:
    """All entries of a generation with their times."""
    found: list[tuple[Entry, float]] = []
    start: int | None = 0
    while start is not None:
        page = await store.journal(RunId(run), generation, start)
        found += [(decode_entry(row.data), row.at) for row in page.rows]
        start = page.next
    return found


def default_cut(entries: Sequence[Entry], codec: Codec) -> int:
    """Where a retry cuts when nobody says: at the cancel, else at the last failure, else at the end."""
    for position, entry in enumerate(entries):
        if isinstance(entry, CancelAsked) or _call_of(entry) == DEADLINE:
            return position
    for position in range(len(entries) - 1, -1, -1):
        entry = entries[position]
        if isinstance(entry, Settled) and not (entry.ok and _succeeded(entry, codec)):
            return position
    return len(entries)


def _succeeded(entry: Settled, codec: Codec) -> bool:
    return entry.kind is not CallKind.CHILD or outcomes.read(codec.open(entry.payload))[0] == "completed"


def find_cut(entries: Sequence[Entry], asked: str, matches: Any) -> int | None:
    """The position of the outcome of the call that a person names; None if the journal has none."""
    for position, entry in enumerate(entries):
        if isinstance(entry, Settled) and matches(asked, entry.call):
            return position
    return None


async def rewind(runner: Runner, claim: Claim, services: Services, workflow: Workflow[..., Any]) -> Claim | None:
    """Carry the order out; the claim as it stands afterwards, None if it was lost."""
    run = claim.run
    assert run.rewind is not None
    order = Order.unpack(run.rewind)
    rows = await services.weather.through(lambda: read_journal(services.store, order.source, order.generation))
    if len(rows) < order.cut:
        raise InvalidInput(f"Run {order.source} was purged before its journal could be copied. Start this run anew.")
    cut_call = _call_of(rows[order.cut][0]) if order.cut < len(rows) else None
    prefix = [
        position
        for position in range(order.cut)
        if cut_call is None or isinstance(rows[position][0], Settled) or _call_of(rows[position][0]) != cut_call
    ]
    state, children = _replayed(claim, services, workflow, [rows[position] for position in prefix])
    if isinstance(state, InvalidInput):
        raise state
    pending = set(state.calls) - {cut_call, DEADLINE}
    survivors = [position for position in range(order.cut + 1, len(rows)) if _call_of(rows[position][0]) in pending]
    settled = {_call_of(rows[position][0]) for position in survivors if isinstance(rows[position][0], Settled)}
    again = tuple(child for call, child in children if call not in settled)
    flushed = state.flushed_now()
    with activation:
        state.close()
    inbox = await unread_after(run.id, 0, services)
    stale = tuple(item.message.id for item in inbox if _is_stale(item, run))
    if stale:
        await runner.write(runner.next_commit(Running(), consumed=stale))
    await _named_children_begin_anew(again, run, services)
    for start in range(0, len(again), 100):
        answer = await runner.write(runner.next_commit(Running(), children=again[start : start + 100]))
        if answer.at == 0.0:
            return None
    keep = (*prefix, *survivors)
    unread = _unread(rows, keep) if order.source == run.id else ()
    rewound = runner.next_commit(Rewound(RunId(order.source), order.generation, keep, flushed, unread))
    note = Commit(run.id, run.epoch, runner.commits_made + 1, len(keep), append=(encode_entry(Rebegun()),))
    if (await runner.write(rewound, note)).at == 0.0:  # in one transaction: a crash in between would lose the note
        return None
    after = (await services.weather.through(lambda: services.store.get([run.id])))[0]
    if after is None or after.epoch != run.epoch:
        return None
    messages = await unread_after(run.id, 0, services)
    return replace(claim, run=after, messages=tuple(messages))


def _replayed(
    claim: Claim, services: Services, workflow: Workflow[..., Any], rows: Sequence[tuple[Entry, float]]
) -> tuple[RunState | InvalidInput, list[tuple[CallId, NewRun]]]:
    run = claim.run
    facts = replace(run_facts(run, workflow), flushed=(len(rows) + 2, 0), unchecked_until=run.at + 1e9)
    state = RunState(facts)
    context = Context(Scope(state, services.codec, run.queue, run.priority))
    program = endings.program(workflow, context, services.codec, claim.input)
    if isinstance(program, InvalidInput):
        return program, []
    with activation:
        state.start(program, frozenset(entry.change for entry, _ in rows if isinstance(entry, PatchMarked)))
        for entry, at in rows:
            state.apply(entry, at)
    children = [(call.id, call.spec.run) for call in state.calls.values() if isinstance(call.spec, ChildSpec)]
    return state, children


async def _named_children_begin_anew(children: Sequence[NewRun], run: RunRecord, services: Services) -> None:
    """A child whose id the author chose cannot get a fresh one: it begins anew, for the call that asks for it again."""
    named = [child for child in children if has_chosen_id(child)]
    if not named:
        return
    rows = await services.weather.through(lambda: services.store.get([child.id for child in named]))
    ours = [
        replace(child, replace=f"retry/{run.id}/{run.generation}")
        for child, row in zip(named, rows, strict=True)
        if row is not None and _same_call(row.parent, child.parent)
    ]
    if ours:
        await services.weather.through(lambda: services.store.create(ours))


def _same_call(one: Parent | None, other: Parent | None) -> bool:
    return one is not None and other is not None and (one.run, one.call) == (other.run, other.call)


def _is_stale(item: InboxMessage, run: RunRecord) -> bool:
    """A cancel of the generation that has ended must not strike the new one; its pauses went with the retry."""
    return item.message.kind is MessageKind.CANCEL and item.message.id != f"cancel/{run.generation}"


def _call_of(entry: Entry) -> CallId | None:
    return None if isinstance(entry, CancelAsked | PatchMarked | Rebegun) else entry.call


def _unread(rows: Sequence[tuple[Entry, float]], keep: Sequence[int]) -> tuple[MessageId, ...]:
    kept = set(keep)
    return tuple(
        entry.message
        for position, (entry, _) in enumerate(rows)
        if position not in kept and isinstance(entry, Settled) and entry.kind is CallKind.SIGNAL and entry.message
    )
