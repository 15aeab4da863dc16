"""The ledger: what happened in the world, written by the steps themselves and apart from the engine's journal.

One line of JSON per begin and per end of an effect. Each is one ``write`` to a file opened with O_APPEND, then an
``fsync``: lines of many processes do not mix, and a killed process leaves whole lines or none.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Final, Literal

from durable import idempotency_key
from durable._core.identity import name_of
from durable._engine.attempts import current_attempt
from durable.clock import SystemClock

__all__ = ["ENVIRONMENT", "Line", "effect", "parsed", "read_ledger"]

ENVIRONMENT: Final = "DURABLE_DEMO_LEDGER"
_clock: Final = SystemClock()


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the ledger.

    Attributes:
        at: Wall-clock seconds when the process wrote it.
        mark: ``begin``, ``end``, or ``error`` for an end with an exception.
        key: The idempotency key: run / generation / call, the same over attempts and crashes.
        error: Its class, for an error.
    """

    at: float
    mark: Literal["begin", "end", "error"]
    pid: int
    order: str
    step: str
    attempt: int
    key: str
    error: str = ""


@asynccontextmanager
async def effect(order: str, *, takes: float) -> AsyncGenerator[int, None]:
    """Around what a step does to the world: notes its begin, takes its time, notes its end.

    Args:
        takes: About how many seconds the service behind it needs.

    Yields:
        The attempt's number, counted from 1.
    """
    key, attempt = idempotency_key(), current_attempt.get()
    assert attempt is not None  # else there would be no key
    number, step = attempt.number, name_of(attempt.call_id)
    await _append("begin", order, step, number, key)
    await _clock.sleep(takes * (0.5 + Random(f"{key}/{number}").random()))
    try:
        yield number
    except Exception as error:
        await _append("error", order, step, number, key, type(error).__name__)
        raise
    await _append("end", order, step, number, key)


async def _append(
    mark: Literal["begin", "end", "error"], order: str, step: str, number: int, key: str, error: str = ""
) -> None:
    path = os.environ.get(ENVIRONMENT)
    if path is None:  # the workflow is run outside of the demo: nobody keeps a ledger
        return
    line = Line(_clock.now(), mark, os.getpid(), order, step, number, key, error)
    await asyncio.to_thread(_write, path, json.dumps(asdict(line), separators=(",", ":")).encode() + b"\n")


def _write(path: str, data: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        written = os.write(file, data)
        assert written == len(data)
        os.fsync(file)
    finally:
        os.close(file)


def read_ledger(path: Path) -> tuple[list[Line], list[str]]:
    """All lines in the order they were written, and those that cannot be read."""
    lines: list[Line] = []
    broken: list[str] = []
    for raw in path.read_bytes().splitlines() if path.exists() else ():
        line = parsed(raw)
        if line is None:
            broken.append(raw.decode(errors="replace"))
        else:
            lines.append(line)
    return lines, broken


def parsed(raw: bytes) -> Line | None:
    """One line; None if it is not whole."""
    try:
        return Line(**json.loads(raw))
    except (ValueError, TypeError):
        return None
