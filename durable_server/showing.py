"""Executions as the API shows them, whatever they are runs of."""

from __future__ import annotations

from typing import Any

from durable.store import RunRecord
from durable_server import codefirst
from durable_server.filters import Filters, Scope
from durable_server.server import Server

Json = Any

__all__ = ["head", "is_dag", "scope_for", "whole"]


def is_dag(server: Server, run: RunRecord) -> bool:
    """Whether a run carries out a definition."""
    return server.definitions is not None and run.workflow == server.definitions.scope().workflow


def head(server: Server, run: RunRecord) -> Json:
    """An execution in a list."""
    if server.definitions is not None and is_dag(server, run):
        return server.definitions.head(run)
    return codefirst.head_of(run)


async def whole(server: Server, run: RunRecord) -> Json:
    """An execution."""
    if server.definitions is not None and is_dag(server, run):
        return await server.definitions.whole(run)
    return await codefirst.whole_of(server.client, run)


async def scope_for(server: Server, filters: Filters) -> Scope:
    """How the store tells runs apart, as far as these filters need it."""
    if server.definitions is None:
        return Scope()
    name = filters.workflow
    known = name is not None and filters.kind != "code" and await server.definitions.known(name)
    return server.definitions.scope(frozenset({name} if known and name is not None else ()))
