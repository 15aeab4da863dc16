"""What ``durable doctor`` asks an open store: integrity, clocks, workers, and runs that do not get on."""

from __future__ import annotations

import importlib.metadata
import platform
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import durable
from durable import Client
from durable._engine.troubles import troubles
from durable.cli.premises import schema_of
from durable.cli.text import many, span, time_text
from durable.cli.verdicts import Verdict
from durable.clock import Clock
from durable.errors import Corrupt, StoreError
from durable.store import RunQuery, RunRecord, RunStatus, SessionRecord, Store

__all__ = ["Facts", "can_be_written", "gather", "look_into"]

_OPEN: Final = (RunStatus.PENDING, RunStatus.RUNNING, RunStatus.WAITING, RunStatus.PAUSED, RunStatus.BLOCKED)
_OPEN_MAX: Final = 20_000
_INBOXES_MAX: Final = 500
_SHOWN: Final = 3
_SKEW_SECONDS: Final = 2.0
_OVERDUE_SECONDS: Final = 60.0
_STRIKES: Final = 3
_PROBE: Final = "durable.probe"


@final
@dataclass(frozen=True, slots=True)
class Facts:
    """What the store said, all read at about one time.

    Attributes:
        now: Store time.
        wall: This machine's time, just before and just after.
        open: Runs that have not ended, newest first.
        all_open: Whether ``open`` holds every one of them.
        recent: The newest runs, ended or not.
    """

    now: float
    wall: tuple[float, float]
    sessions: Sequence[SessionRecord]
    open: Sequence[RunRecord]
    all_open: bool
    recent: Sequence[RunRecord]


async def can_be_written(client: Client) -> Verdict:
    """Put a small record, read it, delete it."""
    store, clock = client.store, client.link.clock
    key, began = clock.token(), clock.monotonic()
    try:
        await client.link.weather.through(
            lambda: store.put_record(_PROBE, key, b"probe", keep_seconds=60.0), attempts=5
        )
        row = await store.get_record(_PROBE, key)
        await store.delete_record(_PROBE, key)
    except Corrupt:
        raise
    except StoreError as error:
        return Verdict("writing", False, "cannot be written", (f"{type(error).__name__}: {error}",))
    if row is None or row.value != b"probe":
        return Verdict("writing", False, "what was written is not what is read", ("Restore it from a backup.",))
    return Verdict("writing", True, f"a record was written, read and deleted in {span(clock.monotonic() - began)}")


async def gather(store: Store, clock: Clock) -> Facts:
    """Read what most checks need."""
    before = clock.now()
    now = await store.now()
    after = clock.now()
    found: list[RunRecord] = []
    cursor: str | None = None
    while True:
        page = await store.list(RunQuery(statuses=_OPEN), 1000, cursor)
        found += page.runs
        cursor = page.cursor
        if cursor is None or len(found) >= _OPEN_MAX:
            break
    recent = (await store.list(RunQuery(), _INBOXES_MAX)).runs
    return Facts(now, (before, after), await store.sessions(), found, cursor is None, recent)


async def look_into(client: Client, facts: Facts, file: Path | None) -> list[Verdict]:
    """Every check of an open store."""
    problems = list(await client.store.check())
    return [
        Verdict("integrity", not problems, many(len(problems), "problem"), tuple(problems)),
        _clocks(facts),
        _versions(file),
        await _weather(client.store, facts),
        _workers(facts),
        _lanes(facts),
        _blocked(facts),
        _struck(facts),
        _overdue(facts),
        await _dead_letters(client.store, facts),
    ]


def _clocks(facts: Facts) -> Verdict:
    items: list[str] = []
    away = facts.now - min(max(facts.now, facts.wall[0]), facts.wall[1])
    if abs(away) > _SKEW_SECONDS:
        items.append(f"Store time is {abs(away):.1f} s {'ahead of' if away > 0 else 'behind'} this machine's clock.")
    for session in facts.sessions:
        ahead = session.seen_at - facts.now
        if ahead > _SKEW_SECONDS:
            items.append(f"Worker {session.name} was seen {span(ahead)} in the future: a clock was set back.")
    ahead = max((run.at for run in facts.recent), default=facts.now) - facts.now
    if ahead > _SKEW_SECONDS:
        items.append(f"A run was written {span(ahead)} in the future: a clock was set back.")
    return Verdict("clock", not items, f"store time is {time_text(facts.now, facts.now, 'iso')}", tuple(items))


