"""What the steps of random workflows do: values, errors, and the one function that acts as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from durable import (
    Done,
    NonRetryable,
    NotDone,
    NotSerializable,
    PayloadTooLarge,
    RunFailed,
    StepError,
    StepInterrupted,
    Unknown,
    idempotency_key,
)
from durable.errors import DurableError
from durable_testing.workloads.ledger import Effect, current

Json = Any

__all__ = [
    "ERRORS",
    "FINAL_ERRORS",
    "HUGE_BYTES",
    "VALUES",
    "Declined",
    "Gone",
    "WorkloadFailed",
    "act",
    "act_sync",
    "became_of",
    "describe",
    "error_of",
    "expected_error",
    "returned",
]

# Falsy ones, ones that other encodings bend, and nested ones.
VALUES: Final[tuple[Json, ...]] = (
    None, False, 0, "", [], {}, True, 1, -0.0, 1.5, "text", "a\x00b", "é🜁‮", 2**53 + 1, -(2**70), 1e308,
    [None, [[]], {}], {"": None, "a": {"b": [0, False, ""]}}, [[[[[1]]]]],
)  # fmt: skip
HUGE_BYTES: Final = 1024 * 1024 + 1


class Declined(Exception):
    """An error whose constructor takes more than a text."""

    def __init__(self, uid: str, reason: str) -> None:
        super().__init__(uid, reason)
        self.uid = uid
        self.reason = reason


class Gone(NonRetryable):
    """An error that is not retried."""


class WorkloadFailed(Exception):
    """A run of the interpreter failed; its tale is the value ``tale`` of the run.

    Args:
        who: Its name.
        run_id: Where the tale is.
    """

    def __init__(self, who: str, run_id: str) -> None:
        super().__init__(who, run_id)
        self.who = who
        self.run_id = run_id


def _local(uid: str) -> Exception:
    class Local(Exception):
        """A class that cannot be found again by its name."""

    return Local(f"{uid} fails")


def _chained(uid: str) -> Exception:
    error = ValueError(f"{uid} fails")
    error.__cause__ = KeyError(f"{uid} is why")
    return error


def _group(uid: str) -> Exception:
    return ExceptionGroup("several", [ValueError(f"{uid} one"), Declined(uid, "two")])


ERRORS: Final[dict[str, Callable[[str], Exception]]] = {
    "value": lambda uid: ValueError(f"{uid} fails"),
    "key": lambda uid: KeyError(f"{uid} fails"),
    "timeout": lambda uid: TimeoutError(f"{uid} fails"),
    "os": lambda uid: FileNotFoundError(2, f"{uid} fails"),
    "declined": lambda uid: Declined(uid, "no funds"),
    "local": _local,
    "chained": _chained,
    "group": _group,
    "non-retryable": lambda uid: NonRetryable(f"{uid} fails"),
    "gone": lambda uid: Gone(f"{uid} fails"),
}
FINAL_ERRORS: Final = ("non-retryable", "gone")
_TEXTLESS: Final = (NotSerializable, PayloadTooLarge, StepInterrupted)


def error_of(kind: str, uid: str) -> Exception:
    """A fresh error of a kind, that says whose it is."""
    return ERRORS[kind](uid)


def describe(error: BaseException) -> Json:
    """An error as JSON: what a tale keeps of it, the same at first run and in replay."""
    if isinstance(error, BaseExceptionGroup):
        return ["ExceptionGroup", [describe(member) for member in error.exceptions]]
    if isinstance(error, RunFailed):
        return ["RunFailed", None if error.__cause__ is None else describe(error.__cause__)]
    if isinstance(error, StepError):
        return ["StepError", error.type_name.rpartition(".")[2], error.message]
    if isinstance(error, _TEXTLESS):
        return [type(error).__name__]
    if isinstance(error, WorkloadFailed):
        return ["WorkloadFailed", error.who]
    told = [type(error).__name__, str(error)]
    # asyncio chains its TimeoutErrors to the CancelledError below; that is not a cause that anybody gave.
    if isinstance(error.__cause__, Exception) and not isinstance(error, DurableError):
        told.append(describe(error.__cause__))
    return told


def expected_error(kind: str, uid: str, *, crossed: bool) -> Json:
    """What ``describe`` makes of ``error_of``; ``crossed`` if it was stored and read on its way."""
    error = error_of(kind, uid)
    if crossed and kind == "local":
        return ["StepError", "Local", str(error)]
    return describe(error)


def returned(order: Json, uid: str) -> Json:
    """What a step that succeeds returns."""
    if not order["tagged"]:
        return order["value"]
    plain = {"uid": uid, "value": order["value"]}
    return {**plain, "sour": True} if order["sour"] else plain


def begun(uid: str, order: Json) -> None:
    """Write down that an attempt's own code has begun."""
    current().write(Effect("begin", uid, idempotency_key(), order["form"] == "once"))


def acted(uid: str, order: Json) -> Any:
    """Do what ``order`` (a ``Step`` as JSON) says, and write down that it is done.

    How often a flaky step has failed is counted in the ledger, outside: an attempt that a crash has cut has begun all
    the same, so under crashes it succeeds no later than without.
    """
    ledger, key = current(), idempotency_key()
    match order["does"]:
        case "fail":
            raise error_of(order["error"], uid)
        case "flaky" if ledger.begins(key) <= order["fails"]:
            raise error_of(order["error"], uid)
        case "unencodable":
            return object()
        case "huge":
            return "x" * HUGE_BYTES
        case _:
            result = returned(order, uid)
            ledger.write(Effect("end", uid, key, order["form"] == "once", result))
            return result


async def act(uid: str, order: Json, scale: float) -> Any:
    """As ``acted``, and take the time that the order says."""
    begun(uid, order)
    if order["seconds"]:
        await asyncio.sleep(order["seconds"] * scale)  # noqa: TID251 - a user's step sleeps as users do
    return acted(uid, order)


def act_sync(uid: str, order: Json, scale: float) -> Any:
    """As ``act``, for plain functions; they take no time."""
    begun(uid, order)
    return acted(uid, order)


def became_of(key: str) -> Done[Any] | NotDone | Unknown:
    """What the ledger knows of an at-most-once call after a crash."""
    lines = [line for line in current().lines if line.key == key]
    for line in lines:
        if line.phase == "end":
            return Done(line.value)
    return Unknown() if lines else NotDone()
