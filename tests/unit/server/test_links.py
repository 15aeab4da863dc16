"""The API walked along the links of its description: what one call makes, the next ones find."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any, cast

import httpx
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, settings
from schemathesis.generation.stateful import run_state_machine_as_test
from serving_rig import ETL, WORKFLOWS, Rig
from starlette.responses import Response
from threaded import served

from durable import Client, connect
from durable_dag import Engine
from durable_server.app import ENDPOINTS, asgi

WALKS = int(os.environ.get("DURABLE_SCHEMATHESIS_WALKS", "12"))
CHECKS = [
    schemathesis.checks.not_a_server_error,
    schemathesis.checks.status_code_conformance,
    schemathesis.checks.content_type_conformance,
    schemathesis.checks.response_headers_conformance,
    schemathesis.checks.response_schema_conformance,
    schemathesis.checks.ensure_resource_availability,
    schemathesis.checks.use_after_free,
]


async def test_every_link_names_an_endpoint_and_what_its_path_needs(rig: Rig) -> None:
    document = await rig.local.value("GET", "/openapi.json")
    places = {
        operation["operationId"]: (path, operation)
        for path, found in document["paths"].items()
        for operation in found.values()
    }
    led = Counter[str]()
    for _, operation in places.values():
        for response in operation["responses"].values():
            for name, link in response.get("links", {}).items():
                path, target = places[link["operationId"]]
                assert name == link["operationId"]
                known = {one["name"] for one in target.get("parameters", []) if one["in"] == "path"}
                assert set(link.get("parameters", {})) <= known
                assert known - set(link.get("parameters", {})) <= {"name"}  # of a signal
                led[path] += 1
    filled = {one.path for one in ENDPOINTS if re.search(r"\{(?!name)\w+\}", one.path)}
    assert filled <= set(led), "no answer leads there"


class Fresh:
    """An application that begins anew with an empty store whenever it is told to, so that a walk can be repeated."""

    def __init__(self) -> None:
        self._client: Client | None = None
        self._number = 0
        self.app: FastAPI = asgi(connect("memory://"))
        self.state = self.app.state

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["path"] == "/fresh":
            await self._begin()
            await Response()(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _live(self, receive: Any, send: Any) -> None:
        for word in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{word}"
            if word == "shutdown" and self._client is not None:
                await self._client.close()
            await send({"type": f"lifespan.{word}.complete"})

    async def _begin(self) -> None:
        if self._client is not None:
            await self._client.close()
        self._number += 1
        self._client = connect(f"memory://links-{self._number}")
        await self._client.open()
        for one in WORKFLOWS:
            self._client.link.registry.add(one)
        self.app = asgi(self._client, Engine(self._client), auth="none")


@pytest.fixture
def url() -> Iterator[str]:
    with served(cast(Any, Fresh())) as address:
        httpx.get(f"{address}/fresh").raise_for_status()
        yield address


@pytest.mark.slow
def test_what_one_call_makes_the_next_ones_find(url: str) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    schema = schema.exclude(path_regex=r"/events$")  # they stream for ever
    walked = Counter[tuple[str, str, int]]()

    class Walk(schema.as_state_machine()):  # type: ignore[misc]
        def setup(self) -> None:
            httpx.get(f"{url}/fresh").raise_for_status()
            self.numbers = count()

        def before_call(self, case: Any) -> None:
            """A definition that is one, and a start of something that is there: the rest is left to chance."""
            where = (case.method, case.path)
            if where == ("POST", "/workflows") and isinstance(case.body, dict):
                case.body = {**ETL, "id": f"etl-{next(self.numbers)}"}
            free = isinstance(case.body, dict) and not str(case.body.get("workflowId")).startswith("etl-")
            if where == ("POST", "/executions/start") and free:
                case.body = {"workflowId": "hello", "context": {}}

        def validate_response(self, response: Any, case: Any, **options: Any) -> None:
            walked[case.method, case.path, response.status_code] += 1
            case.validate_response(response, checks=CHECKS)

    chosen = settings(
        max_examples=WALKS, stateful_step_count=12, derandomize=True, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    run_state_machine_as_test(Walk, settings=chosen)
    led = {path for (_, path, status), _ in walked.items() if "{" in path and status < 300}
    assert len(led) >= 6, f"hardly any link led to something: {walked}"