def _versions(file: Path | None) -> Verdict:
    parts = [f"durable {durable.__version__}", f"Python {platform.python_version()}"]
    parts += [f"pydantic {importlib.metadata.version('pydantic')}", f"SQLite {sqlite3.sqlite_version}"]
    schema = None if file is None else schema_of(file)
    if schema is not None:
        parts.append(f"schema {schema}")
    return Verdict("versions", True, ", ".join(parts))


async def _weather(store: Store, facts: Facts) -> Verdict:
    found = await troubles(store)
    present = [one.sentence(facts.now) for one in found if one.until is None]
    past = [one.sentence(facts.now) for one in found if one.until is not None]
    said = f"{many(len(found), 'worker')} had trouble with the store within the last hour"
    return Verdict("weather", not found, said, tuple(present + past))


def _workers(facts: Facts) -> Verdict:
    living = [session for session in facts.sessions if session.alive]
    items: list[str] = []
    for session in facts.sessions:
        if not session.alive and session.held:
            held = many(session.held, "run")
            items.append(f"Worker {session.name} is gone and still holds {held}: no other worker has polled since.")
    if not living and facts.open:
        items.append(f"No worker is alive, with {many(len(facts.open), 'run')} still to be worked on: start one.")
    names = ", ".join(sorted({session.name for session in living})[:_SHOWN])
    more = "" if len(living) <= _SHOWN else ", ..."
    said = f"{len(living)} alive" + (f": {names}{more}" if names else "")
    return Verdict("workers", not items, said, tuple(items))


def _lanes(facts: Facts) -> Verdict:
    """Queue, workflow and version of open runs that no living worker has; where none is alive, that is said once."""
    living = [session for session in facts.sessions if session.alive]
    counts: dict[tuple[str, str, str | None], int] = defaultdict(int)
    for run in facts.open:
        counts[run.queue, run.workflow, run.version] += 1
    items = [
        f"No worker for {many(count, 'run')} of workflow {workflow}{_of(version)} on queue {queue}."
        for (queue, workflow, version), count in sorted(counts.items(), key=str)
        if living and not any(_serves(session, queue, workflow, version) for session in living)
    ]
    said = f"{many(len(counts), 'lane')} with runs that have not ended" + ("" if facts.all_open else " (of the newest)")
    return Verdict("lanes", not items, said, tuple(items))


def _of(version: str | None) -> str:
    return "" if version is None else f" version {version}"


def _serves(session: SessionRecord, queue: str, workflow: str, version: str | None) -> bool:
    return queue in session.queues and any(
        name == workflow and version in (None, known) for name, known in session.registered
    )


def _blocked(facts: Facts) -> Verdict:
    by_kind: dict[str, list[str]] = defaultdict(list)
    for run in facts.open:
        if run.status is RunStatus.BLOCKED:
            by_kind[run.blocked_kind or "unknown"].append(run.id)
    items = [f"{kind}: {_some(ids)}. See durable runs why {ids[0]}" for kind, ids in sorted(by_kind.items())]
    return Verdict("blocked", not items, many(sum(map(len, by_kind.values())), "run"), tuple(items))


def _struck(facts: Facts) -> Verdict:
    """Runs whose claims make no progress: their code may be killing its workers."""
    struck = [run for run in facts.open if run.strikes >= _STRIKES and run.status is not RunStatus.BLOCKED]
    items = tuple(f"{run.id} was claimed {run.strikes} times without progress." for run in struck[:_SHOWN])
    return Verdict("strikes", not struck, many(len(struck), "run"), items)


def _overdue(facts: Facts) -> Verdict:
    late = [
        run
        for run in facts.open
        if run.owner is None and run.due_at is not None and facts.now - run.due_at > _OVERDUE_SECONDS
    ]
    late.sort(key=lambda run: (run.due_at, run.id))
    items = tuple(f"{run.id} is due since {span(facts.now - (run.due_at or 0.0))}." for run in late[:_SHOWN])
    return Verdict("overdue", not late, f"{many(len(late), 'run')} by more than a minute", items)


async def _dead_letters(store: Store, facts: Facts) -> Verdict:
    items: list[str] = []
    for run in facts.recent:
        for item in await store.messages(run.id, 0, unread_only=False):
            if item.dead is not None:
                items.append(f"{run.id}: {item.message.kind.value} {item.message.name}: {item.dead}")
    said = f"{many(len(items), 'message')} among the inboxes of the newest {many(len(facts.recent), 'run')}"
    more = () if len(items) <= _SHOWN else (f"and {len(items) - _SHOWN} more",)
    return Verdict("letters", not items, said, (*items[:_SHOWN], *more))


def _some(ids: Iterable[str]) -> str:
    known = list(ids)
    more = "" if len(known) <= _SHOWN else f" and {len(known) - _SHOWN} more"
    return ", ".join(known[:_SHOWN]) + more
