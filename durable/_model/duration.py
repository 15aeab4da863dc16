"""Durations as users write them, and as the engine counts them: seconds."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta
from typing import Final

from durable._model.defaults import TIMER_SECONDS_MAX
from durable._model.shown import shown
from durable.errors import InvalidInput

Duration = timedelta | float | str
"""Seconds as a number, a ``timedelta``, or text: ``"500ms" "30s" "15m" "48h" "7d" "1h30m"``."""

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_TEXT: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d|w))+")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")

__all__ = ["Duration", "due_seconds", "seconds_of"]


def seconds_of(duration: Duration, what: str = "duration") -> float:
    """Turn a duration into seconds.

    Raises:
        InvalidInput: A ``ValueError``: not a duration, NaN, infinite, negative, or over 100 years.
    """
    if isinstance(duration, timedelta):
        seconds = duration.total_seconds()
    elif isinstance(duration, bool):
        raise InvalidInput(f"A {what} is a number of seconds, a timedelta or text like '30s', not {shown(duration)}.")
    elif isinstance(duration, int | float):
        try:
            seconds = float(duration)
        except OverflowError:
            seconds = math.inf
    elif isinstance(duration, str):
        text = duration.strip().lower()
        if not _TEXT.fullmatch(text):
            raise InvalidInput(
                f"{shown(duration)} is not a {what}. Write it like '500ms', '30s', '15m', '48h' or '7d'."
            )
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    else:
        raise InvalidInput(f"A {what} is a number of seconds, a timedelta or text like '30s', not {shown(duration)}.")
    if math.isnan(seconds) or seconds < 0 or seconds > TIMER_SECONDS_MAX:
        raise InvalidInput(f"A {what} must lie between 0 and 100 years, not {shown(duration)}.")
    return seconds


def due_seconds(when: datetime) -> float:
    """Turn an instant into seconds since the epoch.

    Raises:
        InvalidInput: A ``ValueError``: the datetime has no time zone, so it names no instant.
    """
    if not isinstance(when, datetime):
        raise InvalidInput(f"An instant is a datetime with a time zone, not {shown(when)}.")
    if when.tzinfo is None or when.utcoffset() is None:
        raise InvalidInput(
            f"The datetime {when.isoformat()} has no time zone, so it names no instant. "
            "Give it one, for example datetime(..., tzinfo=timezone.utc)."
        )
    return when.timestamp()
