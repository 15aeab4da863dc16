"""The application in this process, over HTTP, with a worker: what a definition meets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import httpx

from durable import Client, Worker, connect
from durable_dag import Engine
from durable_dag.js import ProcessJs
from durable_server.app import asgi
from tests.dag.services import Here, Services
from tests.unit.server.serving_rig import Caller

__all__ = ["Counting", "Desk", "at_a_desk", "http_step", "noop"]

_numbers = count()


class Counting:
    """The sandbox, and what it has evaluated."""

    def __init__(self, inner: ProcessJs) -> None:
        self.inner = inner
        self.evaluated: list[str] = []

    async def evaluate(self, expression: str, variables: Any = None, **limits: Any) -> Any:
        self.evaluated.append(expression)
        return await self.inner.evaluate(expression, variables, **limits)

    async def call(self, body: str, variables: Any = None, **limits: Any) -> Any:
        return await self.inner.call(body, variables, **limits)

    async def check(self, source: str, kind: Any, names: tuple[str, ...] = ()) -> Any:
        return await self.inner.check(source, kind, names)


class Desk:
    """Who calls the application.

    Attributes:
        free: Lets the steps of ``hold`` go on.
        cut: The steps of ``hold`` that were cancelled.
    """

    def __init__(self, client: Client, engine: Engine, services: Services, js: Counting) -> None:
        self.client, self.services, self.js = client, services, js
        self.call = Caller(asgi(client, engine, auth="none"))
        self.free = asyncio.Event()
        self.cut: list[str] = []

        @engine.executor("hold")
        async def hold(params: dict[str, Any], context: dict[str, Any], step: Any) -> Any:
            try:
                await self.free.wait()
            except asyncio.CancelledError:
                self.cut.append(step.id)
                raise
            return params.get("result")

    async def register(self, *steps: Any, id: str = "flow", **more: Any) -> httpx.Response:
        """The answer to a definition."""
        return await self.call("POST", "/workflows", {"id": id, "steps": list(steps), **more})

    async def refusal(self, *steps: Any, **more: Any) -> list[str]:
        """What is wrong with a definition: the codes."""
        answer = await self.register(*steps, **more)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_definition"), answer.text
        return [one["code"] for one in answer.json()["details"]]

    async def start(self, *steps: Any, context: Any = None, id: str = "flow", **more: Any) -> str:
        """Register and start; the execution's id."""
        answer = await self.register(*steps, id=id, **more)
        assert answer.is_success, answer.text
        return await self.call.start(id, context=context or {})

    async def run(self, *steps: Any, context: Any = None, **more: Any) -> Any:
        """Register, start, and see it to its end."""
        return await self.end(await self.start(*steps, context=context, **more))

    async def end(self, id: str) -> Any:
        """The execution at its end."""
        return await self.until(id, lambda found: found["status"] in ("completed", "failed", "cancelled"))

    async def until(self, id: str, true: Any) -> Any:
        """The execution, as soon as it is so."""
        async with asyncio.timeout(20):
            while not true(found := await self.call.value("GET", f"/executions/{id}")):
                await asyncio.sleep(0.01)
            return found


@asynccontextmanager
async def at_a_desk(services: Services, url: str | None = None) -> AsyncIterator[Desk]:
    """An application on a store, and a worker."""
    async with ProcessJs() as inner, connect(url or f"memory://desk-{next(_numbers)}") as client:
        js = Counting(inner)
        engine = Engine(client, js=js, outbound=Here(services.port))
        desk = Desk(client, engine, services, js)
        async with Worker(client, **engine.worker_parts(), drain=0.2):
            yield desk


def noop(id: str, *dependencies: Any, **more: Any) -> dict[str, Any]:
    """A step that does nothing."""
    return {"id": id, "action": "noop", "dependencies": list(dependencies), **more}


def http_step(id: str, where: str, *dependencies: Any, **more: Any) -> dict[str, Any]:
    """A step that calls a service; ``params`` are added to its URL."""
    params = {"url": f"http://{where}", **more.pop("params", {})}
    return {"id": id, "action": "http.request", "params": params, "dependencies": list(dependencies), **more}
