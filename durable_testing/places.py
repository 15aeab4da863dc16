"""Places in a scenario: where it raised, where it waits. As ``test_shop.py:31: the line itself``."""

from __future__ import annotations

import inspect
import linecache
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

__all__ = ["raised_at", "waits_at"]


def raised_at(error: BaseException, scenario: Callable[..., Any]) -> str:
    """The last line in the file of the scenario through which the error went; empty if there is none."""
    trace = error.__traceback__
    found = ""
    while trace is not None:
        if _is_in(trace.tb_frame, scenario):
            found = _place(trace.tb_frame, trace.tb_lineno)
        trace = trace.tb_next
    return found


def waits_at(coroutine: Any, scenario: Callable[..., Any]) -> str:
    """The innermost line in the file of the scenario at which a suspended coroutine waits; empty if there is none."""
    frames = [frame for frame in _suspended(coroutine) if _is_in(frame, scenario)]
    return _place(frames[-1], frames[-1].f_lineno) if frames else ""


def _suspended(coroutine: Any) -> Iterator[FrameType]:
    while inspect.iscoroutine(coroutine):
        if coroutine.cr_frame is not None:
            yield coroutine.cr_frame
        coroutine = coroutine.cr_await


def _is_in(frame: FrameType, scenario: Callable[..., Any]) -> bool:
    code = getattr(inspect.unwrap(scenario), "__code__", None)
    return code is not None and frame.f_code.co_filename == code.co_filename


def _place(frame: FrameType, line: int) -> str:
    file = frame.f_code.co_filename
    source = linecache.getline(file, line, frame.f_globals).strip()
    return f"{file.rsplit('/', 1)[-1]}:{line}{': ' if source else ''}{source}"
