"""The list of endpoints: each with its handler, its roles and what its documentation says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, final

from starlette.responses import Response

from durable_server.principals import Role

Json = Any
Handler = TypeVar("Handler", bound=Callable[..., Awaitable[Response]])

__all__ = ["ADMIN", "OPEN", "OPERATE", "READ", "WORK", "Endpoint", "Endpoints"]

OPEN: Final = frozenset[Role]()
READ: Final = frozenset[Role]({"read"})
OPERATE: Final = frozenset[Role]({"operate"})
WORK: Final = frozenset[Role]({"operate", "worker"})
ADMIN: Final = frozenset[Role]({"admin"})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path.

    Attributes:
        roles: One of them is needed; none for what is open to everybody.
        body: JSON Schema of the request's body; None if it takes none.
        answers: What is answered: status → (description, JSON Schema, or None for no body).
        media: Of the first answer.
        tag: The group under which it is documented.
    """

    method: str
    path: str
    handler: Callable[..., Awaitable[Response]]
    roles: frozenset[Role]
    summary: str
    tag: str
    body: Mapping[str, Json] | None = None
    answers: Mapping[int, tuple[str, Json]] = field(default_factory=dict)
    media: str = "application/json"


@final
class Endpoints:
    """Collects the endpoints of a module."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.all: list[Endpoint] = []

    def add(
        self,
        method: str,
        path: str,
        *,
        roles: frozenset[Role],
        summary: str,
        answers: Mapping[int, tuple[str, Json]],
        body: Mapping[str, Json] | None = None,
        media: str = "application/json",
    ) -> Callable[[Handler], Handler]:
        """The function below handles it."""

        def added(handler: Handler) -> Handler:
            self.all.append(Endpoint(method, path, handler, roles, summary, self.tag, body, answers, media))
            return handler

        return added
