"""Serving an application with uvicorn, until the process is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Generator
from typing import Final, final

import uvicorn
from fastapi import FastAPI

__all__ = ["serve"]

_GRACE_SECONDS: Final = 10
_CONNECTIONS_MAX: Final = 2_000
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


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
