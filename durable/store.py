"""The seam: everything the engine asks of a place where runs, journals and inboxes live.

People who never met implement this protocol, so it says what matters and leaves the rest open. In short:

* Batches everywhere; one bad item never fails its neighbours. Expected outcomes come back as values, in order;
  surprises are raised as ``StoreError`` (``Transient``: nothing was written; ``OutcomeUnknown``: say it again).
* Every call may be repeated with the same ids and is then applied once.
* The store is the clock: durations go in, store time comes out. Due times and leases are store time.
* Entries, payloads and orders are opaque bytes. List cursors are opaque. No operation needs a scan.
* Row counts decide, never an earlier read: each worker write is fenced by (epoch, seq, position).

``durable_testing.conformance`` holds the tests that every adapter passes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from durable._model.claims import Claim, Held, Poll, SessionRecord, Want, WorkerSession
from durable._model.commits import (
    Blocked,
    Closed,
    Commit,
    Committed,
    Continued,
    DeadLetter,
    Emit,
    Ended,
    Part,
    Paused,
    Released,
    Rewound,
    Running,
    Then,
    Verdict,
    Waiting,
)
from durable._model.controls import (
    Cancel,
    Control,
    Controlled,
    Fork,
    Pause,
    Resume,
    Retry,
    Settle,
    Terminate,
    Verb,
    VerbOutcome,
)
from durable._model.defaults import (
    COMMIT_BYTES_MAX,
    COMMIT_ITEMS_MAX,
    NAME_BYTES_MAX,
    PAGE_SIZE_MAX,
    PAYLOAD_BYTES_MAX,
    UNREAD_SIGNALS_MAX,
)
from durable._model.ids import CallId, MessageId, RunId, SessionId
from durable._model.messages import InboxMessage, Message, MessageKind, Sent
from durable._model.privacy import shown_url
from durable._model.reads import JournalPage, JournalRow, PurgeQuery, RecordRow, RunPage, RunQuery, StreamPage
from durable._model.rhythm import Rhythm
from durable._model.runs import (
    CLOSING_LANE,
    ENDED,
    TRANSITIONS,
    Created,
    Creation,
    Lane,
    NewRun,
    OnParentClose,
    Parent,
    RunRecord,
    RunStatus,
    Wait,
    WaitKind,
)

__all__ = [
    "CLOSING_LANE",
    "COMMIT_BYTES_MAX",
    "COMMIT_ITEMS_MAX",
    "ENDED",
    "NAME_BYTES_MAX",
    "PAGE_SIZE_MAX",
    "PAYLOAD_BYTES_MAX",
    "TRANSITIONS",
    "UNREAD_SIGNALS_MAX",
    "Blocked",
    "CallId",
    "Cancel",
    "Claim",
    "Closed",
    "Commit",
    "Committed",
    "Continued",
    "Control",
    "Controlled",
    "Created",
    "Creation",
    "DeadLetter",
    "Emit",
    "Ended",
    "Fork",
    "Held",
    "InboxMessage",
    "JournalPage",
    "JournalRow",
    "Lane",
    "Message",
    "MessageId",
    "MessageKind",
    "NewRun",
    "OnParentClose",
    "Parent",
    "Part",
    "Pause",
    "Joining",
    "Paced",
    "Paused",
    "Poll",
    "PurgeQuery",
    "RecordRow",
    "Released",
    "Resume",
    "Retry",
    "Rewound",
    "Rhythm",
    "RunId",
    "RunPage",
    "RunQuery",
    "RunRecord",
    "RunStatus",
    "Running",
    "Sent",
    "SessionId",
    "SessionRecord",
    "Settle",
    "Store",
    "StreamPage",
    "Terminate",
    "Then",
    "Upkeep",
    "Verb",
    "VerbOutcome",
    "Verdict",
    "Wait",
    "WaitKind",
    "Waiting",
    "Want",
    "WorkerSession",
    "shown_url",
]


class Store(Protocol):
    """Where runs live. Implemented by adapters, driven by ``durable._engine`` alone."""

    # ── lifecycle ────────────────────────────────────────────────────────────────────────────────────────────────

    async def open(self) -> None:
        """Connect, create or migrate what is missing. Called once, before anything else.

        Raises:
            Corrupt: What is there is damaged, foreign or newer; it was not changed.
            ReadOnly, Transient: It cannot be opened now.
        """
        ...

    async def close(self) -> None:
        """Let go of everything: threads, files, locks. Safe to call twice, and after a failed ``open``."""
        ...

    def dedicated(self) -> Store:
        """An unopened store on the same data, for another thread with its own event loop (the heartbeat)."""
        ...

    def changes(self) -> AsyncIterator[None]:
        """Wake-up hints: yields when something may be claimable, readable or ended. Never the correctness path.

        Hints of this process's own writes come at once; those of other processes as soon as the store can tell.
        Several changes may come as one. Commits that only keep a run ``Running`` and send nothing give no hint.
        The iterator ends when the store is closed.
        """
        ...

    @property
    def hinted(self) -> bool:
        """Whether ``changes`` also tells of other processes' writes, so that polls may be rare."""
        ...

    # ── runs and workers ─────────────────────────────────────────────────────────────────────────────────────────

    async def create(self, runs: Sequence[NewRun]) -> Sequence[Created]:
        """Create runs, idempotent by id (invariants I17, I19).

        A new row is PENDING, generation 1, epoch 0, due at now + ``delay_seconds``. An existing row is left alone and
        reported, unless ``replace`` is set and differs from the request id that last replaced it: then a live run is
        ended (its owner fenced out by a raised epoch), unread messages and values are dropped, and the row begins its
        next generation PENDING with the new input, seed, digest, labels and lane (and parent call, if the parent is the
        same run), ``closing`` set if it had children.
        """
        ...

    async def poll(self, session: WorkerSession, want: Want) -> Poll:
        """Renew the session, reconcile what it holds, and claim due runs (invariants I4, I5; rules 1, 8, 9, 10, 11).

        In one transaction: (1) the session's lease runs for ``lease_seconds`` from now (or for ``idle_lease_seconds``,
        where the store likes, if the session holds nothing in the end); (2) sessions that have expired or are proven
        dead lose their runs: these become claimable, at once while ``strikes`` < ``lonely_after``, else after a
        back-off of ``min(60, 2 ** (strikes - lonely_after))`` seconds; (3) runs of this session that ``held`` does not
        name are released likewise, but without a strike; (4) due runs (``due_at`` <= now, status PENDING, RUNNING or
        WAITING, and closing ones from ``CLOSING_LANE``) are claimed: aged ones (due over 60 s ago) first, then higher
        priority, then earlier ``due_at``; epoch + 1 (and above every epoch that a purged run had: an id may come again,
        its workers' commits may not), seq 0, owner set, strikes + 1, ``due_at`` None, ``started_at`` and ``at`` stamped
        if this generation had none, version pinned.

        A run whose strikes have reached ``lonely_after`` is claimed lonely, one per poll at most; one whose strikes
        have reached ``lonely_after + crash_budget`` becomes BLOCKED (``crash_budget``) instead of being claimed.
        Claims of closing runs count no strikes and set no status.
        The same ``poll_id`` as in this session's last poll returns that poll's claims again, as they now stand.
        """
        ...

    async def renew(self, session: WorkerSession) -> bool:
        """Heartbeat: the session's lease runs for ``lease_seconds`` from now. False if it had expired and lost runs,
        until a poll whose ``held`` names none of them shows that the session knows.

        Need not survive a power loss. Called from the heartbeat's own thread, on a ``dedicated`` store.
        """
        ...

    async def leave(self, session: SessionId) -> None:
        """The worker goes: whatever it still holds is claimable at once, no strike counted. Its record stays."""
        ...

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        """Apply each commit atomically; one that is refused does not touch its neighbours (I1, I2, I4, I8; rule 2).

        Order of checks: no such run, or ``epoch`` not the run's: LEASE_LOST. ``seq`` below the stored one:
        ALREADY_APPLIED with the first answer (``at`` included), also after a commit that gave the run up. ``seq``
        above, no owner, or ``position`` not the journal's length: LEASE_LOST; likewise an append to an ended run, and
        any ``then`` but Running, Released or Closed on one. Now before ``not_before``: NOT_DUE. Otherwise applied,
        durably: ``at`` = max(now, the run's last ``at``) is stored with each appended entry and in the row, seq + 1,
        position + len(append), and everything else the commit names, in one transaction. An applied commit that
        appends, or whose ``then`` is neither Running nor Released, sets strikes to 0; Released takes back its own
        claim's strike. Order inside a commit: children, messages, then ``then``; its signals are accepted over the
        inbox limit.

        What ``then`` does: Running keeps the owner. Waiting: status WAITING, no owner, ``due_at`` = ``wake_at``, or now
        if an unread message with seq > ``seen`` exists. Released: WAITING, no owner, due now. Paused, Blocked: that
        status, no owner, not due; but Paused with a ``consumed`` message that is read already (a resume has taken the
        pause back): WAITING, due now. Ended: that status, ``ended_at``, no owner, not due unless ``closing``, which
        moves
        it to ``CLOSING_LANE``, due now. Continued: generation + 1, position 0, flushed (0, 0), PENDING, no owner, due
        after the delay, ``started_at`` None, waits empty, moved to the lane of the new workflow and version; the old
        generation's journal is kept until purge. Rewound: see there; payload parts of another
        source come along; the owner keeps the run, position = what was copied, ``at`` = the last copied entry's or
        ``started_at``. Closed: ``closing`` False; on an ended run: no
        owner, not due, and its ``keep_seconds`` if the run's end gave none.
        """
        ...

    async def send(self, messages: Sequence[Message]) -> Sequence[Sent]:
        """Put messages into inboxes, durably before the answer (I6). A WAITING run without owner becomes due now."""
        ...

    async def control(self, controls: Sequence[Control]) -> Sequence[Controlled]:
        """Carry out operator verbs, each a transition of the state graph, idempotent by (run, request_id).

        Cancel: never claimed (epoch 0), BLOCKED, or PENDING in a generation that has not started: ended CANCELLED at
        once with the verb's ``outcome`` (closing, and telling a parent that awaits it); ended: ALREADY if cancelled,
        else NOT_ALLOWED; otherwise a CANCEL message with id ``cancel/{generation}``, ASKED (a PAUSED run becomes
        WAITING and due), a second one ALREADY.
        Terminate: any live run ends CANCELLED, ``terminated``, epoch + 1, owner gone; then as for Ended. The store
        itself sends the RESULT message to a parent that awaits it (id ``result/{run}/{generation}``, name = the call,
        payload = ``outcome``).
        Pause: owned: a PAUSE message with id ``pause/{request_id}``, ASKED, a second unread one ALREADY; otherwise
        PAUSED at once, remembering nothing but that it is paused; BLOCKED or ended: NOT_ALLOWED.
        Resume: PAUSED or BLOCKED becomes PENDING (epoch 0) or WAITING, due now, strikes 0, blocked cleared; running
        with an unread PAUSE message: that message is consumed, DONE; live otherwise: ALREADY. Retry: ended only:
        generation + 1, PENDING, due now, ``rewind`` = order, position 0, flushed (0, 0), ``started_at`` kept,
        ``closing`` set, outcome and error cleared, unread pauses consumed, same input and seed.
        Fork: creates the new run with this run's input, seed, digest and (if the new run names none) version, and
        ``rewind`` = order, ``started_at`` = this run's. Settle: BLOCKED only, no open ``rewind``, position must fit:
        the entry is appended, WAITING, due now.
        """
        ...

    # ── reads ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def now(self) -> float:
        """Store time, seconds since the epoch."""
        ...

    async def get(self, runs: Sequence[RunId]) -> Sequence[RunRecord | None]:
        """The rows, in order; None for those that do not exist."""
        ...

    async def input(self, run: RunId) -> bytes | None:
        """The encoded input of the current generation; None if there is no such run."""
        ...

    async def outcome(self, run: RunId) -> bytes | None:
        """The encoded outcome of an ended run; None if it has not ended or does not exist."""
        ...

    async def list(self, query: RunQuery, limit: int = 100, cursor: str | None = None) -> RunPage:
        """Newest first, at most ``limit`` (1 to 1,000) per page.

        Raises:
            InvalidInput: The cursor is not one of this store's, or the limit is out of range.
        """
        ...

    async def count(self, query: RunQuery) -> int:
        """How many runs match."""
        ...

    async def journal(self, run: RunId, generation: int, start: int = 0, limit: int = PAGE_SIZE_MAX) -> JournalPage:
        """Entries of one generation from position ``start`` on."""
        ...

    async def messages(
        self, run: RunId, after: int = 0, limit: int = PAGE_SIZE_MAX, unread_only: bool = True
    ) -> Sequence[InboxMessage]:
        """The inbox in arrival order, from seq ``after`` + 1 on."""
        ...

    async def values(self, run: RunId) -> Mapping[str, bytes]:
        """What the run has ``ctx.set``, by key."""
        ...

    async def stream(self, run: RunId, name: str, start: int = 0, limit: int = PAGE_SIZE_MAX) -> StreamPage:
        """Items of a durable stream from offset ``start`` on. Offsets go on over generations."""
        ...

    async def parts(self, run: RunId, hashes: Sequence[str]) -> Mapping[str, bytes]:
        """Payload parts by hash; absent ones are left out."""
        ...

    async def sessions(self) -> Sequence[SessionRecord]:
        """Every worker session the store remembers (the dead for at least a day), newest first."""
        ...

    async def purge(self, query: PurgeQuery) -> int:
        """Delete ended, fully closed runs with everything of theirs; returns how many. Call until it is 0."""
        ...

    async def check(self) -> Sequence[str]:
        """Look the store over; one line per problem found, none if it is sound."""
        ...

    async def stats(self) -> Mapping[str, int]:
        """Figures for people: runs by status (``runs.waiting``), rows (``entries``, ``messages``), ``bytes``."""
        ...

    # ── a small key-value side table ─────────────────────────────────────────────────────────────────────────────

    async def put_record(
        self, kind: str, key: str, value: bytes, *, expect: int | None = None, keep_seconds: float | None = None
    ) -> RecordRow | None:
        """Put a record; with ``expect`` only if its version is that (0: only if absent). None if it was not.

        Expired records are absent. Durable before the answer.
        """
        ...

    async def get_record(self, kind: str, key: str) -> RecordRow | None:
        """One record, if it is there and not expired."""
        ...

    async def list_records(self, kind: str, after: str = "", limit: int = 100) -> Sequence[RecordRow]:
        """Records of a kind with key > ``after``, by key."""
        ...

    async def delete_record(self, kind: str, key: str) -> bool:
        """Delete; whether there was one."""
        ...


@runtime_checkable
class Upkeep(Protocol):
    """What a store may offer beyond ``Store``: ``durable db gc`` uses it where it is there."""

    async def purgeable(self, query: PurgeQuery) -> Mapping[RunStatus, int]:
        """How many runs ``purge`` would delete now, by status, over all batches (``limit`` says nothing here).

        Nothing is changed. Statuses without such a run may be left out.
        """
        ...

    async def shrink(self, bytes_max: int) -> int:
        """Give room that purged runs have left back to the file system, about so much of it at a time.

        It is a short write like any other, so that workers may go on.

        Returns:
            Bytes given back; call until it is 0.
        """
        ...


@runtime_checkable
class Joining(Protocol):
    """A store in which a poll that is asked for right behind a write joins its transaction, if that has not begun.

    Workers of the same process then poll together with starts and messages (``Want.ahead``).
    """

    def work(self) -> AsyncIterator[None]:
        """As ``changes``, for workers: not each hint at what only readers may care about, as the end of a run is."""
        ...


@runtime_checkable
class Paced(Protocol):
    """A store whose calls cost money, or that must be spared, says how often it wants to be spoken to."""

    @property
    def rhythm(self) -> Rhythm:
        """Always the same."""
        ...
