"""What stands around a run: its row, those of the runs that it waits for, the workers; as values of this layer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

from durable import Client

__all__ = ["Around", "Living", "Row", "Waits", "look_around"]


@dataclass(frozen=True, slots=True)
class Waits:
    """What a run waits for, as its row has it; instants are store time.

    Attributes:
        kind: ``step``, ``retry``, ``timer``, ``signal``, ``child`` or ``unknown``.
    """

    kind: str
    name: str
    call: str
    since: float
    until: float | None
    attempt: int
    error: str | None


@dataclass(frozen=True, slots=True)
class Row:
    """A run's row, as far as people want to know it; instants are store time.

    Attributes:
        owner: The worker's session that holds it.
        due_at: When it is claimable by itself.
        at: Of its last commit.
        claims: Without progress.
    """

    state: str
    queue: str
    owner: str | None
    created_at: float
    due_at: float | None
    at: float
    ended: bool
    terminated: bool
    claims: int
    blocked: str | None
    blocked_kind: str | None
    blocked_call: str | None
    waits: tuple[Waits, ...]


@dataclass(frozen=True, slots=True)
class Living:
    """A worker, living or dead; instants are store time."""

    id: str
    name: str
    queues: frozenset[str]
    workflows: frozenset[str]
    alive: bool
    seen_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class Around:
    """All of it.

    Attributes:
        run: None where nobody has looked.
        children: By id.
        workers: Empty of a run that has ended: it has no need of them.
    """

    run: Row | None = None
    children: dict[str, Row] | None = None
    workers: tuple[Living, ...] = ()

    def child(self, id: str) -> Row | None:
        """The row of a run that is waited for."""
        return None if self.children is None else self.children.get(id)

    def holder(self, run: Row | None) -> Living | None:
        """The worker that holds a run."""
        if run is None or run.owner is None:
            return None
        return next((one for one in self.workers if one.id == run.owner), None)

    def serving(self, queue: str, workflow: str) -> list[Living]:
        """Living workers that read a queue and have a workflow."""
        return [one for one in self.workers if one.alive and queue in one.queues and workflow in one.workflows]


async def look_around(client: Client, id: str, children: Iterable[str]) -> Around:
    """Look. The store's rows are read here and nowhere else in this layer."""
    ids = [id, *children]
    found: Any = await client.link.reach(lambda: client.store.get(cast(Any, ids)))
    run, *others = [None if record is None else _row(record) for record in found]
    if run is None or run.ended:
        return Around(run)
    sessions: Any = await client.link.reach(client.store.sessions)
    known = {name: row for name, row in zip(ids[1:], others, strict=True) if row is not None}
    return Around(run, known, tuple(_living(session) for session in sessions))


def _row(record: Any) -> Row:
    return Row(
        str(record.status),
        record.queue,
        record.owner,
        record.created_at,
        record.due_at,
        record.at,
        record.ended,
        record.terminated,
        record.strikes,
        record.blocked,
        record.blocked_kind,
        record.blocked_call,
        tuple(_waits(wait) for wait in record.waits),
    )


def _waits(wait: Any) -> Waits:
    return Waits(str(wait.kind), wait.name, wait.call, wait.since, wait.until, wait.attempt, wait.error)


def _living(session: Any) -> Living:
    workflows = frozenset(name for name, _ in session.registered)
    return Living(
        session.id,
        session.name,
        frozenset(session.queues),
        workflows,
        session.alive,
        session.seen_at,
        session.expires_at,
    )
