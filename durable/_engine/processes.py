"""``run_in="process"``: a step in a process of its own, which is killed when its outcome is not wanted any more."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import multiprocessing
import os
import threading
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, Final

from durable._author.calls import StepSpec
from durable._engine.attempts import Attempt, current_attempt
from durable.clock import SystemClock
from durable.codec import Codec, dump_error, load_error
from durable.errors import StepError, WorkflowCodeError

__all__ = ["run"]

_RESULT: Final = b"+"
_ERROR: Final = b"-"
_BEAT: Final = b"~"


async def run(spec: StepSpec, attempt: Attempt) -> Any:
    """Run the attempt in a fresh process; values cross as encoded bytes, the function by its name.

    Raises:
        WorkflowCodeError: The function cannot be found by name from another process.
        StepError: The process died.
    """
    raw = attempt.call.raw
    if spec.step is None or raw is None or "<locals>" in spec.step.__qualname__:
        raise WorkflowCodeError(f"Step {spec.name!r} must be a declared, module-level function to run in a process.")
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_child,
        args=(
            theirs,
            spec.step.__module__,
            spec.step.__qualname__,
            raw,
            attempt.key,
            attempt.number,
            attempt.known(),
        ),
        daemon=True,
    )
    loop = asyncio.get_running_loop()
    try:
        await loop.run_in_executor(None, process.start)
        theirs.close()
        ok, data = await _answer(loop, ours, process, attempt)
    finally:
        await asyncio.shield(loop.run_in_executor(None, _reap, process, ours))
    if not ok:
        raise load_error(data)
    return spec.result.load(data, f"result of step {spec.name!r}")


async def _answer(
    loop: asyncio.AbstractEventLoop, ours: Connection, process: SpawnProcess, attempt: Attempt
) -> tuple[bool, bytes]:
    """The outcome; beats that come before it are passed on."""
    readable = asyncio.Event()
    loop.add_reader(ours.fileno(), readable.set)
    try:
        while True:
            await readable.wait()
            readable.clear()
            while ours.poll():
                data = ours.recv_bytes()
                if data[:1] != _BEAT:
                    return data[:1] == _RESULT, data[1:]
                attempt.heard(data[1:] or None)
    except (EOFError, OSError):
        await loop.run_in_executor(None, process.join, 5)
        raise StepError(f"The process of step {attempt.call.name!r} died with exit code {process.exitcode}.") from None
    finally:
        loop.remove_reader(ours.fileno())


def _reap(process: SpawnProcess, ours: Connection) -> None:
    ours.close()
    if process.pid is not None:
        process.join(0.2)
        if process.is_alive():
            process.kill()
        process.join()
        process.close()


def _child(
    pipe: Connection, module: str, qualname: str, raw: bytes, key: str, number: int, known: bytes | None
) -> None:
    """The other side."""
    threading.Thread(target=_end_with_parent, name="durable-parent", daemon=True).start()
    from durable._author.definitions import Step
    from durable._core.call import Call
    from durable._model.entries import CallKind
    from durable._model.ids import CallId

    name = "__mp_main__" if module == "__main__" else module
    try:
        step: Any = importlib.import_module(name)
        for part in qualname.split("."):
            step = getattr(step, part)
        assert isinstance(step, Step)
        args, kwargs = step.arguments.load(raw, "arguments")
        call = Call(CallId(key.split("/", 2)[-1]), CallKind.STEP, step.name, "", None, 0.0)
        codec = Codec()
        call.progress = None if known is None else codec.seal(known, "heartbeat")
        attempt = Attempt(call, number, key, 0.0, codec, SystemClock())
        attempt.relay = lambda progress: pipe.send_bytes(_BEAT + (progress or b""))
        current_attempt.set(attempt)
        result = step.fn(*args, **kwargs)
        if asyncio.iscoroutine(result):
            result = asyncio.run(result)
        answer = _RESULT + step.arguments.result.round_trip(result, f"result of step {step.name!r}")[0]
    except BaseException as error:
        answer = _ERROR + dump_error(error)
    with contextlib.suppress(OSError):
        pipe.send_bytes(answer)


def _end_with_parent() -> None:
    """A killed worker cannot kill its processes: without this, they would go on beside the step's next attempt."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
