"""The mutable rows behind the frozen values: cheap to change, copied out on every read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

from durable.store import (
    CLOSING_LANE,
    ENDED,
    Controlled,
    InboxMessage,
    JournalRow,
    Message,
    MessageId,
    MessageKind,
    NewRun,
    Parent,
    RunId,
    RunRecord,
    RunStatus,
    SessionId,
    SessionRecord,
    Wait,
    WorkerSession,
)

__all__ = ["Letter", "Run", "Session", "lane_key"]


def lane_key(queue: str, workflow: str, version: str | None) -> str:
    """The same text as ``Lane.key``, without building a Lane."""
    return f"{queue}\x1f{workflow}\x1f{'' if version is None else version}"


@final
class Letter:
    """One message in an inbox."""

    __slots__ = ("at", "consumed", "dead", "message", "seq")

    def __init__(self, message: Message, seq: int, at: float) -> None:
        self.message = message
        self.seq = seq
        self.at = at
        self.consumed = False
        self.dead: str | None = None

    def read(self) -> InboxMessage:
        return InboxMessage(self.message, self.seq, self.at, self.consumed, self.dead)


@final
class Run:
    """A run's row with everything that belongs to it."""

    __slots__ = (
        "at",
        "blocked",
        "blocked_call",
        "blocked_kind",
        "closing",
        "created_at",
        "digest",
        "due_at",
        "ended_at",
        "epoch",
        "error",
        "flushed",
        "generation",
        "id",
        "input",
        "journal",
        "journals",
        "keep_seconds",
        "labels",
        "lane",
        "letters",
        "letters_by_id",
        "on_complete",
        "outcome",
        "owner",
        "parent",
        "parts",
        "priority",
        "queue",
        "replaced_by",
        "requests",
        "rewind",
        "seed",
        "serial",
        "stamps",
        "started_at",
        "status",
        "streams",
        "strikes",
        "terminated",
        "ticket",
        "tries",
        "unread",
        "unread_signals",
        "values",
        "version",
        "waits",
        "workflow",
    )

    def __init__(self, new: NewRun, serial: int, now: float) -> None:
        self.id: RunId = new.id
        self.serial = serial  # order of creation; breaks ties between equal due times
        self.ticket = 0  # of this row's valid place in the due index; older places are void
        self.generation = 1
        self.epoch = 0
        self.created_at = now
        self.at = now
        self.owner: SessionId | None = None
        self.due_at: float | None = None
        self.parent: Parent | None = new.parent
        self.closing = False
        self.replaced_by = new.replace
        self.stamps: list[float] = []  # ``at`` of each commit of this epoch; its length is the seq that fits next
        self.requests: dict[str, Controlled] = {}
        self.journal: list[tuple[float, bytes]] = []
        self.journals = {1: self.journal}
        self.letters: list[Letter] = []  # seq - 1 is the place
        self.letters_by_id: dict[MessageId, Letter] = {}
        self.unread: dict[int, Letter] = {}  # by seq, ascending
        self.unread_signals = 0
        self.values: dict[str, bytes] = {}
        self.streams: dict[str, list[bytes]] = {}
        self.parts: dict[str, bytes] = {}
        self.begin(new)

    def begin(self, new: NewRun) -> None:
        """Set what a fresh generation, made by create or replace, takes from the starter."""
        self.workflow = new.workflow
        self.version = new.version
        self.queue = new.queue
        self.priority = new.priority
        self.input = new.input
        self.digest = new.digest
        self.seed = new.seed
        self.labels = dict(new.labels)
        self.on_complete = new.on_complete
        self.flushed: tuple[int, int] = (0, 0)
        self.strikes = 0
        self.tries = 0
        self.waits: tuple[Wait, ...] = ()
        self.started_at: float | None = None
        self.rewind: bytes | None = None
        self.clear_blocked()
        self.revive()

    def revive(self) -> None:
        """PENDING and in its own lane, nothing left of an end."""
        self.status = RunStatus.PENDING
        self.outcome: bytes | None = None
        self.error: str | None = None
        self.ended_at: float | None = None
        self.keep_seconds: float | None = None
        self.terminated = False
        self.lane = lane_key(self.queue, self.workflow, self.version)

    def clear_blocked(self) -> None:
        self.blocked: str | None = None
        self.blocked_kind: str | None = None
        self.blocked_call: str | None = None

    def next_generation(self) -> None:
        """An empty journal under the next number; the old one is kept."""
        self.generation += 1
        self.journal = []
        self.journals[self.generation] = self.journal
        self.flushed = (0, 0)
        self.waits = ()

    def raise_epoch(self) -> None:
        self.epoch += 1
        self.stamps = []

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    def pin(self, version: str | None) -> None:
        """The first claim of an unversioned run decides its version, and with it its lane."""
        if self.version is None and version is not None:
            self.version = version
            self.lane = lane_key(self.queue, self.workflow, version)

    def enter_closing_lane(self) -> None:
        self.lane = CLOSING_LANE.key

    # ── the inbox ────────────────────────────────────────────────────────────────────────────────────────────────

    def receive(self, message: Message, now: float) -> None:
        letter = Letter(message, len(self.letters) + 1, now)
        self.letters.append(letter)
        self.letters_by_id[message.id] = letter
        self.unread[letter.seq] = letter
        self.unread_signals += message.kind is MessageKind.SIGNAL

    def consume(self, id: MessageId, dead: str | None = None) -> bool:
        letter = self.letters_by_id.get(id)
        if letter is None or letter.consumed:
            return False
        letter.consumed = True
        letter.dead = dead
        del self.unread[letter.seq]
        self.unread_signals -= letter.message.kind is MessageKind.SIGNAL
        return True

    def unconsume(self, ids: Iterable[MessageId]) -> None:
        for id in ids:
            letter = self.letters_by_id.get(id)
            if letter is None or not letter.consumed:
                continue
            letter.consumed = False
            letter.dead = None
            self.unread[letter.seq] = letter
            self.unread_signals += letter.message.kind is MessageKind.SIGNAL
        self.unread = dict(sorted(self.unread.items()))

    def unread_after(self, seq: int, limit: int) -> list[InboxMessage]:
        """Unread messages with a seq above ``seq``, in order, at most ``limit``."""
        if len(self.letters) <= seq:
            return []
        found: list[InboxMessage] = []
        for letter in self.unread.values():
            if letter.seq > seq:
                found.append(letter.read())
                if len(found) == limit:
                    break
        return found

    def has_unread_after(self, seq: int) -> bool:
        return len(self.letters) > seq and any(unread > seq for unread in self.unread)

    # ── reads ────────────────────────────────────────────────────────────────────────────────────────────────────

    def rows(self, generation: int, start: int, limit: int) -> tuple[tuple[JournalRow, ...], int | None]:
        journal = self.journals.get(generation, [])
        found = tuple(JournalRow(start + n, at, data) for n, (at, data) in enumerate(journal[start : start + limit]))
        end = start + len(found)
        return found, end if end < len(journal) else None

    def record(self) -> RunRecord:
        return RunRecord(
            id=self.id,
            workflow=self.workflow,
            version=self.version,
            queue=self.queue,
            priority=self.priority,
            status=self.status,
            generation=self.generation,
            epoch=self.epoch,
            position=len(self.journal),
            flushed=self.flushed,
            strikes=self.strikes,
            tries=self.tries,
            seed=self.seed,
            digest=self.digest,
            created_at=self.created_at,
            started_at=self.started_at,
            at=self.at,
            ended_at=self.ended_at,
            due_at=self.due_at,
            owner=self.owner,
            labels=dict(self.labels),
            parent=self.parent,
            on_complete=self.on_complete,
            waits=self.waits,
            blocked=self.blocked,
            blocked_kind=self.blocked_kind,
            blocked_call=self.blocked_call,
            error=self.error,
            terminated=self.terminated,
            closing=self.closing,
            rewind=self.rewind,
        )


