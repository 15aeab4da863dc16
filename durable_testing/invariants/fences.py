"""I4, I5: who may write."""

from __future__ import annotations

from collections.abc import Iterator

from durable_testing.invariants.history import History
from durable_testing.invariants.seen import (
    CommitSeen,
)
from durable_testing.invariants.violation import Finding, invariant


@invariant("I4", "A commit is applied only with the run's epoch, as the next of that epoch, and from its owner.")
def writes_are_fenced(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for seen in run.commits:
            found = _out_of_turn(seen)
            if found is not None:
                claim = run.claims[-1].event if run.claims else None
                yield Finding(run.id, found, (claim, seen.event))


def _out_of_turn(seen: CommitSeen) -> str | None:
    commit = seen.commit
    if commit.epoch != seen.epoch:
        return f"a commit of epoch {commit.epoch} was applied while the run's epoch was {seen.epoch}"
    if commit.seq != seen.seq:
        return f"commit {commit.seq} of epoch {commit.epoch} was applied where commit {seen.seq} comes next"
    if seen.owner is None:
        return f"a commit of epoch {commit.epoch} was applied while nobody held the run"
    if seen.owner.actor.name != seen.event.actor:
        return f"{seen.event.actor} has written a run that {seen.owner.actor.name} holds"
    return None


@invariant("I4", "A commit that is said again is answered as at first, and is the same commit.")
def repeats_change_nothing(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for seen in run.repeats:
            first, fence = seen.first, f"commit {seen.commit.seq} of epoch {seen.commit.epoch}"
            if first is None:
                yield Finding(run.id, f"{fence} was called applied, and never was", (seen.event,))
            elif first.commit != seen.commit:
                yield Finding(run.id, f"{fence} was said twice with different words", (first.event, seen.event))
            elif first.answer.at != seen.answer.at:
                found = f"{fence} is stamped {seen.answer.at}, and was {first.answer.at}"
                yield Finding(run.id, found, (first.event, seen.event))


@invariant("I5", "The epoch of a run rises with every claim.")
def epochs_rise(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for seen in run.claims:
            if seen.claim.run.epoch <= seen.epoch:
                found = f"it was claimed with epoch {seen.claim.run.epoch}, and epoch {seen.epoch} was there before"
                yield Finding(run.id, found, (seen.event,))


@invariant("I5", "A run is claimed only if nobody holds it, or the holder's lease is over, or the holder is dead.")
def no_two_leases(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for seen in run.claims:
            owner, now = seen.owner, seen.event.data["now"]
            if owner is not None and owner is not seen.session and seen.owner_until > now and not owner.actor.down:
                left = seen.owner_until - now
                found = (
                    f"{seen.session.actor.name} has claimed it, and the lease of {owner.actor.name} had {left:g} s left"
                )
                yield Finding(run.id, found, (seen.event,))
