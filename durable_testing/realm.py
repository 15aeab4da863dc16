"""The edge of the simulated world: what reaches for the real one is refused, with the name of the cure.

An audit hook looks at sockets and processes while the simulated loop runs. Files are let through: they answer at once.
Real sleeps, threads and further event loops are refused where they are asked for. All this is installed once, and does
nothing while no simulation runs.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
import threading
import time
from asyncio import events
from typing import Any, Final

from durable_testing.loop import SimLoop

__all__ = ["guard"]

_REFUSED: Final = {
    "socket.connect": "opens a connection",
    "socket.bind": "opens a socket",
    "socket.getaddrinfo": "looks up a host",
    "socket.gethostbyname": "looks up a host",
    "socket.sendto": "sends a datagram",
    "subprocess.Popen": "starts a process",
    "os.system": "starts a process",
    "os.posix_spawn": "starts a process",
    "os.fork": "forks",
}
_installed = False


def guard() -> None:
    """Watch the edge from now on."""
    global _installed
    if _installed:
        return
    _installed = True
    sys.addaudithook(_hook)
    time.sleep = _unreal(time.sleep)  # noqa: TID251
    own: Any = threading.Thread  # the type checkers do not let a method be replaced
    own.start = _threadless(own.start)
    runner: Any = asyncio.Runner
    runner.run = _unentered(runner.run, "asyncio.Runner.run", 1)
    asyncio.run = asyncio.runners.run = _unentered(asyncio.run, "asyncio.run", 0)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    what = _REFUSED.get(event)
    if what is not None and isinstance(events._get_running_loop(), SimLoop):
        _refuse(f"{what} ({event})", "Stub the step that does it: sim.stub(step, fn).")


def _unreal(sleep: Any) -> Any:
    @functools.wraps(sleep)
    def refusing(seconds: float, /) -> None:
        if isinstance(events._get_running_loop(), SimLoop):
            _refuse(
                f"sleeps for {seconds!r} real seconds (time.sleep)",
                "Write `await asyncio.sleep(...)` in an async step, where time is simulated, or stub the step.",
            )
        sleep(seconds)

    return refusing


def _threadless(start: Any) -> Any:
    @functools.wraps(start)
    def refusing(thread: threading.Thread) -> None:
        if isinstance(events._get_running_loop(), SimLoop):
            _refuse(
                "starts a real thread (threading.Thread.start)",
                "A `def` step, or `await asyncio.to_thread(...)` in an async one, stands for a thread there; or stub "
                "the step: sim.stub(step, fn).",
            )
        start(thread)

    return refusing


def _unentered(run: Any, name: str, position: int) -> Any:
    """``run``, refused in a simulation; the coroutine is its argument at this position, or called main or coro."""

    @functools.wraps(run)
    def refusing(*args: Any, **kwargs: Any) -> Any:
        if isinstance(events._get_running_loop(), SimLoop):
            given = args[position] if len(args) > position else kwargs.get("main", kwargs.get("coro"))
            if inspect.iscoroutine(given):
                given.close()  # nobody will await it, and nobody is to be warned of that
            _refuse(
                f"runs an event loop of its own ({name})",
                "Make the step an `async def` and `await` the coroutine there, or stub the step: sim.stub(step, fn).",
            )
        return run(*args, **kwargs)

    return refusing


def _refuse(what: str, cure: str) -> None:
    loop: Any = events._get_running_loop()
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _OURS:
        frame = frame.f_back
    place = f"{frame.f_code.co_filename.rsplit('/', 1)[-1]}:{frame.f_lineno}"
    loop.refuse(f"Simulated code {what}, at {place}. The real world is out of reach in a simulation. {cure}")


_OURS: Final = frozenset(
    {
        "asyncio",
        "concurrent",
        "durable",
        "durable_testing",
        "functools",
        "os",
        "socket",
        "subprocess",
        "threading",
        "time",
    }
)
