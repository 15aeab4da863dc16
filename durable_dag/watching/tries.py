"""The tries of a step with their times, as far as the journal has them. Pure.

The journal keeps ends. A begin is known within bounds: ``earliest``, when the attempt was asked for or the back-off
before it was over; and ``start``, by when it had begun. That is told of attempts that lasted a tenth of a second or
longer, of which the worker makes a note: mostly it is right within a tenth.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeAlias

from durable_dag.watching.story import Attempt, Begin, Story

Json: TypeAlias = Any

__all__ = ["instant_of", "tries_of"]


def instant_of(at: datetime | None) -> int | None:
    """Milliseconds since the epoch."""
    return None if at is None else round(at.timestamp() * 1000)


def tries_of(story: Story | None, id: str, now: Json = None, wait: Any = None) -> list[Json]:
    """What is known of each try: ``n``, ``earliest``, ``start``, ``end``, ``status``, ``error``, ``item``.

    Args:
        now: What the execution object says of the step; its try that runs comes last.
        wait: What the run's row says of its call: if that is a running attempt, its worker has told when it began.
    """
    told = None if story is None else story.steps.get(id)
    if told is None:
        return []
    found = [_ended(one) for one in told.attempts]
    if now is not None and now.get("phase") == "executing":
        for item, begin in (told.begins or {None: Begin(story.asked(id) if story else None)}).items():
            found.append(_running(now["attempts"], begin, item, wait))
    return found


def _ended(one: Attempt) -> Json:
    return {
        "n": one.number,
        "earliest": instant_of(one.begin.earliest),
        "start": instant_of(one.begin.latest),
        "end": instant_of(one.ended),
        "status": one.status,
        "error": one.error,
        "item": one.item,
    }


def _running(number: int, begin: Begin, item: int | None, wait: Any) -> Json:
    start = begin.latest
    if item is None and wait is not None and wait.kind == "step" and wait.attempt == number:
        start = datetime.fromtimestamp(wait.since, UTC)
    return {
        "n": number,
        "earliest": instant_of(begin.earliest),
        "start": instant_of(start),
        "end": None,
        "status": "running",
        "error": None,
        "item": item,
    }
