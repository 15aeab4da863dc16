"""What a trace tells, sorted by run: the values that the invariants read. Made by ``reading.read``.

Beside what happened stands how the run's row stood just before, as it follows from the trace alone: the checker keeps
its own small picture of each row, and never asks a store.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from durable.store import (
    ENDED,
    MessageId,
    Parent,
    RunId,
    RunStatus,
)
from durable_testing.invariants.seen import (
    ActorSeen,
    AttemptSeen,
    BirthSeen,
    BurstSeen,
    ClaimSeen,
    CommitSeen,
    ConsumedSeen,
    ControlSeen,
    EntrySeen,
    Generation,
    MessageSeen,
    Move,
    PollSeen,
    ReadSeen,
    SessionSeen,
)
from durable_testing.snapshot import Snapshot
from durable_testing.trace import Event

__all__ = [
    "History",
    "RunSeen",
]


@final
@dataclass(slots=True)
class RunSeen:
    """All that the trace tells of one run; the lower half is its row, as it stands when the trace ends.

    Attributes:
        closings: Commits that said that its children are closed, with those of whom that was not so.
        signals: Unread ones by name, oldest first.
        held: The claim under which each actor works on it, as far as that actor knows.
        by_fence: What was applied, by epoch and seq.
    """

    id: RunId
    generations: dict[int, Generation] = field(default_factory=dict)
    births: list[BirthSeen] = field(default_factory=list)
    claims: list[ClaimSeen] = field(default_factory=list)
    commits: list[CommitSeen] = field(default_factory=list)
    repeats: list[CommitSeen] = field(default_factory=list)
    refusals: list[CommitSeen] = field(default_factory=list)
    controls: list[ControlSeen] = field(default_factory=list)
    messages: list[MessageSeen] = field(default_factory=list)
    attempts: list[AttemptSeen] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    consumed: list[ConsumedSeen] = field(default_factory=list)
    closings: list[tuple[CommitSeen, list[RunSeen]]] = field(default_factory=list)
    children: list[RunSeen] = field(default_factory=list)

    status: RunStatus = RunStatus.PENDING
    generation: Generation = field(default_factory=lambda: Generation(1))
    epoch: int = 0
    seq: int = 0
    at: float = 0.0
    owner: SessionSeen | None = None
    strikes: int = 0
    free_from: float = 0.0
    digest: str = ""
    workflow: str = ""
    parent: Parent | None = None
    replaced_by: str | None = None
    terminated: bool = False
    inbox: dict[MessageId, MessageSeen] = field(default_factory=dict)
    signals: dict[str, dict[MessageId, MessageSeen]] = field(default_factory=dict)
    values: dict[str, bytes] = field(default_factory=dict)
    requests: set[str] = field(default_factory=set)
    held: dict[str, ClaimSeen] = field(default_factory=dict)
    settled: dict[tuple[int, str], EntrySeen] = field(default_factory=dict)
    open_attempts: dict[tuple[str, int, str], AttemptSeen] = field(default_factory=dict)
    by_fence: dict[tuple[int, int], CommitSeen] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether it has reached an end."""
        return self.status in ENDED


@final
@dataclass(slots=True)
class History:
    """What a trace and a snapshot tell together.

    Attributes:
        gone: Runs that were purged, and whose id was used again.
        purged: How many runs purges have deleted.
        acked: Store operations whose caller has heard of their success.
        pending: Operations from before the quiet that have not come to an end, with their actors: a delay goes on.
        quiet: From which event on nothing went wrong any more.
        end_at: True time of the last event.
        ledger: Whether the trace holds an effect ledger at all.
    """

    snapshot: Snapshot
    runs: dict[RunId, RunSeen] = field(default_factory=dict)
    sessions: dict[str, SessionSeen] = field(default_factory=dict)
    actors: dict[str, ActorSeen] = field(default_factory=dict)
    reads: list[ReadSeen] = field(default_factory=list)
    polls: list[PollSeen] = field(default_factory=list)
    bursts: list[BurstSeen] = field(default_factory=list)
    attempts: list[AttemptSeen] = field(default_factory=list)
    gone: list[RunSeen] = field(default_factory=list)
    purged: int = 0
    acked: set[int] = field(default_factory=set)
    pending: dict[int, str] = field(default_factory=dict)
    quiet: Event | None = None
    end_at: float = 0.0
    ledger: bool = False

    def run(self, id: RunId) -> RunSeen:
        """One run; one that nobody has created is made up, and I17 tells."""
        found = self.runs.get(id)
        if found is None:
            found = self.runs[id] = RunSeen(id)
            found.generations[1] = found.generation
        return found
