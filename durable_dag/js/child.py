"""One helper process, as the host holds it: started, asked one thing at a time, killed, buried."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import weakref
from io import FileIO
from pathlib import Path
from typing import Final, final

from durable.errors import MissingExtra
from durable_dag.js.errors import JsCrash, JsFailure, JsInterrupted, JsTimeout
from durable_dag.js.helper import LENGTH
from durable_dag.js.runtime import MEMORY_BYTES_MAX

__all__ = ["GRACE_SECONDS", "Child"]

# On top of the processor time that a call may use, in seconds of the wall: after that the helper is killed, whatever it
# is doing.
GRACE_SECONDS: Final = 0.5
START_SECONDS: Final = 20.0
END_SECONDS: Final = 0.25

_ADDRESS_BYTES: Final = 2 * MEMORY_BYTES_MAX
_ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024  # a helper that says more is not ours any more
_HELPER: Final = Path(__file__).with_name("helper.py")
_OUT_OF_TIME: Final = {-getattr(signal, name) for name in ("SIGPROF", "SIGXCPU") if hasattr(signal, name)}
_CRASHED: Final = {
    -getattr(signal, name)
    for name in ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE", "SIGTRAP", "SIGSYS")
    if hasattr(signal, name)
}


def engine_file() -> str:
    """Where the engine's extension module is.

    Raises:
        MissingExtra: It is not installed, or this system cannot hold it safely.
    """
    if os.name != "posix":
        raise MissingExtra("JavaScript needs a system with POSIX signals and sockets; this one has none.")
    spec = importlib.util.find_spec("_quickjs")
    if spec is None or spec.origin is None:
        raise MissingExtra("JavaScript needs its engine: pip install 'durable-engine[js]'.")
    return spec.origin


@final
class Child:
    """A running helper and this side of its socket. Not for two callers at once."""

    def __init__(self) -> None:
        """Start the process; it is not ready before ``ready`` says so.

        Raises:
            MissingExtra: There is no engine for it.
            OSError: The system gives no process or no descriptor.
        """
        engine = engine_file()
        self._socket, theirs = socket.socketpair()
        try:
            line, held = os.pipe()  # the helper has the one end, and dies when the other is closed
        except OSError:
            self._socket.close()
            theirs.close()
            raise
        self._lifeline = FileIO(held, "w")
        try:
            self._socket.setblocking(False)
            # Isolated, without site-packages, without an environment; a session of its own, so that no Ctrl-C reaches
            # it. Its descriptors are its ends of the socket and of the lifeline, and nothing else.
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", str(_HELPER), engine, str(os.getpid()), str(_ADDRESS_BYTES)],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=line,
                env={},
                cwd="/",
                start_new_session=True,
            )
        except BaseException:
            self._socket.close()
            self._lifeline.close()
            raise
        finally:
            theirs.close()
            os.close(line)
        # Also when a loop is closed, or the program ends, before anybody has closed the runtime.
        self._end = weakref.finalize(self, _end, self._socket, self._lifeline, self._process, os.getpid())

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ready(self) -> None:
        """Wait until the helper can be asked.

        Raises:
            JsInterrupted: It ended, or did not get ready in time.
        """
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._receive(len(b"ready"))
        except (TimeoutError, EOFError, OSError) as error:
            self.kill()
            raise JsInterrupted("The JavaScript helper process did not start.") from error

    async def ask(self, frame: bytes, timeout: float) -> bytes:
        """One request, one answer. After any exception the helper is of no more use; ``kill`` it.

        Args:
            timeout: Seconds of processor time that the request allows.

        Raises:
            JsFailure: The helper was ended, by the kernel, by its engine, by somebody or by this method.
        """
        limit = timeout + GRACE_SECONDS
        try:
            async with asyncio.timeout(limit):
                loop = asyncio.get_running_loop()
                await loop.sock_sendall(self._socket, LENGTH.pack(len(frame)) + frame)
                return await self._receive(_ANSWER_BYTES_MAX)
        except TimeoutError as error:
            message = f"it could not use {timeout:g} s of processor time within {limit:g} s"
            raise JsInterrupted(f"The JavaScript helper was killed: {message}.") from error
        except (EOFError, OSError) as error:
            raise await self._why_it_ended(timeout) from error

    def stop(self) -> None:
        """End the process at once; whoever waits for its answer sees it end. Any thread may say so."""
        self._process.kill()

    def kill(self) -> None:
        """End the process at once, and let go of the socket, on which nobody waits. ``bury`` it later."""
        self._socket.close()
        self._lifeline.close()
        self._process.kill()

    async def bury(self) -> None:
        """Wait until a process that ends has left the process table."""
        if self._process.poll() is not None:
            return
        loop = asyncio.get_running_loop()
        buried = loop.create_future()
        # A thread of its own: those of the loop's executor may all be held by somebody's steps.
        threading.Thread(target=_wait, args=(self._process, loop, buried), daemon=True).start()
        await buried

    def end_here(self) -> None:
        """Kill and bury without a loop."""
        self._end()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    async def _receive(self, most: int) -> bytes:
        """The next frame.

        Raises:
            EOFError: The helper closed its end, or says more than it may.
        """
        loop = asyncio.get_running_loop()
        data = bytearray()
        wanted = LENGTH.size
        while len(data) < wanted:
            piece = await loop.sock_recv(self._socket, 1 << 18)
            if not piece:
                raise EOFError("the helper closed its end")
            data += piece
            if wanted == LENGTH.size and len(data) >= LENGTH.size:
                wanted += LENGTH.unpack_from(data)[0]
                if wanted > most + LENGTH.size:
                    raise EOFError(f"the helper announced {wanted:,} bytes")
        return bytes(data[LENGTH.size :])

    async def _why_it_ended(self, timeout: float) -> JsFailure:
        """From how the process ended, which it does a moment after it has closed its socket."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await self.bury()
        code = self._process.poll()
        if code in _OUT_OF_TIME:
            return JsTimeout(f"computed for longer than {timeout:g} s", name="Timeout")
        if code is not None and code in _CRASHED:
            return JsCrash(f"the engine crashed ({signal.Signals(-code).name})", name="Crash")
        how = "stopped answering" if code is None else f"ended ({code})"
        return JsInterrupted(f"The JavaScript helper process {how} during a call.")


def _wait(process: subprocess.Popen[bytes], loop: asyncio.AbstractEventLoop, buried: asyncio.Future[None]) -> None:
    process.wait()
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(_tell, buried)


def _tell(buried: asyncio.Future[None]) -> None:
    if not buried.done():
        buried.set_result(None)


def _end(ours: socket.socket, lifeline: FileIO, process: subprocess.Popen[bytes], host: int) -> None:
    """Kill and bury a helper that nobody holds any more; in a process forked from the host, only forget it."""
    ours.close()
    lifeline.close()
    if os.getpid() != host:
        process.returncode = 0  # it is not our child, and Popen need not miss it
        return
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(END_SECONDS)
