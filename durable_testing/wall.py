"""The wall clock that user code reads: real, or simulated while a simulation is followed.

freezegun (an optional dependency) knows how to stand in for ``datetime.now()``, ``time.time()`` and their like. It is
started once per process, since that looks at every module, and never stopped; from then on its classes ask us, and what
they answer follows whoever called ``follow()`` last, or is the real time. A ``freeze_time()`` of the user's that begins
inside keeps its own say until it ends.

``time.monotonic()``, ``time.perf_counter()`` and ``time.sleep()`` are left alone: event loops and timeouts live by
them. What wants the real time whatever is simulated (``READ_REAL_TIME``) keeps it. Out of reach is what holds a
function itself, as in ``Field(default_factory=datetime.now)`` of a module that was imported before the first
``follow()``.
"""

from __future__ import annotations

import copyreg
import datetime
import functools
import importlib
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final, final

from pydantic import VERSION, GetCoreSchemaHandler, TypeAdapter

from durable.clock import SystemClock
from durable.errors import MissingExtra
from durable_testing.late import see_real_classes

__all__ = ["WallClock", "follow", "followed"]

READ_REAL_TIME: Final = frozenset(
    {
        "_pytest",
        "aiosqlite",
        "coverage",
        "durable",
        "durable_sqlite",
        "durable_testing",
        "execnet",
        "hypothesis",
        "logging",
        "pydantic",
        "pydantic_core",
        "pytest",
        "pytest_asyncio",
        "pytest_timeout",
        "xdist",
    }
)
"""Packages whose modules go on seeing the real functions and classes, if they were imported before the start. Those
that read only monotonic time (asyncio, threading, selectors, concurrent) need not be named."""

MONOTONIC: Final = ("monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")

Function = Callable[..., Any]


def follow(now: Callable[[], float]) -> Callable[[], None]:
    """Let the wall clock of user code follow ``now`` until the returned function is called.

    The first call in a process starts freezegun, which takes a moment; later ones take about a microsecond. Follows are
    a stack: when one is left, the one before it is followed again, and after the last one the time is real.

    Args:
        now: The simulated time in seconds since the epoch, asked at each reading.

    Raises:
        MissingExtra: freezegun is not installed.
    """
    global _wall
    if _wall is None:
        _wall = _start()
    return _wall.follow(now)


def followed() -> Callable[[], float] | None:
    """Whom the wall clock follows now; None for the real time."""
    return None if _wall is None else _wall.followed


_wall: WallClock | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Followed:
    """Whom the wall clock follows.

    Attributes:
        now: Seconds since the epoch; None for the real time.
        freezes: How many freezes there were when it began. A later one is inside of it.
    """

    now: Callable[[], float] | None
    freezes: int


@final
class WallClock:
    """The wall clock of this process, as user code sees it. To freezegun it is a factory of its current time."""

    __slots__ = ("_followed", "_freezes")

    def __init__(self, freezes: list[Any]) -> None:
        """Make it.

        Args:
            freezes: What freezegun is frozen at, the innermost last. The first is this clock itself.
        """
        self._freezes = freezes
        self._followed = [Followed(None, 1)]

    @property
    def followed(self) -> Callable[[], float] | None:
        """See ``followed``."""
        return self._followed[-1].now

    def follow(self, now: Callable[[], float]) -> Callable[[], None]:
        """See ``follow``; the returned function may be called again, which does nothing."""
        followed, stack = Followed(now, len(self._freezes)), self._followed
        stack.append(followed)

        def leave() -> None:
            if followed in stack:
                stack.remove(followed)

        return leave

    def __call__(self) -> datetime.datetime:
        """The time that is followed, in UTC and without a zone: what freezegun's own functions compute with."""
        now = self._followed[-1].now or SystemClock().now
        return datetime.datetime.fromtimestamp(now(), datetime.UTC).replace(tzinfo=None)


@final
class Reading:
    """One function that tells the time, in its three guises.

    An object rather than a function, so that ``class Order: clock = time.time`` does not make a method of it.
    """

    def __init__(self, wall: WallClock, real: Function, simulated: Function, frozen: Function) -> None:
        """Make it.

        Args:
            wall: Whose time it tells.
            real: As Python has it.
            simulated: The same of an instant, which comes before the arguments.
            frozen: As freezegun has it, for a freeze that began inside of what is followed.
        """
        functools.update_wrapper(self, real)
        self._followed, self._freezes = wall._followed, wall._freezes
        self._real, self._simulated, self._frozen = real, simulated, frozen

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        followed = self._followed[-1]
        if len(self._freezes) > followed.freezes:
            return self._frozen(*args, **kwargs)
        if followed.now is None:
            return self._real(*args, **kwargs)
        return self._simulated(followed.now(), *args, **kwargs)

    def __reduce__(self) -> str:
        # Copied and pickled by its name, as any function is.
        return str(self._real.__name__)


