"""The other side: a process that evaluates JavaScript, started as a file with an isolated interpreter.

It knows nothing of this package and imports next to nothing, so that it starts fast and has little to lose. Frames come
in on descriptor 0 and go out on descriptor 1: four bytes of length, a line of JSON, a newline, and a text of JSON that
is passed on as it is. It ends when its input ends, or when the process that started it is gone.

Arguments: the file of the engine's extension module, the process id of the host, and the limit of address space in
bytes.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import math
import os
import select
import signal
import struct
import sys
import time
from typing import Any, Final, Protocol

__all__ = ["CPU_MARGIN_SECONDS", "LENGTH"]

LENGTH: Final = struct.Struct(">I")

# Native loops do not look at the engine's own time limit. So the kernel ends the process when it has computed for this
# much longer than it may: SIGPROF, which Python leaves alone, kills.
CPU_MARGIN_SECONDS: Final = 0.1

STACK_BYTES: Final = 256 * 1024
PARENT_LOOK_SECONDS: Final = 5.0
LIFELINE: Final = 2


class Engine(Protocol):
    """A fresh JavaScript context; only what is used here."""

    def eval(self, code: str) -> Any: ...
    def execute_pending_job(self) -> bool: ...
    def set_memory_limit(self, limit: int) -> None: ...
    def set_time_limit(self, limit: float) -> None: ...
    def set_max_stack_size(self, limit: int) -> None: ...


def load_engine(path: str) -> Any:
    """The extension module from its file: site-packages are not on the path of an isolated interpreter.

    Raises:
        ImportError: The file is not there, or is not for this interpreter.
    """
    loader = importlib.machinery.ExtensionFileLoader("_quickjs", path)
    spec = importlib.util.spec_from_file_location("_quickjs", path, loader=loader)
    if spec is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


# ── limits ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def lock_down(address_bytes: int) -> None:
    """Take from this process what JavaScript never needs: files, children, more memory. Not every system has all."""
    try:
        import resource
    except ImportError:
        return
    for name, most in (
        ("RLIMIT_CORE", 0),
        ("RLIMIT_FSIZE", 0),
        ("RLIMIT_NPROC", 0),
        ("RLIMIT_AS", address_bytes),
        ("RLIMIT_NOFILE", 3),  # 0, 1 and 2 are open already
    ):
        kind = getattr(resource, name, None)
        try:
            if kind is not None:
                resource.setrlimit(kind, (most, most))
        except (ValueError, OSError):  # a system that has the name and not the limit, or a lower one already
            continue


def arm(seconds: float) -> None:
    """Let the kernel end this process after so much processor time, counted from now; 0 takes that back."""
    if not hasattr(signal, "setitimer"):
        return
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        import resource

        # A second net, in whole seconds.
        most = resource.getrlimit(resource.RLIMIT_CPU)[1]
        soft = math.ceil(time.process_time() + seconds) + 1 if seconds else most
        resource.setrlimit(resource.RLIMIT_CPU, (soft, most))
    except (ImportError, ValueError, OSError):
        return


def own_lifeline() -> None:
    """Say who is to be told of what happens on the lifeline: a pipe in the place of stderr, which nobody writes to.

    Not on the socket: there the kernel also tells, at a moment of its own, that an answer of before has been taken.
    """
    try:
        import fcntl

        fcntl.fcntl(LIFELINE, fcntl.F_SETOWN, os.getpid())
    except (ImportError, OSError):
        return


def die_with_host(armed: bool) -> None:
    """While armed, the kernel ends this process when the host closes its end: SIGIO kills on Linux.

    Between calls the end of input is simply read.
    """
    try:
        import fcntl
    except ImportError:
        return
    flags = fcntl.fcntl(LIFELINE, fcntl.F_GETFL)
    fcntl.fcntl(LIFELINE, fcntl.F_SETFL, flags | os.O_ASYNC if armed else flags & ~os.O_ASYNC)
    if armed and select.select([LIFELINE], [], [], 0)[0]:
        sys.exit()  # it was closed a moment before


# ── one call ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def prepared(engine: Any, prelude: str) -> tuple[Engine, Any]:
    """A fresh context and the function in it that answers."""
    context: Engine = engine.Context()
    context.set_max_stack_size(STACK_BYTES)
    return context, context.eval(prelude)


def answer(context: Engine, run: Any, asked: dict[str, Any], variables: str) -> str:
    """A JSON object: ``ok`` with the value, or ``kind``, ``name``, ``message`` and ``stack`` of the failure."""
    seconds = asked["seconds"]
    began = time.process_time()
    context.set_memory_limit(asked["memory_bytes"])
    context.set_time_limit(seconds)
    try:
        out = run(asked["act"], asked["kind"], asked["source"], variables, asked["result_max"])
        while out is None:  # a promise: its jobs run here, all within the one limit
            left = seconds - (time.process_time() - began)
            if left <= 0:
                return failure("time")
            context.set_time_limit(left)
            more = context.execute_pending_job()
            out = run("poll", "", "", "", 0)
            if out is None and not more:
                return failure("result", "Error", "the promise can never settle: nothing is left to do")
        return str(out)
    except MemoryError:
        return failure("memory")
    except Exception as error:  # what JavaScript could not catch: the engine's interrupt, or no room for an error
        if time.process_time() - began >= seconds:
            return failure("time")
        return escaped(str(error))


def escaped(text: str) -> str:
    """What an error that came past the prelude means."""
    name, _, message = text.partition("\n")[0].partition(": ")
    if "interrupted" in message:
        return failure("time")
    if name in ("null", "InternalError") or not text.strip():
        return failure("memory")  # there was not even room to say so
    return failure("thrown", name, message)


def failure(kind: str, name: str = "", message: str = "") -> str:
    return json.dumps({"kind": kind, "name": name, "message": message, "stack": ""})


def one_line(source: str) -> str:
    """The prelude in a form in which every place is on line 1, before any place in foreign source."""
    lines = (line.strip() for line in source.splitlines())
    return " ".join(line for line in lines if not line.startswith("//"))


def carry_out(fresh: list[tuple[Engine, Any]], frame: bytes) -> bytes:
    """One request to one answer, in the context that ``fresh`` holds; it is gone then, so that freeing it counts."""
    head, _, variables = frame.partition(b"\n")
    asked = json.loads(head)
    arm(asked["seconds"] + CPU_MARGIN_SECONDS)
    die_with_host(True)
    try:
        return answer(*fresh.pop(), asked, variables.decode()).encode("utf-8", "replace")
    except MemoryError:
        return failure("memory").encode()
    finally:
        die_with_host(False)
        arm(0)


# ── frames ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_exactly(count: int) -> bytes | None:
    """So many bytes of input, or None at its end."""
    parts: list[bytes] = []
    while count:
        piece = os.read(0, min(count, 1 << 20))
        if not piece:
            return None
        parts.append(piece)
        count -= len(piece)
    return b"".join(parts)


def read_frame(host: int) -> bytes | None:
    """The next request, or None when nobody will send one: a process forked from the host may hold its end open."""
    while not select.select([0], [], [], PARENT_LOOK_SECONDS)[0]:
        if os.getppid() != host:
            return None
    head = read_exactly(LENGTH.size)
    return None if head is None else read_exactly(LENGTH.unpack(head)[0])


def write_frame(data: bytes) -> None:
    rest = memoryview(LENGTH.pack(len(data)) + data)
    while rest:
        rest = rest[os.write(1, rest) :]


def main(path: str, host: int, address_bytes: int) -> None:
    engine = load_engine(path)
    with open(os.path.join(os.path.dirname(__file__), "prelude.js"), encoding="utf-8") as file:
        prelude = one_line(file.read())
    fresh = [prepared(engine, prelude)]
    own_lifeline()
    lock_down(address_bytes)
    write_frame(b"ready")
    while (frame := read_frame(host)) is not None:
        write_frame(carry_out(fresh, frame))
        fresh.append(prepared(engine, prelude))  # while nobody waits


if __name__ == "__main__":
    try:
        main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    except (BrokenPipeError, ConnectionResetError):
        pass  # the host is gone: nobody is told
