"""A client of the API, for the command line and for scripts without an event loop."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Final, final
from urllib.parse import quote

import httpx

from durable.clock import SystemClock
from durable.errors import DurableError

Json = Any

__all__ = ["ApiError", "RemoteClient", "Unreachable"]

_PAGE: Final = 1000
_RECONNECTS: Final = 5
_SILENCE_SECONDS: Final = 40.0
"""A stream beats every 15 seconds; one that is silent for longer is dead."""


class ApiError(DurableError):
    """The server has refused a call.

    Attributes:
        status: Of HTTP.
        code: For programs, as ``execution_not_found``.
        details: What is wrong where.
    """

    def __init__(self, message: str, status: int, code: str, details: Json = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.details = details


class Unreachable(DurableError):
    """The server cannot be reached, or what answers is no such server."""


@final
class RemoteClient:
    """``with RemoteClient("http://localhost:8585") as client:``

    Args:
        url: Of the server, with the path under which the API is mounted, if any.
        token: ``dur_...``; None for a server on this machine that wants none.
        transport: Instead of the network, for tests.
    """

    def __init__(
        self, url: str, token: str | None = None, *, timeout: float = 70.0, transport: httpx.BaseTransport | None = None
    ) -> None:
        headers = {"Accept": "application/json", "User-Agent": "durable"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self.url = url.rstrip("/")
        try:
            # Proxies of the environment are not asked: they would see the token.
            self._http = httpx.Client(
                base_url=self.url, headers=headers, timeout=timeout, transport=transport, trust_env=False
            )
        except (ValueError, TypeError, httpx.InvalidURL) as error:
            raise Unreachable(f"{self.url!r} is no address of a server: {error}") from None

    def __enter__(self) -> RemoteClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    # ── executions ───────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, workflow: str, *, wait: str | None = None, key: str | None = None, **body: Json) -> Json:
        """Start an execution.

        Args:
            wait: Wait so long for its end (``30s``); the answer is then the execution.
            key: Idempotency key.
            body: Other members of the request: ``context``, ``input``, ``executionId``, ``tags``, ...
        """
        given = {name: value for name, value in body.items() if value is not None}
        params = {} if wait is None else {"wait": wait}
        return self.call("POST", "/executions/start", {"workflowId": workflow, **given}, params=params, key=key)

    def get(self, id: str) -> Json:
        """One execution."""
        return self.call("GET", self._path(id))

    def executions(self, limit: int | None = 100, **filters: Json) -> tuple[list[Json], bool]:
        """Executions, newest first, and whether there are more; None for all."""
        found: list[Json] = []
        params = {name: value for name, value in filters.items() if value not in (None, (), [])}
        while True:
            size = _PAGE if limit is None else min(limit - len(found), _PAGE)
            answer = self._send("GET", "/executions", params={**params, "limit": size})
            found += _json(answer)
            cursor = answer.headers.get("x-next-cursor")
            if cursor is None or (limit is not None and len(found) >= limit):
                return found, cursor is not None
            params["cursor"] = cursor

    def why(self, id: str) -> Json:
        """What it waits for."""
        return self.call("GET", self._path(id, "why"))

    def history(self, id: str) -> list[Json]:
        """All its events."""
        found: list[Json] = []
        while True:
            after = found[-1]["seq"] if found else 0
            events = self.call("GET", self._path(id, "history"), params={"after": after, "limit": _PAGE})
            found += events
            if len(events) < _PAGE:
                return found

    def act(self, id: str, *verb: str, key: str | None = None, **body: Json) -> Json:
        """``act(id, "cancel", reason="...")``; ``pause``, ``resume``, ``retry``, ``fork``, ``"steps", step, "fail"``.

        Args:
            key: Idempotency key.
            body: Members of the request; those that are None are left out.
        """
        given = {name: value for name, value in body.items() if value is not None}
        return self.call("POST", self._path(id, *verb), given, key=key)

    def signal(self, id: str, name: str, payload: Json = None, *, key: str | None = None) -> Json:
        """Send it a signal; said twice with one key, it is received once."""
        return self.call("POST", self._path(id, "signal", name), payload, key=key)

    def events(self, id: str) -> Iterator[Json]:
        """Its events as they come, until its end; a broken connection is taken up where it broke."""
        last, failures = 0, 0
        while True:
            try:
                for event in self._stream(id, last):
                    last, failures = event["seq"], 0
                    yield event
                if self.get(id)["status"] in ("completed", "failed", "cancelled"):
                    return
            except Unreachable:
                failures += 1
                if failures > _RECONNECTS:
                    raise

    def _stream(self, id: str, last: int) -> Iterator[Json]:
        headers = {"Last-Event-ID": str(last), "Accept": "text/event-stream"}
        timeout = httpx.Timeout(30.0, read=_SILENCE_SECONDS)
        try:
            with self._http.stream("GET", self._path(id, "events"), headers=headers, timeout=timeout) as answer:
                if answer.status_code != 200:
                    answer.read()
                    raise _refusal(answer)
                for line in answer.iter_lines():
                    if line.startswith("data: "):
                        yield json.loads(line[6:])
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    # ── anything ─────────────────────────────────────────────────────────────────────────────────────────────────

    def call(
        self,
        method: str,
        path: str,
        body: Json = ...,
        *,
        params: Mapping[str, Json] | None = None,
        key: str | None = None,
        if_match: int | None = None,
    ) -> Json:
        """One call; its answer's value.

        Args:
            key: Idempotency key.
            if_match: The version that is believed to be the newest.

        Raises:
            ApiError: The server refuses it.
            Unreachable: There is no answer, or not one of such a server.
        """
        return _json(self._send(method, path, body, params=params, key=key, if_match=if_match))

    def text(self, path: str, *, params: Mapping[str, Json] | None = None) -> str:
        """An answer that is no JSON, such as a picture.

        Raises:
            ApiError, Unreachable: As for ``call``.
        """
        return self._send("GET", path, params=params).text

    def _send(
        self,
        method: str,
        path: str,
        body: Json = ...,
        *,
        params: Mapping[str, Json] | None = None,
        key: str | None = None,
        if_match: int | None = None,
    ) -> httpx.Response:
        headers = {} if key is None else {"Idempotency-Key": key}
        if if_match is not None:
            headers["If-Match"] = f'"{if_match}"'
        content = None
        if body is not ...:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body).encode()
        try:
            answer = self._http.request(method, path, params=params, content=content, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from error
        if not answer.is_success:
            raise _refusal(answer)
        return answer

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(f"The server {self.url} cannot be reached: {error or type(error).__name__}.")

    def _path(self, id: str, *more: str) -> str:
        return "/".join(["/executions", *(quote(part, safe="") for part in (id, *more))])

    def token(self) -> str:
        """A fresh random text, for idempotency keys."""
        return SystemClock().token()


def _json(answer: httpx.Response) -> Json:
    if answer.status_code == 204:
        return None
    try:
        return answer.json()
    except ValueError:
        raise Unreachable(f"What answers at {answer.url} is no server of durable.") from None


def _refusal(answer: httpx.Response) -> ApiError | Unreachable:
    try:
        value = answer.json()
        return ApiError(value["error"], answer.status_code, value["code"], value.get("details", ()))
    except (ValueError, KeyError, TypeError):
        return Unreachable(f"What answers at {answer.url} ({answer.status_code}) is no server of durable.")
