"""The services that the README's workflows call: a server that answers for every host, and notes what it was asked."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from durable_dag import Request, Response
from durable_dag.egress import HttpOutbound

__all__ = ["Here", "Reply", "Sent", "Services", "eventually"]


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that has arrived.

    Attributes:
        where: Host and path: ``payment/charge``.
    """

    method: str
    where: str
    headers: dict[str, str]
    body: bytes

    @property
    def value(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with everything."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


Answer = Reply | int | dict[str, Any] | list[Any] | Callable[[Sent], Any]


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asked has been killed."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Services:
    """Host and path come as the path, as ``Here`` sends them. What it is not told of is answered ``{"ok": true}``."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self._answers: dict[str, list[Any]] = {}
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Services:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def serve(self, where: str, *answers: Answer) -> None:
        """One answer after the other, the last one for ever: a status, JSON, a ``Reply``, or a function."""
        with self._lock:
            self._answers[where] = list(answers)

    def to(self, where: str) -> list[Sent]:
        """What was sent there."""
        with self._lock:
            return [one for one in self.sent if one.where == where]

    def forget(self) -> None:
        """Begin anew."""
        with self._lock:
            self.sent, self._answers = [], {}

    def answer(self, sent: Sent) -> Reply:
        """What is said to a request."""
        with self._lock:
            self.sent.append(sent)
            answers = self._answers.get(sent.where, [{"ok": True}])
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if callable(answer):
            answer = answer(sent)
        if isinstance(answer, Reply):
            return answer
        if isinstance(answer, int):
            return Reply(answer)
        return Reply(200, {"content-type": "application/json"}, json.dumps(answer).encode())

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        services = self

        class Handler(BaseHTTPRequestHandler):
            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65_537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                size = int(self.headers.get("content-length", "0"))
                body = self.rfile.read(size)
                if len(body) < size:  # who asks has been killed in the middle of it: this was no request
                    self.close_connection = True
                    return
                headers = {name.lower(): text for name, text in self.headers.items()}
                reply = services.answer(Sent(self.command, self.path.strip("/"), headers, body))
                self.send_response(reply.status)
                for name, text in reply.headers.items():
                    self.send_header(name, text)
                self.send_header("content-length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


class Here:
    """Sends what is meant for any host to the services of this machine, by the client that is used otherwise."""

    def __init__(self, port: int, outbound: HttpOutbound | None = None) -> None:
        self._port = port
        self._outbound = HttpOutbound() if outbound is None else outbound

    async def send(self, request: Request) -> Response:
        """As ``Outbound.send``."""
        where = request.url.partition("://")[2]
        return await self._outbound.send(replace(request, url=f"http://127.0.0.1:{self._port}/{where}"))


def eventually(look: Callable[[], Any], seconds: float = 20.0) -> Any:
    """What it sees, as soon as that is something."""
    end = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)
    return seen
