"""How a run's end is written down: one word, a newline, and the raw value, error or reason."""

from __future__ import annotations

import json
from typing import Any, Final, Literal

from durable.codec import ValueType, load_error
from durable.codec.exceptions import text_of
from durable.errors import Corrupt, RunCancelled, RunFailed

Kind = Literal["completed", "failed", "cancelled"]

__all__ = ["COMPLETED", "Kind", "cancelled", "completed", "failed", "read", "reason_of", "result_of"]


COMPLETED: Final = b"completed\n"


def completed(raw: bytes) -> bytes:
    """A result."""
    return COMPLETED + raw


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
        reason = reason_of(rest)
        raise RunCancelled(f"Run {run} was cancelled" + (f": {reason}" if reason else "") + ".", run)
    cause = load_error(rest)
    raise RunFailed(f"Run {run} failed with {type(cause).__name__}: {text_of(cause)}", run) from cause


def reason_of(raw: bytes) -> str:
    """The reason of a cancel as it was given; empty if there is none, or none that can be read."""
    try:
        return str(json.loads(raw)) if raw else ""
    except (ValueError, RecursionError):
        return ""
