"""``durable dag test``: definitions carried out with made-up answers."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from dag_shell import Shell, write

MOCKED = ("--mock", 'validate={"id": "o-1"}')


def rows(text: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in text.splitlines()[1:] if not line.startswith("Completed")}


def test_each_step_is_told_with_what_became_of_it(durable: Shell) -> None:
    result = durable("dag", "test", "order.json", *MOCKED, "--mock", "charge=7")
    assert result.exit_code == 0, result.stderr
    assert rows(result.stdout) == {
        "validate": ["success", "1", '{"id":', '"o-1"}'],
        "charge": ["success", "1", "7"],
        "tell": ["skipped", "condition"],
    }
    assert result.stdout.splitlines()[-1] == "Completed: {}"


def test_a_mock_may_fail_and_its_next_attempt_succeed_without_a_wait(durable: Shell) -> None:
    fails = ("--mock", 'charge={"$fail": {"status": 503}}')
    result = durable("dag", "test", "order.json", *MOCKED, *fails, "--mock", "charge=7")
    assert rows(result.stdout)["charge"] == ["success", "2", "7"]
    failed = durable(
        "dag", "test", "order.json", *MOCKED, "--mock", 'charge={"$fail": {"name": "Late", "message": "no"}}'
    )
    assert rows(failed.stdout)["charge"] == ["failed", "3", "Late:", "no"]
    assert rows(failed.stdout)["tell"] == ["success", "1"]
    assert failed.exit_code == 0  # it was handled


def test_what_needs_the_world_and_has_no_mock_is_named(durable: Shell) -> None:
    result = durable("dag", "test", "order.json", *MOCKED)
    assert result.exit_code == 2
    assert "Reached without a mock: charge (http.request)." in result.stderr
    unknown = durable("dag", "test", "order.json", "--mock", "chrge=1")
    assert unknown.exit_code == 2
    assert "did you mean 'charge'?" in unknown.stderr


def test_an_unreached_step_needs_no_mock(durable: Shell) -> None:
    steps = [
        {"id": "big", "action": "condition", "params": {"expression": "context.amount > 100"}},
        {"id": "approve", "action": "signal.wait", "dependencies": ["big"]},
        {"id": "sub", "action": "workflow.run", "params": {"workflowId": "x"}, "dependencies": ["big"]},
        {"id": "own", "action": "custom", "dependencies": ["big"]},
    ]
    write("gate.json", {"id": "gate", "steps": steps})
    assert durable("dag", "test", "gate.json", "--context", '{"amount": 1}').exit_code == 0
    reached = durable("dag", "test", "gate.json", "--context", '{"amount": 500}')
    assert reached.exit_code == 2
    for one in ("approve (signal.wait)", "sub (workflow.run)", "own (custom)"):
        assert one in reached.stderr
    answers = ["--mock", "approve=true", "--mock", 'sub={"n": 1}', "--mock", "own=2", "--mock", "big=true"]
    result = durable("dag", "test", "gate.json", *answers, "-o", "json")
    assert json.loads(result.stdout)["output"] == {"approve": True, "sub": {"n": 1}, "own": 2}


def test_delays_are_not_waited_for_and_javascript_runs(durable: Shell) -> None:
    steps: list[dict[str, Any]] = [
        {"id": "wait", "action": "delay", "params": {"duration": 86_400_000}},
        {"id": "bad", "action": "delay", "params": {"until": "soon"}, "critical": False},
        {
            "id": "sum",
            "action": "map",
            "params": {"items": [1, 2], "step": {"action": "transform", "params": {"code": "return input + 1"}}},
            "dependencies": ["wait"],
        },
    ]
    write("waits.json", {"id": "waits", "steps": steps, "webhooks": {"onComplete": "http://nobody/"}})
    result = durable("dag", "test", "waits.json")
    assert rows(result.stdout)["wait"] == ["success", "1", '{"delayed":', "86400000}"]
    assert rows(result.stdout)["sum"] == ["success", "1", "[2,", "3]"]
    assert "no ISO 8601 instant" in result.stdout
    assert result.stderr == "Not waited for: wait.\nThe workflow's webhooks were not sent.\n"


def test_a_failure_with_a_member_that_nobody_reads_is_refused(durable: Shell) -> None:
    result = durable("dag", "test", "order.json", "--mock", 'charge={"$fail": {"statuss": 503}}')
    assert result.exit_code == 2
    assert "$fail has name, message and status, not 'statuss'." in result.stderr


def test_a_failed_run_is_exit_code_1(durable: Shell) -> None:
    write("fails.json", {"id": "f", "steps": [{"id": "no", "action": "fail", "params": {"message": "on purpose"}}]})
    result = durable("dag", "test", "fails.json")
    assert (result.exit_code, "no: StepFailure: on purpose" in result.stderr) == (1, True)
    write("bad.json", {"id": "f", "steps": []})
    assert durable("dag", "test", "bad.json").exit_code == 1
    assert durable("dag", "test", "fails.json", "--context", "[1]").exit_code == 2


def test_secrets_are_placeholders_and_files_are_mocks(durable: Shell, here: Path) -> None:
    params = {"url": "http://x/", "headers": {"a": "${{ secrets.TOKEN }}"}}
    write("secret.json", {"id": "s", "steps": [{"id": "call", "action": "http.request", "params": params}]})
    write("answer.json", {"ok": True})
    result = durable("dag", "test", "secret.json", "--mock", "call=@answer.json")
    assert result.stdout.splitlines()[-1] == 'Completed: {"call": {"ok": true}}'
    assert not (here / "runs.db").exists()


def test_requests_are_sent_if_that_is_asked_for(durable: Shell, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["x-key"])
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"42")

        def log_message(self, format: str, *args: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        params = {"url": f"http://127.0.0.1:{server.server_port}/", "headers": {"x-key": "${{ secrets.TEST_KEY }}"}}
        write("real.json", {"id": "r", "steps": [{"id": "call", "action": "http.request", "params": params}]})
        monkeypatch.setenv("TEST_KEY", "k-1234567")
        result = durable("dag", "test", "real.json", "--allow-http")
        thread.join(10)
    assert (result.stdout.splitlines()[-1], seen) == ('Completed: {"call": 42}', ["k-1234567"])
