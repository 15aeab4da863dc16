"""A server in this process: a store in memory, workflows, a worker if asked for, and callers with any token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import httpx
from fastapi import FastAPI

from durable import Client, Context, NonRetryable, Worker, connect, step, workflow
from durable_dag import Engine
from durable_server.app import asgi
from durable_server.tokens import Tokens

_numbers = count()


class Refused(NonRetryable):
    pass


refusals = {"on": True}


@step
async def greet(name: str) -> str:
    return f"hello {name}"


@step
async def refuse(name: str) -> str:
    if refusals["on"]:
        raise Refused(f"not {name}")
    return name


@step(effect="at_most_once")
async def once(name: str) -> str:
    await asyncio.Event().wait()
    return name


@workflow
async def hello(ctx: Context, order: dict[str, Any]) -> dict[str, Any]:
    return {"said": await ctx.step(greet, order.get("name", "you"))}


@workflow
async def waits(ctx: Context, order: dict[str, Any]) -> Any:
    await ctx.step(greet, "first")
    return await ctx.wait_for_signal("go")


@workflow
async def refused(ctx: Context, order: dict[str, Any]) -> str:
    await ctx.step(greet, "before")
    return await ctx.step(refuse, "you")


@workflow
async def careful(ctx: Context) -> str:
    return await ctx.step(once, "card")


WORKFLOWS = [hello, waits, refused, careful]


class Caller:
    """Calls the application as a client with some token would."""

    def __init__(self, app: Any, token: str | None = None, *, peer: str = "127.0.0.1", prefix: str = "") -> None:
        transport = httpx.ASGITransport(app=app, client=(peer, 50_000), raise_app_exceptions=False)
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.http = httpx.AsyncClient(transport=transport, base_url=f"http://localhost:8585{prefix}", headers=headers)

    async def __call__(self, method: str, path: str, body: Any = ..., **options: Any) -> httpx.Response:
        if body is not ...:
            options["json"] = body
        return await self.http.request(method, path, **options)

    async def value(self, method: str, path: str, body: Any = ..., **options: Any) -> Any:
        """The value of an answer that must be a success."""
        answer = await self(method, path, body, **options)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return None if answer.status_code == 204 else answer.json()

    async def start(self, name: str, **members: Any) -> str:
        """Start an execution; its id."""
        body = {"workflowId": name, "context": {}, **members}
        found = await self.value("POST", "/executions/start", body)
        return str(found["executionId"])

    async def until(self, id: str, *, waiting: str | None = None, **wanted: Any) -> Any:
        """The execution as soon as it is so, and waits for something of this kind."""
        async with asyncio.timeout(10):
            while True:
                found = await self.value("GET", f"/executions/{id}")
                waits = waiting is None or any(one["kind"] == waiting for one in found["waitingOn"])
                if waits and all(found[name] == value for name, value in wanted.items()):
                    return found
                await asyncio.sleep(0.01)


class Rig:
    """One store, one application."""

    def __init__(self, client: Client, app: FastAPI, engine: Engine) -> None:
        self.client = client
        self.app = app
        self.engine = engine
        self.tokens = Tokens(client)
        self.local = Caller(app)

    async def caller(self, *roles: str) -> Caller:
        """Somebody with a token of these roles."""
        made = await self.tokens.create("+".join(roles), roles)
        return Caller(self.app, made.text)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """A worker for everything, meanwhile."""
        async with Worker(self.client, workflows=[*WORKFLOWS, *self.engine.workflows], drain=0.2):
            yield


@asynccontextmanager
async def rigged(url: str | None = None, **options: Any) -> AsyncIterator[Rig]:
    """An open client with the application on it."""
    refusals["on"] = True
    async with connect(url or f"memory://server-{next(_numbers)}") as client:
        for one in WORKFLOWS:
            client.link.registry.add(one)
        engine = Engine(client)
        app = asgi(client, engine, **{"auth": "none", **options})
        yield Rig(client, app, engine)


ETL: dict[str, Any] = {
    "id": "etl",
    "name": "Extract and load",
    "description": "An example.",
    "tags": {"team": "data"},
    "steps": [
        {"id": "extract", "name": "Extract"},
        {"id": "wait", "action": "signal.wait", "params": {"name": "ok"}, "dependencies": ["extract"]},
        {"id": "load", "dependencies": ["wait"]},
    ],
}
