"""A scene: the clock, dice, environment and locale that workflow code sees while it runs, and nobody else does.

What is asked for is answered by the scene and noted with the line that asked, so that a difference can be explained.
Only the thread that plays sees another clock, other dice and another environment; time zone and locale are the whole
process's, and are put back after each activation.
"""

from __future__ import annotations

import gc
import locale
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import get_ident
from types import FrameType
from typing import Any, Final, final

from durable_testing._determinism import substitutes

__all__ = ["Read", "Scene", "Setting", "Target", "find_targets", "other_locale", "zones_can_vary"]

_TRANSPARENT: Final = ("os", "collections", "_collections_abc", "durable_testing")
_OURS: Final = ("durable", "durable_testing")


@dataclass(frozen=True, slots=True)
class Setting:
    """What a scene is made of; two of equal settings are alike.

    Attributes:
        clock: Seconds since the epoch at the begin; an activation takes a millisecond, a second look from the same line
            a microsecond.
        dice: Seeds the global random numbers.
        entropy: Seeds what the operating system is asked for.
        environ: Which of the other environments; None for the process's own.
        zone: The local time zone, as the POSIX variable TZ; None for the process's own.
        locale: A locale's name; None for the process's own.
    """

    clock: float
    dice: int = 0
    entropy: int = 0
    environ: int | None = None
    zone: str | None = None
    locale: str | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """Something outside was looked at: which part of the scene, with what, and where in users' code."""

    part: str
    what: str
    place: str


Target = tuple[dict[str, Any], str, Any, str]
"""(namespace, name, what stands there by itself, key of its substitute)."""


def find_targets() -> list[Target]:
    """Every place in loaded modules where a function stands that a scene answers instead.

    The standard library is changed only where these functions live, for its other modules ask there.
    """
    keys = substitutes.standing()
    homes = {"time", "os", "random", "datetime"}
    found: list[Target] = []
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        if top in _OURS or top.startswith("pydantic") or (top in sys.stdlib_module_names and name not in homes):
            continue
        space = getattr(module, "__dict__", None)
        if not isinstance(space, dict):
            continue
        found += [(space, at, value, keys[id(value)]) for at, value in list(space.items()) if id(value) in keys]
    return found


def zones_can_vary() -> bool:
    """Whether this system's C library reads the time zone anew."""
    return hasattr(time, "tzset")


def other_locale() -> str | None:
    """A locale of this machine that writes numbers or months in another way than the one in use."""
    used = locale.setlocale(locale.LC_ALL)
    shape = locale.localeconv()["decimal_point"], time.strftime("%B %x", (2024, 5, 6, 7, 8, 9, 0, 127, 0))
    try:
        for name in ("de_DE.UTF-8", "fr_FR.UTF-8", "sv_SE.UTF-8", "tr_TR.UTF-8", "en_GB.UTF-8", "ja_JP.UTF-8", "C"):
            try:
                locale.setlocale(locale.LC_ALL, name)
            except locale.Error:
                continue
            other = locale.localeconv()["decimal_point"], time.strftime("%B %x", (2024, 5, 6, 7, 8, 9, 0, 127, 0))
            if other != shape:
                return name
        return None
    finally:
        locale.setlocale(locale.LC_ALL, used)


