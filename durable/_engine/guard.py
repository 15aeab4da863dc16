"""While workflow code runs, files, sockets, subprocesses and ``time.sleep`` are refused with the name of the cure.

An audit hook sees these calls; it cannot see ``time.time``, ``random``, ``uuid4`` or ``os.environ``, which tests must
catch. The hook is installed once, does nothing outside activations, and looks only at the thread that runs one. What a
Python does not audit yet (``time.sleep`` before 3.13, threads before 3.12) is wrapped, and then looked at alike.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import threading
import time
import zoneinfo
from collections.abc import Callable
from threading import get_ident
from types import FrameType
from typing import Any, Final, cast

from durable.clock import SystemClock

__all__ = ["activation", "longest_activation"]

_REFUSED: Final = {
    "open": "opens a file",
    "socket.connect": "opens a connection",
    "socket.bind": "opens a socket",
    "socket.getaddrinfo": "looks up a host",
    "socket.gethostbyname": "looks up a host",
    "socket.sendto": "sends a datagram",
    "subprocess.Popen": "starts a process",
    "os.system": "starts a process",
    "os.exec": "starts a process",
    "os.posix_spawn": "starts a process",
    "os.spawn": "starts a process",
    "os.fork": "forks",
    "os.listdir": "reads a directory",
    "os.scandir": "reads a directory",
    "os.mkdir": "makes a directory",
    "os.remove": "removes a file",
    "os.rename": "renames a file",
    "os.rmdir": "removes a directory",
    "shutil.copyfile": "copies a file",
    "shutil.rmtree": "removes a directory",
    "sqlite3.connect": "opens a database",
    "time.sleep": "sleeps",
    "_thread.start_new_thread": "starts a thread",
    "_thread.start_joinable_thread": "starts a thread",
}
_CURES: Final = {"time.sleep": "Write `await ctx.sleep(...)` instead."}
_STEP: Final = "Move it into a step (@step) and call that with ctx.step(...)."
_EXEMPT: Final = (
    "importlib",
    "_frozen_importlib",
    "_frozen_importlib_external",
    "zoneinfo",
    "linecache",
    "logging",
    "traceback",
    "warnings",
    "pydantic",
    "durable.codec",
    "durable._engine",
)
_EXEMPT_INSIDE: Final = tuple(f"{module}." for module in _EXEMPT)
# What stands between user code and what is refused; the simulator wraps `time.sleep` and threads, too.
_TRANSPARENT: Final = ("asyncio", "pathlib", "subprocess", "socket", "threading", "os", "io", "durable_testing")

_clock = SystemClock()
_active: dict[int, float] = {}  # thread → when its activation began
_nested: dict[int, int] = {}  # thread → how many activations are within that one
_installed = False


class _Reporting:
    """The hook for "Exception ignored in", under a frame of this module, so that what it opens is exempt.

    The collector may find anybody's object in the middle of an activation. Python's own hook is C code, and reads the
    source for its traceback without a frame that would tell who it is.
    """

    def __init__(self, hook: Callable[[Any], Any]) -> None:
        self._hook = hook

    def __call__(self, unraisable: Any) -> None:
        self._hook(unraisable)


class _Activation:
    """Context manager: workflow code runs in this thread now. One within another changes nothing."""

    def __enter__(self) -> None:
        global _installed
        if not _installed:
            _installed = True
            sys.addaudithook(_hook)
            if sys.version_info < (3, 13):
                time.sleep = _announced("time.sleep", time.sleep)  # noqa: TID251
            if sys.version_info < (3, 12):
                threading._start_new_thread = _announced(  # type: ignore[attr-defined]
                    "_thread.start_new_thread",
                    threading._start_new_thread,  # type: ignore[attr-defined]
                )
        if sys.unraisablehook.__class__ is not _Reporting:
            sys.unraisablehook = _Reporting(sys.unraisablehook)
        thread = get_ident()
        if thread in _active:
            _nested[thread] = _nested.get(thread, 0) + 1
        else:
            _active[thread] = _clock.monotonic()

    def __exit__(self, *_: object) -> None:
        thread = get_ident()
        if _nested and thread in _nested:
            if _nested[thread] == 1:
                del _nested[thread]
            else:
                _nested[thread] -= 1
        else:
            _active.pop(thread, None)


activation: Final = _Activation()


def longest_activation() -> tuple[int, float] | None:
    """(thread, seconds) of the activation that has been running longest; None if there is none."""
    began = min(_active.copy().items(), key=lambda item: item[1], default=None)
    return None if began is None else (began[0], _clock.monotonic() - began[1])


def _announced(event: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that tells of itself before it does anything."""

    @functools.wraps(function)
    def announced(*args: Any, **kwargs: Any) -> Any:
        if _active and get_ident() in _active:
            _look_at(event, args, sys._getframe(1))
        return function(*args, **kwargs)

    return announced


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _active or event not in _REFUSED or get_ident() not in _active:
        return
    _look_at(event, arguments, sys._getframe(1))


def _look_at(event: str, arguments: tuple[Any, ...], frame: FrameType) -> None:
    loop = cast(Any, asyncio.events._get_running_loop())
    if not getattr(loop, "_is_workflow_loop", False) or _is_time_zone(event, arguments):
        return
    place = ""
    for _ in range(40):
        module = frame.f_globals.get("__name__", "")
        if module in _EXEMPT or module.startswith(_EXEMPT_INSIDE):
            return
        if not place and module.partition(".")[0] not in _TRANSPARENT:
            place = f"{frame.f_code.co_filename.rsplit('/', 1)[-1]}:{frame.f_lineno}"
        if frame.f_back is None:
            break
        frame = frame.f_back
        if frame.f_globals.get("__name__") == "asyncio.events":
            break
    loop.refuse(
        f"Workflow code {_REFUSED[event]} ({event}{_shown(arguments)}, at {place}), which would happen again at every "
        f"replay. {_CURES.get(event, _STEP)}"
    )


def _is_time_zone(event: str, arguments: tuple[Any, ...]) -> bool:
    """``ZoneInfo`` is C code: it opens its files without a frame of its own."""
    path = arguments[0] if event == "open" and arguments else None
    return isinstance(path, str) and path.startswith(zoneinfo.TZPATH)


def _shown(arguments: tuple[Any, ...]) -> str:
    first = arguments[0] if arguments else None
    return f" {first!r:.60}" if isinstance(first, str | int | float) else ""
