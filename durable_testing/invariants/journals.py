"""I1, I2: what a journal is."""

from __future__ import annotations

from collections.abc import Iterator

from durable._model.entries import AttemptFailed, NotDone, Settled
from durable.store import ENDED, Closed, JournalRow, Released, Running
from durable_testing.invariants.history import History, RunSeen
from durable_testing.invariants.seen import (
    EntrySeen,
    Generation,
)
from durable_testing.invariants.violation import Finding, invariant


@invariant("I1", "A journal only grows, at its end: each commit goes on at the position where the last one stopped.")
def journals_grow_at_their_end(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for seen in run.commits:
            if seen.commit.position != seen.position:
                said = (
                    f"a commit at position {seen.commit.position} was applied to a journal of {seen.position} entries"
                )
                yield Finding(run.id, said, (seen.event,))


@invariant("I1", "Nothing is appended to a run that has ended, and nothing but closing its children is done to it.")
def nothing_after_the_end(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for seen in run.commits:
            then = seen.commit.then
            if seen.status in ENDED and (seen.entries or not isinstance(then, Running | Released | Closed)):
                what = f"{len(seen.entries)} entries and {type(then).__name__}"
                ended_by = seen.generation.ended_by
                yield Finding(run.id, f"{what} were committed to a {seen.status} run", (ended_by, seen.event))


@invariant("I1", "The stamps of a journal never go back.")
def stamps_never_go_back(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for generation in run.generations.values():
            last = 0.0
            for seen in generation.entries:
                if seen.at < last and not seen.copied:
                    yield Finding(run.id, f"entry {seen.position} is stamped {seen.at}, after {last}", (seen.event,))
                last = seen.at


@invariant("I1", "An entry never changes and never disappears: whoever reads a journal reads what was committed.")
def reads_show_what_was_committed(history: History) -> Iterator[Finding]:
    for read in history.reads:
        for row in read.rows:
            if read.generation is None or row.position >= read.length:
                found: str | None = "an entry that nobody has committed"
            else:
                found = _unlike(read.generation, row)
            if found is not None:
                yield Finding(read.run, f"position {row.position} was read as {found}", (read.event,))


@invariant("I1", "At the end the store holds every journal as it was committed.")
def journals_are_kept(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        if run.id not in history.snapshot.runs:
            continue  # purged, or lost: I20 tells
        for generation in run.generations.values():
            rows = history.snapshot.journals.get((run.id, generation.number), ())
            yield from _compared(run, generation, rows)


def _compared(run: RunSeen, generation: Generation, rows: tuple[JournalRow, ...]) -> Iterator[Finding]:
    where = f"the journal of generation {generation.number}"
    if len(rows) != len(generation.entries):
        last = generation.entries[-1].event if generation.entries else None
        found = f"{where} has {len(rows)} entries, and {len(generation.entries)} were committed"
        yield Finding(run.id, found, (last,))
    for row in rows[: len(generation.entries)]:
        found_entry = _unlike(generation, row)
        if found_entry is not None:
            event = generation.entries[row.position].event
            yield Finding(run.id, f"{where} has at position {row.position} {found_entry}", (event,))


def _unlike(generation: Generation, row: JournalRow) -> str | None:
    """What a row is, if it is not what was committed there."""
    seen = generation.entries[row.position]
    if row.data != seen.data:
        return f"{row.data[:60]!r} instead of {seen.data[:60]!r}"
    if row.at != seen.at:
        return f"an entry stamped {row.at} instead of {seen.at}"
    return None


@invariant("I2", "A call has at most one outcome.")
def one_outcome_for_each_call(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for generation in run.generations.values():
            settled: dict[str, EntrySeen] = {}
            for seen in generation.entries:
                entry = seen.entry
                if not isinstance(entry, Settled):
                    continue
                first = settled.setdefault(entry.call, seen)
                if first is not seen:
                    found = f"{entry.call} has an outcome at position {first.position} and another at {seen.position}"
                    yield Finding(run.id, found, (first.event, seen.event))


@invariant("I2", "An attempt has at most one outcome: it succeeded, failed, or was found not to have happened.")
def one_outcome_for_each_attempt(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for generation in run.generations.values():
            known: dict[tuple[str, int], EntrySeen] = {}
            for seen in generation.entries:
                entry = seen.entry
                if not isinstance(entry, Settled | AttemptFailed | NotDone) or not entry.attempt:
                    continue
                first = known.setdefault((entry.call, entry.attempt), seen)
                if first is not seen:
                    found = f"attempt {entry.attempt} of {entry.call} has an outcome at {first.position} and another"
                    yield Finding(run.id, f"{found} at {seen.position}", (first.event, seen.event))