@final
class Session:
    """A worker session, and what it holds."""

    __slots__ = (
        "expires_at",
        "held",
        "id",
        "lanes",
        "last_claims",
        "last_poll",
        "lost_runs",
        "name",
        "queues",
        "registered",
        "seen_at",
        "started_at",
    )

    def __init__(self, session: WorkerSession, now: float) -> None:
        self.id = session.id
        self.started_at = now
        self.held: dict[RunId, Run] = {}
        self.lanes: dict[str, int] = {}  # how many of ``held`` are of which lane
        self.last_poll: str | None = None
        self.last_claims: list[tuple[RunId, int, bool]] = []  # (run, epoch, lonely) of ``last_poll``
        self.lost_runs = False  # it expired, runs were taken from it, and no poll since shows that it knows
        self.beat(session, now)

    def beat(self, session: WorkerSession, now: float) -> None:
        self.name = session.name
        self.registered = session.registered
        self.queues = session.queues
        self.seen_at = now
        self.expires_at = now + session.lease_seconds

    def record(self, now: float) -> SessionRecord:
        return SessionRecord(
            id=self.id,
            name=self.name,
            registered=self.registered,
            queues=self.queues,
            started_at=self.started_at,
            seen_at=self.seen_at,
            expires_at=self.expires_at,
            alive=self.expires_at > now,
            held=len(self.held),
        )
