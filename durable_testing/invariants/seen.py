"""What is seen of a run in a trace: each thing that happened, and how the run's row stood just before."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, final

from durable._model.entries import Entry
from durable.store import (
    Claim,
    Commit,
    Committed,
    Control,
    Controlled,
    Created,
    JournalRow,
    Message,
    MessageId,
    NewRun,
    RunId,
    RunStatus,
    Sent,
    Want,
)
from durable_testing.trace import Event

__all__ = [
    "ActorSeen",
    "AttemptSeen",
    "BirthSeen",
    "BurstSeen",
    "ClaimSeen",
    "CommitSeen",
    "ConsumedSeen",
    "ControlSeen",
    "EntrySeen",
    "Generation",
    "MessageSeen",
    "Move",
    "PollSeen",
    "ReadSeen",
    "SessionSeen",
]

_ROUNDING_SECONDS: Final = 1e-6


@final
@dataclass(slots=True)
class ActorSeen:
    """One process.

    Attributes:
        down: Whether it has been killed or has stopped for good.
        believed_until: True time until which it may believe its lease; what it heard last, counted from when it asked.
        suspended: Its machine was suspended at some time, so that its clocks say little.
        limits: How many runs of each workflow it may hold at once, if the trace says so.
    """

    name: str
    down: bool = False
    believed_until: float = 0.0
    suspended: bool = False
    limits: dict[str, int] = field(default_factory=dict)


@final
@dataclass(slots=True)
class SessionSeen:
    """One worker session.

    Attributes:
        expires_at: Store time at which its lease ends.
        held: Epoch of each run that it owns.
        want: Of its last poll.
        polled_at: True time of its last poll.
    """

    id: str
    actor: ActorSeen
    lease_seconds: float
    expires_at: float = 0.0
    held: dict[RunId, int] = field(default_factory=dict)
    want: Want | None = None
    polled_at: float = 0.0


@final
@dataclass(slots=True)
class EntrySeen:
    """One entry of a journal.

    Attributes:
        event: That wrote it; for one that a rewind has copied, the rewind.
        epoch: Of the commit that wrote it; 0 if an operator settled it.
        copied: It was written in another journal.
    """

    position: int
    at: float
    entry: Entry
    data: bytes
    event: Event
    epoch: int
    copied: bool = False


@final
@dataclass(slots=True)
class Generation:
    """One journal of a run.

    Attributes:
        ended: How it ended, if it did.
        ended_by: The event that ended it.
        outcome: Encoded, if it ended.
    """

    number: int
    entries: list[EntrySeen] = field(default_factory=list)
    ended: RunStatus | None = None
    ended_by: Event | None = None
    outcome: bytes | None = None


@final
@dataclass(slots=True)
class BirthSeen:
    """A start, a child in a commit, or a fork, with the store's answer.

    Attributes:
        creator: The run whose commit it was; None for a client.
        creator_generation: Of the creator, then.
        digest, generation: Of the row after it.
    """

    event: Event
    new: NewRun
    made: Created
    creator: RunId | None = None
    creator_generation: int = 0
    digest: str = ""
    generation: int = 1


@final
@dataclass(slots=True)
class ClaimSeen:
    """A claim that took effect, and how the row stood before it.

    Attributes:
        owner: Who held the run until then, as far as the trace tells; None if nobody did.
        owner_until: Store time at which the owner's lease ended.
        free_from: Store time from which it was claimable again after its last owner was lost; 0 if none was.
    """

    event: Event
    session: SessionSeen
    claim: Claim
    want: Want
    epoch: int
    status: RunStatus
    strikes: int
    position: int
    generation: int
    owner: SessionSeen | None
    owner_until: float
    free_from: float


@final
@dataclass(slots=True)
class CommitSeen:
    """A commit with the store's answer, and how the row stood before it.

    Attributes:
        entries: What it has appended.
        first: For one that was said again: the commit that was applied under this fence.
        status, epoch, seq, position, owner: Of the row before.
    """

    event: Event
    commit: Commit
    answer: Committed
    generation: Generation
    status: RunStatus
    epoch: int
    seq: int
    position: int
    owner: SessionSeen | None
    entries: list[EntrySeen] = field(default_factory=list)
    first: CommitSeen | None = None


@final
@dataclass(slots=True)
class ControlSeen:
    """An operator's verb with its answer.

    Attributes:
        repeated: The same request was answered before.
        after: The row's status after it, as it follows from the trace.
    """

    event: Event
    control: Control
    answer: Controlled
    repeated: bool
    status: RunStatus
    generation: int
    after: RunStatus = RunStatus.PENDING


@final
@dataclass(slots=True)
class MessageSeen:
    """A message, said.

    Attributes:
        answer: Of the store; for a commit's message what it must have been.
        known: Whether the inbox had this id before.
        ended: Whether the receiver had ended.
        order: Its place in the inbox among the accepted, from 1.
        unread: Whether nothing has consumed it, as things stand at the end.
        dropped: A replaced run's: nobody will read it.
        sender: The commit that sent it; None for a client.
        by_store: The store has sent it itself, because it has ended the sender.
    """

    event: Event
    message: Message
    answer: Sent
    known: bool
    ended: bool
    order: int = 0
    unread: bool = True
    dropped: bool = False
    sender: CommitSeen | None = None
    by_store: bool = False


@final
@dataclass(slots=True)
class ConsumedSeen:
    """A message that a commit has read.

    Attributes:
        message: None if the inbox had none of this id.
        again: It had been read before.
        skipped: The oldest unread signal of the same name, if that was another.
    """

    commit: CommitSeen
    id: MessageId
    message: MessageSeen | None
    again: bool
    skipped: MessageSeen | None


@final
@dataclass(slots=True)
class AttemptSeen:
    """One line of the effect ledger: a step's own code began.

    Attributes:
        claim: Under which its worker worked on the run then; None if it held none.
        settled: The outcome of this call that was in the journal already, if one was.
        beside: An attempt of the same call that had begun in the same process and not ended.
        late_seconds: How long its worker could not have believed in its lease any more; at most 0 if it could.
        at_most_once: The ledger says that it must not run twice.
        end: None if it never ended.
    """

    event: Event
    actor: ActorSeen
    run: RunId
    generation: int
    call: str
    number: int
    key: str
    name: str
    claim: ClaimSeen | None
    settled: EntrySeen | None
    beside: AttemptSeen | None
    late_seconds: float
    at_most_once: bool = False
    end: Event | None = None

    @property
    def believed(self) -> bool:
        """Whether its worker could believe that its lease held."""
        return self.late_seconds <= _ROUNDING_SECONDS

    @property
    def epoch(self) -> int:
        """Of the claim; 0 if there was none."""
        return 0 if self.claim is None else self.claim.claim.run.epoch


@final
@dataclass(slots=True)
class Move:
    """A change of status."""

    event: Event
    before: RunStatus
    after: RunStatus
    why: str


@final
@dataclass(slots=True)
class ReadSeen:
    """A page of a journal, as somebody was shown it.

    Attributes:
        generation: The journal; None if the trace knows of none.
        length: Of the journal, then.
    """

    event: Event
    run: RunId
    generation: Generation | None
    rows: tuple[JournalRow, ...]
    length: int


@final
@dataclass(slots=True)
class PollSeen:
    """A poll that took effect.

    Attributes:
        new: Claims that it has made; those of a repeated poll are not among them.
        holding: Runs of its session after it; empty unless the trace tells the worker's limits.
    """

    event: Event
    session: SessionSeen
    want: Want
    new: list[ClaimSeen]
    holding: tuple[RunId, ...] = ()


@final
@dataclass(slots=True)
class BurstSeen:
    """One actor does the same thing again and again, while nothing else happens and no time passes to speak of."""

    event: Event
    actor: str
    what: str
    count: int
