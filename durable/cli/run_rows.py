"""A run's row as commands give it out."""

from __future__ import annotations

from typing import Any

from durable._engine.handle import summary
from durable.cli.text import TimeStyle, time_value
from durable.store import RunRecord

__all__ = ["begun_at", "run_value"]


def begun_at(run: RunRecord) -> float | None:
    """When work on it began; a fork keeps its origin's workflow time, which is not what people mean."""
    return None if run.started_at is None else max(run.started_at, run.created_at)


def run_value(record: RunRecord, style: TimeStyle) -> dict[str, Any]:
    """A run as JSON."""
    row = summary(record)
    return {
        "id": row.id,
        "workflow": row.workflow,
        "version": row.version,
        "status": row.state,
        "queue": row.queue,
        "labels": dict(row.labels),
        "generation": record.generation,
        "created_at": time_value(row.created_at, style),
        "started_at": time_value(row.started_at, style),
        "ended_at": time_value(row.ended_at, style),
        "error": row.error,
        "parent": row.parent,
    }
