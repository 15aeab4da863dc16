"""What stands in a scene for the functions that reach outside: they note the look, and answer as the scene says."""

from __future__ import annotations

import datetime as datetimes
import os
import random
import time
from collections.abc import Callable
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final, cast

__all__ = ["REAL_ENVIRON", "Environ", "made", "other_variable", "real_variable", "standing"]

Look = Callable[[str, str], bool]
"""(part, what): notes it, and says whether the scene answers."""

REAL_ENVIRON: Final = type(os.environ)

# Who tests with another clock of their own (freezegun, a simulator) has put other functions there, and maybe puts them
# there later, in this module, too: what a name stands for is looked up again before each check, and the class that is
# behind them all is kept in a list, where nobody replaces it.
_DATETIMES: Final = [kind for kind in datetimes.datetime.__mro__ if kind.__module__ == kind.__name__ == "datetime"]

_INSTANTS: Final = tuple(
    name for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time") if hasattr(time, name)
)
_CALENDARS: Final = ("localtime", "gmtime", "ctime")
_DICE: Final = tuple(
    name
    for name, value in vars(random).items()
    if getattr(value, "__self__", None) is cast(Any, random)._inst and not name.startswith("_")
)
_HOMES: Final[dict[str, tuple[Any, str]]] = {
    **{f"time.{name}": (time, name) for name in (*_INSTANTS, *_CALENDARS, "strftime")},
    **{f"time.{name}_ns": (time, f"{name}_ns") for name in _INSTANTS if hasattr(time, f"{name}_ns")},
    **{f"random.{name}": (random, name) for name in _DICE},
    "os.urandom": (os, "urandom"),
    "datetime.datetime": (datetimes, "datetime"),
}
_FIRST: Final = {key: getattr(home, name) for key, (home, name) in _HOMES.items()}

# In the order of the values that code compares with: switches, numbers, names.
_VALUES: Final = ("1", "0", "true", "false", "production", "42", "", "something else")


def standing() -> dict[int, str]:
    """What a scene answers instead: its key, by the id of the function that stands there now, or stood there first."""
    now = {id(getattr(home, name)): key for key, (home, name) in _HOMES.items()}
    return {**{id(value): key for key, value in _FIRST.items()}, id(_DATETIMES[-1]): "datetime.datetime", **now}


def made(look: Look, now: Callable[[], float], dice: int, entropy: int) -> dict[str, Any]:
    """A substitute for each key."""
    real = {key: getattr(home, name) for key, (home, name) in _HOMES.items()}
    found: dict[str, Any] = {}
    for name in _INSTANTS:
        key = f"time.{name}"
        found[key] = _instant(look, now, name, real[key])
        if f"{key}_ns" in real:
            found[f"{key}_ns"] = _instant_ns(look, now, f"{name}_ns", real[f"{key}_ns"])
    for name in _CALENDARS:
        found[f"time.{name}"] = _calendar(look, now, name, real[f"time.{name}"])
    found["time.strftime"] = _strftime(look, now, real["time.strftime"], real["time.localtime"])
    thrown = random.Random(dice)
    for name in _DICE:
        found[f"random.{name}"] = _throw(look, name, real[f"random.{name}"], getattr(thrown, name))
    found["os.urandom"] = _urandom(look, random.Random(f"entropy {entropy}"), real["os.urandom"])
    found["datetime.datetime"] = _datetime(look, now)
    return found


def _instant(look: Look, now: Callable[[], float], name: str, real: Callable[[], float]) -> Callable[[], float]:
    def instant() -> float:
        return now() if look("clock", f"time.{name}") else real()

    return instant


def _instant_ns(look: Look, now: Callable[[], float], name: str, real: Callable[[], int]) -> Callable[[], int]:
    def instant_ns() -> int:
        return int(now() * 1e9) if look("clock", f"time.{name}") else real()

    return instant_ns


def _calendar(look: Look, now: Callable[[], float], name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def calendar(seconds: float | None = None) -> Any:
        if seconds is None and look("clock", f"time.{name}"):
            return real(now())
        return real(seconds)

    return calendar


def _strftime(
    look: Look, now: Callable[[], float], real: Callable[..., str], localtime: Callable[..., Any]
) -> Callable[..., str]:
    def strftime(form: str, *when: Any) -> str:
        if not when and look("clock", "time.strftime"):
            return real(form, localtime(now()))
        return real(form, *when)

    return strftime


def _throw(look: Look, name: str, real: Callable[..., Any], thrown: Callable[..., Any]) -> Callable[..., Any]:
    def throw(*args: Any, **kwargs: Any) -> Any:
        return (thrown if look("dice", f"random.{name}") else real)(*args, **kwargs)

    return throw


def _urandom(look: Look, source: random.Random, real: Callable[[int], bytes]) -> Callable[[int], bytes]:
    def urandom(size: int) -> bytes:
        return source.randbytes(size) if look("entropy", "os.urandom") else real(size)

    return urandom


class _AsTheReal(type):
    """Instances, subclasses and calls are those of the real class: no value is of the substitute's type."""

    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, _DATETIMES[-1])

    def __subclasscheck__(cls, other: type) -> bool:
        return issubclass(other, _DATETIMES[-1])

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return _DATETIMES[-1](*args, **kwargs)


def _datetime(look: Look, now: Callable[[], float]) -> Any:
    if TYPE_CHECKING:
        from datetime import datetime as real
    else:
        real = _DATETIMES[-1]

    class Substitute(real, metaclass=_AsTheReal):
        """``datetime`` with another clock."""

        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return real.fromtimestamp(now(), tz) if look("clock", "datetime.now") else real.now(tz)

        @classmethod
        def utcnow(cls) -> Any:
            mine = look("clock", "datetime.utcnow")
            return (real.fromtimestamp(now(), UTC) if mine else real.now(UTC)).replace(tzinfo=None)

        @classmethod
        def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
            return handler(real)

    Substitute.__name__ = Substitute.__qualname__ = "datetime"
    Substitute.__module__ = "datetime"
    return Substitute


# ── environment variables ────────────────────────────────────────────────────────────────────────────────────────────

current_environ: Callable[[Any, str], str | None] = lambda environ, key: real_variable(environ, key)  # noqa: E731


class Environ(os._Environ[str]):
    """``os.environ`` while a scene is played: the same object, of another class, whoever has imported it."""

    def __getitem__(self, key: Any) -> Any:
        value = current_environ(self, key)
        if value is None:
            raise KeyError(key)
        return value


def real_variable(environ: Any, key: str) -> str | None:
    """What the process's own environment says."""
    try:
        return REAL_ENVIRON.__getitem__(environ, key)
    except KeyError:
        return None


def other_variable(real: str | None, number: int) -> str | None:
    """Another value than the real one: what is set is sometimes absent, and what is absent is set."""
    if real is not None and number % 2:
        return None
    value = _VALUES[number % len(_VALUES)]
    return value if value != real else f"{value}-other"