@final
class Scene:
    """Context manager, entered for each activation of one take.

    Args:
        targets: From ``find_targets``.

    Attributes:
        reads: What was looked at from which line, and how often.
    """

    def __init__(self, setting: Setting, targets: list[Target]) -> None:
        self.reads: dict[Read, int] = {}
        self._setting = setting
        self._targets = targets
        self._turns = 0
        self._last: Read | None = None
        self._thread = 0
        self._substitutes = substitutes.made(self.look, self.now, setting.dice, setting.entropy)
        self._modules = 0
        self._locale: str | None = None

    def __enter__(self) -> None:
        self._thread = get_ident()
        self._turns += 1
        self._modules = len(sys.modules)
        for space, name, _, key in self._targets:
            space[name] = self._substitutes[key]
        substitutes.current_environ = self.variable
        os.environ.__class__ = substitutes.Environ
        if self._setting.zone is not None:
            _set_zone(self._setting.zone)
        if self._setting.locale is not None:
            self._locale = locale.setlocale(locale.LC_ALL)
            locale.setlocale(locale.LC_ALL, self._setting.locale)

    def __exit__(self, *_: object) -> None:
        if self._locale is not None:
            locale.setlocale(locale.LC_ALL, self._locale)
        os.environ.__class__ = substitutes.REAL_ENVIRON
        if self._setting.zone is not None:
            _set_zone(os.environ.get("TZ"))
        for space, name, original, _key in self._targets:
            space[name] = original
        if len(sys.modules) != self._modules:
            self._clean_up()

    def _clean_up(self) -> None:
        """Modules that workflow code has imported meanwhile have taken the substitutes for the real ones."""
        real = {id(self._substitutes[key]): original for _, _, original, key in self._targets}
        for module in list(sys.modules.values()):
            space = getattr(module, "__dict__", None)
            if isinstance(space, dict):
                for name, value in list(space.items()):
                    if id(value) in real:
                        space[name] = real[id(value)]

    # ── what the substitutes ask ─────────────────────────────────────────────────────────────────────────────────

    def look(self, part: str, what: str) -> bool:
        """Note a look; False for other threads, which are answered by the real thing."""
        if get_ident() != self._thread:
            return False
        frame = _asker(sys._getframe(2))
        self._last = None
        if frame is not None:
            place = f"{frame.f_code.co_filename.rsplit('/', 1)[-1]}:{frame.f_lineno}"
            self._last = Read(part, what, place)
            self.reads[self._last] = self.reads.get(self._last, 0) + 1
        return True

    def now(self) -> float:
        """What the clock says to the look that was noted last.

        It goes on for those who wait for it to, and by nobody else's looks: what the collector runs in the midst of an
        activation may ask for the time, too, and does so at another moment in each take.
        """
        looks = 0 if self._last is None else self.reads[self._last]
        return self._setting.clock + self._turns * 1e-3 + looks * 1e-6

    def variable(self, environ: Mapping[str, str], key: str) -> str | None:
        """The value of an environment variable, None if it is absent here."""
        real = substitutes.real_variable(environ, key)
        frame = sys._getframe(2)
        if get_ident() != self._thread or not _asks_for_itself(frame):
            return real
        self.look("environ", f"os.environ[{key!r}]")
        if self._setting.environ is None:
            return real
        return substitutes.other_variable(real, self._setting.environ)


def _asker(frame: FrameType | None) -> FrameType | None:
    """The nearest frame of users' code; None if it was the engine or the standard library on its own account.

    What listens to the garbage collector (Hypothesis does, by the clock) asks in the midst of whatever is running.
    """
    listeners = {getattr(listener, "__code__", None) for listener in gc.callbacks}
    for _ in range(30):
        if frame is None or frame.f_code in listeners:
            return None
        top = frame.f_globals.get("__name__", "").partition(".")[0]
        if top not in _OURS and top not in sys.stdlib_module_names:
            return frame
        if top == "asyncio":
            return None
        frame = frame.f_back
    return None


def _asks_for_itself(frame: FrameType | None) -> bool:
    """Whether a variable is asked for by users' code: libraries that configure themselves are left in peace."""
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _TRANSPARENT:
        frame = frame.f_back
    if frame is None or frame.f_globals.get("__name__", "").partition(".")[0] in sys.stdlib_module_names:
        return False
    while frame is not None:
        if frame.f_globals.get("__name__", "") == "importlib._bootstrap":
            return False
        frame = frame.f_back
    return True


def _set_zone(zone: str | None) -> None:
    if zone is None:
        os.unsetenv("TZ")
    else:
        os.putenv("TZ", zone)
    reread: Callable[[], None] | None = getattr(time, "tzset", None)
    if reread is not None:
        reread()
