"""What a worker tells whoever watches it: events as values, the protocol of a watcher, and one that counts.

Give a watcher to ``Worker(client, ..., observer=...)``. It is called on the worker's event loop, between two moves of
the engine, so it should be quick and await nothing. What it raises is logged once and hurts no run.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final, Literal, Protocol, assert_never, final

from durable._model.runs import RunRecord
from durable.errors import StoreError

__all__ = [
    "Activated",
    "AttemptBegan",
    "AttemptEnded",
    "BatchWritten",
    "Change",
    "Counters",
    "Event",
    "Observer",
    "Outcome",
    "Polled",
    "Pulse",
    "RunChanged",
    "RunCommitted",
    "StoreRecovered",
    "StoreTroubled",
]

Change = Literal[
    "started",
    "claimed",
    "waiting",
    "released",
    "paused",
    "blocked",
    "continued",
    "completed",
    "failed",
    "cancelled",
    "lost",
]
"""``started``: first claim of a generation; ``claimed``: a later one; ``released``: given back by a worker that stops;
``continued``: its next generation begins; ``lost``: another worker has it now."""

Outcome = Literal["completed", "failed", "retried", "dropped"]
"""How an attempt ended; ``retried``: it failed and another follows; ``dropped``: nobody wants its outcome any more."""


@final
@dataclass(frozen=True, slots=True)
class RunChanged:
    """A run moved, and the store has it so.

    Attributes:
        run: Its row as this worker claimed it; status, position and waits are those of before.
        detail: For people: what it waits for, why it is blocked, its error. Empty if there is nothing to say.
        at: Store time.
    """

    run: RunRecord
    change: Change
    detail: str
    at: float


@final
@dataclass(frozen=True, slots=True)
class AttemptBegan:
    """The code of a step begins to run. Told inside the attempt's own task, so context variables set here reach it.

    Attributes:
        call: Identity of the call; with the run's id, generation and ``attempt`` it names the attempt.
        attempt: Counted from 1.
    """

    run: RunRecord
    step: str
    call: str
    attempt: int


@final
@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """An attempt is over. Its outcome is not committed yet. An attempt whose code never began tells neither.

    Attributes:
        seconds: That its code took.
        error: One line; None if it completed or was dropped, or if payloads are wrapped by a codec.
    """

    run: RunRecord
    step: str
    call: str
    attempt: int
    outcome: Outcome
    seconds: float
    error: str | None = None


@final
@dataclass(frozen=True, slots=True)
class Activated:
    """Workflow code has run until it had nothing more to do.

    Attributes:
        entries: Journal entries that were delivered to it.
        replay: It was brought back to where it stood, from its journal.
    """

    run: RunRecord
    entries: int
    seconds: float
    replay: bool


@final
@dataclass(frozen=True, slots=True)
class RunCommitted:
    """A commit of one run is durable.

    Attributes:
        entries: Appended to its journal.
        seconds: Of the batch that it was written with.
    """

    run: RunRecord
    entries: int
    seconds: float


@final
@dataclass(frozen=True, slots=True)
class BatchWritten:
    """One transaction with the commits of several runs; ``seconds`` includes waiting out trouble with the store."""

    commits: int
    entries: int
    seconds: float


@final
@dataclass(frozen=True, slots=True)
class Polled:
    """The worker has looked for work; ``claims`` is what it got, ``lost`` what others hold now."""

    claims: int
    lost: int
    seconds: float


@final
@dataclass(frozen=True, slots=True)
class StoreTroubled:
    """The store cannot be used; the worker tries on."""

    error: StoreError


@final
@dataclass(frozen=True, slots=True)
class StoreRecovered:
    """The store works again, after so many seconds."""

    seconds: float


@final
@dataclass(frozen=True, slots=True)
class Pulse:
    """About once a second while the worker's loop turns.

    Attributes:
        worker: Its name.
        held: Runs that it works on.
        cached: Waiting runs whose state is in memory.
        lag_seconds: The longest that the loop was late since the last pulse.
    """

    worker: str
    held: int
    cached: int
    lag_seconds: float


Event = (
    RunChanged
    | AttemptBegan
    | AttemptEnded
    | Activated
    | RunCommitted
    | BatchWritten
    | Polled
    | StoreTroubled
    | StoreRecovered
    | Pulse
)


class Observer(Protocol):
    """Watches a worker. More kinds of events may come with later versions: let those pass that you do not know."""

    def observe(self, event: Event, /) -> None:
        """Take note of it."""
        ...


@final
class Counters:
    """An observer that counts in memory, for tests and small programs. One may watch several workers.

    Attributes:
        changes: By workflow and change: ``counters.changes["order", "completed"]``.
        attempts: Ended ones by step and outcome: ``counters.attempts["charge", "retried"]``.
        attempts_running: Attempts whose code runs now.
        step_seconds: Spent in each step.
        activations: Times that workflow code ran on.
        replays: Of those, from a journal.
        commits: Of runs.
        entries: Written with them.
        batches: Transactions.
        batch_most: Commits of the largest.
        batch_seconds: Spent in transactions.
        polls: Looks for work.
        claims: Runs that they brought.
        lost: Runs that others took over.
        troubles: Times that the store could not be used.
        trouble_seconds: How long, of those that are over.
        in_trouble: Whether it cannot be used now.
        held: Runs in hand at the last pulse, by worker.
        cached: Waiting runs in memory at the last pulse, by worker.
        lag_seconds_most: The longest that a loop was late.
    """

    def __init__(self) -> None:
        self.changes: Final[Counter[tuple[str, str]]] = Counter()
        self.attempts: Final[Counter[tuple[str, str]]] = Counter()
        self.attempts_running = 0
        self.step_seconds: Final[dict[str, float]] = {}
        self.activations = 0
        self.replays = 0
        self.commits = 0
        self.entries = 0
        self.batches = 0
        self.batch_most = 0
        self.batch_seconds = 0.0
        self.polls = 0
        self.claims = 0
        self.lost = 0
        self.troubles = 0
        self.trouble_seconds = 0.0
        self.in_trouble = False
        self.held: Final[dict[str, int]] = {}
        self.cached: Final[dict[str, int]] = {}
        self.lag_seconds_most = 0.0

    def observe(self, event: Event, /) -> None:
        match event:
            case RunChanged():
                self.changes[event.run.workflow, event.change] += 1
            case AttemptBegan():
                self.attempts_running += 1
            case AttemptEnded():
                self.attempts_running -= 1
                self.attempts[event.step, event.outcome] += 1
                self.step_seconds[event.step] = self.step_seconds.get(event.step, 0.0) + event.seconds
            case Activated():
                self.activations += 1
                self.replays += event.replay
            case RunCommitted():
                self.commits += 1
                self.entries += event.entries
            case BatchWritten():
                self.batches += 1
                self.batch_most = max(self.batch_most, event.commits)
                self.batch_seconds += event.seconds
            case Polled():
                self.polls += 1
                self.claims += event.claims
                self.lost += event.lost
            case StoreTroubled() | StoreRecovered():
                self._weather(event)
            case Pulse():
                self.held[event.worker], self.cached[event.worker] = event.held, event.cached
                self.lag_seconds_most = max(self.lag_seconds_most, event.lag_seconds)
            case _ as never:
                assert_never(never)

    def _weather(self, event: StoreTroubled | StoreRecovered) -> None:
        self.in_trouble = isinstance(event, StoreTroubled)
        if isinstance(event, StoreTroubled):
            self.troubles += 1
        else:
            self.trouble_seconds += event.seconds
