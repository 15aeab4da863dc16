"""Engines for commands: with the built-in actions, or an APP's own; closed when the command is done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

from durable import Client
from durable.cli.apps import look_up
from durable.cli.connection import with_client
from durable.cli.failures import Exit, Failure
from durable.cli.options import Settings
from durable_dag.engine import Engine
from durable_dag.errors import (
    ExecutionNotFound,
    InvalidDefinition,
    VersionConflict,
    WorkflowNotFound,
)

T = TypeVar("T")

__all__ = ["engine_of", "told_well", "with_engine"]


def engine_of(app: str | None, *, allow_unknown: bool = False) -> Engine:
    """The engine of an APP; without one, an engine that knows the built-in actions.

    Raises:
        Failure: The APP has no engine.
    """
    if app is None:
        return Engine(allow_unknown_actions=allow_unknown)
    module, attribute = look_up(app)
    for value in (attribute, *vars(module).values()):
        if isinstance(value, Engine):
            return value
    raise Failure(f"{app} has no durable_dag.Engine.", "Write module:engine, or leave --app out.", Exit.NOT_FOUND)


def with_engine(
    settings: Settings,
    work: Callable[[Engine], Awaitable[T]],
    *,
    app: str | None = None,
    allow_unknown: bool = False,
    create: bool = False,
) -> T:
    """Run ``work`` with an engine on the store."""
    engine = engine_of(app, allow_unknown=allow_unknown)

    async def inside(client: Client) -> T:
        engine.bind(client)
        try:
            return await work(engine)
        finally:
            await engine.close()

    with told_well():
        return with_client(settings, inside, create=create)


@contextmanager
def told_well() -> Generator[None]:
    """Errors of this layer as failures with their exit codes."""
    try:
        yield
    except WorkflowNotFound as error:
        raise Failure(str(error), "See what there is: durable dag list", Exit.NOT_FOUND) from error
    except ExecutionNotFound as error:
        raise Failure(str(error), "See what there is: durable runs list", Exit.NOT_FOUND) from error
    except VersionConflict as error:
        raise Failure(str(error), "Look at the newest, then say its version: --if-match N", Exit.CONFLICT) from error
    except InvalidDefinition as error:
        raise Failure(str(error), "See all that is wrong: durable dag validate FILE", Exit.FAILED) from error
