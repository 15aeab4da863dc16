"""Real traces, and the means to make them lie in one place: how the checker is shown to see."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from invariant_scenarios import setting

from durable._model.entries import Entry, decode_entry, encode_entry
from durable.store import Commit, Committed, RunId
from durable_testing.invariants import Snapshot, Violation, check
from durable_testing.schedules import Schedule
from durable_testing.trace import Event, Trace
from durable_testing.trial import Trial, carry_out


@functools.cache
def trial_of(name: str, schedule: str = "1w/1", cached: bool = True) -> Trial:
    """A real simulation without a violation."""
    trial = carry_out(setting(name, options={} if cached else {"cache": 0}), Schedule.parse(schedule))
    assert trial.error is None
    assert trial.violations == []
    return trial


@dataclass
class Doctored:
    """A copy of a trial's trace and snapshot that may be changed."""

    events: list[Event]
    snapshot: Snapshot

    @classmethod
    def of(cls, name: str, schedule: str = "1w/1", *, cached: bool = True) -> Doctored:
        """From a real simulation."""
        trial = trial_of(name, schedule, cached)
        assert trial.snapshot is not None
        return cls(list(trial.trace.events), trial.snapshot)

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────

    def find(self, kind: str, where: Callable[[Event], bool] = lambda event: True) -> int:
        """Index of the first event of this kind (``effect poll`` for operations) that fits."""
        return next(self.all(kind, where))

    def all(self, kind: str, where: Callable[[Event], bool] = lambda event: True) -> Iterator[int]:
        """Indices of all events of this kind that fit."""
        kind, _, method = kind.partition(" ")
        for index, event in enumerate(self.events):
            if event.kind == kind and (not method or event.data["method"] == method) and where(event):
                yield index

    def commits(self, where: Callable[[Commit, list[Entry]], bool]) -> Iterator[tuple[int, int]]:
        """(index of the event, place in its batch) of each commit that fits."""
        for index in self.all("effect commit"):
            for place, commit in enumerate(self.events[index].data["asked"][0]):
                if where(commit, [decode_entry(data) for data in commit.append]):
                    yield index, place

    def commit(self, at: tuple[int, int]) -> Commit:
        """One of them."""
        found: Commit = self.events[at[0]].data["asked"][0][at[1]]
        return found

    # ── changing ─────────────────────────────────────────────────────────────────────────────────────────────────

    def alter(self, index: int, *, at: float | None = None, actor: str | None = None, **data: Any) -> None:
        """Change an event."""
        event = self.events[index]
        self.events[index] = replace(
            event,
            at=event.at if at is None else at,
            actor=event.actor if actor is None else actor,
            data={**event.data, **data},
        )

    def alter_commit(self, of: tuple[int, int], /, **fields: Any) -> None:
        """Change what a commit says."""
        index, place = of
        asked: list[Commit] = list(self.events[index].data["asked"][0])
        asked[place] = replace(asked[place], **fields)
        self.alter(index, asked=(asked,))

    def alter_committed(self, of: tuple[int, int], /, **fields: Any) -> None:
        """Change what a commit was answered."""
        index, place = of
        answers: list[Committed] = list(self.events[index].data["answer"])
        answers[place] = replace(answers[place], **fields)
        self.alter(index, answer=answers)

    def alter_entry(self, at: tuple[int, int], place: int, /, **fields: Any) -> None:
        """Change an entry of a commit."""
        append = list(self.commit(at).append)
        append[place] = encode_entry(replace(decode_entry(append[place]), **fields))
        self.alter_commit(at, append=tuple(append))

    def alter_claim(self, index: int, **fields: Any) -> None:
        """Change the row that a poll hands out with its first claim."""
        answer = self.events[index].data["answer"]
        claim = answer.claims[0]
        claims = (replace(claim, run=replace(claim.run, **fields)), *answer.claims[1:])
        self.alter(index, answer=replace(answer, claims=claims))

    def alter_row(self, run: str, **fields: Any) -> None:
        """Change a row of the snapshot."""
        row = replace(self.snapshot.runs[RunId(run)], **fields)
        self.snapshot = replace(self.snapshot, runs={**self.snapshot.runs, RunId(run): row})

    def drop(self, *indices: int) -> None:
        """It did not happen."""
        gone = set(indices)
        self.events = [event for index, event in enumerate(self.events) if index not in gone]

    def repeat(self, index: int, before: int) -> None:
        """It happened once more, there."""
        self.events.insert(before, self.events[index])

    def move(self, index: int, before: int) -> None:
        """It happened there, and not where it did."""
        event = self.events[index]
        self.events.insert(before, event)
        del self.events[index + 1 if index >= before else index]

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────

    def violations(self) -> list[Violation]:
        """What the checker says."""
        events = [replace(event, seq=seq) for seq, event in enumerate(self.events)]
        return check(Trace(events), self.snapshot)

    def numbers(self) -> set[str]:
        """Of the invariants that the checker says are violated."""
        return {violation.number for violation in self.violations()}


def has(entry_type: type, /, **fields: Any) -> Callable[[Commit, list[Entry]], bool]:
    """Commits that append such an entry."""

    def fits(commit: Commit, entries: Sequence[Entry]) -> bool:
        return any(
            isinstance(entry, entry_type) and all(getattr(entry, name) == value for name, value in fields.items())
            for entry in entries
        )

    return fits


def ends(commit: Commit, entries: Sequence[Entry]) -> bool:
    """Commits with which their run ends."""
    return type(commit.then).__name__ == "Ended"


def claims(event: Event) -> bool:
    """Polls that claim something."""
    return bool(event.data["answer"].claims)
