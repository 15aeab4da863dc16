"""Runs of workflows that are code, in the shape in which the API shows executions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, final

from durable import Client
from durable._engine.rewinder import read_journal
from durable._model.entries import Entry, Settled
from durable._model.privacy import masked
from durable.cli.picture import Row, RowState, picture_of
from durable.codec import Codec
from durable.store import RunRecord, RunStatus
from durable_server.answers import millis
from durable_server.statuses import status_of, waiting_on

Json = Any

__all__ = ["Calls", "attempts_of", "head_of", "read_calls", "step_of", "visualized", "whole_of"]

_STATUSES: Final[Mapping[RowState, str]] = {
    "ok": "success",
    "failed": "failed",
    "running": "running",
    "backoff": "running",
    "waiting": "running",
    "unknown": "running",
    "dropped": "skipped",
}
_PHASES: Final[Mapping[RowState, str]] = {
    "running": "executing",
    "backoff": "backoff",
    "waiting": "waiting",
    "unknown": "blocked",
}


@final
@dataclass(frozen=True, slots=True)
class Calls:
    """A run's calls by the ids under which the API knows them.

    Attributes:
        rows: In the order of their begin.
        results: What those came to that succeeded, by identity.
        now: Store time of the look.
    """

    rows: Mapping[str, Row]
    results: Mapping[str, Json]
    now: float

    @property
    def steps(self) -> dict[str, Row]:
        """Those that are steps."""
        return {id: row for id, row in self.rows.items() if row.kind == "step"}

    def find(self, asked: str) -> tuple[str, Row] | None:
        """The call that an id, or an identity, means."""
        for id, row in self.rows.items():
            if asked in (id, row.call):
                return id, row
        return None


async def read_calls(client: Client, run: RunRecord) -> Calls:
    """A look at the journal of the run's generation."""
    link = client.link
    journal: list[tuple[Entry, float]] = await link.reach(lambda: read_journal(link.store, run.id, run.generation))
    now = await link.reach(link.store.now)
    picture = picture_of(run, journal, now, link.codec)
    results: dict[str, Json] = {
        entry.call: _opened(link.codec, entry.payload)
        for entry, _ in journal
        if isinstance(entry, Settled) and entry.ok and entry.kind.value in ("step", "signal")
    }
    rows: dict[str, Row] = {}
    for row in picture.rows:
        path = row.call.partition("/")[0]
        id = row.name if row.name not in rows else f"{row.name}@{path}"
        if row.call:
            rows[id] = row
    return Calls(rows, results, now)


def head_of(run: RunRecord) -> dict[str, Json]:
    """What the row alone says: enough for lists."""
    running = [wait.name for wait in run.waits if not run.ended and wait.kind.value in ("step", "retry", "unknown")]
    return {
        "executionId": run.id,
        "workflowId": run.workflow,
        "status": status_of(run),
        "startTime": millis(run.created_at if run.started_at is None else max(run.started_at, run.created_at)),
        "currentSteps": running,
        "endTime": millis(run.ended_at),
        "error": run.error if run.ended else None,
        "version": run.version,
        "kind": "code",
        "cancelReason": run.error if run.status is RunStatus.CANCELLED else None,
        "tags": dict(run.labels),
        "parent": None if run.parent is None else run.parent.run,
        "attempt": run.generation,
        "queue": run.queue,
        "priority": run.priority,
        "waitingOn": waiting_on(run),
        "createdAt": millis(run.created_at),
    }


async def whole_of(client: Client, run: RunRecord) -> dict[str, Json]:
    """The execution with its steps, its input and its output."""
    calls = await read_calls(client, run)
    steps = {id: step_of(id, row, calls) for id, row in calls.steps.items()}
    head = head_of(run)
    return {
        **{name: head.pop(name) for name in ("executionId", "workflowId", "status", "startTime", "currentSteps")},
        "completedSteps": [id for id, step in steps.items() if step["status"] == "success"],
        "failedSteps": [id for id, step in steps.items() if step["status"] == "failed"],
        "stepResults": steps,
        "context": masked(await _context(client, run)),
        **head,
        "skippedSteps": [id for id, step in steps.items() if step["status"] == "skipped"],
        "output": await _output(client, run),
    }


def step_of(id: str, row: Row, calls: Calls) -> dict[str, Json]:
    """One step's result."""
    value: dict[str, Json] = {
        "stepId": id,
        "status": _STATUSES[row.state],
        "attempts": row.attempts,
        "startTime": millis(row.begin),
    }
    if row.end is not None and row.state != "dropped":
        value |= {"endTime": millis(row.end), "duration": _between(row.begin, row.end)}
    if row.call in calls.results:
        value["result"] = masked(calls.results[row.call])
    if row.note and row.state in ("failed", "backoff", "unknown"):
        value["error"] = row.note
    if row.state in _PHASES:
        value["phase"] = _PHASES[row.state]
    if row.state == "dropped":
        value["skipReason"] = "cancelled"
    return {**value, "logs": [], "call": row.call}


def attempts_of(row: Row, now: float) -> list[Json]:
    """The tries of a step: its bars that are no waiting."""
    words = {"ok": "success", "bad": "failed", "busy": "running"}
    bars = [bar for bar in row.bars if bar.stroke in words]
    return [
        {
            "n": number,
            "start": millis(bar.start),
            "end": None if bar.stroke == "busy" else millis(bar.end),
            "status": words[bar.stroke],
        }
        for number, bar in enumerate(bars, 1)
    ]


def visualized(run: RunRecord, calls: Calls) -> dict[str, Json]:
    """The steps of a run side by side; those of code have no dependencies that anybody could know."""
    end = calls.now if run.ended_at is None else run.ended_at
    start = run.created_at if run.started_at is None else max(run.started_at, run.created_at)
    return {
        "executionId": run.id,
        "workflowName": run.workflow,
        "status": status_of(run),
        "duration": max(_between(start, end), 0),
        "steps": [
            {
                "id": id,
                "name": row.name,
                "status": _STATUSES[row.state],
                "attempts": row.attempts,
                **({} if row.end is None else {"duration": _between(row.begin, row.end)}),
                "dependencies": [],
                "tries": attempts_of(row, calls.now),
            }
            for id, row in calls.steps.items()
        ],
    }


def _between(start: float, end: float) -> int:
    """Milliseconds, as who subtracts the instants that are shown gets them."""
    return round(end * 1000) - round(start * 1000)


async def _context(client: Client, run: RunRecord) -> dict[str, Json]:
    link = client.link
    sealed = await link.reach(lambda: link.store.input(run.id))
    given = None if sealed is None else _opened(link.codec, sealed)
    if isinstance(given, list) and len(given) < 2:
        given = given[0] if given else None
    values = await client.handle(run.id).values()
    return {"input": given, **({"values": dict(values)} if values else {})}


async def _output(client: Client, run: RunRecord) -> Json:
    if run.status is not RunStatus.COMPLETED:
        return None
    sealed = await client.link.reach(lambda: client.link.store.outcome(run.id))
    if sealed is None:
        return None
    return _opened(client.link.codec, sealed, after=b"\n")


def _opened(codec: Codec, sealed: bytes, after: bytes = b"") -> Json:
    """A payload's JSON; None if it cannot be read here (sealed with a key that is not here, say)."""
    try:
        raw = codec.open(sealed)
        return json.loads(raw.partition(after)[2] if after else raw)
    except Exception:
        return None
