"""What tests of definitions share: an outside world made of functions, and an engine in a simulated one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from durable_dag import Engine, Request, Response
from durable_testing import Sim
from tests.unit.dag.graphs import Literals

Answer = Response | int | dict[str, Any] | list[Any] | str | None


class Web:
    """Answers requests by URL; what it is not told of answers 404."""

    def __init__(self) -> None:
        self.sent: list[Request] = []
        self._answers: dict[str, Any] = {}

    def serve(self, url: str, *answers: Any) -> None:
        """One answer after the other, the last one for ever: a status, JSON, a Response, an error, or a function."""
        self._answers[url] = list(answers)

    async def send(self, request: Request) -> Response:
        self.sent.append(request)
        answers = self._answers.get(request.url.partition("?")[0])
        if answers is None:
            return Response(404)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Response):
            return answer
        if isinstance(answer, int):
            return Response(answer)
        return Response(200, {"content-type": "application/json"}, json.dumps(answer).encode())

    def to(self, url: str) -> list[Request]:
        """What was sent to a URL."""
        return [request for request in self.sent if request.url.partition("?")[0] == url]

    def bodies(self, url: str) -> list[Any]:
        """The JSON that was sent to a URL."""
        return [json.loads(request.body or b"null") for request in self.to(url)]


class World:
    """An engine in a simulation."""

    def __init__(self, sim: Sim, engine: Engine, web: Web) -> None:
        self.sim = sim
        self.engine = engine
        self.web = web

    async def register(self, *steps: dict[str, Any], id: str = "flow", **more: Any) -> None:
        """Register a definition."""
        await self.sim.inside(self.engine.register_workflow({"id": id, "steps": list(steps), **more}))

    async def start(self, context: Any = None, id: str = "flow", **options: Any) -> str:
        """Start one; its id."""
        return (await self.sim.inside(self.engine.start(id, context, **options))).execution_id

    async def end(self, execution: str) -> dict[str, Any]:
        """The execution object at its end."""
        return await self.sim.inside(self.engine.result(execution))

    async def now(self, execution: str) -> dict[str, Any]:
        """The execution object as it stands."""
        return await self.sim.inside(self.engine.get(execution))

    async def run(self, *steps: dict[str, Any], context: Any = None, **more: Any) -> dict[str, Any]:
        """Register, start, and see it to its end."""
        await self.register(*steps, **more)
        return await self.end(await self.start(context))


@asynccontextmanager
async def world(
    prepare: Callable[[Engine], None] | None = None, *, web: Web | None = None, js: Any = None, **options: Any
) -> AsyncIterator[World]:
    """A simulated world with an engine; ``act`` is an executor that does what its params say."""
    net = Web() if web is None else web
    engine = Engine(js=Literals() if js is None else js, outbound=net, **options)
    _act(engine)
    if prepare is not None:
        prepare(engine)
    async with Sim(workflows=engine.workflows) as sim:
        engine.bind(sim)
        yield World(sim, engine, net)


def _act(engine: Engine) -> None:
    from durable import NonRetryable

    @engine.executor("act")
    async def act(params: dict[str, Any], context: dict[str, Any], step: Any) -> Any:
        import asyncio

        await asyncio.sleep(params.get("takes", 0))
        if step.attempt <= params.get("failures", 0):
            raise ValueError(params.get("message", "no luck"))
        if params.get("fatal"):
            raise NonRetryable("for good")
        return params.get("result")


def step(id: str, *dependencies: Any, **params: Any) -> dict[str, Any]:
    """A step of ``act``."""
    return {"id": id, "action": "act", "params": params, "dependencies": list(dependencies)}


def statuses(execution: dict[str, Any]) -> dict[str, str]:
    """Status by step; with the reason, where it was skipped."""
    return {
        id: one["status"] + (f":{one['skipReason']}" if one["status"] == "skipped" else "")
        for id, one in execution["stepResults"].items()
    }
