"""The official Python client works on the development server, unmodified, and shows there what it is known for."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.convex.standin import ADMIN_KEY, APPS, StandIn, eventually, running

convex = pytest.importorskip("convex")
http_client = pytest.importorskip("convex.http_client")

BASIC = APPS / "basic" / "convex"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StandIn]:
    with running(BASIC, tmp_path) as standin:
        yield standin


@pytest.mark.slow
def test_the_http_client_calls_functions_and_gets_values_of_all_kinds(server: StandIn) -> None:
    client = http_client.ConvexHttpClient(server.url)
    assert client.mutation("items:bump", {"name": "n"}) == 1.0
    assert client.query("items:counter", {"name": "n"}) == 1.0
    value = {"text": "é\0😀", "bytes": b"\0\xff", "int": convex.ConvexInt64(2**62), "list": [None, True, -0.5, 1.0]}
    assert client.query("items:echo", {"value": value}) == value
    assert client.action("items:act", {"url": server.url})["version"] == "development"


@pytest.mark.slow
def test_a_data_directory_has_one_server_and_a_killed_one_has_none(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    with running(BASIC, tmp_path, "--data", data) as first:
        with (
            pytest.raises(AssertionError, match="Another development server works with the data"),
            running(BASIC, tmp_path, "--data", data),
        ):
            pass
        with (
            pytest.raises(AssertionError, match=f"Port {first.port} is taken"),
            running(BASIC, tmp_path, port=first.port),
        ):
            pass
        assert first.call("mutation", "items:bump", {"name": "n"}) == 1.0
        first.kill()
        with running(BASIC, tmp_path, "--data", data) as second:
            assert second.call("query", "items:counter", {"name": "n"}) == 1.0


@pytest.mark.slow
def test_errors_reach_the_http_client_as_the_kinds_that_it_has(server: StandIn) -> None:
    client = http_client.ConvexHttpClient(server.url)
    with pytest.raises(convex.ConvexError) as failed:
        client.mutation("items:fail", {"how": "convex"})
    assert failed.value.data == {"code": "NO", "count": {"$integer": "BQAAAAAAAAA="}}
    with pytest.raises(http_client.ConvexExecutionError, match="a secret of the server"):
        client.mutation("items:fail", {"how": "plain"})
    server.faults(chaosOcc=1)
    with pytest.raises(Exception, match="503 OptimisticConcurrencyControlFailure"):
        client.mutation("items:bump", {"name": "n"})


@pytest.mark.slow
async def test_a_subscription_of_the_socket_client_sees_each_write(server: StandIn) -> None:
    client = convex.ConvexClient(server.url)
    assert client.mutation("items:bump", {"name": "n"}) == 1.0
    with pytest.raises(convex.ConvexError):
        client.mutation("items:fail", {"how": "convex"})
    seen = []
    async for value in client.subscribe("items:counter", {"name": "n"}):
        seen.append(value)
        if len(seen) == 4:
            break
        await asyncio.to_thread(server.call, "mutation", "items:bump", {"name": "n"})
    assert seen == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.slow
async def test_a_subscription_comes_back_after_kill_9_with_what_was_written_since(tmp_path: Path) -> None:
    data = ("--data", str(tmp_path / "data"))
    seen: list[float] = []
    with running(BASIC, tmp_path, *data) as first:
        first.call("mutation", "items:bump", {"name": "n"})
        client = convex.ConvexClient(first.url)
        subscription = client.subscribe("items:counter", {"name": "n"})
        seen.append(await anext(subscription))
        first.kill()
        with running(BASIC, tmp_path, *data, port=first.port) as second:
            second.call("mutation", "items:bump", {"name": "n"})
            while seen[-1] != 2.0:
                seen.append(await anext(subscription))
    assert seen[0] == 1.0


@pytest.mark.slow
def test_a_lost_response_makes_the_socket_client_run_the_mutation_twice(server: StandIn) -> None:
    # Its session gets a new id with each connection, so the deployment cannot know the repeated request for one.
    client = convex.ConvexClient(server.url)
    client.query("items:list")
    server.faults(loseResponses=1)

    # The client holds the interpreter's lock while it waits, so another process has to repair the line.
    def counted() -> float:
        return float(server.call("query", "items:counter", {"name": "n"}))

    timer = _repair_after_the_first_commit(server)
    client.mutation("items:bump", {"name": "n"})
    timer.join()
    assert eventually(counted, lambda count: count >= 2) >= 2


def _repair_after_the_first_commit(server: StandIn) -> threading.Thread:
    program = (
        "import json, sys, time, urllib.request\n"
        "def post(path, body):\n"
        "    headers = {'Content-Type': 'application/json', 'Authorization': 'Convex ' + sys.argv[2]}\n"
        "    request = urllib.request.Request(sys.argv[1] + path, json.dumps(body).encode(), headers)\n"
        "    return urllib.request.urlopen(request).read()\n"
        "query = {'path': 'items:counter', 'args': {'name': 'n'}, 'format': 'json'}\n"
        "while json.loads(post('/api/query', query))['value'] < 1:\n"
        "    time.sleep(0.01)\n"
        "post('/api/development/faults', {'loseResponses': 0})\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, server.url, ADMIN_KEY])
    waiting = threading.Thread(target=process.wait)
    waiting.start()
    return waiting
