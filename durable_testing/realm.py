"""The edge of the simulated world: what reaches for the real one is refused, with the name of the cure.

An audit hook looks at sockets, processes and real sleeps while the simulated loop runs. Files are let through: they
answer at once. The hook is installed once and does nothing while no simulation runs.
"""

from __future__ import annotations

import functools
import sys
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


def _refuse(what: str, cure: str) -> None:
    loop: Any = events._get_running_loop()
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _OURS:
        frame = frame.f_back
    place = f"{frame.f_code.co_filename.rsplit('/', 1)[-1]}:{frame.f_lineno}"
    loop.refuse(f"Simulated code {what}, at {place}. The real world is out of reach in a simulation. {cure}")


_OURS: Final = frozenset({"durable", "durable_testing", "socket", "subprocess", "os", "asyncio", "time", "functools"})
