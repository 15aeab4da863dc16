"""I3, I14, I15: steps, and what is remembered of their attempts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from durable._model.entries import AttemptBegun, AttemptFailed, NotDone
from durable_testing.invariants.history import History, RunSeen
from durable_testing.invariants.seen import (
    AttemptSeen,
    ClaimSeen,
    EntrySeen,
    Generation,
)
from durable_testing.invariants.violation import Finding, invariant
from durable_testing.trace import Event

_ROUNDING_SECONDS = 1e-6


@invariant(
    "I3",
    "A call with a committed outcome never runs again, except in a worker that is out of date and can still believe "
    "its lease.",
)
def settled_calls_do_not_run(history: History) -> Iterator[Finding]:
    for attempt in history.attempts:
        settled = attempt.settled
        if settled is None or (settled.epoch > attempt.epoch > 0 and attempt.believed and not settled.copied):
            continue
        found = f"{attempt.call} begins attempt {attempt.number}, and its outcome stands at position {settled.position}"
        yield Finding(attempt.run, found, (settled.event, attempt.event))


@invariant("I3", "One process never has two attempts of one call under way.")
def no_attempts_side_by_side(history: History) -> Iterator[Finding]:
    for attempt in history.attempts:
        if attempt.beside is not None:
            found = f"{attempt.actor.name} begins {attempt.call} again while it is still at it"
            yield Finding(attempt.run, found, (attempt.beside.event, attempt.event))


@invariant("I3", "A worker begins attempts only while it can believe that its lease holds.")
def attempts_need_a_lease(history: History) -> Iterator[Finding]:
    for attempt in history.attempts:
        if not attempt.believed:
            found = f"{attempt.call} begins {attempt.late_seconds:g} s after its worker's lease was over"
            yield Finding(attempt.run, found, (attempt.event,))


@invariant("I14", "The number of an attempt follows from the attempts on record: none is forgotten, none is skipped.")
def attempts_are_counted(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        notes = _notes_of(run)
        for attempt in run.attempts:
            known = notes.get((attempt.generation, attempt.call), ())
            expected, last = _next_number(known, attempt)
            if attempt.number != expected and attempt.epoch > 0:
                found = f"{attempt.call} begins as attempt {attempt.number}, and the journal makes it {expected}"
                yield Finding(run.id, found, (last, attempt.event))


def _notes_of(run: RunSeen) -> dict[tuple[int, str], list[EntrySeen]]:
    notes: dict[tuple[int, str], list[EntrySeen]] = defaultdict(list)
    for generation in run.generations.values():
        for seen in generation.entries:
            if isinstance(seen.entry, AttemptBegun | AttemptFailed | NotDone):
                notes[generation.number, seen.entry.call].append(seen)
    return notes


def _next_number(notes: list[EntrySeen] | tuple[()], attempt: AttemptSeen) -> tuple[int, Event | None]:
    """What the journal, as this worker knew it, says that comes next, and the event that says so."""
    number = 0
    last: Event | None = None
    for seen in notes:
        if seen.event.seq > attempt.event.seq or seen.epoch > attempt.epoch:
            continue
        own = isinstance(seen.entry, AttemptBegun) and seen.epoch == attempt.epoch and not seen.copied
        reached = seen.entry.attempt - 1 if own else seen.entry.attempt  # type: ignore[union-attr]
        if reached > number:
            number, last = reached, seen.event
    return number + 1, last


@invariant("I14", "Under one claim each attempt begins once.")
def attempts_begin_once_in_a_claim(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        begun: dict[tuple[int, str, int, int], AttemptSeen] = {}
        for attempt in run.attempts:
            first = begun.setdefault((attempt.generation, attempt.call, attempt.number, attempt.epoch), attempt)
            if first is not attempt:
                found = f"attempt {attempt.number} of {attempt.call} begins twice in epoch {attempt.epoch}"
                yield Finding(run.id, found, (first.event, attempt.event))


@invariant("I14", "The attempts of a call fail in the order of their numbers.")
def attempts_fail_in_order(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for generation in run.generations.values():
            failed: dict[str, EntrySeen] = {}
            for seen in generation.entries:
                entry = seen.entry
                if not isinstance(entry, AttemptFailed):
                    continue
                last = failed.get(entry.call)
                if last is not None and entry.attempt <= last.entry.attempt:  # type: ignore[union-attr]
                    found = f"attempt {entry.attempt} of {entry.call} fails after a later one"
                    yield Finding(run.id, found, (last.event, seen.event))
                failed[entry.call] = seen


@invariant(
    "I14",
    "A step whose begin is written ahead runs once, unless a failure, a check or a person allows another attempt.",
)
def at_most_once_is_at_most_once(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        notes = _begun_notes(run) if run.attempts else {}
        strict = _written_ahead(run, notes)
        allowed = _allowed_again(run) if strict else {}
        ran: dict[tuple[int, str, int], AttemptSeen] = {}
        for attempt in run.attempts:
            call = (attempt.generation, attempt.call)
            if call not in strict:
                continue
            noted = notes.get(call, {})
            note = noted.get(attempt.number)
            if note is None or note.seq > attempt.event.seq:
                yield Finding(run.id, f"{attempt.call} begins before that is on record", (attempt.event, note))
            known = {number: event for number, event in noted.items() if number < attempt.number}
            again = ran.setdefault((*call, attempt.number), attempt)
            if again is not attempt:
                known[attempt.number] = again.event
            for number, event in known.items():
                if allowed.get((*call, number), attempt.event.seq) >= attempt.event.seq:
                    found = f"{attempt.call} had begun attempt {number}, and nothing on record lets it run again"
                    yield Finding(run.id, found, (event, attempt.event))


def _begun_notes(run: RunSeen) -> dict[tuple[int, str], dict[int, Event]]:
    """When each call's attempts were first said to have begun, in the journal where they were."""
    found: dict[tuple[int, str], dict[int, Event]] = defaultdict(dict)
    for generation in run.generations.values():
        for seen in generation.entries:
            if isinstance(seen.entry, AttemptBegun) and not seen.copied:
                found[generation.number, seen.entry.call].setdefault(seen.entry.attempt, seen.event)
    return found