# ── the start ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _start() -> WallClock:
    try:
        api: Any = importlib.import_module("freezegun.api")
    except ImportError as error:
        raise MissingExtra(
            "A simulated wall clock needs an optional part: pip install 'durable-engine[testing]'."
        ) from error
    importlib.import_module("durable.codec")  # it compares classes, so it must have the real ones by now
    wall = WallClock(api.freeze_factories)
    classes = [(api.real_datetime, api.FakeDatetime), (api.real_date, api.FakeDate)]
    functions = _functions(api, wall)
    pairs = [*classes, *((real, fake) for real, fake, _ in functions.values())]
    changed, kept = {id(real): fake for real, fake in pairs}, {id(fake): real for real, fake in pairs}
    for real, fake, frozen in functions.values():  # modules may have freezegun's, from a freeze that is going on
        if frozen is not real:
            changed[id(frozen)], kept[id(frozen)] = fake, real
    kept[id(time)] = View(time, {name: real for name, (real, _, _) in functions.items()})
    kept[id(datetime)] = View(datetime, {"datetime": api.real_datetime, "date": api.real_date})

    _teach_time(api, wall)
    _teach_types(classes)
    _freeze(api, wall, {name: fake for name, (_, fake, _) in functions.items()})
    for kind in (kind for pair in classes for kind in pair):
        copyreg.pickle(kind, _reduced)
    _exchange(changed, kept)
    _try_pydantic(classes)
    see_real_classes({"datetime": api.real_datetime, "date": api.real_date})
    return wall


def _functions(api: Any, wall: WallClock) -> dict[str, tuple[Function, Function, Function]]:
    """The functions of ``time``: Python's, what user code gets, and freezegun's."""
    local, of_format, of_moment = api.real_localtime, api.real_strftime, time.asctime

    def of_seconds(function: Function) -> Function:
        return lambda at, seconds=None: function(at if seconds is None else seconds)

    simulated: dict[str, Function] = {
        "time": lambda at: at,
        "time_ns": lambda at: round(at * 1e6) * 1000,  # a float of today has no nanoseconds to tell
        "localtime": of_seconds(local),
        "gmtime": of_seconds(api.real_gmtime),
        "ctime": of_seconds(time.ctime),
        "asctime": lambda at, moment=None: of_moment(local(at) if moment is None else moment),
        "strftime": lambda at, form, moment=None: of_format(form, local(at) if moment is None else moment),
    }
    table: dict[str, tuple[Function, Function, Function]] = {}
    for name in (*simulated, *MONOTONIC):
        real: Function = getattr(api, f"real_{name}", None) or getattr(time, name)
        frozen: Function = getattr(api, f"fake_{name}", real)
        fake = Reading(wall, real, simulated[name], frozen) if name in simulated else real
        table[name] = real, fake, frozen
    return table


def _freeze(api: Any, wall: WallClock, functions: Mapping[str, Function]) -> None:
    """Start freezegun with our functions in place of its own, and the clock as what it is frozen at."""
    for name, function in functions.items():
        setattr(api, f"fake_{name}", function)
    begun: list[tuple[list[Any], Any]] = [
        (api.freeze_factories, wall),
        (api.tz_offsets, datetime.timedelta()),
        (api.ignore_lists, ()),
        (api.tick_flags, True),
    ]
    if api.freeze_factories:
        for values, ours in begun:
            values.insert(0, ours)  # below the freeze that is going on: its end takes away the last one
    else:
        # It shall touch no module, since we exchange more exactly: every name begins with this one.
        api.freeze_time(ignore=[""]).start()
        for values, ours in begun:
            values[:] = [ours]
    for name, function in functions.items():
        setattr(time, name, function)


def _exchange(changed: Mapping[int, Any], kept: Mapping[int, Any]) -> None:
    """Give each imported module what it shall see; the tables say it by the id of what the module sees now."""
    for module in list(sys.modules.values()):
        if not isinstance(module, ModuleType):
            continue
        package = module.__name__.partition(".")[0]
        if package in ("time", "datetime", "_datetime", "_pydatetime", "freezegun"):
            continue
        wanted = kept if package in READ_REAL_TIME else changed
        space = vars(module)
        for name, value in list(space.items()):
            if id(value) in wanted:
                space[name] = wanted[id(value)]


