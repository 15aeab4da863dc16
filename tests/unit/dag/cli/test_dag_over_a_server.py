"""The same commands over a server: what they print is what they print of a store."""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from dag_shell import ORDER, Shell, write
from test_runs_export import run_gate

from durable import connect
from durable_dag import Engine
from durable_server import asgi

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def served(store: str) -> Iterator[str]:
    """The URL of a server on a store, in a thread of this process."""
    client = connect(store)
    app = asgi(client, Engine(client), auth="none")
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, lifespan="on", ws="none", log_config=None, access_log=False, proxy_headers=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        app.state.durable_server.closing.set()
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def remote(here: Path) -> Iterator[str]:
    store = f"sqlite:///{here}/runs.db"
    asyncio.run(run_gate(store))
    with served(store) as url:
        yield url


def test_every_command_says_the_same_over_a_server(durable: Shell, remote: str) -> None:
    write("order2.json", {**ORDER, "name": "New", "steps": ORDER["steps"][:2]})
    write("bad.json", {"id": "bad", "steps": [{"id": "a", "action": "nap"}]})
    over = ("--server", remote)
    assert durable("dag", "register", "order.json", *over).stdout == "order: registered as version 1\n"
    assert durable("dag", "register", "order2.json", "--if-match", "7", *over).exit_code == 4
    assert (
        durable("dag", "register", "order2.json", "--if-match", "1", *over).stdout == "order: registered as version 2\n"
    )
    both = [
        ("dag", "validate", "bad.json", "order.json"),
        ("dag", "register", "bad.json", "order.json"),
        ("dag", "list", "new", "--tag", "team=shop", "-o", "json"),
        ("dag", "show", "order", "--version", "1"),
        ("dag", "show", "order", "-o", "json"),
        ("dag", "show", "nothing"),
        ("dag", "schema"),
        ("dag", "diff", "order", "1", "2"),
        ("dag", "diff", "order", "order2.json"),
        ("dag", "diff", "order", "1", "order2.json", "-o", "json"),
        ("dag", "export", "order", "--format", "python"),
        ("dag", "export", "order.json", "--format", "dot"),
        ("runs", "export", "gate-1", "--format", "svg"),
        ("runs", "export", "gate-1", "--format", "dot"),
    ]
    for command in both:
        here, there = durable(*command), durable(*command, *over)
        assert (there.exit_code, there.stdout) == (here.exit_code, here.stdout), (command, there.stderr)


def test_a_run_over_a_server_is_exported(durable: Shell, remote: str) -> None:
    over = ("--server", remote)
    found = json.loads(durable("runs", "export", "gate", "--format", "json", *over).stdout)
    assert (found["execution"]["failedSteps"], found["history"][0]["type"]) == (["no"], "execution.created")
    assert "✓ first" in durable("runs", "export", "gate-1", "--format", "svg", "--timeline", *over).stdout
    assert durable("runs", "export", "gate-1", "--format", "dot", "--timeline", *over).exit_code == 4
    assert durable("dag", "validate", "order.json", "--app", "x.py", *over).exit_code == 2
    assert durable("dag", "test", "order.json", *over).exit_code == 2
