"""The API inside somebody else's application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI
from serving_rig import Caller, hello

from durable import connect
from durable_server import asgi, lifespan


async def test_it_is_mounted_under_any_path() -> None:
    client = connect("memory://mounted")
    client.link.registry.add(hello)
    app = FastAPI(lifespan=lifespan(client))
    app.mount("/durable", asgi(client, auth="none"))

    @app.get("/own")
    async def own() -> str:
        return "mine"

    async with app.router.lifespan_context(app):
        call = Caller(app)
        assert await call.value("GET", "/own") == "mine"
        for prefix in ("/durable", "/durable/api/v1"):
            started = await call("POST", f"{prefix}/executions/start", {"workflowId": "hello", "context": {}})
            assert started.status_code == 201
            assert started.headers["location"] == f"{prefix}/executions/{started.json()['executionId']}"
            assert (await call("GET", started.headers["location"])).status_code == 200
            page = await call("GET", f"{prefix}/executions?limit=1")
            if "link" in page.headers:
                assert page.headers["link"].startswith(f"<{prefix}/executions?limit=1&cursor=")
        assert (await call("PUT", "/durable/workflows", {})).headers["allow"] == "GET, POST"
        assert (await call("GET", "/durable/executions", headers={"Host": "evil.test"})).status_code == 421
        assert (await call("GET", "/own", headers={"Host": "evil.test"})).status_code == 200


async def test_alone_it_opens_and_closes_its_client() -> None:
    client = connect("memory://alone")
    app = asgi(client, auth="none")
    async with app.router.lifespan_context(app):
        assert (await Caller(app)("GET", "/executions")).status_code == 200
    assert app.state.durable_server.closing.is_set()


async def test_the_client_is_closed_also_when_the_application_fails() -> None:
    client = connect("memory://fails")

    @asynccontextmanager
    async def broken(app: FastAPI) -> AsyncIterator[None]:
        async with lifespan(client)(app):
            raise RuntimeError("no")
        yield

    app = FastAPI(lifespan=broken)
    try:
        async with app.router.lifespan_context(app):
            pass
    except RuntimeError as error:
        assert str(error) == "no"
    assert client.link._closed


async def test_health_needs_no_token_and_says_when_the_store_is_gone() -> None:
    client = connect("memory://health")
    app = asgi(client)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://anything.test") as http:
            assert (await http.get("/healthz")).json() == {"status": "ok"}
            assert (await http.get("/readyz")).json() == {"status": "ok"}
            assert (await http.post("/readyz", json={})).status_code == 401
            app.state.durable_server.closing.set()
            assert (await http.get("/readyz")).status_code == 503
            assert (await http.get("/healthz")).status_code == 200
