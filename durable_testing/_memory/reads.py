"""What can be read from outside, purge included: it reads what may go."""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

from durable.errors import InvalidInput
from durable.store import (
    PAGE_SIZE_MAX,
    InboxMessage,
    PurgeQuery,
    RunId,
    RunPage,
    RunQuery,
    RunStatus,
    StreamPage,
)
from durable_testing._memory.rows import Run
from durable_testing._memory.state import State

__all__ = ["count", "counted", "list_runs", "messages", "purge", "stats", "stream"]


def list_runs(state: State, query: RunQuery, limit: int, cursor: str | None) -> RunPage:
    if not 1 <= limit <= PAGE_SIZE_MAX:
        raise InvalidInput(f"A page has 1 to {PAGE_SIZE_MAX} runs, not {limit}.")
    page: list[Run] = []
    for run in matching(state, query, None if cursor is None else read_cursor(cursor)):
        if len(page) == limit:
            return RunPage(tuple(one.record() for one in page), write_cursor(page[-1]))
        page.append(run)
    return RunPage(tuple(one.record() for one in page), None)


def count(state: State, query: RunQuery) -> int:
    return sum(1 for _ in matching(state, query, None))


def matching(state: State, query: RunQuery, before: tuple[float, RunId] | None) -> Iterator[Run]:
    """Newest first, from strictly before a place on."""
    places = state.by_creation
    if query.parent is not None:
        children = state.children.get(query.parent, {}).values()
        places = sorted((child.created_at, child.id) for child in children)
    for n in range((len(places) if before is None else bisect_left(places, before)) - 1, -1, -1):
        run = state.runs[places[n][1]]
        if matches(run, query):
            yield run


def matches(run: Run, query: RunQuery) -> bool:
    return (
        (query.workflow is None or run.workflow == query.workflow)
        and (not query.statuses or run.status in query.statuses)
        and all(run.labels.get(name) == value for name, value in query.labels.items())
        and (query.created_after is None or run.created_at > query.created_after)
        and (query.created_before is None or run.created_at < query.created_before)
        and (query.id_prefix is None or run.id.startswith(query.id_prefix))
        and (query.queue is None or run.queue == query.queue)
    )


def write_cursor(run: Run) -> str:
    return base64.urlsafe_b64encode(f"{run.created_at.hex()} {run.id}".encode()).decode()


def read_cursor(cursor: str) -> tuple[float, RunId]:
    try:
        created_at, space, id = base64.b64decode(cursor, b"-_", validate=True).decode().partition(" ")
        if space and id:
            return float.fromhex(created_at), RunId(id)
    except (binascii.Error, ValueError, OverflowError):
        pass
    raise InvalidInput(f"The cursor {cursor[:40]!r} is not one of this store's; begin again without one.")


def messages(run: Run, after: int, limit: int, unread_only: bool) -> list[InboxMessage]:
    if unread_only:
        return run.unread_after(after, limit)
    return [letter.read() for letter in run.letters[after : after + limit]]


def stream(run: Run | None, name: str, start: int, limit: int) -> StreamPage:
    if run is None:
        return StreamPage((), start, False)
    items = run.streams.get(name, [])
    found = tuple(items[start : start + limit])
    end = start + len(found)
    return StreamPage(found, end, run.ended and end >= len(items))


def purge(state: State, query: PurgeQuery, now: float) -> int:
    going: list[Run] = []
    for run in state.ended.values():
        if len(going) == query.limit:
            break
        if purgeable(run, query, now):
            going.append(run)
    for run in going:
        state.epochs_purged = max(state.epochs_purged, run.epoch)
        state.remove(run)
    return len(going)


def counted(state: State, query: PurgeQuery, now: float) -> dict[RunStatus, int]:
    """How many runs ``purge`` would take, by status."""
    return dict(Counter(run.status for run in state.ended.values() if purgeable(run, query, now)))


def purgeable(run: Run, query: PurgeQuery, now: float) -> bool:
    assert run.ended_at is not None
    return (
        not run.closing
        and (query.ended_before is None or run.ended_at < query.ended_before)
        and (not query.expired or (run.keep_seconds is not None and run.ended_at + run.keep_seconds <= now))
        and (not query.runs or run.id in query.runs)
        and (query.workflow is None or run.workflow == query.workflow)
        and (not query.statuses or run.status in query.statuses)
    )


def stats(state: State) -> dict[str, int]:
    figures = {f"runs.{status}": 0 for status in RunStatus}
    entries = letters = size = 0
    for run in state.runs.values():
        figures[f"runs.{run.status}"] += 1
        letters += len(run.letters)
        size += len(run.input) + sum(len(letter.message.payload) for letter in run.letters)
        for journal in run.journals.values():
            entries += len(journal)
            size += sum(len(data) for _, data in journal)
    return {**figures, "entries": entries, "messages": letters, "bytes": size}
