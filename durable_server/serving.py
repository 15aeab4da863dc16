"""Serving an application with uvicorn, until the process is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Generator
from typing import Any, Final, final

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.auto import AutoHTTPProtocol

__all__ = ["serve"]

_GRACE_SECONDS: Final = 10
_CONNECTIONS_MAX: Final = 2_000
_HEAD_SECONDS: Final = 10.0
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


_Protocol: Any = AutoHTTPProtocol
"""One of two classes, by what is installed."""


class _Hasty(_Protocol):  # type: ignore[misc]
    """Closes connections whose caller does not come to the end of a request's head.

    Else whoever opens some thousands of them and says nothing keeps everybody else out, without any token.
    """

    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._relax()
        elif self._due is None and (self.cycle is None or self.cycle.response_complete):
            self._expect()  # on a connection that is kept, another head begins

    def connection_lost(self, exc: Exception | None) -> None:
        self._relax()
        super().connection_lost(exc)

    def _expect(self) -> None:
        self._due = self.loop.call_later(_HEAD_SECONDS, self.transport.close)

    def _relax(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None


@final
class _Server(uvicorn.Server):
    """Leaves signals to ``serve``: uvicorn would raise them again when it has stopped."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


async def serve(app: FastAPI, listening: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT: calls under way are answered, streams end."""
    config = uvicorn.Config(
        app,
        http=_Hasty,
        lifespan="off",  # the caller has opened the client, and closes it
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # whoever connects is who calls; headers can say anything
        limit_concurrency=_CONNECTIONS_MAX,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        app.state.durable_server.closing.set()
        server.should_exit = True

    with _on_signals(loop, stop):
        await server.serve(sockets=[listening])


@contextlib.contextmanager
def _on_signals(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> Generator[None]:
    handled: list[signal.Signals] = []
    for number in _SIGNALS:
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread
            loop.add_signal_handler(number, stop)
            handled.append(number)
    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
