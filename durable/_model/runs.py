"""A run: its statuses, the moves between them, and its row as the store holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

from durable._model.ids import RunId, SessionId

__all__ = [
    "ENDED",
    "TRANSITIONS",
    "Created",
    "Creation",
    "Lane",
    "NewRun",
    "OnParentClose",
    "Parent",
    "RunRecord",
    "RunStatus",
    "Wait",
    "WaitKind",
]


class RunStatus(StrEnum):
    """Where a run stands."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    BLOCKED = "blocked"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED: Final = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})

_LIVE_ENDS: Final = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})

# Leaving an ended status takes an operator's retry, or a start with if_exists="replace": a new generation each.
TRANSITIONS: Final[Mapping[RunStatus, frozenset[RunStatus]]] = {
    RunStatus.PENDING: frozenset({RunStatus.RUNNING, RunStatus.PAUSED, RunStatus.BLOCKED, RunStatus.CANCELLED}),
    RunStatus.RUNNING: frozenset({RunStatus.WAITING, RunStatus.PENDING, RunStatus.PAUSED, RunStatus.BLOCKED})
    | _LIVE_ENDS,
    RunStatus.WAITING: frozenset({RunStatus.RUNNING, RunStatus.PAUSED, RunStatus.BLOCKED, RunStatus.CANCELLED}),
    RunStatus.PAUSED: frozenset({RunStatus.PENDING, RunStatus.WAITING, RunStatus.CANCELLED}),
    RunStatus.BLOCKED: frozenset({RunStatus.PENDING, RunStatus.WAITING, RunStatus.CANCELLED}),
    RunStatus.COMPLETED: frozenset({RunStatus.PENDING}),
    RunStatus.FAILED: frozenset({RunStatus.PENDING}),
    RunStatus.CANCELLED: frozenset({RunStatus.PENDING}),
}

OnParentClose = Literal["cancel", "terminate", "abandon"]


@dataclass(frozen=True, slots=True)
class Parent:
    """The call that started a child run.

    Attributes:
        call: Identity of the ``ctx.child`` call.
        generation: The parent's generation at that call.
        on_close: What becomes of the child when the parent ends first.
        notify: Whether the parent awaits the child's result.
    """

    run: RunId
    call: str
    generation: int
    on_close: OnParentClose
    notify: bool = True


@dataclass(frozen=True, slots=True)
class Lane:
    """What one claim index is about: queue / workflow / version.

    Attributes:
        version: None for runs started by name only, which have no version until their first claim pins it.
        pin: The version that a claim from an unversioned lane pins.
    """

    queue: str
    workflow: str
    version: str | None
    pin: str | None = None

    @property
    def key(self) -> str:
        """The lane as one text; the separator cannot occur in a name."""
        return f"{self.queue}\x1f{self.workflow}\x1f{'' if self.version is None else self.version}"


CLOSING_LANE: Final = Lane("\x1f", "closing", None)
"""Ended runs whose children are still to be closed; every worker reads it."""


class WaitKind(StrEnum):
    """What a run waits for; the words of ``runs why``."""

    STEP = "step"  # an attempt is executing
    RETRY = "retry"  # a back-off
    TIMER = "timer"
    SIGNAL = "signal"
    CHILD = "child"
    UNKNOWN = "unknown"  # an at-most-once step whose outcome is unknown


@dataclass(frozen=True, slots=True)
class Wait:
    """One thing that a run waits for, as of its last commit.

    Attributes:
        kind: See ``WaitKind``.
        name: Of the step, timer, signal; for a child its run id.
        call: Identity of the call.
        since: Store time at which it began.
        until: Store time at which it ends by itself; None if it does not.
        attempt: For steps: the attempt that executes, or that comes after the back-off; else 0.
        attempts_max: For steps: how many the policy allows; None for no limit.
        error: For a back-off: the last error in one line.
    """

    kind: WaitKind
    name: str
    call: str
    since: float
    until: float | None = None
    attempt: int = 0
    attempts_max: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be created; idempotent by ``id``.

    Attributes:
        workflow: Registered name.
        version: None when the starter knows only the name; the first claim pins it then.
        input: Encoded arguments, opaque.
        digest: Of workflow and input; tells a repeat from a conflict.
        seed: Random text that seeds ``ctx.random`` and ``ctx.uuid``.
        priority: Higher is claimed first.
        delay_seconds: Not claimable before this much time has passed.
        labels: For listing; names and values are text.
        on_complete: Opaque; handed back in the closing claim.
        replace: Request id of a start with ``if_exists="replace"``: an existing run of this id is ended and begun
            anew as the next generation, once per request id. None: an existing run is left alone.
    """

    id: RunId
    workflow: str
    version: str | None
    queue: str
    input: bytes
    digest: str
    seed: str
    priority: int = 0
    delay_seconds: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)
    parent: Parent | None = None
    on_complete: bytes | None = None
    replace: str | None = None


class Creation(StrEnum):
    """What ``create`` did."""

    CREATED = "created"
    EXISTED = "existed"  # the row was there before and was left alone
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True)
class Created:
    """The store's answer to one ``NewRun``.

    Attributes:
        outcome: Created, existed or replaced. A repeat of a replace answers REPLACED again.
        workflow: Of the row as it now stands.
        digest: Of the row as it now stands; compare with what you asked for.
        parent: Of the row as it now stands.
        generation: Of the row as it now stands.
        status: Of the row as it now stands.
    """

    outcome: Creation
    workflow: str
    digest: str
    parent: Parent | None
    generation: int
    status: RunStatus


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run's row, payloads left out.

    Attributes:
        generation: 1 at first; raised by ``continue_as``, retry and replace.
        epoch: The fencing token: 0 before the first claim, raised at each claim and by operator verbs that take the
            run away from its owner.
        position: Length of the journal of this generation.
        flushed: Which fire-and-forget commands are in: (activation, count): all of earlier activations, and the first
            ``count`` of this one.
        strikes: Claims without progress.
        tries: How often the whole workflow was begun anew by its own retry policy.
        started_at: Store time of this generation's first claim; workflow time at position 0.
        at: Store time of the last commit of this generation (``started_at`` before the first); never goes back.
        due_at: When the run is claimable by itself; None if only a message or a person can move it, or while owned.
        owner: The session that holds it.
        waits: What it waits for, as of the last commit.
        blocked: Reason, one sentence; set only while blocked.
        blocked_kind: ``non_determinism``, ``workflow_code``, ``unknown_outcome``, ``crash_budget``, ``payload``,
            ``journal_limit`` or ``engine``.
        blocked_call: The call at which it is blocked, if one.
        error: One line about how it failed or was cancelled; None otherwise.
        terminated: Ended by ``terminate``.
        closing: Children of an earlier (or, once ended, of this) generation are still to be closed.
        rewind: Opaque order of a retry or fork, to be carried out by the next claim; None otherwise.
    """

    id: RunId
    workflow: str
    version: str | None
    queue: str
    priority: int
    status: RunStatus
    generation: int
    epoch: int
    position: int
    flushed: tuple[int, int]
    strikes: int
    tries: int
    seed: str
    digest: str
    created_at: float
    started_at: float | None
    at: float
    ended_at: float | None
    due_at: float | None
    owner: SessionId | None
    labels: Mapping[str, str]
    parent: Parent | None
    on_complete: bytes | None
    waits: tuple[Wait, ...]
    blocked: str | None
    blocked_kind: str | None
    blocked_call: str | None
    error: str | None
    terminated: bool
    closing: bool
    rewind: bytes | None

    @property
    def ended(self) -> bool:
        """Whether the run has reached an end."""
        return self.status in ENDED
