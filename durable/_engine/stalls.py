"""Code that does not let go: looked for from the heartbeat's thread, and named with the stack that holds it."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, Final, Protocol, final

from durable._author.logs import logger
from durable._engine import guard
from durable._engine.attempts import Attempt, current_attempt
from durable._model import defaults
from durable.clock import Clock

__all__ = ["Stalls"]

_log = logger("durable.worker")
_QUIET_SECONDS: Final = 60.0  # one warning about one culprit in so many
_FRAMES: Final = 6


class HasAttempts(Protocol):
    """A run in hand."""

    @property
    def attempts(self) -> list[Attempt]:
        """Those in flight."""
        ...


@final
class Stalls:
    """Made in the thread of a worker's loop, asked from another one.

    Args:
        ticked: When the loop last turned, in local monotonic seconds.
        held: The runs in hand, with their attempts; may be asked from any thread.
    """

    def __init__(self, clock: Clock, ticked: Callable[[], float], held: Callable[[], Iterable[HasAttempts]]) -> None:
        self._clock = clock
        self._ticked = ticked
        self._held = held
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._warned: dict[str, float] = {}

    def look(self) -> None:
        """Warn if workflow code, or a step, keeps its thread to itself for more than a second."""
        longest = guard.longest_activation()
        if longest is not None and longest[1] >= defaults.ACTIVATION_SECONDS_WARN:
            self._warn_of_activation(*longest)
        elif self._clock.monotonic() - self._ticked() >= defaults.ACTIVATION_SECONDS_WARN:
            self._warn_of_loop()

    def _warn_of_activation(self, thread: int, seconds: float) -> None:
        frame = sys._current_frames().get(thread)
        if frame is not None and self._is_news("workflow"):
            text = "Workflow code has been running for %.1f s without awaiting anything:\n%s"
            _log.warning(text, seconds, _stack(frame))

    def _warn_of_loop(self) -> None:
        frame = sys._current_frames().get(self._thread)
        if frame is None or frame.f_code.co_name == "select":
            return  # it waits for something to happen, so it turns
        seconds = self._clock.monotonic() - self._ticked()
        attempt = self._culprit()
        if attempt is None:
            if self._is_news("loop"):
                _log.warning(
                    "The worker's event loop has not turned for %.1f s. It is here:\n%s", seconds, _stack(frame)
                )
            return
        run, step = attempt.run, attempt.call.name
        if self._is_news(f"step {step}"):
            _log.warning(
                "Step %s of run %s (attempt %d) has kept the worker's event loop from turning for %.1f s, and with it "
                "every other run. Blocking work belongs into a plain def step, which has a thread:\n%s",
                step,
                None if run is None else run.id,
                attempt.number,
                seconds,
                _stack(frame),
                extra={
                    "run_id": None if run is None else run.id,
                    "workflow": None if run is None else run.workflow,
                    "step": step,
                    "attempt": attempt.number,
                    "epoch": None if run is None else run.epoch,
                },
            )

    def _culprit(self) -> Attempt | None:
        """The attempt in whose task, or in a task of whose making, the loop is."""
        task: Any = asyncio.current_task(self._loop)
        if task is None:
            return None
        if sys.version_info >= (3, 12):
            found: Attempt | None = task.get_context().get(current_attempt)
            return found
        return next((one for run in self._held() for one in run.attempts if one.task is task), None)

    def _is_news(self, culprit: str) -> bool:
        now = self._clock.monotonic()
        if now - self._warned.get(culprit, -_QUIET_SECONDS) < _QUIET_SECONDS:
            return False
        self._warned[culprit] = now
        return True


def _stack(frame: FrameType) -> str:
    return "".join(traceback.format_stack(frame)[-_FRAMES:])
