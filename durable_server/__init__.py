"""A REST API over a store: runs of code and of definitions, for programs, curl and the command line."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from durable_server.principals import Principal, Role
from durable_server.tokens import NewToken, Token, Tokens

if TYPE_CHECKING:
    from durable_server.app import asgi, lifespan
    from durable_server.remote.client import RemoteClient

# FastAPI and httpx are loaded when they are asked for: the command line looks in here for its commands.
_LATER: Final = {
    "RemoteClient": "durable_server.remote.client",
    "asgi": "durable_server.app",
    "lifespan": "durable_server.app",
}


def __getattr__(name: str) -> Any:
    room = _LATER.get(name)
    if room is None:
        raise AttributeError(f"module 'durable_server' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(room), name)
    return value


__all__ = ["NewToken", "Principal", "RemoteClient", "Role", "Token", "Tokens", "asgi", "lifespan"]
