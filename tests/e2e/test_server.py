"""``durable server`` as its users have it: a process of its own, killed and started again, and spoken to by httpx,
by the remote client and by the command line."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from durable.cli.main import cli
from durable_server.remote.client import ApiError, RemoteClient, Unreachable

pytestmark = pytest.mark.slow

APP = """
from typing import Any

from durable import Context, step, workflow
from durable_dag import Engine

engine = Engine()


@engine.executor("shout")
async def shout(params: dict[str, Any]) -> str:
    return params["text"].upper()


@step
async def greet(name: str) -> str:
    return f"hello {name}"


@workflow
async def hello(ctx: Context, order: dict[str, Any]) -> str:
    return await ctx.step(greet, order["name"])


@workflow
async def waits(ctx: Context, order: dict[str, Any]) -> Any:
    await ctx.step(greet, "first")
    return await ctx.wait_for_signal("go")
"""


class House:
    """A directory with a store, an app and the processes on it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = f"sqlite:///{directory}/runs.db"
        (directory / "house_app.py").write_text(APP)
        self.processes: list[subprocess.Popen[str]] = []
        hidden = ("DURABLE_", "PYTEST_", "COV_")
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        self.env |= {"DURABLE_STORE": self.store, "NO_COLOR": "1"}

    def serve(self, *args: str, port: int = 0) -> tuple[subprocess.Popen[str], str]:
        """A server, and its URL, when it listens."""
        words = [sys.executable, "-m", "durable", "server", *args, "--port", str(port)]
        process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=self.env, cwd=self.directory)
        self.processes.append(process)
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            found = re.search(r"at (http://\S+:\d+) ", line)
            if found is not None:
                return process, found[1]
        raise AssertionError(f"it does not serve: {''.join(lines)}")

    def durable(self, *args: str, code: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
        """One command."""
        words = [sys.executable, "-m", "durable", *args]
        done = subprocess.run(
            words, capture_output=True, text=True, env={**self.env, **env}, cwd=self.directory, timeout=60
        )
        assert done.returncode == code, f"{args}: {done.returncode} {done.stdout} {done.stderr}"
        return done

    def here(self, *args: str, code: int = 0, **env: str) -> Result:
        """One command, in this process: it starts no interpreter."""
        done = CliRunner(env={**self.env, **env}).invoke(cli, list(args))
        assert done.exit_code == code, f"{args}: {done.exit_code} {done.stdout} {done.stderr}"
        return done

    def close(self) -> None:
        """No process is left behind."""
        for process in self.processes:
            process.kill()
            process.wait()
            if process.stderr is not None:
                process.stderr.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def test_the_whole_of_it_survives_kill_9(house: House) -> None:
    port = free_port()
    server, url = house.serve("house_app", "--worker", port=port)
    definition = {
        "id": "loud",
        "steps": [
            {"id": "say", "action": "shout", "params": {"text": "${{ context.word }}"}},
            {"id": "wait", "action": "signal.wait", "params": {"name": "ok"}, "dependencies": ["say"]},
        ],
    }
    with RemoteClient(url) as client:
        client.call("POST", "/workflows", definition)
        code = client.start("waits", context={"a": 1}, key="click-1")["executionId"]
        data = client.start("loud", context={"word": "hey"}, key="click-2")["executionId"]
        events = client.events(code)
        seen = [next(events)["type"], next(events)["type"]]
        server.kill()
        server.wait()
        with pytest.raises(Unreachable):
            client.get(code)
        _, again = house.serve("house_app", "--worker", port=port)
        assert again == url
        # The same calls again: the same executions, and the stream goes on behind what was seen.
        assert client.start("waits", context={"a": 1}, key="click-1")["executionId"] == code
        assert client.start("loud", context={"word": "hey"}, key="click-2")["executionId"] == data
        client.signal(code, "go", {"ok": True}, key="click-3")
        seen += [event["type"] for event in events]
        client.signal(data, "ok", 7)
        assert [event["type"] for event in client.events(data)][-1] == "execution.completed"
        assert seen == ["execution.created", "step.completed", "signal.received", "execution.completed"]
        assert client.get(code)["output"] == {"ok": True}
        shown = client.get(data)
        assert shown["stepResults"]["say"]["result"] == "HEY"
        assert shown["stepResults"]["wait"]["result"] == 7
        assert len(client.executions(None)[0]) == 2


def test_a_stop_ends_streams_and_exits_with_0(house: House) -> None:
    server, url = house.serve()
    with httpx.Client(base_url=url) as http, http.stream("GET", "/events") as answer:
        lines = answer.iter_lines()
        assert next(lines) == "retry: 2000"
        server.send_signal(signal.SIGTERM)
        assert list(lines) == [""]
    assert server.wait(15) == 0
    assert server.stderr is not None
    assert "Stopped." in server.stderr.read()


def test_no_server_listens_for_everybody_without_tokens(house: House) -> None:
    for args in (("--host", "0.0.0.0", "--auth", "none"), ("--host", "::", "--auth", "none")):
        assert "this machine alone" in house.here("server", *args, code=2).stderr
    for args in (("--host", "0.0.0.0"), ("--auth", "tokens")):
        assert "no token" in house.here("server", *args, code=2).stderr


def test_a_server_with_tokens(house: House) -> None:
    operator = house.here("tokens", "create", "Ada", "--role", "operate").stdout.strip()
    reader = json.loads(house.here("tokens", "create", "Bob", "--expires", "30d", "-o", "json").stdout)
    _, url = house.serve("--host", "127.0.0.1")
    with RemoteClient(url) as nobody, pytest.raises(ApiError) as refused:
        nobody.executions()
    assert (refused.value.status, refused.value.code) == (401, "unauthorized")
    with RemoteClient(url, reader["token"]) as bob:
        assert bob.executions() == ([], False)
        with pytest.raises(ApiError) as refused:
            bob.start("hello")
        assert refused.value.status == 403
    house.here("runs", "list", "--server", url, code=6)
    house.here("runs", "list", "--server", url, DURABLE_TOKEN=operator)
    house.here("tokens", "list", "--server", url, "--token", operator, code=6)
    listed = json.loads(house.here("tokens", "list", "-o", "json").stdout)
    assert [(one["name"], one["roles"], one["revoked"]) for one in listed] == [
        ("Ada", ["operate"], False),
        ("Bob", ["read"], False),
    ]
    assert operator.split("_", 2)[2] not in json.dumps(listed)
    house.here("tokens", "revoke", listed[0]["id"])
    house.here("runs", "list", "--server", url, "--token", operator, code=6)
    house.here("tokens", "revoke", "nobody", code=3)


def test_the_run_commands_work_over_a_server(house: House) -> None:
    _, url = house.serve("house_app", "--worker")
    env = {"DURABLE_SERVER": url, "DURABLE_STORE": "sqlite:///not-this-one.db"}

    def run(*args: str, code: int = 0) -> str:
        return house.here(*args, code=code, **env).stdout

    assert json.loads(run("start", "hello", "-i", '{"name": "Ada"}', "--id", "one", "--wait")) == "hello Ada"
    assert run("start", "waits", "-i", "{}", "--id", "two", "--label", "team=ops").strip() == "two"
    assert run("start", "waits", "-i", "{}", "--id", "two", "--if-exists", "reject", code=4) == ""
    run("start", "nobody", code=3)
    listed = json.loads(run("runs", "list", "-o", "json"))
    assert [one["executionId"] for one in listed] == ["two", "one"]
    assert [one["executionId"] for one in json.loads(run("runs", "list", "--label", "team=ops", "-o", "json"))] == [
        "two"
    ]
    assert "completed" in run("runs", "list", "--status", "completed")
    table = run("runs", "show", "one")
    assert "greet" in table
    assert "Completed" in table
    assert json.loads(run("runs", "show", "@last", "-o", "json"))["executionId"] == "two"
    assert json.loads(run("runs", "result", "on")) == "hello Ada"  # a prefix is enough
    assert "step.completed" in run("runs", "history", "one")
    run("runs", "result", "two", "--timeout", "500ms", code=124)
    run("runs", "pause", "two")
    run("runs", "resume", "two")
    run("runs", "signal", "two", "go", "-p", '{"ok": true}')
    assert json.loads(run("runs", "result", "two")) == {"ok": True}
    assert "execution.completed" in run("runs", "watch", "two")
    run("runs", "cancel", "two", code=4)
    assert "Completed" in run("runs", "why", "two")
    assert run("runs", "fork", "two", "--at", "greet", "--id", "three").strip() == "three"
    run("runs", "terminate", "three", "--reason", "enough")
    run("runs", "result", "three", code=7)
    run("runs", "retry", "three")
    run("runs", "show", "nobody", code=3)
    run("webhooks", "list")
    assert "works here, not over a server" in house.here("db", "stats", "--server", url, code=2).stderr
    assert "cannot be reached" in house.here("runs", "list", "--server", "http://127.0.0.1:9", code=5).stderr
    # What needs the store goes on using it while DURABLE_SERVER is set.
    house.here("db", "stats", **{**env, "DURABLE_STORE": house.store})


class _Service(BaseHTTPRequestHandler):
    """A local stand-in for the services that the documented definitions call."""

    calls: list[str] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.calls.append(self.path)
        body = json.dumps({"valid": True, "path": self.path}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def services() -> Iterator[str]:
    _Service.calls = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Service)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_order_flow_as_clients_of_the_older_api_write_it(house: House, services: str) -> None:
    def step(id: str, path: str, *after: str, action: str = "http.request") -> dict[str, Any]:
        params = {"url": f"{services}/{path}", "method": "POST"}
        if action == "webhook":
            params = {"url": f"{services}/{path}", "payload": {"type": "order-confirmation"}}  # type: ignore[dict-item]
        retry = {"maxAttempts": 3, "backoffMultiplier": 2, "initialDelay": 1000, "maxDelay": 5000}
        return {
            "id": id,
            "name": id.replace("-", " ").title(),
            "type": "task",
            "action": action,
            "params": params,
            "dependencies": list(after),
            "retryPolicy": retry,
        }

    definition = {
        "id": "order-flow",
        "name": "E-commerce Order Flow",
        "steps": [
            step("validate", "validate"),
            step("check-inventory", "check", "validate"),
            step("charge-payment", "charge", "check-inventory"),
            step("ship-order", "ship", "charge-payment"),
            step("send-confirmation", "email", "ship-order", action="webhook"),
        ],
        "webhooks": {"onComplete": f"{services}/order-complete", "onFailure": f"{services}/order-failed"},
    }
    _, url = house.serve("--worker")
    with httpx.Client(base_url=url, timeout=30) as http:
        registered = http.post("/workflows", json=definition)
        assert (registered.status_code, registered.json()["workflowId"]) == (201, "order-flow")
        started = http.post("/executions/start", json={"workflowId": "order-flow", "context": {"orderId": "123"}})
        id = started.json()["executionId"]
        with http.stream("GET", f"/executions/{id}/events") as answer:
            assert list(answer.iter_lines())  # to its end
        found = http.get(f"/executions/{id}").json()
        assert found["status"] == "completed"
        assert found["completedSteps"] == [one["id"] for one in definition["steps"]]  # type: ignore[index]
        assert found["stepResults"]["validate"]["result"]["valid"] is True
        assert found["context"]["orderId"] == "123"
        picture = http.get(f"/executions/{id}/visualize").json()
        assert [one["status"] for one in picture["steps"]] == ["success"] * 5
        assert isinstance(picture["duration"], int)
        listed = http.get("/executions", params={"workflowId": "order-flow"}).json()
        assert [one["executionId"] for one in listed] == [id]
        delivered: list[Any] = []
        while not delivered:
            delivered = http.get("/webhook-deliveries", params={"executionId": id, "status": "delivered"}).json()
    assert _Service.calls[:5] == ["/validate", "/check", "/charge", "/ship", "/email"]
    assert "/order-complete" in _Service.calls
