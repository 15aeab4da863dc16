"""What ``Sim`` is told, looked at where it is told: each function returns a good value and refuses any other."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from durable._author.definitions import Step
from durable.errors import InvalidInput

__all__ = ["count", "crash_point", "functions", "instant", "seconds_to_pass", "store_url"]


def instant(at: Any) -> datetime:
    """When a simulation begins.

    Raises:
        InvalidInput: It is no datetime, or a naive one.
    """
    if not isinstance(at, datetime):
        raise InvalidInput(
            f"Sim(at=) is a datetime with a time zone, like datetime(2026, 1, 1, tzinfo=UTC), not {at!r}."
        )
    if at.tzinfo is None:
        raise InvalidInput("Sim(at=) needs a time zone: datetime(2026, 1, 1, tzinfo=UTC).")
    return at


def store_url(store: Any) -> str:
    """Where a simulation keeps its runs.

    Raises:
        InvalidInput: It is no text.
    """
    if not isinstance(store, str):
        raise InvalidInput(
            f"Sim(store=) takes the URL of a store, like 'memory://' or 'sqlite:///:memory:', not {store!r}: each "
            "world opens a store of its own, on its own clock."
        )
    return store


def count(what: str, given: Any, least: int) -> int:
    """A number of something.

    Args:
        what: How the message begins, like ``crash(times=) is how often it strikes``.

    Raises:
        InvalidInput: It is no int, or a smaller one than ``least``.
    """
    if isinstance(given, bool) or not isinstance(given, int) or given < least:
        raise InvalidInput(f"{what}, {least} or more, not {given!r}.")
    return given


def functions(wanted: str, given: Any, kind: type[Any]) -> tuple[Any, ...]:
    """Workflows, or steps.

    Args:
        wanted: ``workflows`` or ``steps``.

    Raises:
        InvalidInput: Something else.
    """
    if not isinstance(given, Sequence) or not all(isinstance(each, kind) for each in given):
        raise InvalidInput(f"{wanted}= is a list of functions under @{wanted[:-1]}, not {given!r}.")
    return tuple(given)


def crash_point(at: Any) -> tuple[str, str]:
    """The step and the moment, ``before`` or ``after``, at which a worker is to die.

    Raises:
        InvalidInput: It names no step.
    """
    if isinstance(at, Step):
        return at.name, "after"
    words = at.split(" ", 1) if isinstance(at, str) else [""]
    moment, step = ("before", words[1]) if len(words) == 2 and words[0] == "before" else ("after", at)
    if not isinstance(at, str) or not step:
        raise InvalidInput(f"crash(at=) names a step, like at='charge' or at='before charge', not {at!r}.")
    return step, moment


def seconds_to_pass(now: float, duration: dict[str, Any]) -> float:
    """How long ``advance`` lets time pass.

    Args:
        now: Simulated seconds since the epoch.
        duration: Keyword arguments of ``timedelta``.

    Raises:
        InvalidInput: It is no duration, a negative one, or one that ends after the last year there is.
    """
    try:
        seconds = timedelta(**duration).total_seconds()
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(f"advance() takes what timedelta takes, like advance(hours=48): {error}.") from None
    if seconds < 0:
        raise InvalidInput("advance() cannot go back in time.")
    if now + seconds >= _LAST.timestamp():
        raise InvalidInput(f"advance() cannot go past {_LAST:%Y-%m-%d}, where Python's calendar ends.")
    return seconds


_LAST = datetime(9999, 12, 31, tzinfo=UTC)
