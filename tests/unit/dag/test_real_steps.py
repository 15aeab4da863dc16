"""Definitions with real JavaScript, on real queues, in real processes that are really killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from durable import Worker, connect
from durable_dag import Engine
from durable_dag.js import ProcessJs
from tests.unit.dag.support import Web, step

RUN = Path(__file__).parents[3] / "examples" / "dag" / "run.py"

pytestmark = pytest.mark.slow


class Counting:
    """The real engine, counted."""

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


@pytest.fixture
async def js() -> AsyncIterator[Counting]:
    async with ProcessJs() as inner:
        yield Counting(inner)


async def run(js: Any, definition: dict[str, Any], context: Any = None, **worker: Any) -> dict[str, Any]:
    async with connect("memory://") as client:
        engine = Engine(client, js=js, outbound=Web())

        @engine.executor("act")
        async def act(params: dict[str, Any]) -> Any:
            return params.get("result")

        await engine.register_workflow(definition)
        async with Worker(client, **engine.worker_parts(), **worker):
            started = await engine.start(definition["id"], context)
            return await engine.result(started.execution_id, timeout=30)


def transform(code: str, *after: str, **params: Any) -> dict[str, Any]:
    return {"id": "t", "action": "transform", "params": {"code": code, **params}, "dependencies": list(after)}


@pytest.mark.parametrize("value", [0, "", False, None, [], {}])
async def test_that_a_key_is_there_decides_and_not_what_is_there(js: Counting, value: Any) -> None:
    steps = [step("a", result=value), transform("return input", "a", inputKey="a", input="fallback")]
    execution = await run(js, {"id": "f", "steps": steps})
    assert execution["stepResults"]["t"]["result"] == value


async def test_without_the_key_the_given_input_is_taken(js: Counting) -> None:
    execution = await run(js, {"id": "f", "steps": [transform("return input + 1", inputKey="none", input=41)]})
    assert execution["output"] == {"t": 42}


async def test_a_condition_is_evaluated_once(js: Counting) -> None:
    steps = [
        {"id": "check", "action": "condition", "params": {"expression": "context.amount > 100"}},
        step("yes", "check"),
        step("no", {"step": "check", "on": "false"}),
    ]
    execution = await run(js, {"id": "f", "steps": steps}, {"amount": 150})
    assert (execution["completedSteps"], execution["skippedSteps"]) == (["check", "yes"], ["no"])
    assert js.evaluated == ["context.amount > 100"]


async def test_expressions_in_templates_and_guards(js: Counting) -> None:
    steps = [
        {
            **step("a", result="n is ${{ context.n * 2 }}, ${{ context.n > 1 ? 'many' : 'one' }}"),
            "when": "context.n > 1",
        },
        {**step("b"), "when": "context.n > 5"},
    ]
    execution = await run(js, {"id": "f", "steps": steps}, {"n": 3})
    assert execution["stepResults"]["a"]["result"] == "n is 6, many"
    assert execution["stepResults"]["b"]["skipReason"] == "condition"


async def test_code_that_throws_fails_its_step_once(js: Counting) -> None:
    bad = {**transform("return input.nothing.there"), "retryPolicy": {"maxAttempts": 5}}
    execution = await run(js, {"id": "f", "steps": [bad]})
    assert (execution["status"], execution["stepResults"]["t"]["attempts"]) == ("failed", 1)


async def test_code_has_no_host(js: Counting) -> None:
    code = "return [typeof process, typeof require, typeof fetch, typeof std, typeof os]"
    execution = await run(js, {"id": "f", "steps": [transform(code)]})
    assert execution["output"] == {"t": ["undefined"] * 5}


async def test_work_is_carried_out_on_its_queue(js: Counting) -> None:
    steps = [
        {**step("far", result="${{ context.n }}"), "queue": "gpu"},
        {**transform("return context.far + 1", "far"), "queue": "gpu"},
        {
            "id": "each",
            "action": "map",
            "queue": "gpu",
            "params": {"items": [1, 2], "step": {"action": "act", "params": {"result": "${{ item }}"}}},
        },
    ]
    execution = await run(js, {"id": "f", "steps": steps}, {"n": 7}, queues=("default", "gpu"))
    assert execution["stepResults"]["far"]["result"] == 7
    assert (execution["stepResults"]["t"]["result"], execution["stepResults"]["each"]["result"]) == (8, [1, 2])


async def test_a_failure_on_another_queue_is_told_as_if_it_were_here(js: Counting) -> None:
    bad = {"id": "t", "action": "http.request", "queue": "gpu", "params": {"url": "http://nowhere/"}}
    execution = await run(js, {"id": "f", "steps": [bad]}, queues=("default", "gpu"))
    assert execution["stepResults"]["t"]["error"] == "HttpStatusError: GET http://nowhere/ answered 404"


@pytest.mark.parametrize("shape", ["chain", "join", "map"])
async def test_large_graphs_are_a_matter_of_seconds(js: Counting, shape: str) -> None:
    """A thousand steps in a row, a thousand side by side, five thousand items: one entry for each, and no more."""
    if shape == "chain":
        steps = [step(f"s{n}", *([f"s{n - 1}"] if n else [])) for n in range(1000)]
    elif shape == "join":
        steps = [step(f"s{n}") for n in range(999)] + [step("end", *[f"s{n}" for n in range(999)])]
    else:
        inner = {"action": "act", "params": {"result": "${{ item }}"}}
        steps = [{"id": "each", "action": "map", "params": {"items": list(range(5000)), "step": inner}}]
    async with connect("memory://") as client:
        engine = Engine(client, js=js)
        engine.register_executor("act", _act)
        await engine.register_workflow({"id": "large", "steps": steps})
        async with Worker(client, **engine.worker_parts()):
            id = (await engine.start("large")).execution_id
            execution = await engine.result(id, timeout=60)
            assert execution["status"] == "completed"
            assert len(await client.handle(id).history()) == (5000 if shape == "map" else 1000)
            began = client.link.clock.monotonic()
            await engine.get(id)
            assert client.link.clock.monotonic() - began < 5


async def _act(params: dict[str, Any]) -> Any:
    return params.get("result")


# ── a process that is killed ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_flow_whose_process_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, str(RUN), "order-flow"]
    first = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=environment)
    assert first.stdout is not None
    for line in first.stdout:
        if line.startswith("Started"):
            break
    effects = tmp_path / "dag-effects.txt"
    while not effects.exists() or "refused" not in effects.read_text():  # the payment is in its back-off now
        assert first.poll() is None
    first.send_signal(signal.SIGKILL)
    first.communicate()
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=60)
    assert again.returncode == 0, again.stderr
    assert "Resuming order-flow-1." in again.stdout
    assert "order-flow-1 is completed" in again.stdout
    done = Counter(line.partition(" ")[0] for line in effects.read_text().splitlines())
    assert done == Counter(
        ["validation/validate", "inventory/check", "refused", "payment/charge", "shipping/ship"]
        + ["notifications/email", "analytics/order-complete"]
    )
    assert (tmp_path / "order-flow-1.svg").read_text().startswith("<svg")
