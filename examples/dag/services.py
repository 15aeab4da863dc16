"""The services that the flows call, in one small server on this machine; what they do is a line in a text file."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from durable_dag import Request, Response
from durable_dag.egress import HttpOutbound

EFFECTS = Path("dag-effects.txt")

ANSWERS: dict[str, Any] = {
    "source-system/data": {
        "users": [{"id": 1, "name": "Ada", "email": "ada@example.org"}, {"id": 2, "name": "Grace"}],
        "orders": [{"id": 7, "status": "active"}, {"id": 8, "status": "cancelled"}],
    },
    "validation/validate": {"valid": True},
    "inventory/check": {"inStock": True},
    "payment/charge": {"receipt": "r-1"},
}


class Services:
    """A server that answers for every host: the host is the first part of the path.

    The first payment is answered with 503, so that there is something to be tried again.
    """

    def __init__(self) -> None:
        self.port = 0
        self._seen: set[str] = set(EFFECTS.read_text().split("\n")) if EFFECTS.exists() else set()

    async def __aenter__(self) -> Services:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *failure: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.split("\r\n")
        headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
        await reader.readexactly(int(headers.get("content-length", "0")))
        where = first.split(" ")[1].strip("/")
        status, body = self._do(where, headers.get("idempotency-key", headers.get("webhook-id", "")))
        text = json.dumps(body)
        answer = f"HTTP/1.1 {status} \r\ncontent-type: application/json\r\ncontent-length: {len(text)}\r\n\r\n"
        writer.write((answer + text).encode())
        await writer.drain()
        writer.close()

    def _do(self, where: str, key: str) -> tuple[int, Any]:
        """Once for each key: a repeat is recognised and answered like the first."""
        if where == "payment/charge" and f"refused {key}" not in self._seen:
            self._write(f"refused {key}")
            return 503, {"error": "the till is being emptied"}
        if f"{where} {key}" not in self._seen:
            self._write(f"{where} {key}")
        return 200, ANSWERS.get(where, {"ok": True})

    def _write(self, line: str) -> None:
        self._seen.add(line)
        with EFFECTS.open("a") as file:
            file.write(line + "\n")


class Local:
    """Sends what is meant for any host to the services here."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._outbound = HttpOutbound()

    async def send(self, request: Request) -> Response:
        """As ``Outbound.send``."""
        where = request.url.partition("://")[2]
        return await self._outbound.send(replace(request, url=f"http://127.0.0.1:{self._services.port}/{where}"))
