"""What a worker asks of a store, and what it is handed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from durable._model.defaults import CRASH_BUDGET, LEASE_SECONDS, LONELY_AFTER
from durable._model.ids import RunId, SessionId
from durable._model.messages import InboxMessage
from durable._model.runs import Lane, RunRecord

__all__ = ["Claim", "Held", "Poll", "SessionRecord", "Want", "WorkerSession"]

IN_PROCESS: Final = {"in_process": True}  # between a worker and a store of one process: it never travels


@dataclass(frozen=True, slots=True)
class WorkerSession:
    """A worker process as the store knows it.

    Attributes:
        id: Fresh for each start of a worker.
        name: For people: host and process id.
        lease_seconds: Its runs are free this long after its last sign of life.
        registered: (workflow, version) pairs it can run, for ``runs why``.
        queues: It reads.
    """

    id: SessionId
    name: str
    lease_seconds: float = LEASE_SECONDS
    registered: tuple[tuple[str, str], ...] = ()
    queues: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Held:
    """A claim that the worker has received and still works on.

    Attributes:
        seen: Inbox seq up to which it has been given this run's messages.
    """

    run: RunId
    epoch: int
    seen: int = 0


@dataclass(frozen=True, slots=True)
class Want:
    """One poll.

    Attributes:
        poll_id: Made by the worker; said again after a lost answer, it gets the same claims and no others.
        lanes: Of this worker.
        limit: New claims at most; 0 to only reconcile.
        held: Every claim the worker works on. A run that the session owns and that is not named here is released
            (unless it was claimed under this same ``poll_id``): its answer was lost.
        crash_budget: Lonely claims without progress before a run is blocked.
        lonely_after: Claims without progress before a run is claimed lonely.
        idle_lease_seconds: How long the lease may run instead, if the session holds nothing after this poll: it keeps
            nobody waiting then, and is only a sign of life. A store may leave it at ``lease_seconds``.
        ahead: It follows a write of the same process that may give this worker something to do, and is best answered
            in the same transaction.
    """

    poll_id: str
    lanes: tuple[Lane, ...]
    limit: int
    held: tuple[Held, ...] = ()
    crash_budget: int = CRASH_BUDGET
    lonely_after: int = LONELY_AFTER
    idle_lease_seconds: float | None = None
    ahead: bool = field(default=False, metadata=IN_PROCESS)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write a run, and what is needed to begin. Its next commit has seq 0.

    The journal is read apart (``Store.journal``), since most claims find it empty or cached.

    Attributes:
        run: The row after the claim: status RUNNING, ``epoch`` raised, version pinned. An ended run is claimed from
            the closing lane, keeps its status, and has ``closing`` set.
        input: Encoded arguments of this generation.
        messages: Unread ones, in arrival order, at most 1,000 (more come with later polls).
        lonely: Several claims made no progress; execute it alone, so that it cannot take neighbours down with it.
    """

    run: RunRecord
    input: bytes
    messages: tuple[InboxMessage, ...] = ()
    lonely: bool = False


@dataclass(frozen=True, slots=True)
class Poll:
    """The answer to one poll.

    Attributes:
        now: Store time.
        claims: New ones. Of lonely claims there is at most one per poll.
        messages: Unread messages of held runs, with a seq above ``Held.seen``.
        lost: Held runs that this session does not own (any more) at that epoch.
        next_due_at: The earliest instant at which something in these lanes becomes claimable; None if nothing will
            by itself. Not after now if more is claimable already than was asked for.
        fresh: Every hint that was given in this process until now was of something that this poll has seen.
    """

    now: float
    claims: tuple[Claim, ...] = ()
    messages: tuple[InboxMessage, ...] = ()
    lost: tuple[RunId, ...] = ()
    next_due_at: float | None = None
    fresh: bool = field(default=False, metadata=IN_PROCESS)


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A worker session, living or dead.

    Attributes:
        expires_at: Store time; before now: dead.
        alive: ``expires_at`` is ahead and its process is not proven dead.
    """

    id: SessionId
    name: str
    registered: tuple[tuple[str, str], ...]
    queues: tuple[str, ...]
    started_at: float
    seen_at: float
    expires_at: float
    alive: bool
    held: int = 0
