"""The one client for outbound requests: looks names up itself, connects to what it has checked, and keeps to limits."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any, Final, final

from durable.errors import MissingExtra
from durable_dag.egress.messages import Request, Response
from durable_dag.egress.policy import EgressPolicy
from durable_dag.errors import EgressDenied, HttpProblem, StepFailure

__all__ = ["HttpOutbound"]

Resolve = Callable[[str, int], Awaitable[list[str]]]
_REDIRECTS_MAX: Final = 5


async def system_addresses(host: str, port: int) -> list[str]:
    """The addresses of a name, as the system has them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(where[0]) for *_, where in found))


@final
class HttpOutbound:
    """Sends requests with httpx.

    No proxy of the environment is used, no redirect is followed unless the request says so, and each hop is checked
    like the first. Each request has a connection of its own.

    Args:
        policy: What may be called.
        resolve: The addresses of a name, for tests.
    """

    def __init__(self, policy: EgressPolicy | None = None, *, resolve: Resolve = system_addresses) -> None:
        self._policy = EgressPolicy() if policy is None else policy
        self._resolve = resolve
        self._contexts: dict[bool, Any] = {}

    async def send(self, request: Request) -> Response:
        """As ``Outbound.send``."""
        httpx, httpcore = _library("httpx"), _library("httpcore")
        try:
            async with asyncio.timeout(request.timeout):
                return await self._exchange(request, httpx, httpcore)
        except TimeoutError as error:
            raise HttpProblem(f"{_shown(request)}: no whole answer after {request.timeout:g} s") from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpcore.UnsupportedProtocol) as error:
            raise StepFailure(f"{_shown(request)}: {error}") from None
        except (httpx.LocalProtocolError, httpcore.LocalProtocolError, UnicodeError, ValueError) as error:
            raise StepFailure(f"{_shown(request)}: the request cannot be sent: {error}") from None
        except httpx.TooManyRedirects as error:
            raise StepFailure(f"{_shown(request)}: more than {_REDIRECTS_MAX} redirects") from error
        except (httpx.HTTPError, OSError, *_core_errors(httpcore)) as error:
            raise HttpProblem(f"{_shown(request)}: {type(error).__name__}: {error}") from error

    async def _exchange(self, request: Request, httpx: Any, httpcore: Any) -> Response:
        backend = _backend(httpcore, self._policy, self._resolve)
        pool = httpcore.AsyncConnectionPool(
            ssl_context=self._context(httpx, request.verify), max_connections=1, network_backend=backend
        )
        client = httpx.AsyncClient(
            transport=_transport(httpx, httpcore, pool),
            trust_env=False,
            timeout=request.timeout,
            follow_redirects=request.follow_redirects,
            max_redirects=_REDIRECTS_MAX,
        )
        headers = {"accept-encoding": "identity", **{name.lower(): text for name, text in request.headers.items()}}
        async with client, client.stream(request.method, request.url, headers=headers, content=request.body) as answer:
            body = await _body(answer, request)
            return Response(answer.status_code, {name.lower(): text for name, text in answer.headers.items()}, body)

    def _context(self, httpx: Any, verify: bool) -> Any:
        """Reading the certificates takes longer than a request."""
        if verify not in self._contexts:
            self._contexts[verify] = httpx.create_ssl_context(verify=verify, trust_env=False)
        return self._contexts[verify]


async def _body(answer: Any, request: Request) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in answer.aiter_bytes(65_536):
        size += len(chunk)
        if size > request.bytes_max:
            raise StepFailure(f"{_shown(request)}: the answer is larger than {request.bytes_max:,} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _backend(httpcore: Any, policy: EgressPolicy, resolve: Resolve) -> Any:
    """Opens connections, to addresses that have passed. TLS goes on checking the name that the URL has."""
    plain = httpcore.AnyIOBackend()

    class Checked(httpcore.AsyncNetworkBackend):  # type: ignore[misc]
        async def connect_tcp(self, host: str, port: int, **options: Any) -> Any:
            try:
                addresses = await resolve(host.strip("[]"), port)
            except (OSError, UnicodeError) as error:
                raise httpcore.ConnectError(f"the host has no address: {error}") from error  # its name may be secret
            if not addresses:
                raise httpcore.ConnectError("the host has no address")
            for address in addresses:
                policy.check(host, address)
            failure: Exception | None = None
            for address in addresses[:4]:
                try:
                    return await plain.connect_tcp(address, port, **options)
                except (httpcore.ConnectError, httpcore.ConnectTimeout, OSError) as error:
                    failure = error
            assert failure is not None
            raise failure

        async def connect_unix_socket(self, path: str, **options: Any) -> Any:
            raise EgressDenied("The egress policy forbids to call a socket of this machine.")

        async def sleep(self, seconds: float) -> None:
            await plain.sleep(seconds)

    return Checked()


def _transport(httpx: Any, httpcore: Any, pool: Any) -> Any:
    """What httpx sends through: a pool of ours."""

    class Stream(httpx.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        async def __aiter__(self) -> Any:
            async for part in self._inner:
                yield part

        async def aclose(self) -> None:
            await self._inner.aclose()

    class Transport(httpx.AsyncBaseTransport):  # type: ignore[misc]
        async def handle_async_request(self, request: Any) -> Any:
            url = httpcore.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            )
            asked = httpcore.Request(
                request.method, url, headers=request.headers.raw, content=request.stream, extensions=request.extensions
            )
            answer = await pool.handle_async_request(asked)
            return httpx.Response(
                answer.status, headers=answer.headers, stream=Stream(answer.stream), extensions=answer.extensions
            )

        async def aclose(self) -> None:
            await pool.aclose()

    return Transport()


def _core_errors(httpcore: Any) -> tuple[type[Exception], ...]:
    return (
        httpcore.ConnectError,
        httpcore.ReadError,
        httpcore.WriteError,
        httpcore.TimeoutException,
        httpcore.ProtocolError,
        httpcore.ProxyError,
    )


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as missing:
        raise MissingExtra("http.request and webhooks need httpx: pip install 'durable-engine[dag]'.") from missing


def _shown(request: Request) -> str:
    """Without the query and without what stands before an @, where secrets may be."""
    head = request.url.partition("?")[0].partition("#")[0]
    scheme, mark, rest = head.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{request.method} {scheme}{mark}{authority.rpartition('@')[2]}{slash}{path}"[:300]
