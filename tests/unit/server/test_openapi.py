"""The description of the API, and the API held against it with inputs that nobody thought of."""

import os
from collections.abc import Iterator
from functools import cache
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from serving_rig import ETL, WORKFLOWS, Caller, Rig
from threaded import served

from durable import connect
from durable_dag import Engine
from durable_server.app import ENDPOINTS, asgi
from durable_server.endpoints import Endpoint

EXAMPLES = int(os.environ.get("DURABLE_SCHEMATHESIS_EXAMPLES", "8"))
CHECKS = [
    schemathesis.checks.not_a_server_error,
    schemathesis.checks.status_code_conformance,
    schemathesis.checks.content_type_conformance,
    schemathesis.checks.response_headers_conformance,
    schemathesis.checks.response_schema_conformance,
]


def named(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


async def test_every_endpoint_is_described_with_its_roles_and_errors(rig: Rig) -> None:
    document = await rig.local.value("GET", "/openapi.json")
    assert document["openapi"] == "3.1.0"
    described = {(method.upper(), path) for path, found in document["paths"].items() for method in found}
    assert described == {(one.method, one.path) for one in ENDPOINTS}
    for endpoint in ENDPOINTS:
        operation = document["paths"][endpoint.path][endpoint.method.lower()]
        assert operation["summary"]
        assert bool(operation["security"]) == bool(endpoint.roles)
        assert {str(status) for status in endpoint.answers} <= set(operation["responses"])
        if endpoint.roles:
            assert {"400", "401", "403", "503"} <= set(operation["responses"])
        for response in operation["responses"].values():
            assert "HTTPValidationError" not in str(response)


async def test_the_description_takes_the_right_to_read() -> None:
    async with connect("memory://described") as client:
        assert (await Caller(asgi(client))("GET", "/openapi.json")).status_code == 401


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Of a server on a store of its own, with something in it."""
    client = connect("memory://schemathesis")
    for one in WORKFLOWS:
        client.link.registry.add(one)
    with served(asgi(client, Engine(client), auth="none")) as address:
        with httpx.Client(base_url=address) as http:
            http.post("/workflows", json=ETL).raise_for_status()
            http.post("/executions/start", json={"workflowId": "etl", "executionId": "run"}).raise_for_status()
            code = {"workflowId": "hello", "context": {}, "executionId": "code"}
            http.post("/executions/start", json=code).raise_for_status()
        yield address


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", [one for one in ENDPOINTS if one.media != "text/event-stream"], ids=named)
def test_no_input_breaks_what_the_description_promises(endpoint: Endpoint, url: str) -> None:
    operation = schema_of(url)[endpoint.path][endpoint.method]
    modes = schemathesis.GenerationMode
    strategy = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in (modes.POSITIVE, modes.NEGATIVE)))

    @seed(7)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def held(case: Any) -> None:
        case.call_and_validate(checks=CHECKS)

    held()


@cache
def schema_of(url: str) -> Any:
    return schemathesis.openapi.from_url(f"{url}/openapi.json")
