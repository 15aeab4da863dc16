"""Callers who begin to speak and do not come to an end."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from serving_rig import Rig

from durable_server import serving

WHOLE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@asynccontextmanager
async def served(rig: Rig) -> AsyncIterator[int]:
    """The application on a port of this machine."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    task = asyncio.create_task(serving.serve(rig.app, listening))
    try:
        yield port
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        listening.close()


async def _answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    await reader.readexactly(length)
    return head


@pytest.mark.parametrize(("before", "said"), [(0, b""), (0, WHOLE[:20]), (2, WHOLE[:20])])
async def test_whoever_does_not_come_to_the_end_of_a_head_is_let_go(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, before: int, said: bytes
) -> None:
    """Neither at the first head of a connection nor at a later one."""
    monkeypatch.setattr(serving, "_HEAD_SECONDS", 0.3)
    async with served(rig) as port, asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(before):
            writer.write(WHOLE)
            assert b" 200 " in await _answer(reader)
        writer.write(said)
        assert await reader.read() == b""
        writer.close()


async def test_a_call_that_takes_longer_than_a_head_may_is_answered(
    working: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "_HEAD_SECONDS", 0.1)
    body = b'{"workflowId": "waits", "context": {}}'
    head = b"POST /executions/start?wait=500ms HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    async with served(working) as port, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        assert b" 202 " in await _answer(reader)
        writer.close()
