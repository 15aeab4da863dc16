"""Leaving a process in time: user code that does not end is left behind, for the store knows what it was doing."""

from __future__ import annotations

import logging
import os
import sys
import threading
from typing import Final

__all__ = ["leave", "leave_within"]

_STEP_THREADS: Final = "durable-step"


def leave_within(seconds: float, code: int) -> threading.Timer:
    """End this process after so many seconds, whatever still runs in it, unless it has ended by itself."""
    timer = threading.Timer(seconds, _now, [code])
    timer.daemon = True
    timer.start()
    return timer


def leave(code: int) -> int:
    """Return the code; but if threads of steps still run, which would keep the interpreter from ending, end it now."""
    stuck = [thread.name for thread in threading.enumerate() if thread.name.startswith(_STEP_THREADS)]
    if any(_busy(name) for name in stuck):
        _now(code)
    return code


def _busy(name: str) -> bool:
    """Whether a pool's thread is inside user code: an idle one of a closed pool has ended by itself."""
    thread = next((thread for thread in threading.enumerate() if thread.name == name), None)
    if thread is None:
        return False
    thread.join(0.2)
    return thread.is_alive()


def _now(code: int) -> None:
    sys.stderr.write("Steps still run in threads; they are left behind. Another worker begins them again.\n")
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