def _written_ahead(run: RunSeen, notes: dict[tuple[int, str], dict[int, Event]]) -> set[tuple[int, str]]:
    """Calls of at-most-once steps: the ledger says so, or their notes come before their begins, as no others do."""
    strict = {call for call in notes if notes[call]}
    for attempt in run.attempts:
        call = (attempt.generation, attempt.call)
        note = notes.get(call, {}).get(attempt.number)
        if attempt.at_most_once:
            strict.add(call)
        elif note is not None and note.seq > attempt.event.seq:
            strict.discard(call)
    return strict


def _allowed_again(run: RunSeen) -> dict[tuple[int, str, int], int]:
    """Attempts that are known to have failed or not to have happened, and which event says so."""
    return {
        (generation.number, seen.entry.call, seen.entry.attempt): seen.event.seq
        for generation in run.generations.values()
        for seen in generation.entries
        if isinstance(seen.entry, AttemptFailed | NotDone)
    }


@invariant("I14", "Claims without progress are counted, nothing else is, and the count decides who is tried alone.")
def strikes_are_counted(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for seen in run.claims:
            told = seen.claim.run
            if told.ended:
                continue
            if told.strikes != seen.strikes + 1:
                found = f"it is claimed with {told.strikes} strikes, and the trace makes it {seen.strikes + 1}"
                yield Finding(run.id, found, (seen.event,))
            yield from _lonely(run, seen)


def _lonely(run: RunSeen, seen: ClaimSeen) -> Iterator[Finding]:
    strikes, want = seen.claim.run.strikes - 1, seen.want
    if seen.claim.lonely != (strikes >= want.lonely_after):
        alone = "alone" if seen.claim.lonely else "among others"
        found = f"it is tried {alone} after {strikes} claims without progress; the limit is {want.lonely_after}"
        yield Finding(run.id, found, (seen.event,))
    if strikes >= want.lonely_after + want.crash_budget:
        yield Finding(run.id, f"it is claimed although {strikes} claims have made no progress", (seen.event,))


@invariant("I14", "A run that workers have died of is claimed again only after a pause, which grows.")
def deadly_runs_are_claimed_after_a_pause(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for seen in run.claims:
            now = seen.event.data["now"]
            if now < seen.free_from - _ROUNDING_SECONDS:
                found = (
                    f"it is claimed {seen.free_from - now:g} s too early, after {seen.strikes} claims without progress"
                )
                yield Finding(run.id, found, (seen.event,))


@invariant("I15", "No attempt begins before the back-off of the one before is over.")
def back_offs_are_waited_for(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for generation in run.generations.values():
            yield from _hasty(run, generation)


def _hasty(run: RunSeen, generation: Generation) -> Iterator[Finding]:
    failures = [seen for seen in generation.entries if isinstance(seen.entry, AttemptFailed) and not seen.copied]
    if not failures:
        return
    attempts = {
        (attempt.call, attempt.number): attempt
        for attempt in reversed(run.attempts)
        if attempt.generation == generation.number
    }
    for seen in failures:
        entry = seen.entry
        assert isinstance(entry, AttemptFailed)
        following = attempts.get((entry.call, entry.attempt + 1))
        if following is None:
            continue
        waited = following.event.at - seen.event.at
        if waited < entry.delay_seconds - _ROUNDING_SECONDS:
            found = f"attempt {following.number} of {entry.call} begins {waited:g} s after the failure"
            yield Finding(
                run.id, f"{found}, and its back-off is {entry.delay_seconds:g} s", (seen.event, following.event)
            )
