"""While workflow code runs, files, sockets, subprocesses and ``time.sleep`` are refused with the name of the cure.

An audit hook sees these calls; it cannot see ``time.time``, ``random``, ``uuid4`` or ``os.environ``, which tests must
catch. The hook is installed once, does nothing outside activations, and looks only at the thread that runs one.
"""

from __future__ import annotations

import asyncio
import sys
from threading import get_ident
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
}
_CURES: Final = {"time.sleep": "Write `await ctx.sleep(...)` instead."}
_STEP: Final = "Move it into a step (@step) and call that with ctx.step(...)."
_EXEMPT: Final = (
    "importlib",
    "_frozen_importlib",
    "zoneinfo",
    "linecache",
    "logging",
    "traceback",
    "warnings",
    "pydantic",
    "durable.codec",
    "durable._engine",
)

_clock = SystemClock()
_active: dict[int, float] = {}  # thread → when its activation began
_installed = False


class _Activation:
    """Context manager: workflow code runs in this thread now. Not re-entrant: activations do not nest."""

    def __enter__(self) -> None:
        global _installed
        if not _installed:
            _installed = True
            sys.addaudithook(_hook)
        _active[get_ident()] = _clock.monotonic()

    def __exit__(self, *_: object) -> None:
        _active.pop(get_ident(), None)


activation: Final = _Activation()


def longest_activation() -> tuple[int, float] | None:
    """(thread, seconds) of the activation that has been running longest; None if there is none."""
    began = min(_active.copy().items(), key=lambda item: item[1], default=None)
    return None if began is None else (began[0], _clock.monotonic() - began[1])


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _active or event not in _REFUSED or get_ident() not in _active:
        return
    loop = cast(Any, asyncio.events._get_running_loop())
    if not getattr(loop, "_is_workflow_loop", False):
        return
    frame = sys._getframe(1)
    place = ""
    for _ in range(40):
        module = frame.f_globals.get("__name__", "")
        if module.startswith(_EXEMPT):
            return
        if not place and not module.startswith(("asyncio", "pathlib", "subprocess", "socket", "os", "io")):
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


def _shown(arguments: tuple[Any, ...]) -> str:
    first = arguments[0] if arguments else None
    return f" {first!r:.60}" if isinstance(first, str | int | float) else ""