class View(ModuleType):
    """A copy of a module of the standard library, with the real functions and classes."""

    def __init__(self, module: ModuleType, real: Mapping[str, Any]) -> None:
        super().__init__(module.__name__, module.__doc__)
        vars(self).update({**vars(module), **real}, _module=module, _real=frozenset(real))

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name not in self._real:  # who wraps ``time.sleep``, say, means it for everybody
            setattr(self._module, name, value)


# ── freezegun's classes ──────────────────────────────────────────────────────────────────────────────────────────────


def _teach_time(api: Any, wall: WallClock) -> None:
    """Let them read our clock, and the machine's time zone.

    freezegun has one offset for a zone, and adds it to aware times too; so only its own freezes are left to it.
    """
    moment, day, system = api.FakeDatetime, api.FakeDate, api.real_datetime

    def now(cls: Any, tz: Any = None) -> Any:
        return super(moment, cls).now(tz)

    def utcnow(cls: Any) -> Any:
        return super(moment, cls).now(datetime.UTC).replace(tzinfo=None)

    def today(cls: Any) -> Any:
        return super(day, cls).fromtimestamp(api.real_time())

    def fromtimestamp(cls: Any, timestamp: float, tz: Any = None) -> Any:
        return super(moment, cls).fromtimestamp(timestamp, tz)

    simulated: list[tuple[Any, str, Function, Function]] = [
        (moment, "now", now, lambda at, cls, tz=None: fromtimestamp(cls, at, tz)),
        (moment, "today", now, lambda at, cls: fromtimestamp(cls, at)),
        (moment, "utcnow", utcnow, lambda at, cls: fromtimestamp(cls, at, datetime.UTC).replace(tzinfo=None)),
        (moment, "fromtimestamp", fromtimestamp, lambda at, cls, *given, **named: fromtimestamp(cls, *given, **named)),
        (day, "today", today, lambda at, cls: super(day, cls).fromtimestamp(at)),
    ]
    for kind, name, real, of in simulated:
        setattr(kind, name, classmethod(Reading(wall, real, of, vars(kind)[name].__func__)))

    seconds = Reading(wall, system.timestamp, lambda at, self: system.timestamp(self), moment.timestamp)
    moment.timestamp = lambda self: seconds(self)  # a function, so that it becomes a method


def _teach_types(classes: list[tuple[Any, Any]]) -> None:
    """Let pydantic take them for what they stand for, and ``isinstance`` tell classes that are made of them apart."""
    for real, fake in classes:
        fake.__get_pydantic_core_schema__ = classmethod(_described(real, fake))
        # freezegun says yes for a subclass too (one that is made where ``datetime`` is its own already).
        type(fake).__instancecheck__ = _asked(isinstance, type.__instancecheck__, real, fake)
        type(fake).__subclasscheck__ = _asked(issubclass, type.__subclasscheck__, real, fake)


def _described(real: type, fake: Any) -> Function:
    def describe(cls: Any, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return handler.generate_schema(real) if source is fake else handler(source)

    return describe


def _asked(of_real: Function, of_others: Function, real: type, fake: Any) -> Function:
    return lambda cls, it: of_real(it, real) if cls is fake else of_others(cls, it)


def _reduced(value: Any) -> tuple[Function, tuple[Any, ...]]:
    """How dates are pickled and copied: as the real ones, so that another process need not know freezegun."""
    if isinstance(value, datetime.datetime):
        state: Any = datetime.datetime.__reduce_ex__(value, 4)
        return _moment, state[1]
    state = datetime.date.__reduce_ex__(value, 4)
    return _day, state[1]


def _moment(*state: Any) -> datetime.datetime:
    return datetime.datetime(*state)


def _day(*state: Any) -> datetime.date:
    return datetime.date(*state)


def _try_pydantic(classes: list[tuple[Any, Any]]) -> None:
    """Say it now if a pydantic of another make does not take them, rather than at the first step with a date."""
    try:
        for kind in (kind for pair in classes for kind in pair):
            TypeAdapter(kind)
    except Exception as error:
        warnings.warn(
            f"While the wall clock is simulated, pydantic {VERSION} cannot carry dates, so steps and models with dates "
            f"will be refused ({str(error).partition(chr(10))[0]}). Use a release of pydantic 2.13 or 2.14.",
            RuntimeWarning,
            stacklevel=4,
        )
