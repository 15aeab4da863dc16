"""The application: the gate in front, the endpoints behind it."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

import durable
from durable import Client
from durable.errors import InvalidInput
from durable_server.answers import refusal, reply
from durable_server.audit import Audit
from durable_server.call import call_of
from durable_server.definitions import Definitions
from durable_server.endpoints import Endpoint
from durable_server.feed import Feed
from durable_server.fence import Fence
from durable_server.gate import Authorize, Gate
from durable_server.idempotency import Ledger
from durable_server.meter import Meter
from durable_server.openapi import describe, responses_of
from durable_server.principals import EVERYBODY, Principal
from durable_server.problems import Problem, detail
from durable_server.routes.act import act
from durable_server.routes.bulk import bulk
from durable_server.routes.hooks import hooks
from durable_server.routes.house import house
from durable_server.routes.look import look
from durable_server.routes.streams import streams
from durable_server.routes.workflows import workflows
from durable_server.server import Server
from durable_server.tokens import Tokens

if TYPE_CHECKING:
    from durable_dag import Engine

Auth = Literal["tokens", "none"] | Callable[[Request], Principal | None | Awaitable[Principal | None]]

__all__ = ["ENDPOINTS", "Auth", "asgi", "lifespan"]

ENDPOINTS: Final[tuple[Endpoint, ...]] = tuple(
    # A path of one word must be tried before the one that takes any word in its place.
    sorted(
        (one for group in (look, act, bulk, streams, workflows, hooks, house) for one in group.all),
        key=lambda one: [part.startswith("{") for part in one.path.split("/")],
    )
)
_BODY_BYTES_MAX: Final = 4 * 1024 * 1024


def asgi(
    client: Client,
    engine: Engine | None = None,
    *,
    auth: Auth = "tokens",
    hosts: Iterable[str] | None = None,
    origins: Iterable[str] = (),
    body_bytes_max: int = _BODY_BYTES_MAX,
) -> FastAPI:
    """The API as an ASGI application, to be served or mounted.

    Args:
        client: Open while the application serves: its own lifespan opens and closes it, but a mounted application has
            none, so then open it yourself (or with ``lifespan``).
        engine: For workflows that are data.
        auth: ``"tokens"``: each call shows a token of the store. ``"none"``: only callers on this machine are served,
            and they may do everything. Or a function that says who calls, from your own session or header; None means
            nobody.
        hosts: Names by which the server may be called, without ports; by default any, and with ``auth="none"`` those
            of this machine.
        origins: Origins (``https://ops.example``) from whose pages browsers may call, besides its own.
        body_bytes_max: Longer bodies are refused.
    """
    server = Server(
        client,
        None if engine is None else _definitions(engine),
        Tokens(client),
        Ledger(client),
        Audit(client),
        Meter(client.link.clock),
        Feed(client),
    )
    app = FastAPI(
        title="durable",
        version=durable.__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan(client),
    )
    app.state.durable_server = server
    _add_endpoints(app)
    app.add_exception_handler(HTTPException, _not_routed)
    app.add_exception_handler(RequestValidationError, _misfit)
    app.add_middleware(
        Gate,
        fence=_fence(auth, hosts, origins),
        authorize=_authorize(auth, server.tokens),
        ledger=server.ledger,
        audit=server.audit,
        meter=server.meter,
        body_bytes_max=body_bytes_max,
    )
    return app


def lifespan(client: Client) -> Callable[[FastAPI], Any]:
    """For the application that the API is mounted in: ``FastAPI(lifespan=lifespan(client))`` opens the client."""

    @asynccontextmanager
    async def opened(app: FastAPI) -> AsyncGenerator[None]:
        await client.open()
        try:
            yield
        finally:
            server = getattr(app.state, "durable_server", None)
            if isinstance(server, Server):
                server.closing.set()
            await client.close()

    return opened


def _definitions(engine: Engine) -> Definitions:
    from durable_server.engines import EngineDefinitions  # whoever has no engine may not have its extra either

    return EngineDefinitions(engine)


# ── who may ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _fence(auth: Auth, hosts: Iterable[str] | None, origins: Iterable[str]) -> Fence:
    names = None if hosts is None else frozenset(host.lower() for host in hosts)
    return Fence(auth == "none", names, frozenset(origins))


def _authorize(auth: Auth, tokens: Tokens) -> Authorize:
    if callable(auth):
        return _by_hook(auth)
    if auth == "none":
        return _everybody
    if auth == "tokens":
        return _by_token(tokens)
    raise InvalidInput(f"auth= is 'tokens', 'none' or a function, not {auth!r}.")


async def _everybody(request: Request) -> Principal:
    return EVERYBODY


def _by_token(tokens: Tokens) -> Authorize:
    async def authorize(request: Request) -> Principal:
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not text.strip():
            raise _stranger("This server wants a token: Authorization: Bearer dur_...")
        principal = await tokens.principal(text.strip())
        if principal is None:
            raise _stranger("This token is not accepted: it is unknown, revoked or expired.")
        if request.method not in ("GET", "HEAD", "OPTIONS"):
            await tokens.used(principal.id)
        return principal

    return authorize


def _by_hook(hook: Callable[[Request], Principal | None | Awaitable[Principal | None]]) -> Authorize:
    async def authorize(request: Request) -> Principal:
        said: Any = hook(request)
        if inspect.isawaitable(said):
            said = await said
        if said is None:
            raise _stranger("You are not known here.")
        if not isinstance(said, Principal):
            raise TypeError(f"authorize() returned {type(said).__name__}, not a Principal or None")
        return said

    return authorize


def _stranger(message: str) -> Problem:
    return Problem(401, "unauthorized", message, headers={"WWW-Authenticate": 'Bearer realm="durable"'})


def _needs(endpoint: Endpoint) -> Callable[[Request], Awaitable[None]]:
    async def allowed(request: Request) -> None:
        principal = call_of(request).principal
        if endpoint.roles and (principal is None or not principal.may(endpoint.roles)):
            wanted = " or ".join(sorted(endpoint.roles))
            raise Problem(403, "forbidden", f"This takes the role {wanted}.")

    return allowed


# ── routes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _add_endpoints(app: FastAPI) -> None:
    for endpoint in ENDPOINTS:
        app.add_api_route(
            endpoint.path,
            endpoint.handler,
            methods=[endpoint.method],
            summary=endpoint.summary,
            tags=[endpoint.tag],
            operation_id=endpoint.handler.__name__,
            status_code=next(iter(endpoint.answers)),
            responses=responses_of(endpoint),
            response_model=None,
            response_class=Response,
            dependencies=[Depends(_needs(endpoint))],
        )

    async def document(request: Request) -> Response:
        principal = call_of(request).principal
        if principal is None or not principal.may({"read"}):
            raise Problem(403, "forbidden", "This takes the role read.")
        if app.openapi_schema is None:
            app.openapi_schema = describe(app, ENDPOINTS, durable.__version__)
        return reply(app.openapi_schema)

    app.add_api_route("/openapi.json", document, methods=["GET"], include_in_schema=False, response_model=None)


async def _not_routed(request: Request, error: Exception) -> Response:
    """404, and 405 with all methods that the path has."""
    failure = cast(HTTPException, error)
    if failure.status_code != 405:
        return refusal(Problem(failure.status_code, "not_found", "There is nothing here."))
    methods: set[str] = set()
    for route in request.app.router.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            methods |= set(getattr(route, "methods", None) or ())
    allowed = ", ".join(sorted(methods))
    message = f"{request.method} is not for this path; {allowed} is."
    return refusal(Problem(405, "method_not_allowed", message, headers={"Allow": allowed}))


async def _misfit(request: Request, error: Exception) -> Response:
    """A parameter that does not fit."""
    found = cast(RequestValidationError, error).errors()
    details = [detail(f"/{'/'.join(map(str, one['loc']))}", "invalid_parameter", str(one["msg"])) for one in found]
    said = f"{details[0]['path']}: {details[0]['message']}" if details else "A parameter does not fit."
    return refusal(Problem(400, "invalid_parameter", said, details))
