"""How a run's end is written down: one word, a newline, and the raw value, error or reason."""

from __future__ import annotations

import json
from typing import Any, Literal

from durable.codec import ValueType, load_error
from durable.errors import Corrupt, RunCancelled, RunFailed

Kind = Literal["completed", "failed", "cancelled"]

__all__ = ["Kind", "cancelled", "completed", "failed", "read", "result_of"]


def completed(raw: bytes) -> bytes:
    """A result."""
    return b"completed\n" + raw


def failed(raw_error: bytes) -> bytes:
    """An error, as ``dump_error`` writes it."""
    return b"failed\n" + raw_error


def cancelled(reason: str) -> bytes:
    """A cancel or terminate, with its reason."""
    return b"cancelled\n" + json.dumps(reason).encode()


def read(raw: bytes) -> tuple[Kind, bytes]:
    """(kind, the rest)."""
    word, _, rest = raw.partition(b"\n")
    match word:
        case b"completed":
            return "completed", rest
        case b"failed":
            return "failed", rest
        case b"cancelled":
            return "cancelled", rest
        case _:
            raise Corrupt(f"The outcome of a run cannot be read: {raw[:60]!r}.")


def result_of(raw: bytes, run: str, kind_of_result: ValueType[Any]) -> Any:
    """The result, or the error that the outcome stands for.

    Raises:
        RunFailed: With the original exception as its cause.
        RunCancelled: With the reason.
    """
    kind, rest = read(raw)
    if kind == "completed":
        return kind_of_result.load(rest, f"result of run {run}")
    if kind == "cancelled":
        reason = str(json.loads(rest)) if rest else ""
        raise RunCancelled(f"Run {run} was cancelled" + (f": {reason}" if reason else "") + ".", run)
    cause = load_error(rest)
    name = type(cause).__name__
    raise RunFailed(f"Run {run} failed with {name}: {cause}", run) from cause
