"""A commit: the one way in which a worker writes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from durable._model.ids import MessageId, RunId
from durable._model.messages import Message
from durable._model.runs import Created, NewRun, RunStatus, Wait

__all__ = [
    "Blocked",
    "Closed",
    "Commit",
    "Committed",
    "Continued",
    "DeadLetter",
    "Emit",
    "Ended",
    "Part",
    "Paused",
    "Released",
    "Rewound",
    "Running",
    "Then",
    "Verdict",
    "Waiting",
]


@dataclass(frozen=True, slots=True)
class Running:
    """The worker keeps the run."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing to do until ``wake_at`` or a message: the run gives up its owner and its slot.

    Attributes:
        wake_at: Store time, seconds since the epoch; None if only a message can wake it.
        seen: Inbox seq up to which this worker has seen messages. If a later unread one exists, the store makes the
            run claimable at once, in the same transaction: no lost wake-up (B1, B2).
    """

    wake_at: float | None
    seen: int


@dataclass(frozen=True, slots=True)
class Released:
    """The worker gives the run back without being done (drain); claimable at once, and no strike against it."""


@dataclass(frozen=True, slots=True)
class Paused:
    """An operator's pause was carried out; only resume (or cancel, terminate) moves it on."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """The run cannot go on without a person or a deploy."""

    kind: str
    reason: str
    call: str | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """The run has ended. Its unread messages stay readable; its children are closed next.

    Attributes:
        status: Completed, failed or cancelled.
        outcome: Encoded result or error, opaque.
        error: One line for lists; None when completed.
        keep_seconds: Purgeable this long after its end; None: kept until somebody purges.
        closing: Whether it may have open children or an ``on_complete``.
    """

    status: RunStatus
    outcome: bytes
    error: str | None = None
    keep_seconds: float | None = None
    closing: bool = False


@dataclass(frozen=True, slots=True)
class Continued:
    """The run begins anew as its next generation: same id, unread signals and stream offsets kept, journal empty.

    Attributes:
        digest: The row's from now on. The engine leaves it that of the start, so that a repeat of it is known.
    """

    workflow: str
    version: str | None
    input: bytes
    digest: str
    seed: str
    delay_seconds: float = 0.0
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Rewound:
    """A retry or fork is carried out: this generation's journal becomes a selection of another journal's entries.

    Allowed only at position 0 of a run with a ``rewind`` order, which it clears. The copied entries keep their data
    and their ``at`` and are numbered anew. Nothing else may be in the same commit.

    Attributes:
        source: The run to copy from (the same run for a retry).
        generation: Of the source.
        keep: Positions to copy, ascending.
        flushed: For the new journal.
        unread: Messages of this run that become unread again, because what consumed them was cut off.
    """

    source: RunId
    generation: int
    keep: tuple[int, ...]
    flushed: tuple[int, int]
    unread: tuple[MessageId, ...] = ()


@dataclass(frozen=True, slots=True)
class Closed:
    """The closing of children is done (for a live run: go on as Running; for an ended one: give it up).

    Attributes:
        keep_seconds: Of an ended run whose end did not say so, because the store itself ended it: purgeable this long
            after its end. None: kept until somebody purges.
    """

    keep_seconds: float | None = None


Then = Running | Waiting | Released | Paused | Blocked | Ended | Continued | Rewound | Closed


@dataclass(frozen=True, slots=True)
class Emit:
    """One item of a durable stream; the store allots its offset 0, 1, 2, ... per run and stream."""

    stream: str
    item: bytes


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that nobody can read: consumed without an entry, and visible with its reason."""

    id: MessageId
    reason: str


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a payload stored once per run by the hash of its content."""

    hash: str
    data: bytes


@dataclass(slots=True)  # not frozen, like entries: a frozen one of this size costs as much as the write itself
class Commit:
    """One atomic, fenced write: applied whole, or not at all. Nobody changes one that has been handed over.

    Attributes:
        run: The run it writes.
        epoch: The claim's fencing token.
        seq: Which commit of this epoch it is, 0, 1, 2, ...; the same seq said twice is applied once.
        position: Entries in the journal as this worker knows it.
        append: Encoded entries, in order; the store does not look inside them.
        then: What becomes of the run.
        flushed: Fire-and-forget commands included so far, this commit's own counted (see ``RunRecord.flushed``);
            None leaves it as it is.
        consumed: Messages of this run that its entries were made of.
        dead: Messages of this run that nobody can read.
        messages: To other runs; a receiver that is missing or ended, or a repeated id, is no error.
        children: Runs to create; one whose id exists is left alone and reported.
        values: Key and encoded value of ``ctx.set``; later ones win.
        emits: Stream items, in order.
        parts: Payload parts by hash.
        waits: The new summary; None leaves it as it is.
        not_before: Store time before which this must not be applied (a timer's due time).
    """

    run: RunId
    epoch: int
    seq: int
    position: int
    append: tuple[bytes, ...] = ()
    then: Then = Running()
    flushed: tuple[int, int] | None = None
    consumed: tuple[MessageId, ...] = ()
    dead: tuple[DeadLetter, ...] = ()
    messages: tuple[Message, ...] = ()
    children: tuple[NewRun, ...] = ()
    values: tuple[tuple[str, bytes], ...] = ()
    emits: tuple[Emit, ...] = ()
    parts: tuple[Part, ...] = ()
    waits: tuple[Wait, ...] | None = None
    not_before: float | None = None

    def __post_init__(self) -> None:
        assert self.epoch > 0
        assert self.seq >= 0
        assert self.position >= 0

    @property
    def alone(self) -> bool:
        """Whether it writes the run's row and journal and nothing else, as nearly all do."""
        return not (
            self.consumed or self.dead or self.messages or self.children or self.values or self.emits or self.parts
        )


class Verdict(StrEnum):
    """The store's answer to one commit."""

    APPLIED = "applied"
    ALREADY_APPLIED = "already_applied"
    LEASE_LOST = "lease_lost"  # epoch, seq or position is not the run's; nothing written
    NOT_DUE = "not_due"  # before ``not_before``; nothing written


@dataclass(slots=True)
class Committed:
    """One answer.

    Attributes:
        at: The stamp of the commit, never below the run's last; the same on a repeat. 0.0 if nothing was written.
        now: Store time of the answer.
        children: One per child run of the commit, on a repeat too: the row as it stands, so that the worker can tell
            its own child from a stranger with the same id. Empty if nothing was written.
    """

    verdict: Verdict
    at: float = 0.0
    now: float = 0.0
    children: tuple[Created, ...] = ()
